"""Which values of a tensor are giants: found without looking at all values where a few of them show that none is."""

import math

import numpy as np
import pytest
import torch

from pytest_modelviz.probe import sketch
from pytest_modelviz.probe.fingerprints import without_giants
from pytest_modelviz.probe.sketch import record_tensor


def at_length(values):
    """The values without giants, and how many giants there are, by the definition: above a tenth of the largest,
    where all that is not above it is at most a hundredth."""
    size = values.abs()
    giant = size > size.max() / 10
    rest = torch.where(giant, 0.0, values)
    largest_of_rest = float(rest.abs().max())
    if not largest_of_rest or largest_of_rest * 100 > float(size.max()):
        return values, 0
    return rest, int(giant.sum())


def normal(count, dtype=torch.float32):
    return torch.randn(count, generator=torch.Generator().manual_seed(count), dtype=dtype)


def beside(*largest, count=9000, at=0, dtype=torch.float32):
    """Normal numbers of size one with others, some of which may lie beyond the values that are looked at first."""
    values = normal(count, dtype).clamp(-1, 1)
    values[0] = 1.0
    values[at : at + len(largest)] = torch.tensor(largest, dtype=dtype)
    return values


EDGES = [100.0, np.nextafter(np.float32(100), np.float32(0)), np.nextafter(np.float32(100), np.float32(200))]
CASES = {
    "large": 1e3 * normal(9000),
    "double precision": 1e3 * normal(9000, torch.float64),
    "all alike": torch.full((5000,), 1e9),
    "a ramp": torch.arange(1.0, 9001),
    "a mask at the start": beside(*[-1e9] * 40),
    "a mask beyond": beside(*[-1e9] * 40, at=8000),
    "both signs": beside(3e5, -4e5, at=4094),
    "the lowest number": beside(torch.finfo(torch.float32).min, at=5000),
    "the lowest number of double precision": beside(-1.7e308, at=5000, dtype=torch.float64),
    "between beyond": beside(-1e9, -5e7, at=8000),
    "few": beside(1e9, count=300),
    "zeros else": torch.cat([torch.zeros(6000), torch.full((3,), 1e6)]),
    "zeros first": torch.cat([torch.zeros(6000), beside(1e6)]),
    **{f"an edge of {edge!r}": beside(float(edge), at=7000) for edge in EDGES},
    **{f"tenth of {edge!r}": beside(float(edge), float(edge) / 10) for edge in EDGES},
    **{f"tenth beyond {edge!r}": beside(float(edge) * 100, float(edge) * 10, at=7000) for edge in EDGES},
}


@pytest.mark.parametrize("case", CASES)
def test_they_are_those_of_the_definition(case):
    values = CASES[case]
    found, rest = without_giants(values)
    expected, count = at_length(values)
    assert torch.equal(rest, expected)
    assert sum(number for number, _ in found.values()) == count


def test_where_a_few_values_show_that_there_are_none_the_others_are_read_once(monkeypatch):
    monkeypatch.setattr(torch, "where", lambda *_: pytest.fail("all values were looked at"))
    values = CASES["large"]
    assert without_giants(values) == ({}, values)


@pytest.mark.parametrize("count", [100, 9000, 90_000])
@pytest.mark.parametrize("size", [1.0, 1e3, 1e25, math.nan])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_record_is_that_of_a_closer_look(count, size, dtype):
    values = (normal(count).clamp(-3, 3) * size).to(dtype)
    for given in (values, torch.cat([values, torch.full((3,), -1e37, dtype=dtype)])):
        record = record_tensor(given, mean=True)
        closer = sketch._record(given, sketch.ACTIVATION_WIDTH, mean=True, plain=True)
        assert record.is_bitwise(closer)
        assert record.mean == closer.mean or math.isnan(size)
        assert (record.step, record.value_count) == (closer.step, closer.value_count)


def test_what_was_sketched_is_not_sketched_again(monkeypatch):
    again = sketch.sketch_rows
    monkeypatch.setattr(sketch, "sketch_rows", lambda *_: pytest.fail("it was sketched again"))
    values = CASES["large"]
    record = record_tensor(values)
    monkeypatch.setattr(sketch, "sketch_rows", again)
    assert record.is_bitwise(sketch._record(values, sketch.ACTIVATION_WIDTH, mean=False, plain=True))
