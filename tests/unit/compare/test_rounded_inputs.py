"""Dynamically quantised layers, which round their inputs to 8 bits: what that allows, and where it leads."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from traces_by_hand import tensor

from pytest_modelviz.compare.diagnosis import compare_traces
from pytest_modelviz.compare.dtype_findings import changes_around
from pytest_modelviz.compare.shadow import compare_passes
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import CodeFinding, FactFinding
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView

STEP = 8 / 127
DYNAMIC = {"extra_repr": "in_features=4, out_features=4, dtype=torch.qint8, qscheme=torch.per_tensor_affine"}


def passes(error, *, config=DYNAMIC, class_name="Linear", later=0.0, count=50):
    """Two passes of two layers; the first one's result is off by `error`, the second one's by `later`."""

    def one_pass(first, second):
        values = np.ones(count)
        records = {"in": tensor(*values), "a": tensor(*(values * (1 + first))), "b": tensor(*(values * (1 + second)))}
        rows = [("", 0, "in", "b"), ("a", 1, "in", "a"), ("b", 1, "a", "b")]
        calls = [Call(n, 0, depth, {"x": Leaf(tensor=i)}, {"": Leaf(tensor=o)}) for n, depth, i, o in rows]
        modules = {"": ModuleRecord("Net", {}, {}), **dict.fromkeys("ab", ModuleRecord(class_name, config, {}))}
        return ForwardTrace(ModelStructure(modules), calls, records)

    return one_pass(0.0, 0.0), one_pass(error, later)


def matches(*arguments, **options):
    return compare_traces(*passes(*arguments, **options), Tolerances()).matched


def test_two_numbers_may_be_a_step_off():
    allowed = STEP * (2 / 50) ** 0.5
    assert matches(0.99 * allowed)
    assert not matches(1.01 * allowed)
    assert not matches(0.5 * allowed, config={})


@pytest.mark.parametrize(
    "other",
    [
        {"class_name": "Int8Linear"},
        {"config": {"weight_dtype": "torch.qint8", "is_decomposed": "False"}},  # a reference layer of torch's
    ],
)
def test_other_layers_with_quantised_weights_are_allowed_no_step(other):
    assert not matches(0.5 * STEP * (2 / 50) ** 0.5, **other)


def test_a_recurrent_layer_rounds_what_it_has_computed_before():
    first = STEP * (2 / 50) ** 0.5
    allowed = min((first**2 + STEP * first) ** 0.5, STEP / 2)
    lstm = {"class_name": "LSTM", "config": {"dtype": "torch.qint8", "extra_repr": "4, 4"}}
    assert matches(0.99 * allowed, **lstm)
    assert not matches(1.01 * allowed, **lstm)


def test_what_follows_may_be_half_a_step_off_in_quadrature_if_its_inputs_differ_at_all():
    assert matches(1e-5, later=0.99 * STEP / 2)
    assert not matches(1e-5, later=1.1 * ((STEP / 2) ** 2 + STEP**2 * 2 / 50) ** 0.5)
    assert not matches(0.0, later=0.9 * STEP / 2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.skipif("none" in torch.backends.quantized.engine, reason="no engine for it")
class TestOfTorch:
    @staticmethod
    def model(dtype=torch.qint8):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.memory, self.cell = nn.Linear(4, 8), nn.LSTM(8, 8), nn.GRUCell(8, 4)

            def forward(self, x):
                return self.cell(self.memory(self.first(x))[0][0])

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            kinds = {nn.Linear, nn.LSTM, nn.GRUCell}
            return torch.ao.quantization.quantize_dynamic(Net(), kinds, dtype=dtype)

    def test_these_layers_round_their_inputs(self):
        trace = FeatureMapsView(self.model(), torch.ones(2, 3, 4)).capture().result.trace
        rounding = [name for name, module in trace.modules.items() if module.rounds_inputs]
        assert rounding == ["first", "memory", "cell"]
        trace = FeatureMapsView(nn.Linear(4, 4), torch.ones(3, 4)).capture().result.trace
        assert not any(module.rounds_inputs for module in trace.modules.values())

    @pytest.mark.parametrize(
        ("integers", "scale", "factor", "expected"),
        [(0, 1.0, 1.0, True), (1, 1 + 2e-7, 1.0, True), (1, 1.0, 1.0, False), (1, 1 + 2e-7, 1.02, False)],
        ids=["the same", "anew", "other weights", "other code"],
    )
    def test_results_follow_weights_that_were_quantised_anew(self, integers, scale, factor, expected):
        weights = torch.arange(-128, 128, dtype=torch.float32).view(16, 16)
        data = torch.randn(64, 64, 16, generator=torch.Generator().manual_seed(0))

        class Scaled(nn.Module):
            def __init__(self, first, scale, factor):
                super().__init__()
                layer = torch.ao.nn.quantized.dynamic.Linear(16, 16)
                others = weights.clone()
                others[3, 3] += first
                layer.set_weight_bias(torch.quantize_per_tensor(others * scale, scale, 0, torch.qint8), torch.zeros(16))
                layer.register_forward_hook(lambda module, args, output: output * factor)
                self.layer = layer

            def forward(self, x):
                return self.layer(x)

        views = [FeatureMapsView(Scaled(*each), data) for each in ((0, 1.0, 1.0), (integers, scale, factor))]
        verdict = views[0].compare(*[view.capture() for view in views], Tolerances())
        assert verdict.matched is expected

    def test_another_engine_is_not_a_change_of_a_layer_s_code(self):
        capture = FeatureMapsView(self.model(), torch.ones(2, 3, 4)).capture()
        other = replace(capture, environment={**capture.environment, "quantized_engine": "another"})
        trace = capture.result.trace
        key = trace.calls[1].outputs[""].tensor
        records = {**trace.tensors, key: replace(trace.tensors[key], sketch=trace.tensors[key].sketch * 1.2)}
        for baseline, named in ((other, True), (capture, False)):
            around = changes_around(baseline.environment, capture.environment)
            verdict = compare_passes(replace(trace, tensors=records), trace, Tolerances(), around=around)
            assert not verdict.matched
            assert any(isinstance(finding, FactFinding) for finding in verdict.findings) is named
            assert any(isinstance(finding, CodeFinding) for finding in verdict.findings) is not named
