"""Sketches that wait on a device: the host waits for it a fixed number of times, and the records are the same.

There is no such device here, so the CPU plays one: it counts as off the host, and each copy to the host is counted.
"""

import unittest.mock

import pytest
import torch
from torch import nn
from zoo import ZOO, SmallNet, images

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.probe import sketch, sketch_queue
from pytest_modelviz.records.trace_arrays import unpack_trace
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from tests.unit.records.test_captured_arrays import as_plain_data


class Device:
    """The CPU as a device; `copies` counts the copies to the host."""

    def __init__(self, patch):
        self.copies = 0
        patch.setattr(sketch, "_AT_HAND", set())
        patch.setattr(sketch, "copied_to_host", self._copy)

    def _copy(self, tensor):
        self.copies += 1
        return tensor.clone()


@pytest.fixture
def device(monkeypatch):
    return Device(monkeypatch)


def stack(depth):
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()) for _ in range(depth)]
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *layers).eval()


PASSES = []  # of `WithMask`: an attribute of the model would be restored after each


class WithMask(nn.Module):
    """Adds a mask of infinities to its input, and returns what the mask has left."""

    def __init__(self, side, *, written=False):
        super().__init__()
        self.inner, self.side, self.written = nn.Identity(), side, written

    def forward(self, x):
        PASSES.append(self.side)
        mask = torch.zeros(self.side, self.side)
        mask[0, 1] = -torch.inf
        kept = self.inner(mask)
        if self.written:
            mask.zero_()
        return x + torch.nan_to_num(kept, neginf=0.0).sum()


@pytest.mark.parametrize("name", ZOO)
def test_records_are_the_same(name, device):
    torch.manual_seed(0)
    view = FeatureMapsView(ZOO[name].build(), ZOO[name].input())
    waited = unpack_trace(view.capture().arrays)
    with unittest.mock.patch.object(sketch, "_AT_HAND", {"cpu"}):
        at_once = unpack_trace(view.capture().arrays)
    assert as_plain_data(waited) == as_plain_data(at_once)


def test_the_number_of_copies_does_not_grow_with_the_model(device):
    copies = []
    for depth in (4, 40):
        view = FeatureMapsView(stack(depth), images())
        device.copies = 0
        trace = view.capture().result.trace
        copies.append(device.copies)
        assert sum(record.sketch.size > 0 for record in trace.tensors.values()) >= 3 * depth
    assert copies[0] == copies[1] <= 6


def test_no_number_is_read_from_the_device_on_the_way(device):
    """Whatever reads one makes the host wait, as `bool(tensor)` and `float(tensor)` do."""
    read = []

    class Reading(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, op, types, args=(), kwargs=None):
            if op in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default):
                read.append(op)
            return op(*args, **(kwargs or {}))

    counts = []
    for depth in (4, 40):
        read.clear()
        view = FeatureMapsView(stack(depth), images())
        with (
            unittest.mock.patch.object(sketch, "without_dispatch_modes", torch.no_grad),
            unittest.mock.patch.object(sketch_queue, "ordinary_record", _record_unseen),
            Reading(),
        ):
            view.capture()
        counts.append(len(read))
    assert counts[0] == counts[1] <= 12


def _record_unseen(sums, dtype, shape, count):
    """The host's own arithmetic, which is no reading of the device."""
    return sketch.TensorRecord(dtype, shape, sums.numpy())


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("side", [8, 64, 3000])
def test_what_needs_a_closer_look_is_recorded_as_ever(device, side, written):
    view = FeatureMapsView(WithMask(side, written=written), torch.ones(3))
    PASSES.clear()
    waited = unpack_trace(view.capture().arrays)
    passes = len(PASSES)
    with unittest.mock.patch.object(sketch, "_AT_HAND", {"cpu"}):
        at_once = unpack_trace(view.capture().arrays)
    assert as_plain_data(waited) == as_plain_data(at_once)
    mask = next(record for record in waited.tensors.values() if record.shape == (side, side))
    assert mask.value_fingerprints["-inf"][0] == 1
    # the sketch of the smallest is the mask itself, the next is kept; what is written into, or takes 36 MB, is not
    assert passes == {8: 1, 64: 2 if written else 1, 3000: 2}[side]


def test_weights_that_are_no_numbers_need_no_further_pass(device):
    model = nn.Sequential(nn.Linear(300, 300), nn.ReLU())
    with torch.no_grad():
        model[0].weight[3, 4] = torch.nan
        model[0].bias[3] = 0.0
    view = FeatureMapsView(model, torch.zeros(1, 300))
    trace = view.capture().result.trace
    assert trace.weights["0.weight"].value_fingerprints["nan"][0] == 1


def test_a_drift_is_found(device):
    model, image = SmallNet(), images()
    view = FeatureMapsView(model, image)
    before = view.capture()
    with torch.no_grad():
        model.conv2.weight.mul_(1.01)
    verdict = view.compare(before, view.capture(), Tolerances())
    assert not verdict.matched
    assert verdict.first.layer == "conv2"


def test_views_of_one_pass_and_its_shadow_wait_too(device):
    torch.manual_seed(0)
    model = stack(4).to(torch.bfloat16)
    with unittest.mock.patch.object(sketch, "_AT_HAND", {"cpu"}):
        at_once = FeatureMapsView(model, images().to(torch.bfloat16)).capture()
    copies, counts = device.copies, []
    for depth in (4, 40):
        FeatureMapsView(stack(depth).to(torch.bfloat16), images().to(torch.bfloat16)).capture()
        counts.append(device.copies - copies)
        copies = device.copies
    assert counts[0] == counts[1]
    waited = FeatureMapsView(model, images().to(torch.bfloat16)).capture()
    assert as_plain_data(unpack_trace(waited.arrays)) == as_plain_data(unpack_trace(at_once.arrays))


@pytest.mark.parametrize("side", [64, 3000])
def test_all_views_of_a_pass_come_from_one_that_saw_everything(device, side):
    def trace():
        return unpack_trace(CombinedCapture(WithMask(side), torch.ones(3)).feature_maps.capture().arrays)

    waited = trace()
    with unittest.mock.patch.object(sketch, "_AT_HAND", {"cpu"}):
        assert as_plain_data(waited) == as_plain_data(trace())
    assert any("-inf" in record.value_fingerprints for record in waited.tensors.values())
