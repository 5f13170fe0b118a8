"""Climbs whose direction and height can be worked out by hand, and models that make climbing hard."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from observable_state import state_of_model, state_of_process
from torch import nn
from zoo import ZOO, InPlace, SmallNet

from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.pictures.exhibits import Curve, pictures_of
from pytest_modelviz.records.findings import OutputsFinding, RequestFinding
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store
from pytest_modelviz.views.activation_maximization.ascent import noise
from pytest_modelviz.views.activation_maximization.capture import ActivationMaximizationView
from pytest_modelviz.views.activation_maximization.compare import ClimbFinding
from pytest_modelviz.views.activation_maximization.records import gradient_key

SMALL = {"input_size": (3, 16, 16), "steps": 5}


def maximised(model, layer, **arguments):
    return ActivationMaximizationView(model, layer, **{**SMALL, **arguments}).capture()


def compared(model, other, layer, *, other_arguments=None, **arguments):
    one = ActivationMaximizationView(model, layer, **{**SMALL, **arguments})
    two = ActivationMaximizationView(other, layer, **{**SMALL, **arguments, **(other_arguments or {})})
    return two.compare(one.capture(), two.capture(), Tolerances())


def pointwise(weights):
    model = nn.Conv2d(len(weights[0]), len(weights), 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(weights).view(len(weights), -1, 1, 1))
    return model


def test_a_pointwise_filter_by_hand():
    # mean over positions of w . x: the gradient is w / positions everywhere, w / rms(w) after normalising
    model = nn.Sequential(pointwise([[3.0, 4.0], [0.0, -2.0]]))
    result = maximised(model, "0", filters=(0, 1), input_size=(2, 2, 2), steps=2, learning_rate=0.5).result
    start = noise((2, 2, 2), 0)
    for image, weight in zip(result.images, ([3.0, 4.0], [0.0, -2.0]), strict=True):
        unit = np.array(weight) / math.sqrt(np.mean(np.square(weight)))
        assert image == pytest.approx(start + 2 * 0.5 * unit[:, None, None], abs=1e-6)
    heights = start.mean((1, 2)) @ np.array([[3.0, 0.0], [4.0, -2.0]])
    slope = [math.sqrt((9 + 16) * 2), 2 * math.sqrt(2)]  # |w|^2 / rms(w)
    expected = [[heights[at] + 0.5 * step * slope[at] for at in (0, 1)] for step in (0, 1, 2)]
    assert result.curves == pytest.approx(np.array(expected), abs=1e-6)
    assert (result.images.dtype, result.curves.dtype) == (np.float32, np.float64)
    assert (result.layer, result.filters) == ("0", (0, 1))


def test_every_fourth_step_is_followed_by_a_slight_blur():
    # the gradient is the same everywhere: what is left of the start after five steps is the start, blurred once
    image = maximised(nn.Sequential(pointwise([[1.0]])), "0", input_size=(1, 3, 3), steps=5).result.images[0, 0]
    row = np.array([math.exp(-2), 1.0, math.exp(-2)]) / (1 + 2 * math.exp(-2))
    around = np.pad(noise((1, 3, 3), 0)[0], 1, mode="edge")
    assert image[1, 1] - 2.5 == pytest.approx(float(row @ around[1:4, 1:4] @ row), abs=1e-6)


def test_a_quadratic_by_hand():
    class Quadratic(nn.Module):
        """Highest at 2, where its gradient is zero."""

        def forward(self, x):
            return -((x - 2) ** 2)

    result = maximised(nn.Sequential(Quadratic()), "0", input_size=(1,), image=None, steps=3, learning_rate=1.0).result
    start = float(noise((1,), 0)[0])
    points = [start, start + 1, start + 2, start + 3 if start < 0 else start + 1]  # each step has the length 1
    assert result.curves[:, 0] == pytest.approx([-((x - 2) ** 2) for x in points], abs=1e-6)


def test_a_filter_does_not_see_the_others_of_its_batch():
    model = SmallNet()
    both = maximised(model, "conv2", filters=(1, 7)).result
    alone = maximised(model, "conv2", filters=[7]).result
    assert both.images[1] == pytest.approx(alone.images[0], abs=1e-6)
    assert maximised(model, "conv2", filters=7).result.filters == (7,)
    assert (both.curves[-1] > both.curves[0]).all()


def test_the_start_is_the_seed_s_on_every_machine():
    start = noise((2, 3), 0)
    assert start[0].tolist() == pytest.approx(START, abs=1e-7)
    assert np.abs(noise((1000,), 1)).max() <= 0.1
    assert not np.array_equal(noise((6,), 0), noise((6,), 1))
    view = ActivationMaximizationView(SmallNet(), "conv1", **SMALL)
    torch.manual_seed(3)
    one = view.capture().result.images
    torch.manual_seed(4)
    assert np.array_equal(one, view.capture().result.images)


START = [0.0273924, -0.0460427, -0.0918053]  # 0.2 * PCG64(0)'s first numbers in [0, 1) - 0.1


def test_deep_dream_starts_from_an_image():
    image = torch.full((1, 2, 2, 2), 5.0)
    capture = maximised(nn.Sequential(pointwise([[1.0, 1.0]])), "0", image=image, input_size=None, steps=1)
    assert capture.result.images[0] == pytest.approx(np.full((2, 2, 2), 5.5))
    assert capture.facts["seed"] is None
    assert torch.equal(image, torch.full((1, 2, 2, 2), 5.0))


def test_any_layer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 6, 4, stride=4)
            self.norm = nn.LayerNorm(6)
            self.line = nn.Conv1d(6, 5, 3)
            self.several = Several()
            self.head = nn.Linear(5, 4)

        def forward(self, x):
            tokens = self.norm(self.patches(x).flatten(2).transpose(1, 2))
            return self.head(self.several(self.line(tokens.transpose(1, 2)))[0].mean(2))

    class Several(nn.Module):
        def forward(self, x):
            return x, None

    for layer, count in {"patches": 6, "norm": 6, "line": 5, "head": 4, "": 4}.items():
        result = maximised(Net(), layer, filters=(count - 1,)).result
        assert result.curves[-1] > result.curves[0], layer
        with pytest.raises(ModelvizError, match=f"filter {count} is out of range: layer '{layer}' has {count}, from 0"):
            maximised(Net(), layer, filters=(count,))
    assert maximised(Net(), "several", filters=(0,)).result.curves.shape == (6, 1)


def test_the_last_call_of_a_layer_called_twice_is_climbed():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.twice = nn.Identity()

        def forward(self, x):
            return self.twice(-3 * self.twice(x))

    capture = maximised(Twice(), "twice", input_size=(1, 2, 2), steps=1, learning_rate=1.0)
    assert capture.facts["call"] == 1
    assert capture.result.images[0] == pytest.approx(noise((1, 2, 2), 0) - 1.0)


def test_what_follows_the_layer_is_not_run_again_and_may_fail():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)
            self.head = nn.Linear(7, 1)
            self.seen = []

        def forward(self, x):
            try:
                y = self.conv(x)
            except Exception:
                return None
            self.seen.append(1)
            return self.head(y)

    capture = maximised(Net(), "conv")
    assert set(capture.result.curves.shape) == {6, 1}
    assert capture.layers == ("", "conv")  # the head has no part in it


def test_an_in_place_operation_after_the_layer_does_not_spoil_it():
    model = InPlace()
    expected = maximised(nn.Sequential(copy.deepcopy(model.conv)), "0").result
    assert maximised(model, "conv").result.images == pytest.approx(expected.images, abs=1e-6)


@pytest.mark.parametrize("name", ["frozen", "bfloat16", "compiled", "data_parallel", "frozen_norm", "lazy", "scripted"])
def test_frozen_half_precision_and_wrapped_models_climb(name):
    layer = {"frozen_norm": "net.conv2", "lazy": "0", "scripted": ""}.get(name, "conv2")
    view = ActivationMaximizationView(ZOO[name].build(), layer, **SMALL)
    for context in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with context():
            capture = view.capture()
        assert capture.result.curves[-1, 0] > capture.result.curves[0, 0]
        assert capture.result.images.dtype == np.float32
    assert view.compare(capture, view.capture(), Tolerances()).matched


def test_a_model_that_insists_on_single_precision_climbs_in_it():
    class Strict(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x):
            return self.conv(x) + nn.functional.conv2d(x, torch.ones(2, 3, 3, 3))

    assert maximised(Strict(), "").facts["precision"] == "float32"
    assert maximised(SmallNet(), "conv1").facts["precision"] == "float64"


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"filters": (1, 1)}, r"filters=\(1, 1\) names a filter twice"),
            ({"filters": ()}, r"filters takes the numbers of filters, counted from 0, not \(\)"),
            ({"filters": (-1,)}, "counted from 0"),
            ({"filters": "3"}, "counted from 0"),
            ({"filters": 1.5}, "counted from 0"),
            ({"steps": 0}, "steps takes a whole number of at least 1, not 0"),
            ({"steps": 2.0}, r"steps takes a whole number of at least 1, not 2\.0"),
            ({"seed": -1}, "seed takes a whole number of at least 0, not -1"),
            ({"learning_rate": 0}, "learning_rate takes a number above 0, not 0"),
            ({"learning_rate": math.nan}, "learning_rate takes a number above 0, not nan"),
            ({"input_size": (3, 0, 2)}, "input_size takes positive whole numbers"),
            ({"input_size": "big"}, "input_size takes positive whole numbers"),
            ({"image": torch.zeros(1, 3, 8, 8)}, "takes input_size or image, not both"),
            ({"input_size": None, "image": torch.zeros(3, 8, 8)}, r"not torch.float32\[3, 8, 8\]"),
            ({"input_size": None, "image": torch.zeros(1, 3, 8, 8).long()}, "takes one floating-point tensor"),
            ({"filters": (99,)}, "filter 99 is out of range: layer 'conv1' has 8, from 0"),
        ],
    )
    def test_what_is_asked_for_in_vain(self, arguments, message):
        with pytest.raises(ModelvizError, match=message):
            maximised(SmallNet(), "conv1", **arguments)

    def test_layers_that_cannot_be_climbed(self):
        class Odd(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, 2, 3)
                self.cut, self.round, self.text, self.unused = Cut(), Round(), Text(), nn.Identity()

            def forward(self, x):
                y = self.conv(x)
                return self.cut(y), self.round(y), self.text(y)

        class Cut(nn.Module):
            def forward(self, x):
                return x.detach()

        class Round(nn.Module):
            def forward(self, x):
                return x.long()

        class Text(nn.Module):
            def forward(self, x):
                return "nothing"

        model = Odd()
        for layer, message in {
            "cut": "does not depend on the input in a differentiable way",
            "round": r"returns torch\.int64, which has no gradient",
            "text": "layer 'text' returns str for a batch of 1",
            "unused": "layer 'unused' is never called in this pass",
            "missing": "the model has no layer 'missing'",
        }.items():
            before, process = state_of_model(model), state_of_process()
            with pytest.raises(ModelvizError, match=message):
                maximised(model, layer)
            assert state_of_model(model) == before
            assert state_of_process() == process
        with pytest.raises(ModelvizError, match="takes a layer's name, here 'conv', not the layer itself"):
            maximised(model, model.conv)

    def test_a_size_that_cannot_be_guessed(self):
        for model in (nn.Linear(2, 2), nn.Conv1d(2, 2, 1)):
            with pytest.raises(ModelvizError, match="pass input_size="):
                maximised(model, "", input_size=None)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("HIP out of memory. Tried\nmore"), MemoryError()])
@pytest.mark.parametrize("which", [1, 3])
def test_memory_that_runs_out_is_told_with_a_remedy(error, which):
    class Hungry(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x):
            if x.dtype == torch.float64:
                calls.append(1)
                if len(calls) == which:
                    raise error
            return self.conv(x)

    calls = []
    with pytest.raises(ModelvizError, match=r"does not fit into memory.*a smaller input_size= or image=, or fewer fil"):
        maximised(Hungry(), "conv")


def test_no_pass_is_made_for_nothing():
    class Counted(nn.Conv2d):
        def forward(self, x):
            passes.append(x.requires_grad)
            return super().forward(x)

    passes = []
    maximised(Counted(3, 2, 3), "", steps=2)
    assert passes == [False, True, True, False]  # the trace, two steps, and what they have come to


def test_sizes_with_and_without_a_batch_dimension():
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    for size in ((1, 8, 8), (1, 1, 8, 8)):
        assert maximised(model, "0", input_size=size).facts["input"] == [1, 8, 8]
    assert maximised(nn.Sequential(nn.Conv3d(1, 2, 3)), "0", input_size=(1, 4, 8, 8)).facts["input"] == [1, 4, 8, 8]
    assert maximised(model, "0", input_size=None, steps=1).facts["input"] == [1, 224, 224]


@pytest.mark.parametrize("name", ["small_net", "in_place", "frozen_norm", "bfloat16", "frozen", "compiled", "lazy"])
def test_the_model_is_left_as_it_was(name):
    model = ZOO[name].build()
    for number, parameter in enumerate(model.parameters()):
        if number == 0 and not torch.nn.parameter.is_lazy(parameter):
            parameter.grad = torch.ones_like(parameter)
    before, process = state_of_model(model), state_of_process()
    maximised(model, {"in_place": "conv", "frozen_norm": "net.conv2", "lazy": "0"}.get(name, "conv2"))
    assert state_of_model(model) == before
    assert state_of_process() == process


class TestComparison:
    def test_a_changed_weight_before_the_layer_is_named(self):
        model = SmallNet()
        other = copy.deepcopy(model)
        with torch.no_grad():
            other.conv1.weight.mul_(1.05)
        verdict = compared(model, other, "conv2")
        assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "conv1", "weights")
        assert not verdict.error <= verdict.tolerance
        assert not any(isinstance(finding, OutputsFinding) for finding in verdict.findings)

    def test_a_changed_weight_after_the_layer_is_none_of_it(self):
        model = SmallNet()
        other = copy.deepcopy(model)
        with torch.no_grad():
            other.head.weight.mul_(2)
        assert compared(model, other, "conv2").matched

    def test_what_processors_do_to_a_seed_matches(self):
        model = SmallNet()
        other = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(4e-8)
        assert compared(model, other, "conv2", steps=10).matched

    def test_an_equal_pass_with_another_gradient(self):
        class Half(nn.Module):
            def __init__(self, cut):
                super().__init__()
                self.conv, self.cut = nn.Conv2d(3, 2, 3), [cut]

            def forward(self, x):
                first, second = x[..., :8], x[..., 8:]
                return self.conv(torch.cat([first.detach() if self.cut[0] else first, second], -1))

        torch.manual_seed(0)
        one = Half(False)
        torch.manual_seed(0)
        verdict = compared(one, Half(True), "conv")
        assert (verdict.matched, verdict.cause, verdict.first) == (False, "gradient", None)
        assert compared(SmallNet(), SmallNet(), "conv1").matched is False  # other weights

    def test_a_kink_that_only_the_climb_reaches(self):
        model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU6())
        other = nn.Sequential(copy.deepcopy(model[0]), nn.ReLU())
        arguments = {"steps": 20, "learning_rate": 20.0}
        verdict = compared(model, other, "1", **arguments)
        assert not verdict.matched
        assert [f.quantity for f in verdict.findings if isinstance(f, ClimbFinding)] == [
            "mean activation while climbing"
        ]
        assert verdict.tolerance == pytest.approx(0.35)

    @pytest.mark.parametrize(
        "question", [{"filters": (1,)}, {"steps": 6}, {"seed": 1}, {"learning_rate": 0.1}, {"input_size": (3, 8, 8)}]
    )
    def test_another_question_is_drift_without_blame(self, question):
        model = SmallNet()
        verdict = compared(model, model, "conv1", other_arguments=question)
        assert (verdict.matched, verdict.cause, type(verdict.findings[0])) == (False, None, RequestFinding)


def test_a_dead_filter_and_what_is_not_finite_are_told():
    model = nn.Sequential(pointwise([[1.0, 1.0]]), nn.Threshold(10, 0))
    capture = maximised(model, "1", input_size=(2, 4, 4))
    assert capture.notes == ("nothing excites filter 0 from this start: the gradient is zero there",)
    assert compared(model, model, "1", input_size=(2, 4, 4)).matched
    broken = nn.Sequential(pointwise([[math.nan, 1.0]]))
    view = ActivationMaximizationView(broken, "0", input_size=(2, 4, 4), steps=2)
    capture = view.capture()
    assert capture.notes == ("the climb holds values that are not finite",)
    assert view.compare(capture, view.capture(), Tolerances()).matched
    assert not compared(nn.Sequential(pointwise([[1.0, 1.0]])), broken, "0", input_size=(2, 4, 4)).matched
    assert len(view.picture(capture)) == 0  # two channels are no image


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_in_another_place_drifts(odd):
    def at(place):
        model = nn.Linear(12, 1, bias=False)
        with torch.no_grad():
            model.weight.fill_(1.0)
            model.weight[0, place] = odd
        return model

    assert compared(at(3), at(3), "", input_size=(12,)).matched
    verdict = compared(at(3), at(9), "", input_size=(12,))
    assert math.isinf(verdict.error)
    assert "gradient on the start" in {f.quantity for f in verdict.findings if isinstance(f, ClimbFinding)}


def test_what_is_kept_is_small_and_survives_the_store(tmp_path):
    view = ActivationMaximizationView(SmallNet(), "conv2", filters=(0, 1, 2, 3), input_size=(3, 128, 128), steps=2)
    capture = view.capture()
    where = {"nodeid": "t.py::test", "name": "n"}
    Store(tmp_path).save(Location.of(**where), capture, **where)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors")) < 100_000
    stored = Store(tmp_path).load(Location.of(**where), **where).capture
    verdict = view.compare(stored, capture, Tolerances())
    assert (verdict.matched, verdict.error) == (True, 0.0)
    exhibits = view.picture(capture, stored, verdict)
    (picture,) = pictures_of(exhibits)
    assert picture.label == "conv2"
    assert picture.baseline.shape == picture.actual.shape == picture.difference.shape
    assert picture.image.shape[1] == 3 * 192 + 2 * 12
    assert [one.label for one in exhibits if isinstance(one, Curve)] == [f"filter {n} of conv2" for n in range(4)]
    (alone,) = view.picture(capture)
    assert alone.image.shape[1] == 3 * 192 + 2 * 12  # three in a row
    assert view.describe(capture).count("\n") == 3


def test_damaged_climbs_are_unreadable():
    view = ActivationMaximizationView(SmallNet(), "conv2", **SMALL)
    capture = view.capture()
    without = stored_trace(dict(capture.arrays))
    del without.gradients[gradient_key(0)]
    for damage in (
        {"curves": None},
        {"curves": np.zeros(6)},
        {"curves": np.zeros((6, 1), np.float32)},
        {"curves": np.zeros((7, 1))},
        {"curves": np.zeros((6, 2))},
        {key: None for key in capture.arrays if key.startswith("trace.")},
        pack_trace(without),
    ):
        arrays = {key: value for key, value in {**capture.arrays, **damage}.items() if value is not None}
        with pytest.raises(UnreadableBaselineError):
            view.compare(type(capture)(capture.view, capture.facts, arrays), capture, Tolerances())
    spoilt = type(capture)(capture.view, capture.facts, {**capture.arrays, "images": np.zeros((1, 2, 2), np.uint8)})
    with pytest.raises(UnreadableBaselineError, match="its pictures are damaged"):
        view.picture(capture, spoilt)


def test_an_image_on_another_device_than_the_model_is_named():
    image = torch.zeros(1, 3, 16, 16, device="meta")
    with pytest.raises(ModelvizError, match="the input is on meta but the model is on cpu"):
        ActivationMaximizationView(SmallNet(), "bn2", filters=(1,), steps=1, image=image).capture()


@pytest.mark.parametrize("scales", [np.zeros((3, 2)), np.zeros(2), np.float64(1.0), np.zeros((1, 3))])
def test_damaged_ranges_are_unreadable(scales):
    view = ActivationMaximizationView(SmallNet(), "conv2", **SMALL)
    capture = view.capture()
    spoilt = replace(capture, arrays={**capture.arrays, "scales": np.asarray(scales)})
    with pytest.raises(UnreadableBaselineError, match="range"):
        view.picture(capture, spoilt)


def test_a_climb_of_an_earlier_version_is_pictured_without_its_range():
    view = ActivationMaximizationView(SmallNet(), "conv2", **SMALL)
    capture = view.capture()
    earlier = replace(capture, arrays={key: array for key, array in capture.arrays.items() if key != "scales"})
    assert pictures_of(view.picture(capture, earlier))[0].difference is not None
