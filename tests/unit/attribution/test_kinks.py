"""Gradients jump where rectifiers are next to zero: what views that differentiate forgive, and what they do not."""

from dataclasses import replace

import pytest
import torch
from zoo import SmallNet, images

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import FormerSketchFinding, KinksFinding
from pytest_modelviz.reports.sentences import sentence
from pytest_modelviz.views.activation_maximization.capture import ActivationMaximizationView
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView


class Backward(torch.autograd.Function):
    """The same result, and another gradient."""

    @staticmethod
    def forward(ctx, x, change):
        ctx.change = change
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return ctx.change(gradient), None


class Jumping(SmallNet):
    """Its gradient is changed after the first stage, as seen from the output; and perhaps its result."""

    def __init__(self, change=lambda gradient: gradient, shift=0.0):
        super().__init__()
        self.change, self.shift = change, shift

    def forward(self, x):
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        x = Backward.apply(x, self.change) + self.shift
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.head(x.mean((2, 3)))


def turned(part):
    """Adds something at a right angle to the gradient, `part` as long."""

    def change(gradient):
        noise = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(0)).to(gradient)
        noise -= gradient * (noise * gradient).sum() / (gradient * gradient).sum()
        return gradient + noise * part * gradient.norm() / noise.norm()

    return change


def resized(factor):
    return lambda gradient: gradient * factor


def saliency(model):
    return SaliencyMapView(model, images(), target=1)


def climb(model):
    return ActivationMaximizationView(model, "bn2", filters=(1, 5), steps=1, input_size=(3, 16, 16))


def cam(method):
    return lambda model: CamMapView(model, images(), target=1, target_layer="bn1", method=method)


VIEWS = {
    "saliency_map": saliency,
    "activation_maximization": climb,
    "hirescam": cam("hirescam"),
    "layercam": cam("layercam"),
    "gradcam": cam("gradcam"),
}


def compared(view, one, other, **tolerances):
    models = []
    for options in (one, other):
        torch.manual_seed(0)
        models.append(Jumping(*options))
    baseline, actual = (view(model).capture() for model in models)
    stored = replace(baseline, arrays=dict(baseline.arrays))
    return view(models[1]).compare(stored, actual, Tolerances(**tolerances))


@pytest.mark.parametrize("view", VIEWS)
def test_a_gradient_that_jumped_is_forgiven_where_the_forward_pass_agrees(view):
    verdict = compared(VIEWS[view], (), (turned(0.03),))
    assert (verdict.matched, verdict.findings) == (True, (KinksFinding(),))
    assert sentence(verdict.findings[0]).startswith("the gradient differs by more")
    assert compared(VIEWS[view], (), ()).findings == ()
    assert not compared(VIEWS[view], (), (turned(0.03),), rtol=1e-4).matched  # a user's own holds as it stands
    assert compared(VIEWS[view], (), (resized(1.01),)).matched


@pytest.mark.parametrize("view", VIEWS)
def test_what_a_match_needs_of_earlier_versions_is_reported_with_it(view, monkeypatch):
    monkeypatch.setattr(
        "pytest_modelviz.records.trace_arrays.LARGEST_PIECE", 100
    )  # what has one sketch is of those then
    verdict = compared(VIEWS[view], (), (turned(0.03),))
    assert (verdict.matched, verdict.findings) == (True, (KinksFinding(), FormerSketchFinding()))
    strict = compared(VIEWS[view], (), ()).findings
    assert strict == ((FormerSketchFinding(),) if view == "activation_maximization" else ())


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "change",
    [resized(1.03), resized(0.9), resized(-1.0), turned(3.0), lambda gradient: gradient.flip(1)],
    ids=["a little more", "a tenth less", "another sign", "turned", "other channels"],
)
def test_a_fault_of_the_gradient_is_detected(view, change):
    verdict = compared(VIEWS[view], (), (change,))
    assert (verdict.matched, verdict.cause) == (False, "gradient")
    assert verdict.error > verdict.tolerance


@pytest.mark.parametrize("view", VIEWS)
def test_where_the_forward_pass_is_another_nothing_is_forgiven(view):
    verdict = compared(VIEWS[view], (), (turned(0.03), 1e-3))
    assert (verdict.matched, verdict.cause, verdict.first.layer) == (False, "architecture", "")


@pytest.mark.parametrize("view", VIEWS)
def test_where_the_gradient_agrees_no_forward_pass_is_compared(view, monkeypatch):
    one = VIEWS[view](Jumping())
    captures = one.capture(), one.capture()
    monkeypatch.setattr(
        "pytest_modelviz.compare.explanations.compare_traces", lambda *_: pytest.fail("it was compared")
    )
    assert one.compare(*captures, Tolerances()).matched


def test_a_method_without_gradients_has_no_kinks():
    torch.manual_seed(0)
    model = SmallNet()
    view = CamMapView(model, images(), target=1, target_layer="bn1", method="eigencam")
    capture = view.capture()
    other = type(capture)(
        capture.view, capture.facts, {**capture.arrays, "map": capture.arrays["map"] * 1.03}, capture.environment
    )
    assert not view.compare(capture, other, Tolerances()).matched
