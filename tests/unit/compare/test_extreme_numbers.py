"""Differences between numbers of whatever size: no square that vanishes or overflows, no digit lost, hides one."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from forging_by_hand import matches, reread, retraced
from torch import nn

from pytest_modelviz.compare.arrays import compare_arrays
from pytest_modelviz.compare.explanations import size_difference
from pytest_modelviz.compare.last_digits import differs_in_last_digits
from pytest_modelviz.compare.tensors import difference, relative_distance, rms
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView

SIZES = [1e-320, 1e-300, 1e-200, 1e-160, 1e160, 1e300]
CHANGES = {
    "negated": torch.neg,
    "halved": lambda x: x / 2,
    "flipped": lambda x: x.flip(0),
    "one changed": lambda x: torch.cat([-x[:1], x[1:]]),
}
each_size = pytest.mark.parametrize("size", SIZES)


class Applies(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.last = function, nn.Identity()

    def forward(self, x):
        return self.last(self.function(x))


def same(view, other):
    baseline, actual = view.capture(), other.capture()
    return other.compare(baseline, actual, Tolerances()).matched


def random_numbers(count, size):
    return torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * size


@pytest.mark.filterwarnings("error")
@each_size
@pytest.mark.parametrize("count", [10, 1000])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_activations_of_any_size_are_compared(change, count, size):
    x = random_numbers(count, size)
    views = [FeatureMapsView(Applies(function), x) for function in (torch.clone, change)]
    assert same(views[0], views[0])
    assert not same(*views)


@each_size
def test_plain_arrays_of_any_size_are_compared(size):
    values = random_numbers(10, size).numpy()
    captures = [Capture("plain", {}, {"a": array}) for array in (values, values, -values, values[::-1])]
    found = [compare_arrays(captures[0], capture, Tolerances()).matched for capture in captures[1:]]
    assert found == [True, False, False]


def test_a_norm_that_is_no_number_makes_no_difference_small():
    giant = np.full(251, 1.7e308)
    assert relative_distance(giant, giant * 0.99) == pytest.approx(0.01, rel=1e-3)
    assert relative_distance(giant, -giant) == pytest.approx(2.0)


@each_size
def test_sizes_of_numbers_of_any_size(size):
    values = random_numbers(10, size).numpy()
    assert rms(record_tensor(torch.from_numpy(values))) == pytest.approx(size, rel=0.9)
    assert size_difference(values, values / 2) == pytest.approx(0.5, rel=0.1)


@each_size
def test_kernels_of_any_size_state_their_size(size):
    torch.manual_seed(0)
    model = nn.Conv2d(2, 2, 3).double()
    with torch.no_grad():
        model.weight.mul_(size)
    view = KernelMapsView(model)
    capture = view.capture()
    assert capture.facts["layers"][""]["rms"] == pytest.approx(0.13 * size, rel=0.2)
    assert matches(view, reread(view, capture, lambda facts: None), capture)


@pytest.mark.parametrize(("size", "word"), [(1e-200, "0"), (1e200, "inf")])
def test_what_earlier_versions_wrote_of_such_numbers_is_readable(size, word):
    view = FeatureMapsView(nn.Identity(), random_numbers(10, size))

    def rewritten(facts):
        for row in facts["layers"].values():
            row.update({key: re.sub(r"rms \S+", f"rms {word}", row[key]) for key in ("in", "out")})

    capture = view.capture()
    assert matches(view, reread(view, capture, rewritten), capture)


def large_integers(bits, count, dtype=torch.int64):
    return torch.randint(2 ** (bits - 1), 2**bits, (count,), dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("count", [10, 260, 2000, 100_000])
@pytest.mark.parametrize("bits", [20, 31, 40, 45, 49, 50, 51, 52, 53, 62])
def test_no_digit_of_an_integer_is_lost(bits, count):
    values = large_integers(bits, count)
    record = record_tensor(values)
    assert difference(record, record_tensor(values.clone())) == 0.0
    for position in range(0, count, -(-count // 10)):
        changed = values.clone()
        changed[position] += 1
        assert difference(record, record_tensor(changed)) > 0.0


class Holds(nn.Module):
    def __init__(self, values):
        super().__init__()
        self.register_buffer("table", values)

    def forward(self, x):
        return x


@pytest.mark.parametrize(("bits", "count"), [(53, 1), (62, 3), (52, 1000), (52, 20_000)])
def test_no_digit_of_an_integer_among_the_weights_is_lost(bits, count):
    values = large_integers(bits, count)
    changed = values.clone()
    changed[-1] += 1
    views = [FeatureMapsView(Holds(table), torch.ones(1)) for table in (values, values.clone(), changed)]
    assert same(*views[:2])
    assert not same(views[0], views[2])


def test_integers_of_any_layout_have_all_their_digits():
    values, other = large_integers(62, 6), large_integers(62, 6)
    other[3] += 1
    for layout in (torch.Tensor.to_sparse, lambda flat: flat[::2], lambda flat: torch.nested.nested_tensor([flat])):
        records = [record_tensor(layout(table)) for table in (values, values.clone(), other[[0, 1, 3, 3, 4, 5]])]
        assert [difference(records[0], record) == 0.0 for record in records] == [True, True, False]


@pytest.mark.parametrize("count", [10, 2000])
def test_baselines_that_lack_the_digits_of_sums_still_match_and_are_recorded_anew_if_asked_to(count):
    view = FeatureMapsView(Holds(large_integers(52, count)), large_integers(52, count))

    def as_earlier_versions_did(trace):
        for table in (trace.tensors, trace.weights):
            for key, record in table.items():
                prints = {kind: print_ for kind, print_ in record.value_fingerprints.items() if kind != "integers"}
                assert prints != record.value_fingerprints
                table[key] = dataclasses.replace(record, value_fingerprints=prints)

    actual = view.capture()
    baseline = retraced(view, actual, as_earlier_versions_did)
    assert matches(view, baseline, actual)
    assert not differs_in_last_digits(baseline, actual, Tolerances())
    assert not matches(view, actual, baseline)


def test_sums_of_equal_integers_may_be_rounded_otherwise():
    record = record_tensor(large_integers(62, 2000))
    rounded = dataclasses.replace(record, sketch=record.sketch * (1 + 1e-14))
    assert difference(rounded, record) == 0.0
    assert difference(dataclasses.replace(record, sketch=record.sketch * 2), record) > 0.0
