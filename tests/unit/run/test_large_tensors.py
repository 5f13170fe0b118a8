"""Captures of two versions of sketches beside each other: all but their large tensors is compared."""

import pytest
import torch
from test_earlier_sketches import NOTE, Net, Project, net, recorded

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.check_result import Status
from pytest_modelviz.records.explanation_shadow import explanation_shadow
from pytest_modelviz.records.large_tensors import with_large_tensors_of
from pytest_modelviz.records.sketch_version import EARLIER_VERSION, sketched_as
from pytest_modelviz.records.trace_arrays import unpack_trace
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView

VIEWS = {
    "feature_maps": FeatureMapsView,
    "saliency_map": lambda model, x: SaliencyMapView(model, x, target=1),
    "cam_map": lambda model, x: CamMapView(model, x, target_layer="conv", target=1),
}


class LowOutput(Net):
    """The head's small part is changed: its first five scores alone."""

    def forward(self, x):
        return super().forward(x)[:, :5]


def view_of(name, *, factor=1.0, side=150, dtype=torch.bfloat16):
    model = net(LowOutput)
    model.head.bias.data[:5] += factor - 1.0
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    return VIEWS[name](model.to(dtype), image.to(dtype))


def pair(name, dtype, **changed):
    """A capture of this version, and one of a changed model of the earlier version."""
    with sketched_as(EARLIER_VERSION):
        other = view_of(name, dtype=dtype, **changed).capture()
    view = view_of(name, dtype=dtype)
    return view, view.capture(), other


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", VIEWS)
def test_what_is_sketched_alike_is_compared(name, dtype):
    view, capture, other = pair(name, dtype)
    if name != "cam_map":  # whose map is kept whole
        assert not view.compare(capture, other, Tolerances()).matched
    assert view.compare(capture, with_large_tensors_of(other, capture), Tolerances()).matched
    view, capture, other = pair(name, dtype, side=151)
    assert not view.compare(capture, with_large_tensors_of(other, capture), Tolerances()).matched


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_small_tensor_that_differs_is_found(dtype):
    view, capture, other = pair("feature_maps", dtype, factor=2.0)
    verdict = view.compare(capture, with_large_tensors_of(other, capture), Tolerances())
    assert (verdict.matched, verdict.first.layer) == (False, "head")


def test_the_shadow_of_an_explanation_keeps_its_small_tensors():
    _, capture, other = pair("saliency_map", torch.bfloat16, factor=2.0)
    made = with_large_tensors_of(other, capture)
    own, before, after = (unpack_trace(explanation_shadow(each).arrays) for each in (made, other, capture))
    assert own.tensors[""].is_bitwise(before.tensors[""])
    assert not own.tensors[""].is_bitwise(after.tensors[""])
    assert own.tensors["conv"].is_bitwise(after.tensors["conv"])
    assert not own.tensors["conv"].is_bitwise(before.tensors["conv"])


@pytest.mark.parametrize("name", VIEWS)
def test_a_stable_model_in_lower_precision_matches_an_earlier_baseline(name, tmp_path):
    project = Project(tmp_path, recorded(view_of(name), EARLIER_VERSION))
    result = project.check(view_of(name))
    assert result.status is Status.MATCH, result.message
    assert NOTE in result.message
