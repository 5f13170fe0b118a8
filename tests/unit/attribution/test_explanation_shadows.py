"""CAMs and saliency maps of lower precision: their float32 shadows see what rounding hides."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_kinks import Backward
from torch import nn

from pytest_modelviz.compare.explanation_shadow import compare_explanations
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.explanation_shadow import (
    explanation_shadow,
    with_explanation_shadow,
    without_shadow,
)
from pytest_modelviz.records.findings import DtypeFinding, ShadowFinding
from pytest_modelviz.records.noise import EXPLANATION_NOISE
from pytest_modelviz.records.shadow import Shadow
from pytest_modelviz.records.trace_arrays import pack_trace, unpack_trace
from pytest_modelviz.records.verdict import Cause, Verdict
from pytest_modelviz.views.base import measured
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView


class Net(nn.Module):
    """Three convolutions; the gradient that goes back through the second may be changed."""

    def __init__(self, change=lambda gradient: gradient) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
        self.third, self.head = nn.Conv2d(8, 12, 3), nn.Linear(12, 5)
        self.change = change

    def forward(self, x):
        x = torch.tanh(self.second(torch.tanh(self.first(x))))
        x = torch.tanh(self.third(Backward.apply(x, self.change)))
        return self.head(x.mean((2, 3)))


def image():
    return torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def grown(gradient):
    return gradient * 1.02


def in_bfloat16(view, model):
    return view(model.bfloat16(), image().bfloat16()), contextlib.nullcontext()


def in_float16(view, model):
    return view(model.half(), image().half()), contextlib.nullcontext()


def under_autocast(view, model):
    return view(model, image()), torch.autocast("cpu", torch.bfloat16)


VIEWS = {
    "cam": lambda model, x: CamMapView(model, x, target=1, target_layer="first", method="hirescam"),
    "saliency": lambda model, x: SaliencyMapView(model, x, target=1),
}
PRECISIONS = (in_bfloat16, in_float16, under_autocast)


def recorded(view, precision, *change):
    made, around = precision(VIEWS[view], Net(*change))
    with around:
        return made, measured(made, made.capture())


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("view", VIEWS)
class TestLowerPrecision:
    def test_a_gradient_two_per_cent_too_large_is_found(self, view, precision):
        made, baseline = recorded(view, precision)
        assert made.compare(baseline, recorded(view, precision)[1], Tolerances()).matched
        verdict = made.compare(baseline, recorded(view, precision, grown)[1], Tolerances())
        assert (verdict.matched, verdict.cause) == (False, "gradient")
        assert verdict.error == pytest.approx(0.02, rel=0.05)
        assert verdict.tolerance < 0.002
        assert [f.state for f in verdict.findings if isinstance(f, ShadowFinding)] == ["differs"]

    def test_the_shadow_is_the_same_explanation_in_float32(self, view, precision):
        _, baseline = recorded(view, precision)
        shadow, model = explanation_shadow(baseline), Net()
        given = image()
        if precision is not under_autocast:
            dtype = torch.bfloat16 if precision is in_bfloat16 else torch.float16
            model, given = model.to(dtype).float(), given.to(dtype).float()
        alone = VIEWS[view](model, given)
        assert alone.compare(shadow, alone.capture(), Tolerances()).matched
        assert shadow.facts["dtype"] == "float32"
        assert shadow.facts["targets"] == [1]
        assert float(baseline.arrays[EXPLANATION_NOISE].astype(np.uint32).max() << 16) > 0

    def test_a_baseline_without_it_matches_with_a_note(self, view, precision):
        made, baseline = recorded(view, precision)
        verdict = made.compare(without_shadow(baseline), baseline, Tolerances())
        assert [f.state for f in verdict.findings if isinstance(f, ShadowFinding)] == ["baseline"]
        assert verdict.matched
        verdict = made.compare(baseline, without_shadow(baseline), Tolerances())
        assert [f.state for f in verdict.findings if isinstance(f, ShadowFinding)] == ["actual"]

    def test_it_alone_is_repeated_to_find_out_whether_a_model_is_stable(self, view, precision):
        made, around = precision(VIEWS[view], Net())
        dtypes = []
        made.model.first.register_forward_hook(lambda _, args, output: dtypes.append(output.dtype))
        with around:
            first = made.capture()
            native = dtypes.index(torch.float32)
            again = made.capture_again(first)
        assert set(dtypes[native:]) == {torch.float32}
        assert again.facts == first.facts
        assert all(np.array_equal(again.arrays[name], array) for name, array in first.arrays.items())


@pytest.mark.parametrize("view", VIEWS)
class TestOtherPrecision:
    def test_autocast_that_was_left_on_is_named(self, view):
        baseline = VIEWS[view](Net(), image()).capture()
        made, actual = recorded(view, under_autocast)
        for before, after in ((baseline, actual), (actual, baseline)):
            verdict = made.compare(before, after, Tolerances())
            assert not verdict.matched
            assert verdict.cause in (Cause.COMPUTATION, Cause.ARCHITECTURE)
            assert any(isinstance(f, DtypeFinding) for f in verdict.findings)

    def test_a_cast_of_the_model_is_its_dtype(self, view):
        made, actual = recorded(view, in_bfloat16)
        verdict = made.compare(VIEWS[view](Net(), image()).capture(), actual, Tolerances())
        assert not verdict.matched
        assert DtypeFinding("", "dtype", "float32", "bfloat16") in verdict.findings

    def test_nothing_is_repeated_in_single_precision_or_where_it_is_forbidden(self, view):
        made = VIEWS[view](Net(), image())
        assert explanation_shadow(made.capture()) is None
        made, _ = in_bfloat16(VIEWS[view], Net())
        made.set_shadow(Shadow.NEVER)
        capture = made.capture()
        assert explanation_shadow(capture) is None
        assert "--modelviz-shadow=never" in " ".join(capture.notes)

    def test_a_model_that_cannot_compute_in_float32_says_so(self, view):
        class Picky(Net):
            def forward(self, x):
                if x.dtype == torch.float32:
                    raise RuntimeError("only bfloat16 here")
                return super().forward(x)

        made, _ = in_bfloat16(VIEWS[view], Picky())
        assert "only bfloat16 here" in " ".join(made.capture().notes)

    def test_damage_is_unreadable(self, view):
        made, baseline = recorded(view, in_bfloat16)
        arrays = {name: array for name, array in baseline.arrays.items() if not name.startswith("float32.")}
        for damaged in (replace(baseline, facts={**baseline.facts, "float32": 1}), replace(baseline, arrays=arrays)):
            with pytest.raises(UnreadableBaselineError):
                made.compare(damaged, baseline, Tolerances())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("view", [CamMapView, SaliencyMapView])
def test_another_target_that_the_caller_chose_is_another_question(view, dtype):
    made, other = (view(Net().to(dtype), image().to(dtype), target=target) for target in (1, 2))
    verdict = other.compare(made.capture(), other.capture(), Tolerances())
    assert (verdict.matched, verdict.cause, verdict.first) == (False, None, None)
    assert verdict.findings[0].fact == "targets"


def test_the_cam_of_several_views_has_the_same_shadow():
    model, given = Net().bfloat16(), image().bfloat16()
    combined = CombinedCapture(model, given, feature_maps=False, summary=False, cam="second", target=1).cam
    alone = CamMapView(model, given, target=1, target_layer="second")
    captures = [view.capture() for view in (combined, alone)]
    assert captures[0].facts == captures[1].facts
    assert alone.compare(*captures, Tolerances()).matched
    combined.set_shadow(Shadow.NEVER)
    assert explanation_shadow(combined.capture()) is None


class TestDistanceFromTheShadow:
    """Explanations that are numbers: {"value": x}, compared within 0.1; that of each in float32 is 1."""

    def capture(self, value):
        trace = unpack_trace(recorded("saliency", in_bfloat16)[1].arrays)
        arrays = pack_trace(trace)
        own = Capture("numbers", {"dtype": "bfloat16", "targets": [0], "value": value}, arrays)
        return with_explanation_shadow(own, Capture("numbers", {"dtype": "float32", "value": 1.0}, arrays), ())

    def compared(self, baseline, actual):
        def compare(before, after, tolerances, *, is_target_chosen):
            error = abs(before.facts["value"] - after.facts["value"])
            return Verdict.match(compared=1, error=error, tolerance=0.1) if error <= 0.1 else Verdict.drift(error=error)

        def distances(before, after):
            return [abs(before.facts["value"] - after.facts["value"])]

        captures = self.capture(baseline), self.capture(actual)
        return compare_explanations(*captures, Tolerances(), compare=compare, distances=distances)

    @pytest.mark.parametrize(
        ("baseline", "actual", "matched"),
        [
            (1.05, 0.96, True),  # within what is allowed
            (1.2, 0.7, True),  # 0.3 from its shadow, the baseline 0.2: not more than twice as far
            (1.2, 0.55, False),  # 0.45
            (1.0, 1.15, False),  # the baseline is as exact as its shadow
            (1.3, 1.0, True),  # nearer than the baseline
            (1.9, 1.6, False),  # more than half of it is no rounding, whatever the baseline says
            (1.7, 0.9, False),  # of the baseline's either
            (1.45, 0.6, True),
        ],
    )
    def test_twice_as_far_as_the_baseline_is_allowed(self, baseline, actual, matched):
        verdict = self.compared(baseline, actual)
        assert verdict.matched is matched
        assert matched or ShadowFinding("agrees") in verdict.findings


@pytest.mark.parametrize(("precision", "moves"), [(None, 2), (in_bfloat16, 1)])
def test_how_often_an_explanation_is_moved(precision, moves):
    model, data = (Net(), image()) if precision is None else (Net().bfloat16(), image().bfloat16())
    view, passes = SaliencyMapView(model, data, target=1), []
    capture = view.capture()
    model.register_forward_pre_hook(lambda _, args: passes.append(args[0].dtype))
    view.with_noise(capture)
    assert passes == [torch.float32] * moves
