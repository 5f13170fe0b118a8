"""A match says so where a baseline does not state where its integers are."""

import dataclasses

import numpy as np
import pytest
import torch
from forging_by_hand import retraced
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import UnstatedFinding
from pytest_modelviz.records.tensors import INTEGERS, random_signs
from pytest_modelviz.records.trace import Call, Leaf
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView

X = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))


def made(kind, factor):
    torch.manual_seed(0)
    return FeatureMapsView(kind(factor), X)


class Table(nn.Module):
    def __init__(self, swaps):
        super().__init__()
        table = torch.arange(600)
        for first, second in swaps:
            table[[first, second]] = table[[second, first]]
        self.register_buffer("table", table)

    def forward(self, x):
        return x + (self.table[:3] >= 0).sum()


def test_a_match_says_that_integers_were_compared_by_sums_alone():
    signs = random_signs(np.arange(1, 601, dtype=np.uint64), 0)
    swap = next((at, at + 61) for at in range(100, 500) if signs[at] == signs[at + 61])
    view, drifted = made(Table, ()), made(Table, [swap])

    def without_fingerprint(trace, key="table"):
        record = trace.weights.pop("table")
        trace.weights[key] = dataclasses.replace(record, value_fingerprints={})
        trace.modules[""].weights["table"] = key

    honest, actual = view.capture(), drifted.capture()
    assert not view.compare(honest, actual, Tolerances()).matched
    for key in ("table", "another name"):
        verdict = view.compare(
            retraced(view, honest, lambda t, key=key: without_fingerprint(t, key)), actual, Tolerances()
        )
        assert UnstatedFinding("where its integers are") in verdict.findings


class Looks(nn.Module):
    def forward(self, x, numbers):
        return x + (numbers[:3] >= 0).sum()


class TwoTables(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Looks(), Looks()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.ReLU())

    def forward(self, x, ids, users):
        x = self.second(self.first(x, ids), users)
        for layer in self.layers:
            x = layer(x)
        return x


def with_another_key(trace, key):
    trace.tensors["second<numbers"] = trace.tensors[key]
    call = next(call for call in trace.calls if call.layer == "second")
    call.inputs["numbers"] = Leaf("second<numbers")


def with_a_decoy(trace, key):
    trace.tensors["decoy"] = trace.tensors[key]
    trace.calls.insert(1, Call("layers", 0, 1, {"input": Leaf("decoy")}, {}))


@pytest.mark.parametrize("add", [with_another_key, with_a_decoy])
def test_no_other_fingerprint_stands_for_one_that_is_lacking(add):
    signs = random_signs(np.arange(1, 601, dtype=np.uint64), 0)
    first, second = next((at, at + 251) for at in range(100, 300) if signs[at] == signs[at + 251])
    ids, users = torch.arange(600) + 2**44, torch.arange(600) * 3 + 2**44
    swapped = ids.clone()
    swapped[[first, second]] = ids[[second, first]]
    torch.manual_seed(0)
    view, drifted = (FeatureMapsView(TwoTables(), (X, numbers, users)) for numbers in (ids, swapped))
    drifted.model.load_state_dict(view.model.state_dict())
    honest, actual = view.capture(), drifted.capture()
    assert not view.compare(honest, actual, Tolerances()).matched

    def forge(trace):
        lacking, other = (key for key, record in trace.tensors.items() if INTEGERS in record.value_fingerprints)
        trace.tensors[lacking] = dataclasses.replace(trace.tensors[lacking], value_fingerprints={})
        add(trace, other)

    verdict = view.compare(retraced(view, honest, forge), actual, Tolerances())
    assert not verdict.matched or UnstatedFinding("where its integers are") in verdict.findings


class Marks(nn.Module):
    """It holds a table with a single mark, which its pass does not read."""

    def __init__(self, at: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("marks", (torch.arange(1000) == at).to(dtype))

    def forward(self, x):
        return x


EXACT = (
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.uint16,
    torch.int32,
    torch.uint32,
    torch.int64,
    torch.uint64,
)


@pytest.mark.parametrize("dtype", EXACT, ids=str)
def test_a_mark_in_another_place_is_another_weight(dtype):
    """Of places 61 apart, which a sketch adds up, half have the same sign."""

    def view(at):
        return FeatureMapsView(Marks(at, dtype), torch.ones(2))

    baseline = view(5).capture()
    assert view(5).compare(baseline, view(5).capture(), Tolerances()).matched
    for at in range(5 + 61, 1000, 61):
        assert view(at).compare(baseline, view(at).capture(), Tolerances()).cause == "weights"
