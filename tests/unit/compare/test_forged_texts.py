"""A baseline's text (JSON) and its arrays say the same, or it is unreadable; and no text is near every other."""

import copy
import dataclasses
import re

import numpy as np
import pytest
import torch
from forgery_subjects import SUBJECTS, convolved, image, negated, net, strided, wider
from forging_by_hand import matches, reread
from torch import nn

from pytest_modelviz.compare.arrays import compare_arrays
from pytest_modelviz.compare.readable import is_same_but_for_rounding
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView

CONTRADICTIONS = {
    "feature_maps": ("layers", "head", {"class": "Linear", "in": "input: float32[1, 4]", "out": "float32[1, 11]"}),
    "kernel_maps": ("layers", "stem.0", {"class": "Conv2d", "weight": "float32[4, 3, 5, 5]", "bias": "float32[4]"}),
    "cam_map": ("peak", None, 0.5),
    "saliency_map": ("shape", None, [1, 3, 9, 9]),
    "activation_maximization": ("climbs", "2", {"start": 0.0, "end": 1.0, "highest": 1.0}),
    "training_curve": ("steps", "3", {"loss": 0.001, "gradient norm": 0.5}),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_text_that_contradicts_its_arrays_is_unreadable(name):
    (key, row, value), (view, _) = CONTRADICTIONS[name], SUBJECTS[name]()
    capture = view.capture()
    assert view.compare(capture, capture, Tolerances()).matched
    facts = copy.deepcopy(dict(capture.facts))
    if row is None:
        facts[key] = value
    else:
        assert facts[key][row] != value
        facts[key][row] = value
    with pytest.raises(UnreadableBaselineError, match="its text and its arrays disagree"):
        view.compare(dataclasses.replace(capture, facts=facts), capture, Tolerances())
    for changed in ({**facts, key: None}, {k: v for k, v in facts.items() if k != key}):
        with pytest.raises(UnreadableBaselineError):
            view.compare(dataclasses.replace(capture, facts=changed), capture, Tolerances())


def test_values_that_grew_are_told_in_the_text():
    view = FeatureMapsView(net(), image())
    capture = view.capture()
    trace = stored_trace(dict(capture.arrays))
    key = next(key for key, record in trace.tensors.items() if record.sketch.size > 20)
    trace.tensors[key] = dataclasses.replace(trace.tensors[key], sketch=trace.tensors[key].sketch * 3)
    grown = dataclasses.replace(capture, arrays={**capture.arrays, **pack_trace(trace)})
    with pytest.raises(UnreadableBaselineError, match="its text and its arrays disagree"):
        view.compare(grown, capture, Tolerances())


@pytest.mark.parametrize("number", ["1000000e+999", "9" * 400, "0.9999450", "1e308", "50257.50"])
def test_no_number_in_a_text_is_near_every_other(number):
    """One that is infinite is near everything, if nobody looks; one of many digits makes no computed one of 0.9999."""

    class Decays(nn.Module):
        def __init__(self, decay, count):
            super().__init__()
            self.decay, self.count = decay, count

        def extra_repr(self):
            return f"decay={self.decay}, count={self.count}"

    def any_number(text):
        return re.sub(r"(?<![\w.])\d[\d.]*(?:e-\d+)?(?![\w.])", number, text)

    def everywhere(facts):
        for row in facts["layers"].values():
            row.update({key: any_number(row[key]) for key in ("config", "in", "out") if key in row})

    def in_arguments(facts):
        for row in facts["operators"].values():
            row["arguments"] = {key: any_number(text) for key, text in row.get("arguments", {}).items()}

    view, others = ModelSummaryView(Decays(0.9999, 50257)), [Decays(0.99999, 50257), Decays(0.9999, 50260)]
    baseline = reread(view, view.capture(), everywhere)
    assert not any(matches(other, baseline, other.capture()) for other in map(ModelSummaryView, others))
    view, other = ModelGraphView(net(), image()), ModelGraphView(net(wider), image())
    assert not matches(other, reread(view, view.capture(), in_arguments), other.capture())

    def configured(trace):
        for module in trace.modules.values():
            module.config.update({key: any_number(text) for key, text in module.config.items()})

    view, other = KernelMapsView(net()), KernelMapsView(net(strided))
    capture = view.capture()
    trace = stored_trace(dict(capture.arrays))
    configured(trace)
    baseline = dataclasses.replace(capture, arrays={**capture.arrays, **pack_trace(trace)})
    assert not matches(other, baseline, other.capture())


@pytest.mark.parametrize("is_reordered", [False, True], ids=["the short way", "the long way"])
@pytest.mark.parametrize("key", ["parameters", "trainable", "parameter_bytes", "mult_adds"])
def test_a_summary_s_totals_are_those_of_its_layers(key, is_reordered):
    view = ModelSummaryView(net(), image())
    capture = view.capture()

    def forge(facts):
        if is_reordered:
            facts["layers"][""]["attributes"] = {"seen": "7"}  # which is no drift by itself
        facts["totals"][key] -= 1

    assert capture.facts["totals"][key] > 0
    with pytest.raises(UnreadableBaselineError, match=rf"its totals contradict its layers \({key} should be"):
        view.compare(reread(view, capture, forge), capture, Tolerances())


@pytest.mark.parametrize("size", [4, 99])
def test_a_summary_without_a_pass_believes_no_baseline_about_caches(size):
    class Cached(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.linear = nn.Linear(2, 2)
            if size:
                self.register_buffer("mask", torch.zeros(size), persistent=False)

    view, other = ModelSummaryView(Cached(0)), ModelSummaryView(Cached(size))
    baseline = reread(view, view.capture(), lambda facts: facts["layers"][""].update(state=["mask"]))
    assert not matches(other, baseline, other.capture())


@pytest.mark.parametrize("factor", [-1.0, 1.9, 0.6])
def test_arrays_of_another_model_under_the_text_of_this_one_are_unreadable(factor):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.linear, self.factor = nn.Linear(4, 10), 1.0

        def forward(self, x):
            return self.linear(x) * self.factor

    model = Scaled()
    view = FeatureMapsView(model, torch.ones(1, 4))
    capture = view.capture()
    model.factor = factor
    actual = view.capture()
    arrays = {**capture.arrays, **{key: values for key, values in actual.arrays.items() if key.startswith("trace")}}
    with pytest.raises(UnreadableBaselineError, match="its text and its arrays disagree"):
        view.compare(dataclasses.replace(capture, arrays=arrays), actual, Tolerances())
    view, other = KernelMapsView(net()), KernelMapsView(net(convolved, lambda model: model.stem[0].weight.mul_(-3)))
    capture, actual = view.capture(), other.capture()
    arrays = {**capture.arrays, **{key: values for key, values in actual.arrays.items() if key.startswith("trace")}}
    with pytest.raises(UnreadableBaselineError, match="its text and its arrays disagree"):
        other.compare(dataclasses.replace(capture, arrays=arrays), actual, Tolerances())


class Multiplied(nn.Module):
    def __init__(self, factor, count, dtype):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, count).to(dtype)
        for parameter in self.parameters():
            parameter.data *= factor

    def forward(self, x):
        return self.linear(x)


@pytest.mark.filterwarnings("ignore:Complex modules")
@pytest.mark.parametrize("factor", [0.0, 0.001, 0.5, 1.05, 7.0, 1000.0])
@pytest.mark.parametrize("shape", [(4,), (1, 4)])
@pytest.mark.parametrize("count", [3, 200, 300, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_the_norm_of_every_activation_is_checked(dtype, count, shape, factor):
    x = torch.ones(shape, dtype=dtype)
    views = [FeatureMapsView(Multiplied(number, count, dtype), x) for number in (1.0, factor)]
    capture, actual = (view.capture() for view in views)
    assert matches(views[0], capture, capture)
    assert not matches(views[1], dataclasses.replace(actual, facts=capture.facts), actual)


@pytest.mark.parametrize("factor", [0.0, 0.01, 0.5, 0.9, 1.1, 3.0])
@pytest.mark.parametrize("channels", [2, 16, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_the_norm_of_every_kernel_is_checked(dtype, channels, factor):
    def view(factor):
        torch.manual_seed(0)
        model = nn.Conv2d(3, channels, 7).to(dtype)
        model.weight.data *= factor
        return KernelMapsView(model)

    capture, actual = view(1.0).capture(), view(factor).capture()
    assert matches(view(1.0), capture, capture)
    assert not matches(view(factor), dataclasses.replace(actual, facts=capture.facts), actual)


@pytest.mark.parametrize("claimed", [None, "3 of 4 filters", "3 of 4 filters, all zero", "0 of 4 filters", 1])
@pytest.mark.parametrize("filters", [0, 1])
def test_kernels_that_are_not_finite_are_counted_as_they_are(filters, claimed):
    model = net()
    with torch.no_grad():
        model.stem[0].weight[:filters] = float("nan")
    view = KernelMapsView(model)
    capture = view.capture()

    def replaced(facts):
        row = facts["layers"]["stem.0"]
        row["not_finite"] = claimed
        if claimed is None:
            del row["not_finite"]

    assert matches(view, reread(view, capture, lambda facts: None), capture)
    assert matches(view, reread(view, capture, replaced), capture) is (claimed is None and not filters)


@pytest.mark.parametrize("key", ["mean", "rms", "min", "max"])
def test_numbers_of_a_kernel_are_what_they_are(key):
    view = KernelMapsView(net(convolved))
    capture = view.capture()
    for changed in (lambda value: value + 0.1, lambda value: "nan", lambda value: None):

        def replaced(facts, changed=changed):
            facts["layers"]["stem.0"][key] = changed(facts["layers"]["stem.0"][key])

        assert not matches(view, reread(view, capture, replaced), capture)


def test_a_text_may_be_as_far_off_as_the_kernels():
    torch.manual_seed(0)
    model = nn.Conv2d(3, 16, 3)
    capture = KernelMapsView(model).capture()
    with torch.no_grad():
        model.weight.mul_(1.3)
        model.weight[0, 0, 0, 0] += 0.2
    view = KernelMapsView(model)
    assert view.compare(capture, view.capture(), Tolerances(rtol=0.5)).matched
    assert view.compare(capture, view.capture(), Tolerances(atol=0.5)).matched


def test_one_part_of_a_complex_number_may_be_none():
    one, two = (Capture("plain", {}, {"z": np.array([complex(np.nan, part), 1j])}) for part in (1.0, 9.0))
    assert compare_arrays(one, one, Tolerances()).matched
    assert not compare_arrays(one, two, Tolerances()).matched


@pytest.mark.parametrize("left_out", [r" mean \S+ rms [^\s;]+", r" mean \S+"])
def test_statistics_are_not_left_out_of_a_text(left_out):
    view = FeatureMapsView(net(), image())

    def cut(facts):
        for row in facts["layers"].values():
            row["out"] = re.sub(left_out, "", row.get("out", ""))

    capture = view.capture()
    assert not matches(view, reread(view, capture, cut), capture)
    view = KernelMapsView(net())
    capture = view.capture()

    def without_numbers(facts):
        for row in facts["layers"].values():
            del row["rms"]

    assert not matches(view, reread(view, capture, without_numbers), capture)


def nan_filter(model):
    model.stem[0].weight[0] = float("nan")


@pytest.mark.parametrize("change", [nan_filter, lambda model: model.stem[0].weight.mul_(float("inf")), negated])
def test_honest_kernels_are_readable_whatever_they_hold(change):
    view = KernelMapsView(net(change))
    capture = view.capture()
    assert matches(view, reread(view, capture, lambda facts: None), capture)


@pytest.mark.parametrize("parts", [[1, 0, 1, 1], [2] * 300, [5] * 20, [99] * 9])
def test_honest_nested_tensors_are_readable(parts):
    view = FeatureMapsView(nn.ReLU(), torch.nested.nested_tensor([torch.rand(size) for size in parts]))
    capture = view.capture()
    assert matches(view, reread(view, capture, lambda facts: None), capture)


def with_counts(capture, count):
    trace = stored_trace(dict(capture.arrays))
    for key, record in trace.tensors.items():
        trace.tensors[key] = dataclasses.replace(record, value_count=count)
    return dataclasses.replace(capture, arrays={**capture.arrays, **pack_trace(trace)})


def test_no_baseline_leaves_out_how_many_values_a_nested_tensor_has():
    sides = ([60, 40], [60, 41])
    views = [FeatureMapsView(nn.ReLU(), torch.nested.nested_tensor([torch.zeros(n) for n in side])) for side in sides]
    capture, actual = (view.capture() for view in views)
    assert not matches(views[1], with_counts(capture, None), actual)
    with pytest.raises(UnreadableBaselineError, match="tensor of shape"):
        stored_trace(with_counts(capture, -100).arrays)


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_no_baseline_leaves_out_how_a_nested_tensor_is_divided(layout):
    x = torch.rand(100, 64)
    views = [
        FeatureMapsView(nn.ReLU(), torch.nested.nested_tensor(list(x.split(sides)), layout=layout))
        for sides in ((60, 40), (50, 50))
    ]
    capture, actual = (view.capture() for view in views)
    trace = stored_trace(dict(capture.arrays))
    for key, record in trace.tensors.items():
        trace.tensors[key] = dataclasses.replace(record, value_fingerprints={})
    forged = dataclasses.replace(capture, arrays={**capture.arrays, **pack_trace(trace)})
    assert matches(views[0], capture, capture)
    assert not matches(views[1], capture, actual)
    assert not matches(views[1], forged, actual)


class Mean(nn.Module):
    def __init__(self, gain):
        super().__init__()
        self._gain = gain

    def forward(self, x):
        return torch.stack([part.mean(0) for part in x.unbind()]) * (self._gain * 1e-4)


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_what_is_computed_from_a_nested_tensor_is_forgiven_the_rounding_of_its_values(layout):
    x = torch.nested.nested_tensor([torch.rand(4000, 64), torch.rand(3000, 64)], layout=layout)
    view, other = (FeatureMapsView(Mean(gain), x) for gain in (1.0, 1.1))
    assert not matches(other, view.capture(), other.capture())


def test_no_baseline_adds_a_number_of_values_that_frees_its_text():
    x = torch.rand(4, 251)
    views = [FeatureMapsView(nn.Sequential(nn.Flatten(), nn.ReLU()), x * at) for at in (1, 3)]
    capture, actual = (view.capture() for view in views)
    forged = dataclasses.replace(with_counts(actual, 0), facts=capture.facts)
    assert not matches(views[1], forged, actual)


def test_the_norm_of_a_nested_tensor_is_checked():
    parts = [torch.rand(99) for _ in range(9)]
    views = [FeatureMapsView(nn.ReLU(), torch.nested.nested_tensor([part * at for part in parts])) for at in (1, 3)]
    capture, actual = (view.capture() for view in views)
    assert not matches(views[1], dataclasses.replace(actual, facts=capture.facts), actual)


def test_nested_tensors_of_other_lengths_are_a_drift():
    sides = ([300, 300], [300, 301])
    views = [FeatureMapsView(nn.ReLU(), torch.nested.nested_tensor([torch.zeros(n) for n in side])) for side in sides]
    verdict = views[1].compare(*(view.capture() for view in views), Tolerances())
    assert not verdict.matched


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("x mean 2.24e-08 rms 0.5", "x mean 1.12e-08 rms 0.5", True),
        ("x mean 0.24 rms 0.5", "x mean 0.25 rms 0.5", False),
        ("mean 0.5, std 0.2", "mean 0.5.5, std 0.2", False),
        ("x mean 0.5 rms 1.00; y mean nan rms nan", "x mean 0.5 rms 1.01; y mean nan rms nan", True),
        ("x rms 0.5", "x rms 0.501", True),
        ("x rms 0.5", "x mean 0.5 rms 0.5", False),
        ({"mean": 1e-9, "rms": 0.5}, {"mean": -1e-9, "rms": 0.5}, True),
        ({"mean": 0.1, "rms": 0.5}, {"mean": -0.1, "rms": 0.5}, False),
        ({"a": 1}, {"a": True}, False),
        ([1.0, 2], [1.0, 3], False),
    ],
)
def test_texts_are_the_same_but_for_rounding(before, after, same):
    assert is_same_but_for_rounding(before, after) is same


@pytest.mark.parametrize("moments", ["mean nan rms nan", "mean 1 rms 1e999", "mean 0 rms 0"])
def test_statistics_that_are_no_numbers_are_those_of_nothing_else(moments):
    view = FeatureMapsView(net(), image())

    def replaced(facts):
        row = facts["layers"]["head"]
        row["out"] = re.sub(r"mean \S+ rms \S+", moments, row["out"])

    capture = view.capture()
    assert not matches(view, reread(view, capture, replaced), capture)


def test_finite_kernels_are_not_said_to_be_others():
    view, other = KernelMapsView(net()), KernelMapsView(net(lambda model: model.block.conv.weight.mul_(1000)))
    capture, actual = view.capture(), other.capture()
    facts = copy.deepcopy(dict(capture.facts))
    for row in facts["layers"].values():
        row["not_finite"] = f"0 of {4} filters"
    arrays = {**capture.arrays, **{key: values for key, values in actual.arrays.items() if key.startswith("trace")}}
    assert not matches(other, dataclasses.replace(capture, facts=facts, arrays=arrays), actual)
