"""Baselines whose passes, shadows and parts contradict each other: none lets a drift match without a word."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.ao.nn.quantized as nnq
from forging_by_hand import matches
from torch import nn

from pytest_modelviz.compare.evidence import changed_weights
from pytest_modelviz.compare.last_digits import differs_in_last_digits
from pytest_modelviz.compare.shadow import _bounded, _with_shadow_distances
from pytest_modelviz.compare.tolerance import LayerTolerance, Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.explanation_shadow import explanation_shadow, with_explanation_shadow
from pytest_modelviz.records.findings import FactFinding, Role, ShadowFinding, UnrecordedPartsFinding
from pytest_modelviz.records.noise import EXPLANATION_NOISE, packed_noise
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace_arrays import pack_trace, unpack_trace
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.cam_map.records import peak
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView


class Scaled(nn.Module):
    """Multiplies on the way, in lower precision alone if that is asked for."""

    def __init__(self, factor=1.0, *, only_low=False):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 4)
        self.__dict__.update(_factor=factor, _only_low=only_low)  # no configuration

    def forward(self, x):
        y = self.a(x)
        is_scaled = not self._only_low or y.dtype != torch.float32
        return self.b(y * self._factor if is_scaled else y)


def rows():
    return torch.randn(4, 16, generator=torch.Generator().manual_seed(0))


def low(factor=1.0):
    return FeatureMapsView(Scaled(factor, only_low=True).bfloat16(), rows().bfloat16())


def with_trace(capture, trace):
    return dataclasses.replace(capture, arrays={**capture.arrays, **pack_trace(trace)})


class OnlyLow(nn.Module):
    """Multiplies what it is given in lower precision."""

    def __init__(self, factor):
        super().__init__()
        self.__dict__["_factor"] = factor

    def forward(self, x):
        return x if x.dtype == torch.float32 else x * self._factor


def with_low_fault(model, factor):
    return nn.Sequential(model[0], nn.Sequential(model[1], OnlyLow(factor)), *model[2:])


def multiplied(capture, factor):
    """The same explanation times a number, its shadow as it is."""
    if "map" in capture.arrays:
        values = (capture.arrays["map"] * factor).astype(np.float32)
        facts = {**capture.facts, "peak": peak(values)}
        return dataclasses.replace(capture, facts=facts, arrays={**capture.arrays, "map": values})
    trace = unpack_trace(dict(capture.arrays))
    records = {
        k: dataclasses.replace(r, sketch=(r.sketch * factor).astype(np.float32)) for k, r in trace.gradients.items()
    }
    trace.gradients = records
    return with_trace(capture, trace)


def flipped(capture):
    """The same explanation with another sign, its shadow as it is."""
    return multiplied(capture, -1.0)


class Drifting(nn.Module):
    """A small network that can be changed in one place, or whose results are rounded as those of TF32 products are."""

    def __init__(self, change=lambda model: None, *, rounds=False):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act = nn.Conv2d(3, 8, 3), nn.GELU()
        self.head, self.spare = nn.Linear(8, 5), nn.Linear(8, 5)
        self.__dict__["_rounds"] = rounds  # no configuration
        with torch.no_grad():
            change(self)

    def forward(self, x):
        y = self.conv(x)
        y = self.act(y.half().float() if self._rounds else y)
        return self.head(y.mean((2, 3)))


def large_head(model):
    model.head.weight.mul_(1.02)
    model.head.bias.mul_(1.02)


def negated_head(model):
    model.head.weight.neg_()


def tanh_gelu(model):
    model.act.approximate = "tanh"


def unread_layer(model):
    model.spare.weight.mul_(1.5)


def picture(factor=1.0):
    return 4.0 * factor * torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))


DRIFTS = {
    "head x 1.02": (large_head, 1.0),
    "input x 1.001": (lambda model: None, 1.001),
    "tanh GELU": (tanh_gelu, 1.0),
    "an unread layer": (unread_layer, 1.0),
}
STATED = ShadowFinding("stated", role=Role.ALSO)


def stating(capture, precision):
    """A capture that says what products were computed in, and no noise, which would allow less."""
    arrays = {name: array for name, array in capture.arrays.items() if not name.endswith("noise")}
    environment = {**capture.environment, "float32_precision": precision}
    return dataclasses.replace(capture, arrays=arrays, environment=environment)


@pytest.mark.parametrize("drift", DRIFTS)
class TestPassesOfNoLowerPrecision:
    """The pass of the old model in front, that of the drifted one as its float32 shadow, weights of either."""

    def forged(self, drift, precision, *, weights_of):
        change, factor = DRIFTS[drift]
        baseline = FeatureMapsView(Drifting(), picture()).capture()
        view = FeatureMapsView(Drifting(change), picture(factor))
        actual = view.capture()
        old, new = (unpack_trace(dict(capture.arrays)) for capture in (baseline, actual))
        structure = {"old": old, "drifted": new}[weights_of].structure
        shadow = dataclasses.replace(new, structure=structure)
        forged = dataclasses.replace(old, structure=structure, shadow=shadow)
        return view, stating(with_trace(baseline, forged), precision), actual

    def test_no_run_records_a_shadow_in_full_precision(self, drift):
        view, baseline, actual = self.forged(drift, "ieee", weights_of="old")
        assert not view.compare(baseline, actual, Tolerances()).matched
        if drift != "an unread layer":  # with its own weights the baseline is that of the model
            view, baseline, actual = self.forged(drift, "ieee", weights_of="drifted")
            assert not view.compare(baseline, actual, Tolerances()).matched

    @pytest.mark.parametrize("precision", ["tf32", "bf16"])
    def test_a_precision_that_the_baseline_states_is_noted(self, drift, precision):
        view, baseline, actual = self.forged(drift, precision, weights_of="drifted")
        verdict = view.compare(baseline, actual, Tolerances())
        within = {"tf32": drift != "head x 1.02", "bf16": True}[precision]
        assert verdict.matched is within
        needs_note = within and drift != "an unread layer"  # of which the passes say nothing
        assert (STATED in verdict.findings) is needs_note
        verdict = view.compare(self.forged(drift, precision, weights_of="old")[1], actual, Tolerances())
        assert STATED in verdict.findings or not verdict.matched


def test_a_pass_in_tf32_matches_one_in_full_precision_with_a_note():
    view = FeatureMapsView(Drifting(), picture())
    actual, rounded = view.capture(), FeatureMapsView(Drifting(rounds=True), picture()).capture()
    trace = unpack_trace(dict(rounded.arrays))
    trace.shadow = unpack_trace(dict(actual.arrays))
    baseline = stating(with_trace(rounded, trace), "tf32")
    verdict = view.compare(baseline, actual, Tolerances())
    assert verdict.matched
    assert verdict.findings == (STATED,)
    drifted = FeatureMapsView(Drifting(large_head), picture())
    assert not drifted.compare(baseline, drifted.capture(), Tolerances()).matched


class TestPasses:
    def test_the_shadow_of_a_drifted_model_beside_the_pass_of_the_old(self):
        view = FeatureMapsView(Scaled(), rows())
        baseline, drifted = view.capture(), FeatureMapsView(Scaled(5.0), rows()).capture()
        forged = unpack_trace(dict(baseline.arrays))
        forged.shadow = unpack_trace(dict(drifted.arrays))
        assert not view.compare(with_trace(baseline, forged), drifted, Tolerances()).matched

    def test_tensors_without_counterparts_say_nothing_of_rounding(self):
        trace = low().capture().result.trace
        own = _with_shadow_distances(trace, trace.shadow)
        assert own.tensors["b"].shadow_distance > 0
        assert _bounded(own, own).tensors["b"].shadow_distance == own.tensors["b"].shadow_distance
        for before in (dataclasses.replace(own, tensors={}), trace):
            assert {record.shadow_distance for record in _bounded(own, before).tensors.values()} == {0.0}


OF_FLOAT32 = {
    "cam": lambda model, x: CamMapView(model, x, target_layer="conv", target=1),
    "saliency": lambda model, x: SaliencyMapView(model, x, target=1),
}


@pytest.mark.parametrize("name", OF_FLOAT32)
class TestExplanationsOfNoLowerPrecision:
    """The explanation of the old model, and as its float32 shadow that of the drifted one."""

    def forged(self, name, change, precision, *, weights_of="drifted"):
        baseline = OF_FLOAT32[name](Drifting(), picture()).capture()
        view = OF_FLOAT32[name](Drifting(change), picture())
        actual = view.capture()
        old, new = (unpack_trace(dict(capture.arrays)) for capture in (baseline, actual))
        if weights_of == "drifted":
            baseline = with_trace(baseline, dataclasses.replace(old, structure=new.structure))
        shadow = dataclasses.replace(actual, arrays=dict(actual.arrays))
        return view, with_explanation_shadow(stating(baseline, precision), shadow, ("map",)), actual

    @pytest.mark.parametrize("precision", ["ieee", "tf32", "bf16"])
    @pytest.mark.parametrize("change", [negated_head, large_head, tanh_gelu])
    def test_weights_of_two_models_are_unreadable(self, name, change, precision):
        view, baseline, actual = self.forged(name, change, precision, weights_of="old")
        with pytest.raises(UnreadableBaselineError, match="of another model"):
            view.compare(baseline, actual, Tolerances())

    @pytest.mark.parametrize("change", [negated_head, large_head])
    def test_no_run_records_a_shadow_in_full_precision(self, name, change):
        view, baseline, actual = self.forged(name, change, "ieee")
        verdict = view.compare(baseline, actual, Tolerances())
        assert not verdict.matched
        assert verdict.error == pytest.approx(2.0 if change is negated_head else 0.02, rel=0.1)

    @pytest.mark.parametrize(("change", "matched"), [(negated_head, False), (large_head, True)])
    def test_a_precision_that_the_baseline_states_is_bounded_and_noted(self, name, change, matched):
        for precision in ("tf32", "bf16"):
            view, baseline, actual = self.forged(name, change, precision)
            verdict = view.compare(baseline, actual, Tolerances())
            assert verdict.matched is matched
            assert (STATED in verdict.findings) is matched
        assert not view.compare(baseline, actual, Tolerances(rtol=1e-3)).matched

    def test_an_explanation_in_tf32_matches_one_in_full_precision(self, name):
        view, baseline, actual = self.forged(name, lambda model: None, "tf32")
        verdict = view.compare(baseline, actual, Tolerances())
        assert verdict.matched
        assert not verdict.findings  # what this run's own precision allows needs no note


EXPLANATIONS = {
    "cam": lambda model, x: CamMapView(model, x, target_layer="0"),
    "saliency": SaliencyMapView,
}


@pytest.mark.parametrize("name", EXPLANATIONS)
class TestExplanations:
    def view(self, name):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
        image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        return EXPLANATIONS[name](model.bfloat16(), image.bfloat16())

    def test_a_dtype_that_its_text_contradicts_is_unreadable(self, name):
        view = self.view(name)
        baseline = view.capture()
        forged = unpack_trace(dict(baseline.arrays))
        for records in (forged.tensors, forged.structure.weights):
            records.update((key, dataclasses.replace(record, dtype="float16")) for key, record in records.items())
        with pytest.raises(UnreadableBaselineError, match="lowest dtype"):
            view.compare(with_trace(baseline, forged), baseline, Tolerances())

    def test_another_answer_is_told_also_where_it_is_as_far_from_its_shadow(self, name):
        view = self.view(name)
        actual = view.capture()
        forged = dataclasses.replace(actual, facts={**actual.facts, "predicted": [4]})
        if name == "cam":
            forged = dataclasses.replace(forged, arrays={**forged.arrays, "map": -forged.arrays["map"] * 0.6})
            forged.facts["peak"] = float(f"{np.abs(forged.arrays['map']).max():.4g}")
        verdict = view.compare(forged, actual, Tolerances())
        assert FactFinding("predicted", "[4]", str(actual.facts["predicted"])) in verdict.findings

    def test_a_smaller_map_is_as_far_only_where_the_user_allows_nothing_else(self, name):
        view, drifted = self.view(name), self.view(name)
        view.model, drifted.model = (with_low_fault(view.model, factor) for factor in (1.0, 1.3))
        baseline, actual = view.capture(), drifted.capture()
        forged = multiplied(baseline, 0.7)
        assert drifted.compare(forged, actual, Tolerances()).matched  # as far from its shadow as the forged one
        assert not drifted.compare(flipped(baseline), actual, Tolerances()).matched  # which is no rounding
        own = (LayerTolerance("0" if name == "cam" else "", rtol=1e-2),)
        for tolerances in (Tolerances(rtol=1e-2), Tolerances(atol=1e-6), Tolerances(layers=own)):
            assert not drifted.compare(forged, actual, tolerances).matched

    @pytest.mark.parametrize(("fact", "value"), [("method", "eigencam"), ("layer", "2"), ("call", 7), ("shape", [1])])
    def test_another_request_is_no_matter_of_precision(self, name, fact, value):
        view = self.view(name)
        actual = view.capture()
        if fact in actual.facts:
            forged = flipped(dataclasses.replace(actual, facts={**actual.facts, fact: value}))
            assert not matches(view, forged, actual)

    def test_a_lowest_dtype_is_held_against_the_arrays_without_shadows_too(self, name):
        view = self.view(name)
        view.model, view._input = view.model.float(), view._input.float()
        actual = view.capture()
        forged = dataclasses.replace(actual, facts={**actual.facts, "lowest_dtype": "bfloat16"})
        with pytest.raises(UnreadableBaselineError, match="lowest dtype"):
            view.compare(forged, actual, Tolerances())

    def test_a_shadow_has_no_shadow_of_its_own(self, name):
        view = self.view(name)
        actual = view.capture()
        own = {key.replace("trace", "shadow"): a for key, a in actual.arrays.items() if key.startswith("float32.trace")}
        noise = {f"float32.{name}": packed_noise([0.5]) for name in (EXPLANATION_NOISE, "shadow.noise")}
        forged = dataclasses.replace(actual, arrays={**actual.arrays, **own, **noise})
        assert explanation_shadow(forged).arrays.keys() == explanation_shadow(actual).arrays.keys()
        assert view.compare(forged, actual, Tolerances()) == view.compare(actual, actual, Tolerances())
        assert not differs_in_last_digits(forged, actual, Tolerances())  # nor does it survive an update

    def test_tensors_that_nothing_refers_to_decide_nothing(self, name):
        actual = self.view(name).capture()
        trace = unpack_trace(dict(actual.arrays))
        for table in (trace.tensors, trace.structure.weights):
            table["decoy"] = dataclasses.replace(next(iter(table.values())), dtype="float16")
        kept = unpack_trace(with_trace(actual, trace).arrays)
        assert "decoy" not in kept.tensors
        assert "decoy" not in kept.weights

    def test_a_baseline_that_does_not_say_which_output_is_explained(self, name):
        class Several(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

            def forward(self, x):
                scores = self.head(self.conv(x).mean((2, 3)))
                return {"logits": scores, "out": -scores}

        view = {"cam": CamMapView, "saliency": SaliencyMapView}[name]
        made = view(Several(), torch.ones(1, 3, 8, 8), target=1)
        actual = made.capture()
        assert "explained" in actual.facts
        facts = {key: value for key, value in actual.facts.items() if key != "explained"}
        verdict = made.compare(dataclasses.replace(actual, facts=facts), actual, Tolerances())
        assert FactFinding("explained", "-", str(actual.facts["explained"])) in verdict.findings


class TestParts:
    def test_a_scale_that_is_hardly_another_explains_no_other_weight(self):
        def structure(weight, scale):
            records = {"w": weight, "w (scale)": scale}
            made = {key: TensorRecord("float32", (2,), np.array(values, np.float32)) for key, values in records.items()}
            return ModelStructure({"": ModuleRecord("Net", {}, {key: key for key in records})}, made)

        baseline = structure([1.0, 1.0], [0.1, 0.1])
        assert changed_weights(baseline, structure([1.05, 1.05], [0.105, 0.105])).keys() == {("", "w (scale)")}
        changed = changed_weights(baseline, structure([-5.0, -5.0], [0.100005, 0.100005]))
        assert changed.keys() == {("", "w"), ("", "w (scale)")}

    def test_parts_that_a_baseline_lacks_are_told(self):
        model = nn.Sequential(nnq.Conv2d(3, 4, 3))
        view = KernelMapsView(model)
        baseline = view.capture()
        trace = unpack_trace(dict(baseline.arrays))
        assert not view.compare(baseline, baseline, Tolerances()).findings
        parts = {key for key in trace.weights if key.endswith(("(scale)", "(integers)", "(zero point)"))}
        weights = {key: record for key, record in trace.weights.items() if key not in parts}
        modules = {
            name: ModuleRecord(
                module.class_name, module.config, {k: v for k, v in module.weights.items() if v not in parts}
            )
            for name, module in trace.modules.items()
        }
        forged = dataclasses.replace(
            trace, structure=dataclasses.replace(trace.structure, modules=modules, weights=weights)
        )
        verdict = view.compare(with_trace(baseline, forged), baseline, Tolerances())
        assert verdict.matched
        assert UnrecordedPartsFinding(1) in verdict.findings

    @pytest.mark.parametrize("missing", ["scale", "zero_point"])
    def test_the_scale_of_results_that_a_baseline_leaves_out(self, missing):
        class Quantise(nn.Module):
            def __init__(self, zero_point):
                super().__init__()
                self.scale, self.zero_point = 0.1, zero_point

            def forward(self, x):
                return torch.quantize_per_tensor(x, self.scale, self.zero_point, torch.quint8).dequantize()

        def net(zero_point=64):
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(16, 16), Quantise(zero_point))

        view = FeatureMapsView(net(), rows())
        baseline = view.capture()
        forged = unpack_trace(dict(baseline.arrays))
        del forged.modules["1"].config[missing]
        assert not view.compare(
            with_trace(baseline, forged), FeatureMapsView(net(90), rows()).capture(), Tolerances()
        ).matched
