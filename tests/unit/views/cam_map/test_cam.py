"""`cam_map` with the gradient's own methods: maps worked out by hand, targets, layers, drift and pictures."""

import copy
import math

import numpy as np
import pytest
import torch
from cam_models import TOY_INPUT, Toy, compared
from torch import nn
from zoo import ZOO, InPlace, Output, SmallNet, images, sequences

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.findings import FactFinding
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.cam_map.compare import map_difference, map_findings
from pytest_modelviz.views.cam_map.findings import EmptyMapFinding, NonFiniteMapFinding, ScaledMapFinding
from pytest_modelviz.views.cam_map.methods import METHODS
from pytest_modelviz.views.cam_map.pictures import heatmap


def test_gradcam_by_hand():
    # gradient of class 0 on map k at each of four places is w[0, k] / 4; the map is their sum, signed
    result = CamMapView(Toy(), TOY_INPUT, target=0).capture().result
    expected = 0.25 * TOY_INPUT[0, 0] - 1.0 * TOY_INPUT[0, 1]
    assert result.raw[0] == pytest.approx(expected.numpy(), abs=1e-6)
    assert result.raw.min() < 0  # signed
    assert result.layer == "maps"
    assert result.targets == (0,)
    assert result.predicted == (1,)  # 0.5 * 2.5 + 3 * 0.5 > 2.5 - 4 * 0.5
    assert result.score == pytest.approx(0.5)
    assert result.normalized.shape == (1, 2, 2)
    assert (result.normalized.min(), result.normalized.max()) == (0.0, pytest.approx(1.0, abs=1e-5))


def test_without_a_target_the_predicted_class_is_explained_and_recorded():
    capture = CamMapView(Toy(), TOY_INPUT).capture()
    assert capture.result.targets == (1,)
    assert capture.facts["predicted"] == [1]


@pytest.mark.parametrize("target", [0, [0], lambda scores: scores[0], [lambda scores: scores[0]]])
def test_targets_of_every_kind_mean_the_same(target):
    expected = CamMapView(Toy(), TOY_INPUT, target=0).capture().arrays["map"]
    assert np.array_equal(CamMapView(Toy(), TOY_INPUT, target=target).capture().arrays["map"], expected)


def test_a_batch_gets_a_map_for_each_sample():
    batch = torch.cat([TOY_INPUT, TOY_INPUT * 2])
    result = CamMapView(Toy(), batch, target=[0, 1]).capture().result
    assert result.raw[0] == pytest.approx(CamMapView(Toy(), TOY_INPUT, target=0).capture().result.raw[0])
    assert result.raw[1] == pytest.approx(2 * CamMapView(Toy(), TOY_INPUT, target=1).capture().result.raw[0])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_repeatable_and_sees_a_changed_weight(method):
    model = SmallNet()
    view = CamMapView(model, images(), target=1, method=method)
    assert compared(view, view).matched
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.conv2.weight.mul_(1.3)
    verdict = compared(view, CamMapView(changed, images(), target=1, method=method))
    assert not verdict.matched
    assert (verdict.first.layer, verdict.cause) == ("conv2", "weights")


@pytest.mark.parametrize("method", ["gradcam", "layercam", "hirescam"])
def test_our_maps_are_grad_cam_s_own(method):
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = SmallNet().eval()
    ours = CamMapView(model, images(), target_layer="conv2", target=1, method=method).capture().result
    with getattr(pytorch_grad_cam, METHODS[method])(model, [model.conv2]) as cam:
        theirs = cam(images(), targets=[ClassifierOutputTarget(1)] * 2)
    assert ours.normalized == pytest.approx(theirs, abs=1e-4)


def test_an_in_place_operation_after_the_layer_does_not_spoil_it():
    model = InPlace().eval()
    result = CamMapView(model, images(), target_layer="conv", target=lambda sample: sample.sum()).capture().result
    leaf = model.conv(images()).detach().requires_grad_()
    activation = leaf.detach().clone()
    hidden = torch.relu(leaf)
    (model.conv2(hidden) + hidden).clamp(max=0.5).sum().backward()
    expected = (leaf.grad.mean((2, 3), keepdim=True) * activation).sum(1)
    assert result.raw == pytest.approx(expected.detach().numpy(), abs=1e-6)


@pytest.mark.parametrize("name", ["frozen", "bfloat16", "compiled", "data_parallel", "lazy"])
def test_frozen_half_precision_and_wrapped_models_have_maps(name):
    result = CamMapView(ZOO[name].build(), ZOO[name].input(), target=0).capture().result
    assert np.isfinite(result.raw).all()
    assert result.raw.dtype == np.float32
    assert np.abs(result.raw).max() > 0


@pytest.mark.parametrize("wrap", [lambda y: {"logits": y}, lambda y: Output(y, []), lambda y: (y, None)])
def test_scores_are_found_in_nested_outputs(wrap):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Toy()

        def forward(self, x):
            return wrap(self.net(x))

    expected = CamMapView(Toy(), TOY_INPUT, target=0).capture().arrays["map"]
    assert np.array_equal(CamMapView(Wrapped(), TOY_INPUT, target=0).capture().arrays["map"], expected)


def test_the_last_call_of_a_layer_called_twice_is_explained():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return self.conv(torch.relu(self.conv(x))).mean((2, 3))

    capture = CamMapView(Twice(), images(), target_layer="conv", target=0).capture()
    assert capture.facts["call"] == 1


def test_tokens_become_a_map_through_a_reshape_transform():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Linear(8, 8)

        def forward(self, x):
            return self.block(x).mean(1)

    tokens = torch.rand(1, 6, 8)

    def reshape(t):
        return t.reshape(1, 2, 3, 8).permute(0, 3, 1, 2)

    view = CamMapView(Tokens(), tokens, target_layer="block", target=0, reshape_transform=reshape)
    assert view.capture().arrays["map"].shape == (1, 2, 3)


class TestErrors:
    def test_an_unknown_method_is_named_with_a_suggestion(self):
        with pytest.raises(ModelvizError, match=r"unknown CAM method 'gradcan': did you mean 'gradcam'\?"):
            CamMapView(SmallNet(), images(), method="gradcan")

    def test_a_random_method_is_refused_with_the_reason(self):
        with pytest.raises(ModelvizError, match="draws random weights"):
            CamMapView(SmallNet(), images(), method="randomcam")

    def test_a_layer_that_does_not_exist(self):
        with pytest.raises(ModelvizError, match=r"no layer 'conv9'; did you mean"):
            CamMapView(SmallNet(), images(), target_layer="conv9")

    def test_a_layer_without_spatial_extent(self):
        with pytest.raises(ModelvizError, match=r"layer 'head' gives \[2, 5\], which has no spatial extent"):
            CamMapView(SmallNet(), images(), target_layer="head").capture()

    def test_a_model_without_spatial_layers(self):
        with pytest.raises(ModelvizError, match="no layer of the model has an output with spatial extent"):
            CamMapView(ZOO["attention"].build(), sequences()).capture()

    def test_a_layer_that_is_never_called(self):
        model = ZOO["shared"].build()
        with pytest.raises(ModelvizError, match="layer 'unused' is never called"):
            CamMapView(model, ZOO["shared"].input(), target_layer="unused").capture()

    def test_a_layer_that_returns_a_tuple(self):
        with pytest.raises(ModelvizError, match="layer 'lstm' returns a tuple"):
            CamMapView(ZOO["recurrent"].build(), sequences(), target_layer="lstm").capture()

    def test_a_class_out_of_range(self):
        for target in (5, -1):
            with pytest.raises(ModelvizError, match=f"target {target} is out of range: the model has 5 classes"):
                CamMapView(SmallNet(), images(), target=target).capture()

    def test_too_few_targets(self):
        with pytest.raises(ModelvizError, match="3 targets for a batch of 2"):
            CamMapView(SmallNet(), images(), target=[0, 1, 2]).capture()

    def test_a_class_of_an_output_that_has_none(self):
        with pytest.raises(ModelvizError, match=r"shape \[2, 4, 16, 16\]; a class can be explained only in"):
            CamMapView(InPlace(), images(), target=1).capture()

    def test_a_target_function_that_returns_no_number(self):
        with pytest.raises(ModelvizError, match="must return a tensor with one number"):
            CamMapView(SmallNet(), images(), target=lambda scores: scores).capture()

    def test_a_score_that_does_not_depend_on_the_layer(self):
        class Detached(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = SmallNet()
                self.bias = nn.Parameter(torch.zeros(5))

            def forward(self, x):
                return self.net(x).detach() + self.bias

        with pytest.raises(ModelvizError, match="does not depend on the output of layer"):
            CamMapView(Detached(), images(), target=0).capture()

    def test_integers_have_no_gradient(self):
        class Rounded(nn.Module):
            def __init__(self):
                super().__init__()
                self.round = Round()

            def forward(self, x):
                return self.round(x).float().mean((2, 3))

        class Round(nn.Module):
            def forward(self, x):
                return x.round().long()

        with pytest.raises(ModelvizError, match=r"'round' returns torch.int64, which has no gradient"):
            CamMapView(Rounded(), images(), target_layer="round").capture()

    def test_a_torchvision_that_does_not_fit_is_explained(self, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
        with pytest.raises(ModelvizError, match="install torch and torchvision together"):
            CamMapView(SmallNet(), images())

    def test_no_tensor_to_explain(self):
        with pytest.raises(ModelvizError, match="returns NoneType without a floating-point tensor"):
            CamMapView(nn.Sequential(nn.Conv2d(3, 3, 1), ZOO["none"].build()), images()[..., :8]).capture()


class TestComparison:
    def test_another_prediction_is_told(self):
        view = CamMapView(Toy(), TOY_INPUT)
        verdict = compared(view, CamMapView(Toy(first=(9.0, 9.0)), TOY_INPUT))
        assert not verdict.matched
        assert FactFinding("predicted", "[1]", "[0]") in verdict.findings
        assert (verdict.first.layer, verdict.cause) == ("head", "weights")

    def test_an_equal_forward_pass_with_another_gradient(self):
        class Swish(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.clone()

            @staticmethod
            def backward(ctx, grad):
                return grad * torch.tensor([1.0, -1.0]).view(1, 2)

        class Other(Toy):
            def forward(self, x):
                return self.head(Swish.apply(self.maps(x).mean((2, 3))))

        verdict = compared(CamMapView(Toy(), TOY_INPUT, target=0), CamMapView(Other(), TOY_INPUT, target=0))
        assert (verdict.matched, verdict.cause, verdict.first) == (False, "gradient", None)

    def test_another_question_is_drift_without_blame(self):
        model = SmallNet()
        view = CamMapView(model, images(), target=0)
        verdict = compared(view, CamMapView(model, images(), target_layer="conv1", target=0))
        assert (verdict.matched, verdict.cause) == (False, None)
        assert verdict.findings[0].fact == "layer"

    def test_a_scaled_output_is_seen_though_the_picture_is_the_same(self):
        louder = Toy(first=(1000.0, -4000.0))
        one, two = (CamMapView(model, TOY_INPUT, target=0) for model in (Toy(), louder))
        assert one.capture().result.normalized == pytest.approx(two.capture().result.normalized, abs=1e-5)
        assert not compared(one, two).matched

    def test_the_tolerance_is_a_fraction_of_the_peak(self):
        one, two = (CamMapView(model, TOY_INPUT, target=0) for model in (Toy(), Toy(first=(1.02, -4.0))))
        # raw maps differ by 0.02 / 4 * x, at most 0.02; the peak of the baseline is 0.75
        assert compared(one, two).error == pytest.approx(0.02 / 0.75, rel=1e-3)
        assert compared(one, two, atol=0.03).matched
        assert not compared(one, two, atol=0.02).matched

    def test_what_rounding_leaves_of_a_sum_that_cancels_is_no_map(self):
        """Both maps of the layer are 1: the sum is (1 - weight) / 4 everywhere, of terms whose size is 1 / 2."""
        zero, rounded, small = (
            CamMapView(Toy(first=(1.0, weight)), torch.ones(1, 2, 2, 2), target=0)
            for weight in (-1.0, -1 + 1e-7, -1 + 1e-6)
        )
        assert rounded.capture().result.raw.any()
        assert compared(zero, rounded).matched
        assert not compared(zero, small).matched


def test_map_difference_by_hand():
    base = np.array([[[1.0, -4.0]]], np.float32)
    assert map_difference(base, base) == 0.0
    assert map_difference(base, base + np.float32([[[0.0, 1.0]]])) == 0.25
    assert map_difference(base, -base) == 2.0
    assert map_difference(base, -base, signless=True) == 0.0
    assert map_difference(base, np.zeros((1, 2, 2), np.float32)) == math.inf
    assert map_difference(base * 0, base) == math.inf
    assert map_difference(base * 0, base * 0) == 0.0


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_must_be_in_the_same_places(odd):
    base = np.array([[[1.0, odd, 2.0]]], np.float32)
    assert map_difference(base, base.copy()) == 0.0
    assert map_difference(base, np.array([[[odd, 1.0, 2.0]]], np.float32)) == math.inf
    assert map_difference(base, np.array([[[1.0, 1.0, 2.0]]], np.float32)) == math.inf


def test_a_map_that_is_nowhere_positive_is_shown_empty():
    assert heatmap(np.float32([[[-1.0, -2.0]]])).tolist() == [[0.0, 0.0]]
    assert heatmap(np.float32([[[-1.0, 4.0], [2.0, 0.0]]])).tolist() == [[0.0, 1.0], [0.5, 0.0]]


@pytest.mark.parametrize(
    ("raw", "drawn"),
    [
        ([[3.0, 4.0], [5.0, 3.5]], [[0.0, 0.5], [1.0, 0.25]]),
        ([[-7.0, 4.0], [2.0, 4.0]], [[0.0, 1.0], [0.5, 1.0]]),
        ([[3.0, 3.0], [3.0, 3.0]], [[0.0, 0.0], [0.0, 0.0]]),
        ([[3.0, np.nan], [5.0, np.inf]], [[0.0, np.nan], [1.0, np.inf]]),
        ([[np.nan, np.nan]], [[np.nan, np.nan]]),
        ([[3e38, -3e38], [1.5e38, 0.0]], [[1.0, 0.0], [0.5, 0.0]]),
    ],
)
def test_a_map_is_stretched_from_its_smallest_to_its_largest_positive_number(raw, drawn):
    assert np.allclose(heatmap(np.float32(raw)), drawn, rtol=1e-6, atol=0, equal_nan=True)


def test_what_a_map_is_as_a_whole():
    base = np.float32([[[1.0, -2.0], [0.0, 4.0]]])

    def found(after, before=base):
        return map_findings(before, after)

    assert found(base * 0.5) == [ScaledMapFinding(0.5)]
    assert found(-base) == [ScaledMapFinding(-1.0)]
    assert found(base * 0) == [EmptyMapFinding((-2.0, 4.0), (0.0, 0.0))]
    assert found(base, base * 0) == [EmptyMapFinding((0.0, 0.0), (-2.0, 4.0))]
    assert found(-np.abs(base)) == [EmptyMapFinding((-2.0, 4.0), (-4.0, 0.0))]
    broken = base.copy()
    broken[0, 0] = math.nan
    assert found(broken) == [NonFiniteMapFinding((0, 4), (2, 4))]
    assert found(broken, broken) == []
    assert found(base[:, ::-1].copy()) == []  # another map altogether
    assert found(base + np.float32([[[0.0, 0.0], [0.1, 0.0]]])) == []


def test_an_empty_or_broken_map_is_told_whatever_the_baseline_says():
    empty = Toy(first=(0.0, 0.0))
    (note,) = CamMapView(empty, TOY_INPUT, target=0).capture().notes
    assert note == "the map at maps is empty: the target's score does not depend on any place there"
    assert CamMapView(Toy(), TOY_INPUT, target=0).capture().notes == ()
    (note,) = CamMapView(Toy(first=(math.nan, 1.0)), TOY_INPUT, target=0).capture().notes
    assert note == "4 of the map's 4 values at maps are not finite"


def test_a_map_that_lost_its_strength_or_its_positive_part_is_explained_as_that():
    def family(first):
        verdict = compared(CamMapView(Toy(), TOY_INPUT, target=0), CamMapView(Toy(first), TOY_INPUT, target=0))
        assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "head", "weights")
        (finding,) = (finding for finding in verdict.findings if type(finding).__module__.endswith("cam_map.findings"))
        return type(finding)

    assert family((0.1, -0.4)) is ScaledMapFinding
    assert family((0.0, 0.0)) is EmptyMapFinding
    assert family((-1.0, -4.0)) is EmptyMapFinding
    assert family((math.nan, 1.0)) is NonFiniteMapFinding


class TestThreeKindsOfDrift:
    """Another prediction, another forward pass, another gradient over an equal forward pass."""

    def test_another_prediction_is_told(self):
        verdict = compared(CamMapView(Toy(), TOY_INPUT), CamMapView(Toy(first=(9.0, 9.0)), TOY_INPUT))
        assert FactFinding("predicted", "[1]", "[0]") in verdict.findings
        assert (verdict.first.layer, verdict.cause) == ("head", "weights")

    def test_another_gradient_over_an_equal_forward_pass(self):
        class Detached(Toy):
            def forward(self, x):
                maps = self.maps(x)
                return self.head((maps * 0.5 + maps.detach() * 0.5).mean((2, 3)))

        Detached.__name__ = Detached.__qualname__ = "Toy"
        verdict = compared(CamMapView(Toy(), TOY_INPUT, target=0), CamMapView(Detached(), TOY_INPUT, target=0))
        assert (verdict.matched, verdict.first, verdict.cause) == (False, None, "gradient")
        (finding,) = verdict.findings
        assert finding == ScaledMapFinding(pytest.approx(0.5))
