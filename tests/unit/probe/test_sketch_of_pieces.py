"""Tensors of several pieces: what is alike in all of them must not cancel. Earlier baselines are compared as before."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pytest_modelviz.compare.last_digits import differs_in_last_digits
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tensors import difference
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.probe.count_sketch import sketch_rows
from pytest_modelviz.probe.sketch import ACTIVATION_WIDTH, record_tensor
from pytest_modelviz.records.findings import FormerSketchFinding
from pytest_modelviz.records.sketch_version import EARLIER_VERSION, SKETCH_VERSION, sketched_as
from pytest_modelviz.records.tensors import WEIGHT_WIDTH, TensorRecord
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.feature_maps.records import layer_rows
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView

PIECE = 2**20


@pytest.fixture
def _as_earlier():
    with sketched_as(EARLIER_VERSION):
        yield


def formerly(record: TensorRecord) -> TensorRecord:
    """The record that a version before version 2 would have made."""
    return record if record.former is None else replace(record.former, is_of_earlier_version=True)


def recorded_formerly(capture, trace: ForwardTrace):
    """A capture as a version before version 2 would have made it."""
    for table in (trace.tensors, trace.weights):
        table.update({key: formerly(record) for key, record in table.items()})
    facts = {**capture.facts, "layers": layer_rows(trace)} if trace.calls else capture.facts
    return replace(capture, facts=facts, arrays={**capture.arrays, **pack_trace(trace)})


class Shift(nn.Module):
    def __init__(self, by: float, channels: slice = slice(None)):
        super().__init__()
        self.__dict__["by"], self.__dict__["channels"] = by, channels

    def forward(self, x):
        y = x.clone()
        y[:, self.channels] += self.by
        return y


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("version", [EARLIER_VERSION, SKETCH_VERSION])
@pytest.mark.parametrize("width", [ACTIVATION_WIDTH, WEIGHT_WIDTH])
@pytest.mark.parametrize("pieces", [2, 8, 17])
def test_what_is_alike_in_all_pieces_does_not_cancel(pieces, width, version):
    index = torch.arange(pieces * PIECE)
    for change in (torch.ones(len(index)), index / len(index), (index // 4096 % 64 == 5).float(), normal(len(index))):
        with sketched_as(version):
            assert 0.8 < float(sketch_rows(change, width)[0].norm() / change.norm()) < 1.25


def test_a_shift_of_a_large_activation_is_a_drift():
    view, x = FeatureMapsView(Shift(0.0), normal(8, 64, 128, 128)), normal(8, 64, 128, 128)
    capture = view.capture()
    for changed in (Shift(2e-3), Shift(4e-3, slice(5, 6))):
        assert not view.compare(capture, FeatureMapsView(changed, x).capture(), Tolerances()).matched
    assert view.compare(capture, view.capture(), Tolerances()).findings == ()


@pytest.mark.usefixtures("_as_earlier")
class TestBaselinesOfEarlierVersions:
    @pytest.mark.parametrize("giants", [False, True])
    def test_their_records_are_compared_with_such_records(self, giants):
        values = normal(3 * PIECE)
        if giants:
            values[::7] = -1e9
        other = torch.where(values == -1e9, values, values * 1.01)
        record = formerly(record_tensor(values))
        assert difference(record, record_tensor(values.clone())) == 0.0
        assert difference(record, record_tensor(other)) == pytest.approx(0.01, rel=0.3)
        assert difference(record_tensor(values), record_tensor(other)) == pytest.approx(0.01, rel=0.3)
        narrow = record_tensor(values).narrowed(31)
        assert difference(record.narrowed(31), narrow) == difference(narrow, record_tensor(values).narrowed(31)) == 0.0

    def test_a_capture_matches_and_says_so(self):
        view = FeatureMapsView(Shift(0.0), normal(1, 64, 128, 130))
        actual = view.capture()
        baseline = recorded_formerly(actual, stored_trace(dict(actual.arrays)))
        verdict = view.compare(baseline, actual, Tolerances())
        assert verdict.matched
        assert verdict.findings == (FormerSketchFinding(),)
        assert not differs_in_last_digits(baseline, actual, Tolerances())  # an update records it anew
        assert differs_in_last_digits(actual, view.capture(), Tolerances())
        changed = FeatureMapsView(Shift(0.1), normal(1, 64, 128, 130)).capture()
        assert not view.compare(baseline, changed, Tolerances()).matched

    def test_kernels_match_and_say_so(self):
        view = KernelMapsView(nn.Conv2d(1024, 1030, 1))
        actual = view.capture()
        baseline = recorded_formerly(actual, stored_trace(dict(actual.arrays)))
        verdict = view.compare(baseline, actual, Tolerances())
        assert verdict.matched
        assert verdict.findings == (FormerSketchFinding(),)
        assert view.compare(actual, view.capture(), Tolerances()).findings == ()


@pytest.mark.usefixtures("_as_earlier")
def test_both_sketches_come_back_from_a_file():
    values = normal(2, 2**19 + 1)
    values[0, 7] = -1e9
    trace = FeatureMapsView(nn.Identity(), values).capture().result.trace
    (before,), (after,) = trace.tensors.values(), stored_trace(pack_trace(trace)).tensors.values()
    for one, two in ((before, after), (before.former, after.former)):
        assert (one.dtype, one.shape, one.value_fingerprints) == (two.dtype, two.shape, two.value_fingerprints)
        assert len(one.sketches) == 2
        assert all(np.array_equal(*pair) for pair in zip(one.sketches, two.sketches, strict=True))
