"""What a drift says where nothing but dtypes or autocast have changed, which shadows in float32 do not show."""

import contextlib

import pytest
import torch
from torch import nn

from pytest_modelviz.compare.precision import changed_autocast
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.records.findings import (
    AUTOCAST,
    CodeFinding,
    DivergingEvent,
    DtypeFinding,
    EventFinding,
    ShadowFinding,
)
from pytest_modelviz.records.shadow import Shadow
from pytest_modelviz.records.verdict import Cause
from pytest_modelviz.views.base import measured
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView


class Block(nn.Module):
    """Asks its last layer for the dtype to convert to, as T5 does."""

    def __init__(self):
        super().__init__()
        self.wi, self.wo = nn.Linear(16, 64), nn.Linear(64, 16)

    def forward(self, x):
        return self.wo(self.wi(x).relu().to(self.wo.weight.dtype))


class T5(nn.Module):
    def __init__(self, *, keeps):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.block, self.head = nn.Linear(16, 16), Block(), nn.Linear(16, 300)
        self.bfloat16()
        if keeps:
            self.block.wo.float()

    def forward(self, x):
        return self.head(self.block(self.embed(x)).bfloat16())


class Region(nn.Module):
    """Its second layer runs under another autocast than the model."""

    def __init__(self, enabled):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(16, 64), nn.Linear(64, 64), nn.Linear(64, 300)
        self._enabled = lambda: enabled  # nothing that is recorded

    def forward(self, x):
        y = self.a(x)
        enabled = self._enabled()
        with contextlib.nullcontext() if enabled is None else torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = self.b(y.float() if enabled is False else y)
        return self.c(y.float())


def data(dtype=torch.float32):
    return torch.randn(4, 10, 16, generator=torch.Generator().manual_seed(1)).to(dtype)


def captured(model, given, *, autocast=None, records=False, shadow=Shadow.AUTO):
    view = FeatureMapsView(model, given)
    view.set_shadow(shadow)
    with torch.autocast("cpu", autocast) if autocast else contextlib.nullcontext():
        capture = view.capture()
        return measured(view, capture) if records else capture


def compared(baseline, actual):
    return FeatureMapsView.compare(baseline, actual, Tolerances())


def states(verdict):
    return [finding.state for finding in verdict.findings if isinstance(finding, ShadowFinding)]


def events(verdict):
    return [finding for finding in verdict.findings if isinstance(finding, EventFinding)]


def blames_code(verdict):
    return any(isinstance(finding, CodeFinding) for finding in verdict.findings)


@pytest.mark.parametrize("shadow", [Shadow.AUTO, Shadow.NEVER])
@pytest.mark.parametrize("keeps", [True, False])
def test_a_layer_that_is_no_longer_kept_in_float32(keeps, shadow):
    given = data(torch.bfloat16)
    baseline = captured(T5(keeps=keeps), given, records=True, shadow=shadow)
    assert compared(baseline, captured(T5(keeps=keeps), given, shadow=shadow)).matched
    verdict = compared(baseline, captured(T5(keeps=not keeps), given, shadow=shadow))
    assert (verdict.first.layer, verdict.cause) == ("block.wo", Cause.ARCHITECTURE)
    dtypes = ("float32", "bfloat16") if keeps else ("bfloat16", "float32")
    assert {DtypeFinding("block.wo", f"dtype of {name}", *dtypes) for name in ("weight", "bias")} <= set(
        verdict.findings
    )
    assert [event.event for event in events(verdict)] == [DivergingEvent.ENTER]
    assert verdict.drifted > 0
    assert states(verdict) == (["agrees"] if shadow is Shadow.AUTO else [])
    assert not blames_code(verdict)


@pytest.mark.parametrize(
    ("autocast", "before", "after", "states_of_b"),
    [
        (torch.bfloat16, None, False, ("as around the model", "off")),
        (torch.bfloat16, False, None, ("off", "as around the model")),
        (None, True, False, ("cpu bfloat16", "as around the model")),
        (None, False, True, ("as around the model", "cpu bfloat16")),
    ],
)
def test_autocast_switched_in_a_region(autocast, before, after, states_of_b):
    baseline = captured(Region(before), data(), autocast=autocast, records=True)
    assert compared(baseline, captured(Region(before), data(), autocast=autocast)).matched
    verdict = compared(baseline, captured(Region(after), data(), autocast=autocast))
    assert (verdict.first.layer, verdict.cause) == ("", Cause.COMPUTATION)
    assert [event.path for event in events(verdict)] == [AUTOCAST]
    assert DtypeFinding("b", "autocast", *states_of_b) in verdict.findings
    assert states(verdict) == ["agrees"]
    assert verdict.drifted > 0


@pytest.mark.parametrize("shadow", [Shadow.AUTO, Shadow.NEVER])
@pytest.mark.parametrize("recorded", [torch.bfloat16, None])
def test_autocast_around_the_model_is_no_change_of_a_layer_s_code(recorded, shadow):
    given = data()
    baseline = captured(Region(None), given, autocast=recorded, records=True, shadow=shadow)
    actual = captured(Region(None), given, autocast=None if recorded else torch.bfloat16, shadow=shadow)
    verdict = compared(baseline, actual)
    assert (verdict.first.layer, verdict.cause) == ("a", Cause.COMPUTATION)
    texts = ("cpu bfloat16", "off") if recorded else ("off", "cpu bfloat16")
    assert DtypeFinding("", "autocast", *texts) in verdict.findings
    assert not blames_code(verdict)


@pytest.mark.parametrize("kind", ["saliency", "cam"])
def test_nor_is_it_in_the_forward_pass_of_an_explanation(kind):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

        def forward(self, x):
            return self.head(self.conv(x).float().mean((2, 3))).float()

    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    views = {
        "saliency": lambda: SaliencyMapView(Net(), image, target=1),
        "cam": lambda: CamMapView(Net(), image, target=1, target_layer="conv"),
    }
    baseline = views[kind]().capture()
    with torch.autocast("cpu", torch.bfloat16):
        actual = views[kind]().capture()
        verdict = views[kind]().compare(baseline, actual, Tolerances())
    assert not verdict.matched
    assert not blames_code(verdict)


def test_a_cast_of_a_layer_s_own_is_one_of_its_code():
    class Casting(nn.Linear):
        def __init__(self, dtype):
            super().__init__(16, 300)
            torch.manual_seed(0)
            self.reset_parameters()
            self.bfloat16()
            self._returns = lambda: dtype

        def forward(self, x):
            return super().forward(x).to(self._returns())

    given = data(torch.bfloat16)
    baseline = captured(nn.Sequential(Casting(torch.bfloat16)), given, records=True)
    assert blames_code(compared(baseline, captured(nn.Sequential(Casting(torch.float32)), given)))


def test_the_state_of_autocast_is_a_fact_of_the_environment():
    model = nn.Linear(2, 2)
    off = environment(model)
    assert "autocast_dtype" not in off  # as in earlier baselines
    with torch.autocast("cpu", torch.float16):
        half = environment(model)
    with torch.autocast("cpu", torch.bfloat16):
        on = environment(model)
    assert on["autocast_dtype"] == "cpu bfloat16"
    assert changed_autocast(on, on) is None
    assert changed_autocast(off, on) == ("off", "cpu bfloat16")
    assert changed_autocast(on, half) == ("cpu bfloat16", "cpu float16")
    earlier = {key: text for key, text in on.items() if key != "autocast_dtype"}
    assert changed_autocast(earlier, on) is None
    assert changed_autocast(earlier, off) == ("on", "off")


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Linear(16, 300)

    def forward(self, x, mask):
        return self.a(x) + mask[:, :1]


def test_inputs_are_described_as_the_user_gave_them():
    model, x, mask = Masked().half(), data(torch.float16), torch.zeros(10, 10, dtype=torch.float16)
    baseline = captured(model, (x, mask), records=True)
    (event,) = events(compared(baseline, captured(model, (x, mask[:1]))))
    assert (event.before, event.after) == ("float16[10, 10]", "float16[1, 10]")
    verdict = compared(baseline, captured(model, (x, mask.float())))
    assert DtypeFinding("", "dtype of the input mask", "float16", "float32") in verdict.findings


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.Linear(16, 300)

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.norm(x).float().exp().bfloat16()


def test_all_views_of_one_pass_note_the_dtypes_in_a_region():
    alone = captured(Inner(), data())
    together = CombinedCapture(Inner(), data()).feature_maps.capture()
    assert together.result.trace.calls == alone.result.trace.calls
    assert "float32" in str(together.result.trace.calls[0].outputs["(computed in)"].literal)


def test_a_pass_that_is_made_again_to_note_dtypes_took_no_longer(monkeypatch):
    passes, original = [], CombinedCapture._captures_of_pass

    def counted(self, kind):
        passes.append(kind)
        return original(self, kind)

    monkeypatch.setattr(CombinedCapture, "_captures_of_pass", counted)
    monkeypatch.setattr("pytest_modelviz.views.combined.capture.time.perf_counter", lambda: 40.0 * len(passes))
    capture = CombinedCapture(Inner(), data()).feature_maps.capture()
    assert len(passes) == 2
    assert capture.result.trace.shadow is not None  # a pass of over a minute has none
