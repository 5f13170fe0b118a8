"""How far rounding takes a gradient is measured when recording, kept in the baseline and all that is allowed."""

import dataclasses

import numpy as np
import pytest
import torch
import torchvision
from test_kinks import VIEWS, Backward, Jumping, images, turned
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.findings import KinksFinding
from pytest_modelviz.records.noise import EXPLANATION_NOISE, explanation_noise, packed_noise
from pytest_modelviz.views.activation_maximization.capture import ActivationMaximizationView
from pytest_modelviz.views.base import measured
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView

QUANTITIES = {"saliency_map": 1, "activation_maximization": 4}


class Turning(nn.Module):
    """Changes the gradient that goes back through it, and nothing else."""

    def __init__(self, change=lambda gradient: gradient):
        super().__init__()
        self.change = change

    def forward(self, x):
        return Backward.apply(x, self.change)


def smooth(*change):
    """A network without kinks that nothing recognises as smooth: its gradient passes a function of its own."""
    torch.manual_seed(0)
    stages = nn.Conv2d(3, 8, 3), nn.GELU(), Turning(*change), nn.Conv2d(8, 12, 3), nn.GELU()
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5)).eval()


def resnet(*change):
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10).eval()
    model.layer2.append(Turning(*change))
    return model


def image(side=16):
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))


SMOOTH_VIEWS = {
    "saliency_map": lambda model: SaliencyMapView(model, image(), target=1),
    "hirescam": lambda model: CamMapView(model, image(), target=1, target_layer="0", method="hirescam"),
    "activation_maximization": lambda model: ActivationMaximizationView(model, "3", input_size=(3, 16, 16), steps=1),
}


def recorded(view):
    return measured(view, view.capture())


def forged(capture, *noises):
    return dataclasses.replace(capture, arrays={**capture.arrays, EXPLANATION_NOISE: packed_noise(noises)})


@pytest.mark.parametrize("name", VIEWS)
def test_a_baseline_holds_the_noise_of_each_quantity(name):
    torch.manual_seed(0)
    model = Jumping()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    capture = recorded(VIEWS[name](model))
    noises = explanation_noise(capture, QUANTITIES.get(name, 2))
    assert all(0 < noise < 1 for noise in noises)
    assert np.array_equal(recorded(VIEWS[name](model)).arrays[EXPLANATION_NOISE], capture.arrays[EXPLANATION_NOISE])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", SMOOTH_VIEWS)
def test_a_smooth_network_whose_gradient_is_five_per_cent_off(name):
    """Without its noise it might be kinks."""
    baseline, actual = (SMOOTH_VIEWS[name](model) for model in (smooth(), smooth(turned(0.05))))
    verdict = actual.compare(recorded(baseline), actual.capture(), Tolerances())
    assert (verdict.matched, verdict.cause) == (False, "gradient")
    assert verdict.tolerance < 2e-3
    assert actual.compare(baseline.capture(), actual.capture(), Tolerances()).matched


@pytest.mark.parametrize("method", ["gradient", "hirescam"])
def test_a_resnet_whose_gradient_is_three_per_cent_off(method):
    def view(model):
        if method == "gradient":
            return SaliencyMapView(model, image(64), target=1)
        return CamMapView(model, image(64), target=1, target_layer="layer1", method=method)

    baseline, actual = (view(model) for model in (resnet(), resnet(turned(0.03))))
    verdict = actual.compare(recorded(baseline), actual.capture(), Tolerances())
    assert (verdict.matched, verdict.cause) == (False, "gradient")
    assert actual.compare(baseline.capture(), actual.capture(), Tolerances()).matched


@pytest.mark.parametrize("name", VIEWS)
def test_a_forged_noise_adds_nothing_to_what_is_allowed_without(name):
    torch.manual_seed(0)
    capture = VIEWS[name](Jumping()).capture()
    for part, expected in ((0.03, True), (3.0, False)):
        torch.manual_seed(0)
        other = VIEWS[name](Jumping(turned(part)))
        actual = other.capture()
        without = other.compare(capture, actual, Tolerances())
        with_any = other.compare(forged(capture, *[3e38] * QUANTITIES.get(name, 2)), actual, Tolerances())
        assert without.matched is with_any.matched is expected
        assert with_any.tolerance == without.tolerance


def test_a_jump_within_its_noise_is_a_match_that_says_so():
    torch.manual_seed(0)
    capture = VIEWS["saliency_map"](Jumping()).capture()
    torch.manual_seed(0)
    other = VIEWS["saliency_map"](Jumping(turned(0.03)))
    actual = other.capture()
    verdict = other.compare(forged(capture, 0.1), actual, Tolerances())
    assert (verdict.matched, verdict.tolerance, verdict.findings) == (
        True,
        pytest.approx(0.04, rel=0.01),
        (KinksFinding(),),
    )
    assert not other.compare(forged(capture, 0.05), actual, Tolerances()).matched  # 0.02
    assert other.compare(forged(capture, 0.05), actual, Tolerances(rtol=0.05)).matched


def test_the_class_that_was_explained_is_explained_again():
    """Moved numbers may decide on another class, of two that are next to equal."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        model[4].weight[1] = -model[4].weight[0]
        model[4].bias.zero_()
        model[4].bias[:] = torch.tensor([0.0, 2.0]) * (model[4].weight[0] @ model[:4](images()).mean(0))
    (noise,) = explanation_noise(recorded(SaliencyMapView(model, images())), 1)
    assert noise < 0.01


def test_a_model_that_refuses_a_moved_input_has_no_noise():
    class Strict(Jumping):
        def forward(self, x):
            if not torch.equal(x, images()):
                raise ModelvizError("another input")
            return super().forward(x)

    for name in ("saliency_map", next(name for name in VIEWS if "cam" in name)):
        capture = recorded(VIEWS[name](Strict()))
        assert EXPLANATION_NOISE not in capture.arrays
        assert "the model raises ModelvizError: another input" in capture.notes[-1]


class Halved(nn.Module):
    """A layer in another precision than the rest."""

    def __init__(self, dtype):
        super().__init__()
        self.inner, self.dtype = nn.Conv2d(8, 8, 3, padding=1).to(dtype), dtype

    def forward(self, x):
        return self.inner(x.to(self.dtype)).to(x.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_only_single_precision_is_measured(dtype):
    model = Jumping().eval()
    model.relu = nn.Sequential(Halved(dtype), nn.ReLU())
    for name, view in VIEWS.items():
        has_shadow = dtype == torch.bfloat16 and name != "activation_maximization"  # which climbs in float64
        assert (EXPLANATION_NOISE in recorded(view(model)).arrays) is (dtype == torch.float32 or has_shadow)


def test_the_cam_of_several_views_has_its_noise():
    combined = CombinedCapture(Jumping().eval(), images(), feature_maps=False, summary=False, cam="bn1", target=1)
    assert EXPLANATION_NOISE in recorded(combined.cam).arrays
