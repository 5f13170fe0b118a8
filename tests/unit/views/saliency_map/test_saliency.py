import collections
import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from zoo import ZOO, SmallNet, images, sequences, vectors

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.records.findings import DtypeFinding, FactFinding
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView
from pytest_modelviz.views.saliency_map.gradients import METHODS, normal
from pytest_modelviz.views.saliency_map.pictures import Sample, saliency_composite


def compared(view, other, **tolerances):
    return view.compare(view.capture(), other.capture(), Tolerances(**tolerances))


def result(model, inputs, **options):
    return SaliencyMapView(model, inputs, **options).capture().result


class Linear(nn.Module):
    """The score of class c is the input's product with w[c]: its gradient is w[c], whatever the input."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(12, 2, bias=False)

    def forward(self, x):
        return self.head(x.flatten(1))


INPUT = torch.arange(12.0).reshape(1, 3, 2, 2) - 4


class TestByHand:
    def test_gradient(self):
        model = Linear()
        seen = result(model, INPUT, target=1)
        expected = model.head.weight[1].detach().reshape(1, 3, 2, 2).numpy()
        assert seen.gradient == pytest.approx(expected)
        assert seen.saliency == pytest.approx(np.abs(expected).max(axis=1))
        assert seen.targets == (1,)
        assert seen.score == pytest.approx(float(model(INPUT)[0, 1]))

    def test_without_a_target_the_predicted_class_is_explained(self):
        model = Linear()
        wanted = int(model(INPUT).argmax())
        assert result(model, INPUT).gradient == pytest.approx(result(model, INPUT, target=wanted).gradient)

    def test_input_x_gradient(self):
        model = Linear()
        expected = (model.head.weight[1].detach().reshape(1, 3, 2, 2) * INPUT).numpy()
        assert result(model, INPUT, target=1, method="input_x_gradient").gradient == pytest.approx(expected)

    def test_integrated_gradients_add_up_to_the_score(self):
        class Square(Linear):
            def forward(self, x):
                return super().forward(x) ** 2

        model = Square()
        seen = result(model, INPUT, target=0, method="integrated_gradients")
        assert float(seen.gradient.sum()) == pytest.approx(float(model(INPUT)[0, 0].detach()), rel=1e-4)

    def test_smoothgrad_of_a_linear_model_is_its_gradient(self):
        assert result(Linear(), INPUT, target=1, method="smoothgrad").gradient.shape == (1, 3, 2, 2)
        model = Linear()
        smooth, plain = (
            result(model, INPUT, target=1, method=method).gradient for method in ("smoothgrad", "gradient")
        )
        assert smooth == pytest.approx(plain, rel=1e-5)

    def test_smoothgrad_sees_around_a_kink_that_the_gradient_does_not(self):
        class Rectified(nn.Module):
            def forward(self, x):
                return torch.relu(x).sum((1, 2, 3))[:, None]

        flat = torch.tensor([-1e-3, -10.0, 10.0]).reshape(1, 3, 1, 1)  # noise is 15 % of the range, 3
        model = nn.Sequential(Rectified())
        plain, smooth = (result(model, flat, target=0, method=method).gradient for method in ("gradient", "smoothgrad"))
        assert plain.ravel().tolist() == [0, 0, 1]
        assert 0 < smooth.ravel()[0] < 1
        assert smooth.ravel()[1:].tolist() == [0, 1]

    def test_several_classes_of_one_sample(self):
        model = Linear()
        for method in METHODS:
            seen = result(model, INPUT, target=[1, 0], method=method)
            assert (seen.targets, seen.gradient.shape) == ((1, 0), (2, 3, 2, 2))
            own = result(model, INPUT, target=0, method=method).gradient[0]
            assert seen.gradient[1] == pytest.approx(own, rel=1e-4, abs=1e-6)


class Chain(nn.Module):
    """y = -relu(a x) with a = 2: the gradient is -2 where x > 0; guided propagation lets nothing negative back."""

    def __init__(self, rectify, sign=-1.0):
        super().__init__()
        self.scale = nn.Linear(4, 4, bias=False)
        self.scale.weight.data = 2 * torch.eye(4)
        self.relu = nn.ReLU(inplace=True)
        self.rectify, self.sign = rectify, sign

    def forward(self, x):
        return self.sign * self.rectify(self, self.scale(x)).sum(1, keepdim=True)


REL = {
    "module, in place": lambda self, x: self.relu(x),
    "function": lambda self, x: nn.functional.relu(x),
    "function, in place": lambda self, x: torch.relu_(x),
    "method": lambda self, x: x.relu(),
    "relu6": lambda self, x: nn.functional.relu6(x),
    "threshold": lambda self, x: nn.functional.threshold(x, 0.0, 0.0),
}


@pytest.mark.parametrize("kind", REL)
def test_guided_propagation_sees_every_way_to_write_a_relu(kind):
    x = torch.tensor([[1.0, -1.0, 2.0, -2.0]])
    down, up = Chain(REL[kind]), Chain(REL[kind], sign=1.0)
    assert result(down, x, target=0).gradient.tolist() == [[-2, 0, -2, 0]]
    assert result(down, x, target=0, method="guided").gradient.tolist() == [[0, 0, 0, 0]]
    assert result(up, x, target=0, method="guided").gradient.tolist() == [[2, 0, 2, 0]]
    assert isinstance(down.relu, nn.ReLU)


def test_guided_propagation_is_pytorch_grad_cam_s_where_all_relus_are_modules():
    import pytorch_grad_cam

    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 3))
    ours = result(model, images()[:1], target=1, method="guided").gradient[0]
    theirs = pytorch_grad_cam.GuidedBackpropReLUModel(copy.deepcopy(model).eval(), "cpu")(images()[:1], 1)
    assert ours == pytest.approx(theirs.transpose(2, 0, 1), abs=1e-6)


def test_guided_propagation_without_a_relu_says_so():
    (note,) = SaliencyMapView(Linear(), INPUT, target=0, method="guided").capture().notes
    assert note == "no ReLU takes part in this model: guided back-propagation is its plain gradient"
    assert SaliencyMapView(SmallNet(), images(), method="guided").capture().notes == ()


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    def test_repeats_itself_and_sees_a_changed_weight(self, method):
        model = SmallNet()
        view = SaliencyMapView(model, images(), target=1, method=method)
        assert compared(view, view).matched
        changed = copy.deepcopy(model)
        with torch.no_grad():
            changed.conv2.weight.mul_(1.05)
        verdict = compared(view, SaliencyMapView(changed, images(), target=1, method=method))
        assert not verdict.matched
        assert (verdict.first.layer, verdict.cause) == ("conv2", "weights")

    def test_random_states_neither_matter_nor_change(self, method):
        model = SmallNet()
        torch.manual_seed(1)
        state = torch.get_rng_state()
        one = result(model, images(), target=1, method=method).gradient
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(2)
        np.random.seed(7)
        assert np.array_equal(result(model, images(), target=1, method=method).gradient, one)

    def test_leaves_model_and_input_as_they_were(self, method):
        model, image = SmallNet().train(), images().requires_grad_()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        SaliencyMapView(model, image, target=1, method=method).capture()
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert all(p.grad is None for p in model.parameters())
        assert all(module.training for module in model.modules())
        assert all(not module._forward_hooks for module in model.modules())
        assert image.grad is None
        assert image.requires_grad

    @pytest.mark.parametrize("name", ["frozen", "bfloat16", "compiled", "data_parallel", "lazy"])
    def test_works_for_odd_models(self, method, name):
        seen = result(ZOO[name].build(), ZOO[name].input(), target=0, method=method)
        assert np.isfinite(seen.gradient).all()
        assert seen.gradient.any()

    def test_works_for_callers_without_gradients(self, method):
        expected = result(SmallNet(), images(), target=1, method=method).gradient
        for mode in (torch.no_grad(), torch.inference_mode()):
            with mode:
                torch.manual_seed(0)
                model = SmallNet()
                torch.manual_seed(0)
            assert result(model, images(), target=1, method=method).gradient.shape == expected.shape


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = SmallNet()

    def forward(self, *, flag, pixel_values):
        return {"logits": self.net(pixel_values) * (1 if flag else 0)}


def test_images_are_found_in_keyword_arguments_and_scores_in_dicts():
    model = Named()
    seen = result(model, {"flag": True, "pixel_values": images()}, target=2)
    assert np.array_equal(seen.gradient, result(model.net, images(), target=2).gradient)


def test_what_is_no_image_has_a_gradient_too_but_no_picture():
    view = SaliencyMapView(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)), vectors(), target=0)
    capture = view.capture()
    assert capture.result.saliency.shape == (2, 8)
    assert list(view.picture(capture)) == []


def test_one_picture_shows_every_sample_of_a_batch():
    view = SaliencyMapView(SmallNet(), images(), target=0)
    capture = view.capture()
    assert {"input", "input.1", "gradient.0", "gradient.1"} <= set(capture.arrays)
    (picture,), (single,) = (
        view.picture(capture),
        SaliencyMapView(SmallNet(), images()[:1], target=0).picture(
            SaliencyMapView(SmallNet(), images()[:1], target=0).capture()
        ),
    )
    assert picture.image.shape[0] > 1.8 * single.image.shape[0]
    (composite,) = view.picture(capture, capture)
    assert composite.image.shape[0] > picture.image.shape[0]
    assert composite.image.shape[1] <= 700
    assert composite.baseline.shape == composite.actual.shape == composite.difference.shape
    assert np.array_equal(composite.baseline, composite.actual)


def test_a_few_large_pixels_do_not_make_a_difference_pale():
    base = np.zeros((3, 20, 20), np.float32)
    base[0] = 1.0
    after = base.copy()
    after[0, 0, :] = 2.0
    after[0, 5, 5] = 1000.0
    samples = [Sample(values, np.abs(values).max(0), None) for values in (base, after)]
    picture = saliency_composite("gradient", "", samples[:1], samples[1:], [""])
    corner, middle = picture.difference[16, 0], picture.difference[112, 20]  # below a title
    assert corner.tolist() == [244, 152, 122]  # 1 of 2, which the magnitudes are painted up to
    assert middle.tolist() == [221, 220, 220]


class TestComparison:
    def test_a_gradient_that_jumps_where_the_forward_pass_agrees_is_allowed_a_little(self):
        class Other(torch.autograd.Function):
            factor = 1.0

            @staticmethod
            def forward(ctx, x):
                return x.clone()

            @staticmethod
            def backward(ctx, grad):
                return grad * Other.factor

        class Jumps(SmallNet):
            def forward(self, x):
                return super().forward(Other.apply(x))

        view = SaliencyMapView(Jumps(), images(), target=0)
        baseline = view.capture()
        for factor, matches in ((1.018, True), (1.025, False)):
            Other.factor = factor
            verdict = view.compare(baseline, view.capture(), Tolerances())
            assert verdict.error == pytest.approx(factor - 1, rel=0.02)
            assert (verdict.matched, verdict.cause) == (matches, None if matches else "gradient")
        Other.factor = 1.04
        assert not view.compare(baseline, view.capture(), Tolerances(rtol=0.01)).matched

    def test_of_another_forward_pass_less_is_allowed(self):
        model = SmallNet()
        changed = copy.deepcopy(model)
        with torch.no_grad():
            changed.head.weight.mul_(1.01)  # and so all of the gradient
        view = SaliencyMapView(model, images(), target=0)
        verdict = compared(view, SaliencyMapView(changed, images(), target=0))
        assert (verdict.matched, verdict.cause, verdict.first.layer) == (False, "weights", "head")
        assert verdict.error == pytest.approx(0.01, rel=0.01)

    def test_another_question_is_drift_without_blame(self):
        model = SmallNet()
        view = SaliencyMapView(model, images(), target=0)
        for other in (
            SaliencyMapView(model, images(), target=1),
            SaliencyMapView(model, images(), target=0, method="guided"),
        ):
            verdict = other.compare(view.capture(), other.capture(), Tolerances())
            assert (verdict.matched, verdict.cause, verdict.first) == (False, None, None)
            assert verdict.findings[0].fact in ("targets", "method")

    def test_another_prediction_is_drift_with_its_cause(self):
        model = Linear()
        turned = copy.deepcopy(model)
        with torch.no_grad():
            turned.head.weight.copy_(model.head.weight.flip(0))
        verdict = compared(SaliencyMapView(model, INPUT), SaliencyMapView(turned, INPUT))
        assert (verdict.matched, verdict.cause, verdict.first.layer) == (False, "weights", "head")
        assert {"targets", "predicted"} <= {
            finding.fact for finding in verdict.findings if isinstance(finding, FactFinding)
        }

    def test_nan_is_told(self):
        model = Linear()
        broken = copy.deepcopy(model)
        with torch.no_grad():
            broken.head.weight[0, 3] = math.nan
        view = SaliencyMapView(broken, INPUT, target=0)
        assert view.capture().notes == ("1 of the gradient's 12 values is not finite",)
        assert not compared(SaliencyMapView(model, INPUT, target=0), view).matched
        assert compared(view, view).matched

    def test_a_damaged_picture_is_unreadable(self):
        view = SaliencyMapView(SmallNet(), images(), target=0)
        capture = view.capture()
        damaged = replace(capture, arrays={**capture.arrays, "gradient.0": capture.arrays["gradient.0"][:2]})
        with pytest.raises(UnreadableBaselineError, match=r"its picture 'gradient\.0' is damaged"):
            view.picture(capture, damaged)


class TestErrors:
    def test_an_unknown_method(self):
        with pytest.raises(ModelvizError, match="unknown saliency method 'gradients': known are gradient, guided"):
            SaliencyMapView(SmallNet(), images(), method="gradients")

    def test_a_bad_target(self):
        with pytest.raises(ModelvizError, match="target takes a class"):
            SaliencyMapView(SmallNet(), images(), target="cat")
        with pytest.raises(ModelvizError, match="target 9 is out of range"):
            SaliencyMapView(SmallNet(), images(), target=9).capture()

    def test_tokens_have_no_gradient(self):
        model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 2))
        with pytest.raises(ModelvizError, match=r"this one has torch.int64 \(for tokens, pass their embeddings"):
            SaliencyMapView(model, torch.tensor([[1, 2, 3]])).capture()

    def test_a_score_without_a_gradient(self):
        class Detached(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = SmallNet()

            def forward(self, x):
                return self.net(x.detach())

        for method in METHODS:
            with pytest.raises(ModelvizError, match="does not depend on the input in a differentiable way"):
                SaliencyMapView(Detached(), images(), method=method).capture()

    def test_a_zero_gradient_is_noted(self):
        model = Linear()
        with torch.no_grad():
            model.head.weight.zero_()
        (note,) = SaliencyMapView(model, INPUT, target=0).capture().notes
        assert note == "the gradient is zero everywhere: the score does not change with the input"


def test_sequences_are_explained_by_their_embeddings():
    seen = result(ZOO["attention"].build(), sequences(), target=lambda output: output.sum())
    assert seen.gradient.shape == sequences().shape


def test_the_noise_of_smoothgrad_is_nearly_normal_and_the_same_everywhere():
    noise = normal(100_000, 3)
    assert noise.dtype == np.float32
    assert (noise.mean(), noise.std()) == (pytest.approx(0.0, abs=0.01), pytest.approx(1.0, abs=0.01))
    assert np.mean(np.abs(noise) < 1) == pytest.approx(0.683, abs=0.01)
    assert not np.array_equal(noise, normal(100_000, 4))


class Batch(collections.UserDict):
    """What HuggingFace's processors return."""


Pair = collections.namedtuple("Pair", "flag pixels")


def test_images_are_found_in_mappings_and_named_tuples():
    model = Named()
    plain = result(model.net, images(), target=2).gradient
    assert np.array_equal(result(model, Batch(flag=True, pixel_values=images()), target=2).gradient, plain)

    class Positional(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model

        def forward(self, pair):
            return self.net(flag=pair.flag, pixel_values=pair.pixels)

    assert np.array_equal(result(Positional(), (Pair(True, images()),), target=2).gradient, plain)


def test_another_dtype_is_drift_however_near_the_gradient_is():
    model = SmallNet()
    view = SaliencyMapView(model, images(), target=0)
    half = SaliencyMapView(copy.deepcopy(model).bfloat16(), images().bfloat16(), target=0)
    verdict = half.compare(view.capture(), half.capture(), Tolerances())
    assert not verdict.matched
    assert DtypeFinding("", "dtype", "float32", "bfloat16") in verdict.findings
