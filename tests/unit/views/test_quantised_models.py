"""Quantised models: what is stored is compared as it is, and only what is computed has room for a rounding."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn
from zoo import vectors

from pytest_modelviz.compare.diagnosis import compare_traces
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import ConfigFinding, QuantisedAnewFinding, UnrecordedPartsFinding, WeightFinding
from pytest_modelviz.records.structure import PACKED, QUANTISED_SUFFIXES
from pytest_modelviz.records.trace_arrays import pack_trace, unpack_trace
from pytest_modelviz.reports.sentences import sentence
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch has another home for them by now
    from torch.ao.nn import quantized
    from torch.ao.nn.intrinsic import quantized as fused

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
needs_engine = pytest.mark.skipif(
    not {"fbgemm", "x86", "qnnpack"} & set(torch.backends.quantized.supported_engines), reason="no engine for it"
)
pytestmark = [pytestmark, needs_engine]


def pictures():
    return torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(3))


def convolution(kind, inputs, seed, scale, zero_point):
    generator = torch.Generator().manual_seed(seed)
    conv = kind(inputs, 8, 3)
    weight = torch.randn(8, inputs, 3, 3, generator=generator) / (9 * inputs) ** 0.5
    scales = weight.abs().amax((1, 2, 3)) / 127
    weight = torch.quantize_per_channel(weight, scales, torch.zeros(8, dtype=torch.int64), 0, torch.qint8)
    conv.set_weight_bias(weight, torch.randn(8, generator=generator) / 4)
    conv.scale, conv.zero_point = scale, zero_point
    return conv


def static():
    """Two convolutions, of which the first lets no negative results through."""
    return nn.Sequential(
        quantized.Quantize(1 / 127, 0, torch.quint8),
        convolution(fused.ConvReLU2d, 3, 0, 0.012, 0),
        convolution(quantized.Conv2d, 8, 1, 0.02, 60),
        quantized.DeQuantize(),
    ).eval()


def repacked(model, layer, *, factor=1.0, integer=0, bias=1.0):
    conv = model.get_submodule(layer)
    weight = conv.weight()
    integers = weight.int_repr().contiguous()
    integers[3, 2, 1, 1] += integer
    scales, zeros = weight.q_per_channel_scales() * factor, weight.q_per_channel_zero_points()
    conv.set_weight_bias(torch._make_per_channel_quantized_tensor(integers, scales, zeros, 0), conv.bias() * bias)


def without_relu(model):
    conv = quantized.Conv2d(3, 8, 3)
    conv.set_weight_bias(model[1].weight(), model[1].bias())
    conv.scale, conv.zero_point = model[1].scale, model[1].zero_point
    model[1] = conv


def calibrated(model):
    model[2].scale, model[2].zero_point = 0.021, 62


def attribute(name, value):
    return lambda model: setattr(model[2], name, value)


FAULTS = {
    "scale by 5 %": (lambda m: repacked(m, "2", factor=1.05), "2", "weights", ["weight (scale)"]),
    "scale by 10 %": (lambda m: repacked(m, "2", factor=1.1), "2", "weights", ["weight (scale)"]),
    "one integer": (lambda m: repacked(m, "2", integer=1), "2", "weights", ["weight (integers)"]),
    "bias": (lambda m: repacked(m, "2", bias=1.05), "2", "weights", ["bias"]),
    "zero point of the output": (attribute("zero_point", 61), "2", "architecture", ["zero_point"]),
    "scale of the output": (attribute("scale", 0.0201), "2", "architecture", ["scale"]),
    "another calibration": (calibrated, "2", "architecture", ["scale", "zero_point"]),
    "no ReLU": (without_relu, "1", "architecture", ["class"]),
}


def verdict_on(other, baseline=None, view=FeatureMapsView):
    return view(other, pictures()).compare(
        baseline or view(static(), pictures()).capture(), view(other, pictures()).capture(), Tolerances()
    )


def names(verdict, layer):
    own = [finding for finding in verdict.findings if getattr(finding, "layer", None) == layer]
    return [finding.name for finding in own if hasattr(finding, "name")]


class TestStatic:
    def test_it_matches_itself(self):
        verdict = verdict_on(static())
        assert (verdict.matched, verdict.findings) == (True, ())

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_fault_is_found_and_named(self, fault):
        change, layer, cause, found = FAULTS[fault]
        other = static()
        change(other)
        verdict = verdict_on(other)
        assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, layer, cause)
        assert names(verdict, layer) == found

    @pytest.mark.parametrize(("change", "part"), [({"factor": 1.05}, "scale"), ({"integer": 1}, "integers")])
    def test_kernels_show_what_of_a_weight_changed(self, change, part):
        other = static()
        repacked(other, "2", **change)
        views = KernelMapsView(static()), KernelMapsView(other)
        verdict = views[0].compare(views[0].capture(), views[1].capture(), Tolerances())
        assert (verdict.matched, verdict.first.layer) == (False, "2")
        assert f"weight ({part})" in names(verdict, "2")

    @pytest.mark.parametrize("trained", [True, False])
    def test_a_bias_that_an_engine_returns_as_a_parameter_is_the_same(self, trained):
        model, other = (nn.Sequential(quantized.Linear(8, 4)).eval() for _ in range(2))
        weight = torch.quantize_per_tensor(torch.ones(4, 8), 0.5, 0, torch.qint8)
        model[0].set_weight_bias(weight, nn.Parameter(torch.ones(4), requires_grad=trained))
        other[0].set_weight_bias(weight, torch.ones(4))
        views = ModelSummaryView(model), ModelSummaryView(other)
        assert views[0].compare(views[0].capture(), views[1].capture(), Tolerances()).matched


class TestEarlierBaseline:
    """One that was recorded before the parts of quantised weights were."""

    @staticmethod
    def trace_of(model, *, with_parts=True):
        trace = unpack_trace(FeatureMapsView(model, pictures()).capture().arrays)
        if with_parts:
            return trace
        suffixes = (*QUANTISED_SUFFIXES, PACKED)
        modules = {
            name: replace(module, weights={k: v for k, v in module.weights.items() if not k.endswith(suffixes)})
            for name, module in trace.modules.items()
        }
        weights = {key: record for key, record in trace.weights.items() if not key.endswith(suffixes)}
        trace = replace(trace, structure=replace(trace.structure, modules=modules, weights=weights))
        trace.tensors.update({key: replace(record, step=None) for key, record in trace.tensors.items()})
        return unpack_trace(pack_trace(trace))

    def test_it_matches_and_the_report_says_what_it_lacks(self):
        verdict = compare_traces(self.trace_of(static(), with_parts=False), self.trace_of(static()), Tolerances())
        assert (verdict.matched, verdict.findings) == (True, (UnrecordedPartsFinding(2),))
        assert "2 layers were not compared" in sentence(verdict.findings[0])

    def test_the_numbers_that_are_stood_for_show_a_changed_scale(self):
        other = static()
        repacked(other, "2", factor=1.001)
        verdict = compare_traces(self.trace_of(static(), with_parts=False), self.trace_of(other), Tolerances())
        assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "2", "weights")
        weights = [finding for finding in verdict.findings if isinstance(finding, WeightFinding)]
        assert [(f.name, round(f.error, 6)) for f in weights] == [("weight", 0.001)]

    def test_an_output_s_scale_is_in_its_configuration(self):
        other = static()
        other[2].scale *= 1.01
        verdict = compare_traces(self.trace_of(static(), with_parts=False), self.trace_of(other), Tolerances())
        assert (verdict.matched, verdict.cause) == (False, "architecture")
        assert [f.name for f in verdict.findings if isinstance(f, ConfigFinding)] == ["scale"]

    def test_what_only_the_baseline_has_is_a_drift(self):
        verdict = compare_traces(self.trace_of(static()), self.trace_of(static(), with_parts=False), Tolerances())
        assert (verdict.matched, verdict.cause) == (False, "architecture")


class TestQuantisedAnew:
    """On another processor, from floats that differ in their last digits."""

    @staticmethod
    def other(*, scales, integers):
        other = static()
        repacked(other, "1", factor=scales)
        repacked(other, "2", factor=scales, integer=integers)
        return other

    def test_a_few_integers_next_to_a_tie_are_no_drift_and_the_report_says_so(self):
        other = self.other(scales=1 + 5e-7, integers=1)
        verdict = verdict_on(other)
        assert (verdict.matched, verdict.findings) == (True, (QuantisedAnewFinding(1),))
        assert "some integers of 1 weight differ" in sentence(verdict.findings[0])
        views = KernelMapsView(static()), KernelMapsView(other)
        assert views[0].compare(views[0].capture(), views[1].capture(), Tolerances()).matched

    @pytest.mark.parametrize(("scales", "integers"), [(1.0, 1), (1 + 5e-7, 40), (1.001, 1)])
    def test_other_weights_are(self, scales, integers):
        verdict = verdict_on(self.other(scales=scales, integers=integers))
        assert (verdict.matched, verdict.cause) == (False, "weights")
        assert "weight (integers)" in names(verdict, "2")


class TestDynamic:
    @pytest.mark.parametrize("recurrent", [nn.LSTM, nn.GRU])
    def test_recurrent_layers(self, recurrent):
        quantize = pytest.importorskip("torch.ao.quantization").quantize_dynamic
        torch.manual_seed(0)
        plain = nn.Sequential(recurrent(8, 16)).eval()
        model = quantize(plain, {recurrent})
        with torch.no_grad():
            plain[0].weight_hh_l0[5, 5] = -plain[0].weight_hh_l0[5, 5] - 0.1
        other = quantize(plain, {recurrent})
        sequence = vectors()[None]
        view, changed = FeatureMapsView(model, sequence), FeatureMapsView(other, sequence)
        baseline = view.capture()
        assert view.compare(baseline, view.capture(), Tolerances()).matched
        verdict = view.compare(baseline, changed.capture(), Tolerances())
        assert (verdict.matched, verdict.cause) == (False, "weights")
        found = [f.name for f in verdict.findings if isinstance(f, WeightFinding)]
        assert any(name.endswith(" (packed) (integers)") for name in found)
