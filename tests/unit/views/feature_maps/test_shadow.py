"""Passes in lower precision: their float32 shadows see what rounding hides, and they themselves what precision does."""

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pytest_modelviz.compare.tensors import rms
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.findings import DtypeFinding, OutputsFinding, Role, ShadowFinding
from pytest_modelviz.records.shadow import Shadow
from pytest_modelviz.records.trace_arrays import pack_trace, unpack_trace
from pytest_modelviz.records.verdict import Cause, Verdict
from pytest_modelviz.run.comparison import Comparison
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.views.base import measured
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView

HALF = (torch.bfloat16, torch.float16)


class Norm(nn.Module):
    """A root mean square norm, which sums in float32 unless it is told not to."""

    def __init__(self, width: int, *, exact: bool) -> None:
        super().__init__()
        self.weight, self.exact = nn.Parameter(torch.ones(width)), exact

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.float() if self.exact else x
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * y.to(x.dtype)


class Net(nn.Module):
    """Casts on the way: in a norm, by hand before its head, and as it may before it returns."""

    def __init__(self, dtype: torch.dtype, *, exact: bool = True, returns: torch.dtype | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.norm = nn.Linear(16, 64), Norm(64, exact=exact)
        self.memory, self.head = nn.LSTM(64, 48, batch_first=True), nn.Linear(48, 300)
        self.cast, self.returns = dtype, returns or dtype
        self.to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.memory(self.norm(self.embed(x)))
        return self.head(y.to(self.cast)).to(self.returns)


def image(dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(4, 10, 16, generator=torch.Generator().manual_seed(1)).to(dtype)


def captured(
    model: nn.Module,
    data: object,
    *,
    autocast: torch.dtype | None = None,
    records: bool = False,
    shadow: Shadow = Shadow.AUTO,
) -> Capture:
    view = FeatureMapsView(model, data)
    view.set_shadow(shadow)
    with torch.autocast("cpu", dtype=autocast) if autocast else contextlib.nullcontext():
        capture = view.capture()
        return measured(view, capture) if records else capture


def compared(baseline: Capture, actual: Capture) -> Verdict:
    return FeatureMapsView.compare(baseline, actual, Tolerances())


def shadow_states(verdict: Verdict) -> list[str]:
    return [finding.state for finding in verdict.findings if isinstance(finding, ShadowFinding)]


@pytest.mark.parametrize("dtype", HALF, ids=str)
class TestShadow:
    def test_the_same_model_matches_and_says_nothing(self, dtype):
        baseline = captured(Net(dtype), image(dtype), records=True)
        verdict = compared(baseline, captured(Net(dtype), image(dtype)))
        assert verdict.matched
        assert not verdict.findings

    def test_a_weight_that_its_own_rounding_would_hide(self, dtype):
        baseline = captured(Net(dtype), image(dtype), records=True)
        model = Net(dtype)
        model.head.weight.data *= 1.004  # 0.4 %, where three per cent of bfloat16 and one of float16 are allowed
        verdict = compared(baseline, captured(model, image(dtype)))
        assert (verdict.first.layer, verdict.cause) == ("head", Cause.WEIGHTS)
        assert verdict.tolerance <= 1e-3
        assert shadow_states(verdict) == ["differs"]

    @pytest.mark.parametrize(("count", "matches"), [(1, True), (100, False)])
    def test_weights_that_are_rounded_the_other_way(self, dtype, count, matches):
        baseline = captured(Net(dtype), image(dtype), records=True)
        model = Net(dtype)
        flat = model.head.weight.data.view(-1)
        largest = flat.float().abs().topk(count).indices  # of 14,400
        flat[largest] *= 1 + torch.finfo(dtype).eps  # to the next number, or the one after
        assert not torch.equal(model.head.weight, Net(dtype).head.weight)
        assert compared(baseline, captured(model, image(dtype))).matched is matches

    def test_many_weights_that_are_a_little_off(self, dtype):
        baseline = captured(Net(dtype), image(dtype), records=True)
        model = Net(dtype)
        generator = torch.Generator().manual_seed(2)
        some = torch.rand(model.head.weight.shape, generator=generator) < 0.01
        model.head.weight.data[some] *= 1 + torch.finfo(dtype).eps  # to the next number, or the one after
        verdict = compared(baseline, captured(model, image(dtype)))
        assert (verdict.first.layer, verdict.cause) == ("head", Cause.WEIGHTS)

    def test_another_input(self, dtype):
        baseline = captured(Net(dtype), image(dtype), records=True)
        verdict = compared(baseline, captured(Net(dtype), image(torch.float32).mul(1.004).to(dtype)))
        assert (verdict.first.layer, verdict.cause) == ("", Cause.INPUT)

    def test_an_input_of_another_dtype(self, dtype):
        baseline = captured(Net(dtype), image(dtype), records=True)
        verdict = compared(baseline, captured(Net(torch.float32), image(torch.float32)))
        given = [f for f in verdict.findings if isinstance(f, DtypeFinding) and "weight" not in f.name]
        given = [f for f in given if "bias" not in f.name]
        names = str(dtype).removeprefix("torch."), "float32"
        assert given == [DtypeFinding("", "dtype of the input x", *names, role=Role.ALSO)]

    def test_a_sum_that_is_no_longer_made_in_float32(self, dtype):
        baseline = captured(Net(dtype), image(dtype), records=True)
        verdict = compared(baseline, captured(Net(dtype, exact=False), image(dtype)))
        assert (verdict.first.layer, verdict.cause) == ("norm", Cause.ARCHITECTURE)
        expected = DtypeFinding("norm", "dtype of intermediate results", "float32", "that of its output")
        assert expected in verdict.findings
        assert shadow_states(verdict) == ["agrees"]

    def test_a_cast_before_the_output_that_is_new(self, dtype):
        baseline = captured(Net(dtype), image(dtype), records=True)
        verdict = compared(baseline, captured(Net(dtype, returns=torch.float32), image(dtype)))
        assert verdict.first.layer == ""
        assert shadow_states(verdict) == ["agrees"]
        assert DtypeFinding("", "dtype", str(dtype).removeprefix("torch."), "float32") in verdict.findings
        assert OutputsFinding(1, ("output",)) in verdict.findings

    def test_weights_are_left_in_their_dtype(self, dtype):
        model = Net(dtype)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        captured(model, image(dtype), records=True)
        for key, value in model.state_dict().items():
            assert value.dtype == dtype
            assert torch.equal(value, before[key])

    def test_a_baseline_without_a_shadow_is_compared_as_before_and_told(self, dtype):
        trace = captured(Net(dtype), image(dtype)).result.trace
        old = captured(Net(dtype), image(dtype), shadow=Shadow.NEVER)
        assert pack_trace(replace(trace, shadow=None)).keys() <= old.arrays.keys()
        verdict = compared(old, captured(Net(dtype), image(dtype)))
        assert verdict.matched
        assert shadow_states(verdict) == ["baseline"]

    def test_a_shadow_that_is_turned_off_is_told(self, dtype):
        baseline = captured(Net(dtype), image(dtype), records=True)
        actual = captured(Net(dtype), image(dtype), shadow=Shadow.NEVER)
        assert "--modelviz-shadow=never" in " ".join(actual.notes)
        verdict = compared(baseline, actual)
        assert verdict.matched
        assert shadow_states(verdict) == ["actual"]

    def test_a_forged_noise_gains_no_more_than_the_jumps_of_rounded_weights(self, dtype):
        baseline = captured(Net(dtype), image(dtype), records=True)
        trace = unpack_trace(dict(baseline.arrays))
        records = {key: replace(record, noise=1e30) for key, record in trace.shadow.tensors.items()}
        forged = replace(trace, shadow=replace(trace.shadow, tensors=records))
        model = Net(dtype)
        model.head.weight.data *= 1.004
        assert not compared(
            replace(baseline, arrays={**baseline.arrays, **pack_trace(forged)}), captured(model, image(dtype))
        ).matched

    def test_all_views_of_one_pass(self, dtype):
        combined = CombinedCapture(Net(dtype), image(dtype))
        combined.summary.set_shadow(Shadow.NEVER)
        combined.summary.capture()
        assert "shadow.structure" not in combined.feature_maps.capture().arrays
        assert "shadow.structure" in CombinedCapture(Net(dtype), image(dtype)).feature_maps.capture().arrays


class TestPass:
    """The shadow is made of the same model on the same input as the pass, and leaves nothing behind."""

    def test_an_input_that_the_model_writes_into(self):
        class Normalised(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = nn.Linear(16, 300).bfloat16()

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.head(x.sub_(3.0).div_(0.25))

        trace = captured(Normalised(), image(torch.bfloat16)).result.trace
        sizes = [rms(tensors["head<input"]) for tensors in (trace.tensors, trace.shadow.tensors)]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.01)

    @pytest.mark.parametrize("side", [8, 11, 14, 20])
    def test_a_mask_of_the_lowest_numbers(self, side):
        class Masked(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head, self.add = nn.Linear(16, side).bfloat16(), Plus()

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                lowest = torch.finfo(torch.bfloat16).min
                mask = torch.full((side, side), lowest, dtype=torch.bfloat16).triu(1)
                return self.add(self.head(x[0]), mask).softmax(-1)

        class Plus(nn.Module):
            def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
                return x[:1] + mask

        view = FeatureMapsView(Masked(), image(torch.bfloat16))
        baseline = measured(view, view.capture())
        assert compared(baseline, view.capture()).matched

    def test_a_cache_in_an_attribute_that_is_written_through_a_view(self):
        class Cached(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = nn.Linear(16, 300).bfloat16()
                self.cache = torch.zeros(8, 10, 16, dtype=torch.bfloat16)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                self.cache[:4] = x / 3
                return self.head(self.cache)

        trace = captured(Cached(), image(torch.bfloat16)).result.trace
        native, shadow = (tensors["head<input"] for tensors in (trace.tensors, trace.shadow.tensors))
        assert rms(shadow) == pytest.approx(rms(native), rel=0.01)
        assert not np.array_equal(shadow.sketch, native.sketch)

    def test_bits_that_are_read_as_other_numbers(self):
        class Packed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = nn.Linear(16, 300).bfloat16()
                self.register_buffer("scale", torch.full((16,), 0.5).half().view(torch.uint8))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.head(x * self.scale.view(torch.float16).to(x.dtype))

        trace = captured(Packed(), image(torch.bfloat16)).result.trace
        assert rms(trace.shadow.tensors["head<input"]) == pytest.approx(rms(trace.tensors["head<input"]), rel=0.01)

    def test_a_fault_of_the_lower_precision_alone(self):
        class Kernel(nn.Module):
            def __init__(self, factor: float) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.head, self.factor = nn.Linear(16, 300).bfloat16(), [factor]

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                y = self.head(x)
                return y * self.factor[0] if y.dtype == torch.bfloat16 else y

        data = image(torch.bfloat16)
        baseline = captured(Kernel(1.0), data, records=True)
        assert compared(baseline, captured(Kernel(1.0), data)).matched
        verdict = compared(baseline, captured(Kernel(1.2), data))
        assert not verdict.matched
        assert shadow_states(verdict) in (["agrees"], ["differs"])

    def test_fused_encoders_stay_fused(self):
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        model = nn.TransformerEncoder(layer, 2).eval().bfloat16()
        data = image(torch.bfloat16)
        with torch.no_grad():
            expected = model(data)
        result = captured(model, data).result
        assert torch.equal(result.output, expected)
        assert [call.layer for call in result.trace.calls] == [call.layer for call in result.trace.shadow.calls]

    def test_all_views_of_one_pass_say_what_the_single_ones_say(self):
        combined = CombinedCapture(Net(torch.bfloat16), image(torch.bfloat16))
        alone = captured(Net(torch.bfloat16), image(torch.bfloat16))
        together = combined.feature_maps.capture()
        assert together.environment == alone.environment
        assert together.arrays.keys() == alone.arrays.keys()
        summary = ModelSummaryView(Net(torch.bfloat16), input_data=image(torch.bfloat16)).capture()
        assert combined.summary.capture().facts["layers"] == summary.facts["layers"]

    def test_it_alone_is_repeated_to_find_out_whether_a_model_is_stable(self, monkeypatch):
        model, dtypes = Net(torch.bfloat16), []
        model.register_forward_pre_hook(lambda _, args: dtypes.append(args[0].dtype))
        view = FeatureMapsView(model, image(torch.bfloat16))
        first = view.capture()
        again = view.capture_again(first)
        assert dtypes == [torch.bfloat16, *[torch.float32] * 3]  # the last of a pass that rounds otherwise
        assert all(np.array_equal(again.arrays[name], array) for name, array in first.arrays.items())

    def test_small_random_numbers_make_a_model_unstable(self):
        class Drawing(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = nn.Linear(16, 300).bfloat16()

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                y = self.head(x)
                return y + 0.003 * torch.randn_like(y)

        view = FeatureMapsView(Drawing(), image(torch.bfloat16))
        settings = Settings(Mode.COMPARE, Path(), Path("b"), Path("r"))
        assert Comparison(view, view.capture(), settings).instability() is not None


class TestAutocast:
    def model(self) -> Net:
        return Net(torch.float32)

    def test_the_same_matches_and_a_weight_of_half_a_thousandth_does_not(self):
        baseline = captured(self.model(), image(torch.float32), autocast=torch.bfloat16, records=True)
        assert compared(baseline, captured(self.model(), image(torch.float32), autocast=torch.bfloat16)).matched
        other = self.model()
        other.norm.weight.data *= 1.0005
        verdict = compared(baseline, captured(other, image(torch.float32), autocast=torch.bfloat16))
        assert (verdict.first.layer, verdict.cause) == ("norm", Cause.WEIGHTS)

    @pytest.mark.parametrize("recorded", [torch.bfloat16, None], ids=["left off", "left on"])
    def test_autocast_left_on_or_off_is_named_by_its_dtypes(self, recorded):
        baseline = captured(self.model(), image(torch.float32), autocast=recorded, records=True)
        actual = captured(self.model(), image(torch.float32), autocast=None if recorded else torch.bfloat16)
        verdict = compared(baseline, actual)
        assert (verdict.first.layer, verdict.cause) == ("embed", Cause.COMPUTATION)
        dtypes = ("bfloat16", "float32") if recorded else ("float32", "bfloat16")
        assert DtypeFinding("embed", "dtype", *dtypes) in verdict.findings
        assert shadow_states(verdict) == ["agrees"]

    def test_a_norm_in_a_region_that_no_longer_sums_in_float32(self):
        class Region(nn.Module):
            def __init__(self, *, exact: bool) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.embed, self.norm = nn.Linear(16, 64), Norm(64, exact=exact)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    return self.norm(self.embed(x))

        baseline = captured(Region(exact=True), image(torch.float32), records=True)
        verdict = compared(baseline, captured(Region(exact=False), image(torch.float32)))
        assert verdict.first.layer == "norm"

    def test_a_region_inside_a_float32_model(self):
        class Region(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.first, self.second = nn.Linear(16, 32), nn.Linear(32, 300)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    y = self.first(x)
                return self.second(y.float())

        baseline = captured(Region(), image(torch.float32), records=True)
        assert compared(baseline, captured(Region(), image(torch.float32))).matched
        other = Region()
        other.first.weight.data *= 1.002
        assert compared(baseline, captured(other, image(torch.float32))).first.layer == "first"


def test_a_model_that_takes_nothing_but_its_own_precision_says_so():
    class Kernel(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.dtype != torch.bfloat16:
                raise TypeError("this kernel takes bfloat16")
            return super().forward(x)

    notes = captured(Kernel(16, 8).bfloat16(), image(torch.bfloat16)).notes
    assert "the model raises TypeError: this kernel takes bfloat16" in " ".join(notes)


def test_weights_that_were_made_in_inference_mode():
    with torch.inference_mode():
        model = nn.Sequential(nn.Linear(16, 64), nn.Linear(64, 300)).bfloat16()
        before = model(image(torch.bfloat16))
    capture = captured(model, image(torch.bfloat16), records=True)
    assert "shadow.noise" in capture.arrays
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(model(image(torch.bfloat16)), before)


def test_float8_weights_cannot_be_converted():
    class Stored(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.ones(16, 8).to(torch.float8_e4m3fn))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight.to(x.dtype)

    assert "float8_e4m3fn cannot be converted" in " ".join(captured(Stored(), image(torch.bfloat16)).notes)


def test_a_long_pass_is_not_repeated_unless_asked_for(monkeypatch):
    monkeypatch.setattr("pytest_modelviz.probe.shadow._MOST_SECONDS", 0.0)
    model, data = Net(torch.bfloat16), image(torch.bfloat16)
    for view in (FeatureMapsView(model, data), CombinedCapture(model, data).feature_maps):
        left_out = view.capture()
        assert "shadow.structure" not in left_out.arrays
        assert "the pass took" in " ".join(left_out.notes)
        view.set_shadow(Shadow.ALWAYS)
        assert "shadow.structure" in view.capture().arrays


def test_large_weights_are_left_out_unless_asked_for(monkeypatch):
    monkeypatch.setattr("pytest_modelviz.probe.shadow._MOST_BYTES", 100)
    data = image(torch.bfloat16)
    left_out = captured(Net(torch.bfloat16), data)
    assert "shadow.structure" not in left_out.arrays
    assert "--modelviz-shadow=always" in " ".join(left_out.notes)
    assert "shadow.structure" in captured(Net(torch.bfloat16), data, shadow=Shadow.ALWAYS).arrays


def test_float32_and_float64_have_no_shadow():
    for dtype in (torch.float32, torch.float64):
        capture = captured(Net(dtype), image(dtype))
        assert not capture.notes
        assert "shadow.structure" not in capture.arrays


def test_float32_is_judged_by_its_noise():
    baseline = captured(Net(torch.float32), image(torch.float32), records=True)
    other = Net(torch.float32)
    other.head.weight.data *= 1 + 5e-5  # half of what the dtype alone is allowed
    assert compared(captured(Net(torch.float32), image(torch.float32)), captured(other, image(torch.float32))).matched
    verdict = compared(baseline, captured(other, image(torch.float32)))
    assert (verdict.first.layer, verdict.cause) == ("head", Cause.WEIGHTS)
