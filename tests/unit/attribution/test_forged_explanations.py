"""No scale, giant or forward pass of a forged baseline makes another map, gradient or climb match."""

import dataclasses

import numpy as np
import pytest
import torch
from forgery_subjects import cam, climb, convolved, image, negated, noisy, smooth
from forging_by_hand import matches, mended, reread
from torch import nn

from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.views.activation_maximization.capture import ActivationMaximizationView
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView


@pytest.mark.parametrize("scale", [1e300, 1e30, "inf", float("inf")])
@pytest.mark.parametrize("drift", [negated, convolved, noisy, smooth])
def test_the_scale_that_a_baseline_claims_makes_nothing_of_a_map_rounding(scale, drift):
    view, other = cam(), cam(drift)
    capture = view.capture()
    claimed = mended(view, capture, {"scale": scale}, map=np.zeros_like(capture.arrays["map"]))
    assert not matches(other, claimed, other.capture())
    assert not matches(other, mended(view, capture, {"scale": scale}), other.capture())


@pytest.mark.parametrize("factor", [-1.0, 9.0, 1e3])
def test_giants_are_beside_nothing_where_half_precision_is_allowed_much(factor):
    def half(scale):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        model[4].weight.data.mul_(scale)
        return model.half().eval()

    gpu, data = Tolerances(device="cuda:0"), image().half()
    view, other = (CamMapView(half(scale), data, target_layer="1", target=1) for scale in (1.0, factor))
    capture = view.capture()
    forged_map = mended(view, capture, map=np.full_like(capture.arrays["map"], 3e30))
    assert not other.compare(forged_map, other.capture(), gpu).matched
    view, other = (SaliencyMapView(half(scale), data, target=1) for scale in (1.0, factor))
    capture = view.capture()
    trace = stored_trace(dict(capture.arrays))
    record = trace.gradients["(gradient)"]
    trace.gradients["(gradient)"] = dataclasses.replace(record, sketch=np.full_like(record.sketch, 3e30))
    arrays = {**capture.arrays, **pack_trace(trace)}
    baseline = dataclasses.replace(capture, arrays=arrays, facts={**capture.facts, "peak": 3e30})
    assert not other.compare(baseline, other.capture(), gpu).matched


@pytest.mark.parametrize("change", [{"precision": "float16"}, {"call": 7}])
def test_a_climb_in_another_precision_or_call_is_no_match(change):
    view = climb()
    capture = view.capture()
    assert matches(view, capture, capture)
    assert not matches(view, reread(view, capture, lambda facts: facts.update(change)), capture)


class Bends(nn.Module):
    """Two convolutions between which something bends, all weights off by a part of their standard deviation."""

    def __init__(self, bend, off=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.bend, self.head = bend, nn.Linear(8, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.add_(off * parameter.std() * torch.randn(parameter.shape))

    def forward(self, x):
        return self.head(self.bend(self.second(self.bend(self.first(x)))).mean((2, 3)))


EXPLAINED = {
    "saliency_map": lambda model: SaliencyMapView(model, image(), target=1),
    "smoothgrad": lambda model: SaliencyMapView(model, image(), target=1, method="smoothgrad"),
    "gradcam": lambda model: CamMapView(model, image(), target_layer="second", target=1),
    "layercam": lambda model: CamMapView(model, image(), target_layer="first", target=1, method="layercam"),
    "fullgrad": lambda model: CamMapView(model, image(), target=1, method="fullgrad"),
    "activation_maximization": lambda model: ActivationMaximizationView(
        model, "second", input_size=(3, 8, 8), steps=3, learning_rate=0.01
    ),
}


@pytest.mark.parametrize("name", EXPLAINED)
@pytest.mark.parametrize("bend", [torch.tanh, nn.functional.silu, nn.functional.gelu, torch.sigmoid])
def test_no_pass_of_a_drifted_model_grants_a_gradient_kinks_that_it_has_not(name, bend):
    """The explanation of what was recorded, over the forward pass of what has drifted since."""
    view = EXPLAINED[name](Bends(bend))
    capture = view.capture()
    for off in (0.002, 0.004, 0.008, 0.015):
        other = EXPLAINED[name](Bends(bend, off))
        actual = other.capture()
        trace = stored_trace(dict(actual.arrays))
        trace.gradients = stored_trace(dict(capture.arrays)).gradients
        baseline = mended(
            view, capture, **{key.replace(".", "__"): values for key, values in pack_trace(trace).items()}
        )
        assert matches(view, baseline, view.capture())
        assert not matches(other, baseline, actual), off


@pytest.mark.parametrize("name", EXPLAINED)
@pytest.mark.parametrize(
    ("bend", "smooth"),
    [
        (torch.tanh, True),
        (nn.functional.silu, True),
        (torch.relu, None),
        (nn.functional.hardswish, None),
        (lambda x: x.clamp(min=0), None),
        (lambda x: torch.where(x > 0, x, 0.1 * x), None),
        (lambda x: torch.max_pool2d(x, 3, 1, 1), None),
        (lambda x: x.masked_fill(x < 0, 0.0), None),
        (lambda x: x.abs(), None),
    ],
)
def test_kinks_are_detected_however_they_are_written(name, bend, smooth):
    assert EXPLAINED[name](Bends(bend)).capture().facts.get("smooth") is smooth
