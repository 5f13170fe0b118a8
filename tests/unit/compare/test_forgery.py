"""No content of a baseline makes a drifted model match: forged ones, sealed as the real ones are, thousands of them.

MODELVIZ_FORGERIES sets how many are tried for each view; the figures in the docs are of 10,000.
"""

import copy
import dataclasses
import functools
import json
import os
import random
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.overrides import handle_torch_function, has_torch_function

from pytest_modelviz.compare.arrays import compare_arrays
from pytest_modelviz.compare.readable import is_same_but_for_rounding
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.findings import ShapeFinding
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Leaf
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.storage.formats import decode_json, encode_json
from pytest_modelviz.views.activation_maximization.capture import ActivationMaximizationView
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_graph.records import OperatorGraph
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView
from pytest_modelviz.views.training_curve.capture import TrainingCurveView
from pytest_modelviz.views.training_curve.findings import CurveRemark
from forging import forged, retold

FORGERIES = int(os.environ.get("MODELVIZ_FORGERIES", "250"))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.register_buffer("table", torch.arange(4.0), persistent=False)

    def forward(self, x):
        return x + self.act(self.norm(self.conv(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.block, self.head, self.spare = Block(), nn.Linear(4, 10), nn.Linear(2, 2)

    def forward(self, x, scale=1.0):
        return self.head(self.block(self.stem(x)).mean((2, 3))) * scale


class Scores(Net):
    def forward(self, x, scale=1.0):
        return super().forward(x, scale) * 1.001


def net(*changes, kind=Net):
    torch.manual_seed(0)
    model = kind().eval()
    with torch.no_grad():
        for change in changes:
            change(model)
    return model


def image(change=lambda x: x):
    return change(torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1)))


def negated(model):
    model.head.weight.neg_()


def scaled(model):
    model.head.weight.mul_(1.01)
    model.head.bias.mul_(1.01)


def convolved(model):
    model.block.conv.weight.mul_(1.5)


def noisy(model):
    torch.manual_seed(5)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * parameter.std() * 0.1)


def shifted(model):
    model.block.norm.running_mean.add_(0.3)


def smooth(model):
    model.block.act = nn.GELU()


def unused(model):
    model.spare.weight.mul_(1.1)


def wider(model):
    model.block.conv = nn.Conv2d(4, 4, 5, padding=2)


def strided(model):
    model.stem[0] = nn.Conv2d(3, 4, 3, padding=1, stride=2)


def longer(model):
    model.block.table = torch.arange(5.0)
    model.block.register_buffer("saved", torch.arange(5.0))


def frozen(model):
    model.block.conv.requires_grad_(False)


def sequential(*changes):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    model = nn.Sequential(*layers).eval()
    with torch.no_grad():
        for change in changes:
            change(model[-1])
    return model


def negative(layer):
    layer.weight.neg_()
    layer.bias.normal_()


def tenth(layer):
    layer.weight.mul_(1.1)
    layer.bias.mul_(1.1)


def training(kind="", *, given=True):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=0.1 if kind == "decay" else 0.0)

    def step(number):
        x = torch.randn(16, 4)
        loss = nn.functional.mse_loss(model(x), x.sum(1, keepdim=True))
        if kind != "accumulated" or number == 0:
            optimizer.zero_grad()
        if kind == "rate" and number > 0:
            optimizer.param_groups[0]["lr"] = 5.0
        if kind == "late" and number == 4:
            optimizer.param_groups[0]["lr"] = 0.1
        loss.backward()
        optimizer.step()
        return {"loss": loss * (7 if kind == "loss" else 1)}

    return TrainingCurveView(step, steps=6, model=model if given else None, optimizer=optimizer)


def falling(random_losses=False):
    torch.manual_seed(3)
    return TrainingCurveView(lambda i: {"loss": float(torch.rand(())) * 10 if random_losses else 1 / (i + 1)}, steps=8)


class Plain:
    """A view as another plugin may have it."""

    view = "plain"

    def __init__(self, bend):
        self._bend = bend

    def capture(self):
        values = np.linspace(-1, 1, 40, dtype=np.float32)
        values += self._bend * values**2
        return Capture("plain", {"size": 40}, {"values": values, "count": np.arange(3)})

    def compare(self, baseline, actual, tolerances):
        return compare_arrays(baseline, actual, tolerances)


def climb(*changes):
    return ActivationMaximizationView(net(*changes), "block.conv", input_size=(3, 8, 8), steps=3, filters=(0, 2))


def explained(view, **options):
    def made(*changes, data=image):
        return view(net(*changes), data(), target=3, **options)

    return made


cam, saliency = explained(CamMapView, target_layer="block"), explained(SaliencyMapView)
POSITIONS = (negated, scaled, convolved, noisy, shifted, smooth, unused)


def rows():
    return torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(1))


class Masked(nn.Module):
    def forward(self, scores, mask):
        return (scores + mask).softmax(-1)


class Attention(nn.Module):
    def __init__(self, factor):
        super().__init__()
        torch.manual_seed(0)
        self.query, self.value, self.soft, self.factor = nn.Linear(8, 8), nn.Linear(8, 8), Masked(), factor

    def forward(self, x):
        scores = self.query(x) @ x.transpose(1, 2)
        mask = torch.full(scores.shape[-2:], -1e9).triu(1)
        return self.value(self.soft(scores, mask) @ x * self.factor)


class Scales(nn.Module):
    def forward(self, x):
        return x / 65535


class Small(nn.Module):
    def __init__(self, factor):
        super().__init__()
        torch.manual_seed(0)
        self.scale, self.head, self.factor = Scales(), nn.Linear(8, 4), factor

    def forward(self, x):
        return self.head(self.scale(x * 65535) * self.factor)


# For each subject what was recorded, and what has drifted since.
SUBJECTS = {
    "feature_maps": lambda: (
        FeatureMapsView(net(), image()),
        [FeatureMapsView(net(one), image()) for one in POSITIONS]
        + [FeatureMapsView(net(), image(lambda x: x.flip(1))), FeatureMapsView(net(), image(lambda x: x * 1.001))]
        + [FeatureMapsView(net(kind=Scores), image()), FeatureMapsView(net(), (image(), 2.0))],
    ),
    "feature_maps of a Sequential": lambda: (
        FeatureMapsView(sequential(), image()),
        [FeatureMapsView(sequential(one), image()) for one in (negative, tenth)],
    ),
    "feature_maps with a mask": lambda: (
        FeatureMapsView(Attention(1.0), rows()),
        [FeatureMapsView(Attention(factor), rows()) for factor in (-1.0, 0.5, 0.0, 100.0)],
    ),
    "feature_maps that grow small": lambda: (
        FeatureMapsView(Small(1.0), rows()),
        [FeatureMapsView(Small(factor), rows()) for factor in (-1.0, 0.5, 0.0, 100.0)],
    ),
    "feature_maps in bfloat16": lambda: (
        FeatureMapsView(net().bfloat16(), image(lambda x: (x * 255).bfloat16())),
        [FeatureMapsView(net(one).bfloat16(), image(lambda x: (x * 255).bfloat16())) for one in (negated, convolved)],
    ),
    "model_summary": lambda: (
        ModelSummaryView(net(), input_data=image()),
        [ModelSummaryView(net(one), input_data=image()) for one in (smooth, wider, strided, longer, frozen)]
        + [ModelSummaryView(net().half(), input_data=image(lambda x: x.half()))],
    ),
    "kernel_maps": lambda: (
        KernelMapsView(net()),
        [KernelMapsView(net(one)) for one in (convolved, noisy, wider, strided)],
    ),
    "model_graph": lambda: (
        ModelGraphView(net(), image()),
        [ModelGraphView(net(one), image()) for one in (smooth, wider, strided)]
        + [ModelGraphView(net(kind=Scores), image())],
    ),
    "cam_map": lambda: (
        cam(),
        [cam(one) for one in (convolved, noisy, smooth)] + [cam(data=lambda: image(lambda x: x.flip(1)))],
    ),
    "saliency_map": lambda: (
        saliency(),
        [saliency(one) for one in (convolved, noisy, smooth)],
    ),
    "activation_maximization": lambda: (climb(), [climb(convolved), climb(noisy)]),
    "training_curve": lambda: (
        training(),
        [training(kind) for kind in ("accumulated", "rate", "late", "loss", "decay")],
    ),
    "training_curve that shows little": lambda: (
        learning(),
        [learning(UNNOTICED[one]) for one in ("mirrored", "running", "table", "cache")],
    ),
    "training_curve without a model": lambda: (falling(), [falling(random_losses=True)]),
    "a view of another plugin": lambda: (Plain(0.0), [Plain(0.01), Plain(-2.0)]),
}


@pytest.fixture(scope="module", params=SUBJECTS)
def subject(request):
    """(its name, what was recorded, each drifted view with what it captured)"""
    recorded, drifted = SUBJECTS[request.param]()
    return request.param, recorded.capture(), [(view, view.capture()) for view in drifted]


def matches(view, baseline, actual):
    try:
        return view.compare(baseline, actual, Tolerances()).matched
    except UnreadableBaselineError:
        return False


def test_no_forgery_makes_a_drift_match(subject):
    name, recorded, drifted = subject
    assert not any(matches(view, recorded, actual) for view, actual in drifted)
    draw, changed = random.Random(name), 0
    with np.errstate(all="ignore"):
        for number in range(FORGERIES):
            state = draw.getstate()
            baseline = forged(recorded, draw)
            view, actual = drifted[number % len(drifted)]
            changed += baseline.facts != recorded.facts or baseline.arrays.keys() != recorded.arrays.keys()
            assert not matches(view, baseline, actual), (name, number, state[1][-1])
    assert FORGERIES < 100 or changed > FORGERIES / 10


def test_what_is_recorded_matches_still(subject):
    _, _, drifted = subject
    view, actual = drifted[0]
    assert view.compare(copy.deepcopy(actual), actual, Tolerances()).matched


# what was tried by hand, each with what people read made to fit


def mended(view, capture, facts=None, **arrays):
    """A capture as somebody would forge it: with other arrays or facts, and a text that fits them."""
    arrays = {**capture.arrays, **{key.replace("__", "."): values for key, values in arrays.items()}}
    text = retold(view.view, {**capture.facts, **(facts or {})}, arrays)
    return dataclasses.replace(capture, arrays=arrays, facts=text)


def retraced(view, capture, change):
    trace = stored_trace(capture.arrays)
    change(trace)
    arrays = {**capture.arrays, **pack_trace(trace)}
    return dataclasses.replace(capture, arrays=arrays, facts=retold(view.view, dict(capture.facts), arrays))


@pytest.mark.parametrize("scale", [1e300, 1e30, "inf", float("inf")])
@pytest.mark.parametrize("drift", [negated, convolved, noisy, smooth])
def test_the_scale_that_a_baseline_claims_makes_nothing_of_a_map_rounding(scale, drift):
    view, other = cam(), cam(drift)
    capture = view.capture()
    claimed = mended(view, capture, {"scale": scale}, map=np.zeros_like(capture.arrays["map"]))
    assert not matches(other, claimed, other.capture())
    assert not matches(other, mended(view, capture, {"scale": scale}), other.capture())


@pytest.mark.parametrize("giants", [[9e21, 5.9e25, 1e30], [1e30, 1e30, 1e30], [1.0, 1e300, 1.0], [1.0, np.inf, 1.0]])
def test_giants_in_a_curve_hide_no_other_losses(giants):
    view, other = falling(), falling(random_losses=True)
    capture = view.capture()
    losses = np.ones(8)
    losses[:3] = giants
    assert not matches(other, mended(view, capture, curve__loss=losses), other.capture())


@pytest.mark.parametrize("kind", ["accumulated", "rate", "late", "loss", "decay"])
def test_a_start_that_is_a_little_off_excuses_no_later_step(kind):
    view, other = training(), training(kind)
    capture = view.capture()
    gradients, updates = capture.arrays["parameters.gradients"].copy(), capture.arrays["parameters.updates"].copy()
    gradients[0] *= 1.0049  # just within what is allowed: everything after that might be rounding
    updates[0] *= 1.0145
    gradients[1:], updates[1:] = 1.0, 1.0
    losses = capture.arrays["curve.loss"].copy()
    losses[1:] = 1e30
    changed = {"parameters__gradients": gradients, "parameters__updates": updates}
    for arrays in (changed, {**changed, "curve__loss": losses}):
        assert not matches(other, mended(view, capture, **arrays), other.capture())


def test_what_a_baseline_says_of_rounding_and_size_excuses_no_update():
    view, other = training(), training("decay")
    capture = view.capture()
    moves = capture.arrays["parameters.moves"].copy()
    moves[1:] = 1e30
    assert not matches(other, mended(view, capture, parameters__moves=moves), other.capture())


@pytest.mark.parametrize("rate", [0.09, 0.05, 0.02])
def test_no_update_is_smaller_because_the_baseline_calls_the_rest_rounding(rate):
    def once(rate):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        optimizer, x = torch.optim.SGD(model.parameters(), lr=rate), torch.rand(16, 4)

        def step(number):
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        return TrainingCurveView(step, steps=1, model=model)

    view, other = once(0.1), once(rate)
    capture, actual = view.capture(), other.capture()
    moves = actual.arrays["parameters.moves"].copy()
    before, after = (one.arrays["parameters.updates"] for one in (capture, actual))
    moves[2] = np.sqrt(before**2 - after**2)
    assert not matches(other, mended(view, capture, parameters__moves=moves), actual)
    assert matches(other, once(rate).capture(), actual)


def beside(trace, call, path, dtype, value):
    """Give a call one more input, before all others."""
    key = f"{path} {dtype}"
    trace.tensors[key] = TensorRecord(dtype, (1,), np.array([value], np.float32))
    call.inputs = {path: Leaf(tensor=key), **call.inputs}


def a_little_off(trace):
    """Not a bit is the same any more, so that all of it might be rounding."""
    for table in (trace.tensors, trace.weights):
        for key, record in table.items():
            table[key] = dataclasses.replace(record, sketch=record.sketch * np.float32(1 + 2e-6))


def without_weights(trace):
    trace.weights.clear()
    for module in trace.modules.values():
        module.weights.clear()


def of_few_digits(trace, dtype="float8_e5m2"):
    a_little_off(trace)
    without_weights(trace)
    trace.modules[""].config["forward"] = "*rest"
    beside(trace, trace.calls[0], "rest[0]", dtype, 1.0)


def of_no_dtype(trace):
    of_few_digits(trace, "float8_bogus")


def with_giants(trace):
    a_little_off(trace)
    without_weights(trace)
    for call in trace.calls[1:]:
        trace.modules[call.layer].config["forward"] = "*rest"
        beside(trace, call, "rest[0]", "float32", 9.9e7)


def without_root(trace):
    with_giants(trace)
    del trace.calls[0]


def forgotten(trace):
    without_weights(trace)


@pytest.mark.parametrize("forge", [of_few_digits, of_no_dtype, with_giants, without_root, forgotten, a_little_off])
@pytest.mark.parametrize("kind", ["net", "sequential"])
def test_nothing_that_a_trace_adds_or_leaves_out_loosens_what_is_allowed(forge, kind):
    plain, drifts = (net, (negated, scaled, noisy, unused)) if kind == "net" else (sequential, (negative, tenth))
    view = FeatureMapsView(plain(), image())
    baseline = retraced(view, view.capture(), forge)
    for drift in drifts:
        other = FeatureMapsView(plain(drift), image())
        assert not matches(other, baseline, other.capture())


def test_a_container_is_passed_over_only_where_its_results_are_those_of_its_parts():
    class Sequential(nn.Sequential):  # it is called as torch's own is
        factor = 1.0

        def forward(self, x):
            return super().forward(x) * self.factor

    def model(factor):
        torch.manual_seed(0)
        part = Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        part.factor = factor
        return nn.Sequential(part, nn.Identity())

    view, other = FeatureMapsView(model(1.0), image()), FeatureMapsView(model(-1.0), image())
    actual = other.capture()

    def uncalled(trace):
        trace.calls[:] = [call for call in trace.calls if call.layer != "0"]
        for call in trace.calls:
            call.depth = min(call.depth, 1)

    # what the actual pass returns, but for the call that made it
    assert not matches(other, retraced(other, actual, uncalled), actual)
    honest = view.capture()
    assert matches(view, honest, honest)


@pytest.mark.parametrize("mark", ["rewritten", "unsaved"])
def test_no_baseline_declares_a_weight_mere_state(mark):
    def declared(trace):
        for module in trace.modules.values():
            module.config[mark] = "\n".join(module.weights)

    view, other = FeatureMapsView(net(), image()), FeatureMapsView(net(unused, shifted), image())
    assert not matches(other, retraced(view, view.capture(), declared), other.capture())


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
    with pytest.raises(UnreadableBaselineError, match="is not what its arrays hold"):
        view.compare(dataclasses.replace(capture, facts=facts), capture, Tolerances())
    for changed in ({**facts, key: None}, {k: v for k, v in facts.items() if k != key}):
        with pytest.raises(UnreadableBaselineError):
            view.compare(dataclasses.replace(capture, facts=changed), capture, Tolerances())


def test_values_that_grew_are_told_in_the_text():
    view = FeatureMapsView(net(), image())
    capture = view.capture()
    trace = stored_trace(capture.arrays)
    key = next(key for key, record in trace.tensors.items() if record.sketch.size > 20)
    trace.tensors[key] = dataclasses.replace(trace.tensors[key], sketch=trace.tensors[key].sketch * 3)
    grown = dataclasses.replace(capture, arrays={**capture.arrays, **pack_trace(trace)})
    with pytest.raises(UnreadableBaselineError, match="is not what its arrays hold"):
        view.compare(grown, capture, Tolerances())


# what an attacker with the source found


def reread(view, capture, change):
    """A capture whose facts were changed, read back as a file is."""
    facts = json.loads(json.dumps(capture.facts))
    change(facts)
    document = decode_json(encode_json(dataclasses.replace(capture, facts=facts), nodeid="t.py::t", name="n"))
    return dataclasses.replace(capture, facts=document["facts"])


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
    trace = stored_trace(capture.arrays)
    configured(trace)
    baseline = dataclasses.replace(capture, arrays={**capture.arrays, **pack_trace(trace)})
    assert not matches(other, baseline, other.capture())


@pytest.mark.parametrize(("model", "layer"), [(Attention, "soft"), (Small, "scale")])
@pytest.mark.parametrize("factor", [-1.0, 0.5, 0.0, 100.0])
def test_results_that_a_layer_made_small_are_not_excused(model, layer, factor):
    def off(trace):
        call = next(call for call in trace.calls if call.layer == layer)
        for leaves, by in ((call.inputs, 1 - 9e-6), (call.outputs, 1.01)):
            for leaf in leaves.values():
                record = trace.tensors[leaf.tensor]
                sketch = (record.sketch * by).astype(record.sketch.dtype)
                trace.tensors[leaf.tensor] = dataclasses.replace(record, sketch=sketch)

    view, other = FeatureMapsView(model(1.0), rows()), FeatureMapsView(model(factor), rows())
    capture = view.capture()
    assert not matches(other, retraced(view, capture, off), other.capture())


@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6])
def test_a_rectifier_that_lets_nothing_through_is_excused_still(act):
    class Dead(nn.Module):
        def __init__(self, shift):
            super().__init__()
            torch.manual_seed(0)
            self.act, self.head, self.shift = act(), nn.Linear(64, 4), shift

        def forward(self, x):
            return self.head(self.act(x + self.shift)) + x.mean()

    x = -torch.rand(1, 64, generator=torch.Generator().manual_seed(1)) - 0.5
    x[0, 0] = 0.0
    view, other = FeatureMapsView(Dead(0.0), x), FeatureMapsView(Dead(2e-6), x)
    assert matches(other, view.capture(), other.capture())


@pytest.mark.parametrize("dtype", ["float8_e5m2", "qint8", "float16", "nothing", ""])
@pytest.mark.parametrize("kind", ["loss", "rate", "late", ""])
def test_the_dtype_of_a_training_is_the_actual_one(dtype, kind):
    view, other = training(), training(kind)
    baseline = reread(view, view.capture(), lambda facts: facts.update(dtype=dtype))
    assert not matches(other, baseline, other.capture())


@pytest.mark.parametrize("forge", [{"schedulers": []}, {"schedulers": [{"class": "StepLR", "options": {}}]}])
def test_a_schedule_that_a_baseline_leaves_out_is_compared(forge):
    def scheduled(gamma):
        torch.manual_seed(0)
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 30, gamma=gamma)  # stepped later than here

        def step(number):
            optimizer.zero_grad()
            loss = model(torch.ones(2, 4)).square().mean()
            loss.backward()
            optimizer.step()
            return loss if number < 99 else scheduler.step()

        return TrainingCurveView(step, steps=3, model=model, optimizer=optimizer)

    view, other = scheduled(0.1), scheduled(0.9)
    capture = view.capture()
    assert matches(scheduled(0.1), capture, scheduled(0.1).capture())
    baseline = reread(view, capture, lambda facts: facts["optimizer"][0].update(forge))
    assert not matches(other, baseline, other.capture())


@pytest.mark.parametrize("factor", [-1.0, 9.0, 1e3])
def test_giants_are_beside_nothing_where_half_precision_is_allowed_much(factor):
    def half(scale):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        model[4].weight.data.mul_(scale)
        return model.half().eval()

    gpu, data = Tolerances(device="cuda:0"), image().half()
    view, other = (CamMapView(half(scale), data, target_layer="1", target=1) for scale in (1.0, factor))
    capture = view.capture()
    forged_map = mended(view, capture, map=np.full_like(capture.arrays["map"], 3e30))
    assert not other.compare(forged_map, other.capture(), gpu).matched
    view, other = (SaliencyMapView(half(scale), data, target=1) for scale in (1.0, factor))
    capture = view.capture()
    trace = stored_trace(capture.arrays)
    record = trace.gradients["(gradient)"]
    trace.gradients["(gradient)"] = dataclasses.replace(record, sketch=np.full_like(record.sketch, 3e30))
    arrays = {**capture.arrays, **pack_trace(trace)}
    baseline = dataclasses.replace(capture, arrays=arrays, facts={**capture.facts, "peak": 3e30})
    assert not other.compare(baseline, other.capture(), gpu).matched


class Gated(nn.Module):
    def __init__(self, skip=True):
        super().__init__()
        self.gain, self.skip = nn.Parameter(torch.ones(2, 8)), skip

    def forward(self, x):
        bent = torch.tanh(x)
        return torch.relu(bent) * self.gain + (x if self.skip else bent)


@pytest.mark.parametrize("new", ["input.x", "gain", "/tanh[0]", "x"])
def test_no_operator_bears_a_name_that_stands_for_something_else(new):
    x = torch.rand(2, 8)

    def renamed(facts):
        rows = {}
        for name, row in facts["operators"].items():
            given = [new if one == "/tanh" else one for one in row.get("in", [])]
            rows[new if name == "/tanh" else name] = {**row, **({"in": given} if given else {})}
        facts["operators"] = rows

    view, other = ModelGraphView(Gated(), x), ModelGraphView(Gated(skip=False), x)
    baseline = reread(view, view.capture(), renamed)
    with pytest.raises(UnreadableBaselineError, match="impossible name"):
        other.compare(baseline, other.capture(), Tolerances())


def test_an_input_is_not_called_like_a_weight():
    x = torch.rand(2, 8)

    def renamed(facts):
        facts["inputs"] = {"gain": facts["inputs"]["input.x"]}

    view = ModelGraphView(Gated(), x)
    capture = view.capture()
    with pytest.raises(UnreadableBaselineError, match="impossible name"):
        view.compare(reread(view, capture, renamed), capture, Tolerances())


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


def test_no_argument_stands_for_another():
    class Takes(nn.Module):
        def forward(self, x, mask=None, bias=None):
            return x + 0

    class Gives(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name, self.inner = name, Takes()

        def forward(self, x):
            return self.inner(x, **{self.name: x * 2})

    def unnamed(trace):
        call = next(call for call in trace.calls if call.layer == "inner")
        call.inputs = {"x": call.inputs["x"], "q": Leaf(tensor="inner<q")}
        trace.tensors["inner<q"] = trace.tensors.pop("inner<mask")
        trace.modules["inner"].config.update(forward="x, q", defaults="")

    view, other = FeatureMapsView(Gives("mask"), image()), FeatureMapsView(Gives("bias"), image())
    assert not matches(other, retraced(view, view.capture(), unnamed), other.capture())


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1.0])
def test_the_number_0_is_none_that_is_not_finite(value):
    class Scaled(nn.Module):
        def forward(self, x, factor):
            return x

    class Gives(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor, self.inner = factor, Scaled()

        def forward(self, x):
            return self.inner(x, self.factor)

    view, other = FeatureMapsView(Gives(0), image()), FeatureMapsView(Gives(value), image())
    assert not matches(other, view.capture(), other.capture())
    assert matches(view, view.capture(), FeatureMapsView(Gives(0.0), image()).capture())


class Modes(nn.Module):
    def forward(self, x, mode):
        return x


class Gives(nn.Module):
    def __init__(self, mode):
        super().__init__()
        self.mode, self.inner = mode, Modes()

    def forward(self, x):
        return self.inner(x, self.mode)


def test_a_word_is_no_device_because_the_baseline_has_one():
    def on_a_device(trace):
        call = next(call for call in trace.calls if call.layer == "inner")
        call.inputs = {**call.inputs, "mode": Leaf(literal="cuda:0")}

    view = FeatureMapsView(Gives("meta"), image())
    baseline = retraced(view, view.capture(), on_a_device)
    for mode in ("meta", "cpu", "xla"):
        other = FeatureMapsView(Gives(mode), image())
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
    with pytest.raises(UnreadableBaselineError, match="is not what its arrays hold"):
        view.compare(dataclasses.replace(capture, arrays=arrays), actual, Tolerances())
    view, other = KernelMapsView(net()), KernelMapsView(net(convolved, lambda model: model.stem[0].weight.mul_(-3)))
    capture, actual = view.capture(), other.capture()
    arrays = {**capture.arrays, **{key: values for key, values in actual.arrays.items() if key.startswith("trace")}}
    with pytest.raises(UnreadableBaselineError, match="is not what its arrays hold"):
        other.compare(dataclasses.replace(capture, arrays=arrays), actual, Tolerances())


def test_one_part_of_a_complex_number_may_be_none():
    one, two = (Capture("plain", {}, {"z": np.array([complex(np.nan, part), 1j])}) for part in (1.0, 9.0))
    assert compare_arrays(one, one, Tolerances()).matched
    assert not compare_arrays(one, two, Tolerances()).matched


class Bounded(nn.Module):
    def __init__(self, act, factor, gain=4.0):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act, self.head, self.factor = nn.Conv2d(3, 8, 3), act, nn.Linear(8, 5), factor
        self.conv.weight.data.mul_(gain)

    def forward(self, x):
        return self.head(self.act(self.conv(x)).mean((2, 3)) * self.factor)


class ReluctantScale(nn.Module):
    def forward(self, x):
        return x * 1e-3


class GELU(nn.Module):  # a leaf with weights of its own, whatever it is called
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 1e-3))

    def forward(self, x):
        return nn.functional.gelu(x) * self.weight


@pytest.mark.parametrize("act", [nn.Hardtanh, nn.ReLU6, ReluctantScale, GELU, nn.Sigmoid, nn.Hardshrink])
@pytest.mark.parametrize("factor", [-1.0, 0.0, 0.5])
def test_what_is_bounded_or_scaled_is_no_rectifier_that_let_nothing_through(act, factor):
    pixels = (image() * 255).bfloat16()

    def off(trace):
        call = next(call for call in trace.calls if call.layer == "act")
        for leaves, by in ((call.inputs, 1.0029), (call.outputs, 1.08)):
            for leaf in leaves.values():
                record = trace.tensors[leaf.tensor]
                trace.tensors[leaf.tensor] = dataclasses.replace(record, sketch=record.sketch * np.float32(by))

    view, other = (FeatureMapsView(Bounded(act(), one).bfloat16(), pixels) for one in (1.0, factor))
    baseline = retraced(view, view.capture(), off)
    assert not matches(other, baseline, other.capture())


def test_no_word_is_a_device_because_the_baseline_calls_its_parameter_so():
    def called_device(trace):
        call = next(call for call in trace.calls if call.layer == "inner")
        call.inputs = {"x": call.inputs["x"], "device": call.inputs["mode"]}
        trace.modules["inner"].config["forward"] = "x, device"

    view = FeatureMapsView(Gives("meta"), image())
    baseline = retraced(view, view.capture(), called_device)
    for mode in ("cpu", "xla"):
        other = FeatureMapsView(Gives(mode), image())
        assert not matches(other, baseline, other.capture())


def test_no_operator_is_called_like_a_parameter_with_a_slash_in_its_name():
    class Odd(nn.Module):
        def __init__(self, skip):
            super().__init__()
            self.register_parameter("block/gain", nn.Parameter(torch.ones(2, 8)))
            self.block, self.skip = nn.Tanh(), skip

        def forward(self, x):
            bent = self.block(x)
            return torch.relu(bent) * getattr(self, "block/gain") + (bent if self.skip else getattr(self, "block/gain"))

    x = torch.rand(2, 8)

    def renamed(facts):
        old, new = "block/tanh", "block/gain"
        facts["operators"] = {
            (new if name == old else name): {**row, "in": [new if one == old else one for one in row.get("in", [])]}
            for name, row in facts["operators"].items()
        }

    view, other = ModelGraphView(Odd(True), x), ModelGraphView(Odd(False), x)
    assert not matches(other, reread(view, view.capture(), renamed), other.capture())


@pytest.mark.parametrize("name", ["dilation=2", "a=b=c", "k%3D", "input"])
def test_modules_of_any_name_are_in_the_graph(name):
    class Branches(nn.Module):
        def __init__(self, dilation):
            super().__init__()
            self.add_module(name, nn.Conv2d(3, 4, 3, padding=dilation, dilation=dilation))

        def forward(self, x):
            return torch.relu(getattr(self, name)(x))

    view, other = ModelGraphView(Branches(2), image()), ModelGraphView(Branches(5), image())
    capture = view.capture()
    assert [one.module for one in capture.result.operators] == [name, ""]
    assert matches(view, capture, ModelGraphView(Branches(2), image()).capture())
    verdict = other.compare(capture, other.capture(), Tolerances())
    assert (verdict.matched, verdict.first.layer) == (False, name)


def test_a_weight_of_a_module_called_input_is_no_input():
    class Reads(nn.Module):
        def __init__(self, own):
            super().__init__()
            self.input, self.own = nn.Linear(4, 4), own

        def forward(self, x, weight):
            return x @ (self.input.weight if self.own else weight)

    data = {"x": torch.rand(4, 4), "weight": torch.rand(4, 4)}
    view, other = ModelGraphView(Reads(True), data), ModelGraphView(Reads(False), data)
    assert not matches(other, view.capture(), other.capture())
    assert matches(view, view.capture(), view.capture())


def test_an_option_of_an_optimiser_has_one_name():
    view, other = training("decay"), training()

    def doubled(facts):
        group = facts["optimizer"][0]["groups"][0]
        group["options"] = {**group["options"], "_weight_decay": 0.0}

    capture = view.capture()
    assert "weight_decay" in capture.facts["optimizer"][0]["groups"][0]["options"]
    with pytest.raises(UnreadableBaselineError, match="twice"):
        other.compare(reread(view, capture, doubled), other.capture(), Tolerances())


def test_statistics_are_not_left_out_of_a_text():
    view = FeatureMapsView(net(), image())

    def cut(facts):
        for row in facts["layers"].values():
            row["out"] = re.sub(r" mean \S+ rms [^\s;]+", "", row.get("out", ""))

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


@pytest.mark.parametrize("parts", [[1, 0, 1, 1], [2] * 300, [5] * 20])
def test_honest_nested_tensors_are_readable(parts):
    view = FeatureMapsView(nn.ReLU(), torch.nested.nested_tensor([torch.rand(size) for size in parts]))
    capture = view.capture()
    assert matches(view, reread(view, capture, lambda facts: None), capture)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("x mean 2.24e-08 rms 0.5", "x mean 1.12e-08 rms 0.5", True),
        ("x mean 0.24 rms 0.5", "x mean 0.25 rms 0.5", False),
        ("mean 0.5, std 0.2", "mean 0.5.5, std 0.2", False),
        ("x mean 0.5 rms 1.00; y mean nan rms nan", "x mean 0.5 rms 1.01; y mean nan rms nan", True),
        ({"mean": 1e-9, "rms": 0.5}, {"mean": -1e-9, "rms": 0.5}, True),
        ({"mean": 0.1, "rms": 0.5}, {"mean": -0.1, "rms": 0.5}, False),
        ({"a": 1}, {"a": True}, False),
        ([1.0, 2], [1.0, 3], False),
    ],
)
def test_texts_are_the_same_but_for_rounding(before, after, same):
    assert is_same_but_for_rounding(before, after) is same


def test_the_names_of_a_large_graph_are_looked_at_once():
    rows = {f"m/add#{number}": {"operator": "add", "out": "float32[1]"} for number in range(40_000)}
    facts = {"source": "exported", "inputs": {"input.x": "float32[1]"}, "outputs": [], "operators": rows, "modules": {}}
    assert len(OperatorGraph.from_facts(facts).operators) == 40_000  # a look at each pair would take half a minute


def scaled_at(layer, by_input, by_output=1.0, value=None):
    """A change of a trace: what a layer is given, and what it returns, times a number, or all of it another."""

    def off(trace):
        call = next(call for call in trace.calls if call.layer == layer)
        for leaves, factor in ((call.inputs, by_input), (call.outputs, by_output)):
            for leaf in leaves.values():
                record = trace.tensors[leaf.tensor]
                sketch = record.sketch * np.float32(factor)
                if value is not None and leaves is call.outputs:
                    sketch = np.full_like(record.sketch, value)
                trace.tensors[leaf.tensor] = dataclasses.replace(record, sketch=sketch)

    return off


@pytest.mark.parametrize("factor", [-1.0, 0.0, 0.5])
@pytest.mark.parametrize(
    ("dtype", "bias", "by", "tolerances"),
    [
        (torch.bfloat16, -1.7, 1.0029, Tolerances()),
        (torch.bfloat16, -1.0, 1.029, Tolerances(device="cuda:0")),
        (torch.float32, -1.6, 1.0049, Tolerances(rtol=0.05)),
    ],
)
def test_what_is_made_of_a_small_result_is_compared(dtype, bias, by, tolerances, factor):
    class Sparse(nn.Module):
        def __init__(self, factor):
            super().__init__()
            torch.manual_seed(0)
            self.enc, self.act, self.drop, self.factor = nn.Linear(64, 256), nn.ReLU(), nn.Dropout(), factor
            self.enc.bias.data.fill_(bias)

        def forward(self, x):
            return self.drop(self.act(self.enc(x)) * self.factor)

    x = torch.randn(16, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    view, other = (FeatureMapsView(Sparse(one).to(dtype).eval(), x) for one in (1.0, factor))
    baseline = retraced(view, view.capture(), scaled_at("act", by, 1.6))
    assert not other.compare(baseline, other.capture(), tolerances).matched


@pytest.mark.parametrize("factor", [4.0, 8.0, -6.0])
@pytest.mark.parametrize(
    ("dtype", "by", "tolerances"),
    [(torch.bfloat16, 1.029, Tolerances(device="cuda:0")), (torch.float32, 1.039, Tolerances(rtol=0.4))],
)
def test_a_dead_rectifier_excuses_nothing_large(dtype, by, tolerances, factor):
    class Dead(nn.Module):
        def __init__(self, factor):
            super().__init__()
            torch.manual_seed(0)
            self.fc, self.act, self.head, self.factor = nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10), factor
            self.fc.bias.data.fill_(-40.0)

        def forward(self, x):
            return self.head(x) * self.factor + self.act(self.fc(x)).mean()

    x = torch.randn(4, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    view, other = (FeatureMapsView(Dead(one).to(dtype).eval(), x) for one in (1.0, factor))
    baseline = retraced(view, view.capture(), scaled_at("act", by, value=0.5))
    assert not other.compare(baseline, other.capture(), tolerances).matched


def test_no_operator_is_called_like_a_weight_that_the_baseline_keeps_to_itself():
    class Bends(nn.Module):
        def forward(self, x):
            return torch.tanh(x)

    class Heads(nn.Module):
        def __init__(self, skip):
            super().__init__()
            self.heads = nn.ModuleDict({"aux": Bends(), "aux/seg": nn.Linear(8, 8, bias=False)})
            self.skip = skip

        def forward(self, x):
            bent, weight = self.heads["aux"](x), self.heads["aux/seg"].weight
            return torch.relu(bent) @ weight + (bent if self.skip else weight)

    def alias(facts):
        old, new = "heads.aux/tanh", "heads.aux/seg.weight"
        facts["operators"] = {
            (new if name == old else name): {**row, "in": [new if one == old else one for one in row["in"]]}
            for name, row in facts["operators"].items()
        }
        del facts["modules"]["heads.aux/seg"]["tensors"]

    x = torch.rand(8, 8)
    view, other = ModelGraphView(Heads(True), x), ModelGraphView(Heads(False), x)
    assert not matches(other, reread(view, view.capture(), alias), other.capture())


def test_a_summary_s_word_is_no_device_because_the_baseline_calls_its_parameter_so():
    class Modes(nn.Module):
        def forward(self, x, meta):
            return x

    class Gives(nn.Module):
        def __init__(self, mode):
            super().__init__()
            self.mode, self.inner = mode, Modes()

        def forward(self, x):
            return self.inner(x, self.mode)

    def called_device(facts):
        row = facts["layers"]["inner"]
        row["in"] = row["in"].replace("meta: ", "device: ")

    view = ModelSummaryView(Gives("meta"), input_data=image())
    baseline = reread(view, view.capture(), called_device)
    for mode in ("cpu", "xla"):
        other = ModelSummaryView(Gives(mode), input_data=image())
        assert not matches(other, baseline, other.capture())


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


def test_a_function_without_a_name_is_an_operator():
    plain = lambda x: x + 1  # noqa: E731  # which has no other name

    def overridable(x):
        return handle_torch_function(plain, (x,), x) if has_torch_function((x,)) else x + 1

    class Reads(nn.Module):
        def forward(self, x):
            return overridable(x) if float(x.sum()) < 1e9 else x

    view = ModelGraphView(Reads(), torch.rand(2, 2))
    capture = view.capture()
    assert "/<lambda>" in {one.name for one in capture.result.operators}
    assert matches(view, reread(view, capture, lambda facts: None), capture)


@pytest.mark.parametrize("change", [{"precision": "float16"}, {"call": 7}])
def test_a_climb_in_another_precision_or_call_is_no_match(change):
    view = climb()
    capture = view.capture()
    assert matches(view, capture, capture)
    assert not matches(view, reread(view, capture, lambda facts: facts.update(change)), capture)


class Head(nn.Module):
    """A model of which its loss shows neither what it normalises with in evaluation, nor its unused head."""

    def __init__(self, change, size, dtype, entries):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.norm, self.outer = nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)
        self.spare = nn.Linear(3, size, dtype=dtype)
        self.register_buffer("table", torch.arange(1.0, entries + 1))
        self.register_buffer("cache", torch.arange(1.0, entries + 1), persistent=False)
        with torch.no_grad():
            change(self)

    def forward(self, x):
        return self.outer(torch.tanh(self.norm(self.inner(x))))


def learning(change=lambda model: None, size=4, dtype=torch.float32, entries=3):
    model = Head(change, size, dtype, entries)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.rand(8, 4, generator=torch.Generator().manual_seed(0))

    def step(number):
        optimizer.zero_grad()
        loss = model.train()(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return TrainingCurveView(step, steps=3, model=model, optimizer=optimizer)


def mirrored(model):
    """What tanh lets pass the same: both signs of all that is before it and after it."""
    for parameter in (model.inner.weight, model.inner.bias, model.outer.weight):
        parameter.neg_()


UNNOTICED = {
    "mirrored": mirrored,
    "running": lambda model: model.norm.running_var.mul_(9),
    "table": lambda model: model.table.mul_(5),
    "cache": lambda model: model.cache.mul_(-7),
    "spare": lambda model: model.spare.weight.neg_(),
}


def less(name):
    """A change of a trace: no module holds a weight of this name, which "" leaves to none of them."""

    def forget(trace):
        for module in trace.modules.values():
            for local in [local for local in module.weights if name in ("", local)]:
                del trace.weights[module.weights.pop(local)]

    return forget


def marked(name):
    """The same, and that a pass writes it."""

    def forget(trace):
        less(name)(trace)
        trace.modules[""].config.update(rewritten=name, unsaved=name)

    return forget


@pytest.mark.parametrize("change", UNNOTICED)
@pytest.mark.parametrize(
    "forge", [less(""), less("running_var"), less("weight"), less("table"), less("cache"), marked("cache"), marked("")]
)
def test_no_start_of_a_training_is_less_than_what_was_recorded(change, forge):
    view, other = learning(), learning(UNNOTICED[change])
    capture, actual = view.capture(), other.capture()
    assert matches(other, capture, learning().capture())
    assert not matches(other, capture, actual)
    assert not matches(other, retraced(view, capture, forge), actual)


@pytest.mark.parametrize(
    ("options", "layer"), [({"size": 9}, "spare"), ({"dtype": torch.float64}, "spare"), ({"entries": 7}, "")]
)
def test_weights_of_another_shape_are_another_start(options, layer):
    other = learning(**options)
    verdict = other.compare(learning().capture(), other.capture(), Tolerances())
    assert (verdict.matched, verdict.cause, verdict.first.layer) == (False, "architecture", layer)
    assert {type(finding) for finding in verdict.findings} == {CurveRemark, ShapeFinding}


@pytest.mark.parametrize("forge", [less(""), less("weight"), less("bias")])
def test_no_kernel_is_less_than_what_was_recorded(forge):
    view, other = KernelMapsView(net()), KernelMapsView(net(convolved))
    assert not matches(other, retraced(view, view.capture(), forge), other.capture())


class Attends(nn.Module):
    def forward(self, x, mask=None, bias=None):
        return x + 0


class Variadic(nn.Module):
    def forward(self, x, *args, bias=None, **others):
        return x + 0


class HandsOver(nn.Module):
    """Calls its only child with what a function makes of its input."""

    def __init__(self, inner, call):
        super().__init__()
        self.inner, self.call = inner, [call]  # no configuration

    def forward(self, x):
        return self.call[0](self.inner, x)


HANDED = {
    "mask": (Attends, lambda inner, x: inner(x, x * 2)),
    "bias": (Attends, lambda inner, x: inner(x, bias=x * 2)),
    "first of the rest": (Variadic, lambda inner, x: inner(x, x * 2, None)),
    "second of the rest": (Variadic, lambda inner, x: inner(x, None, x * 2)),
    "bias, by name alone": (Variadic, lambda inner, x: inner(x, bias=x * 2)),
    "another name": (Variadic, lambda inner, x: inner(x, scale=x * 2)),
    "nothing": (Attends, lambda inner, x: inner(x)),
    "a number": (Attends, lambda inner, x: inner(x, 7)),
    "a number last": (Attends, lambda inner, x: inner(x, bias=7)),
    "no rest": (Variadic, lambda inner, x: inner(x)),
    "numbers": (Variadic, lambda inner, x: inner(x, None, 7, scale=None)),
}
SIGNATURES = (
    None, "", "x", "x, bias", "x, mask", "x, bias, mask", "x, mask, scale", "x, scale", "x, zz, args", "x, zz, args[0]",
    "x, zz, args[0], *rest", "x, args[1], args[0]", "x, *args", "x, *bias", "x, bias, *args", "x, zz, *args",
    "x, zz, bias, *rest", "x, scale, *args", "x, args, *scale", "x, x, bias", "bias, x",
)  # fmt: skip


def handed(name, view=FeatureMapsView):
    inner, call = HANDED[name]
    return view(HandsOver(inner(), call), input_data=image())


@pytest.mark.parametrize("name", HANDED)
def test_no_signature_that_a_summary_claims_takes_one_argument_for_another(name):
    view = handed(name, ModelSummaryView)
    capture = view.capture()
    row = capture.facts["layers"]["inner"]
    assert "*args" not in row.get("forward", "") or HANDED[name][0] is Variadic

    def claimed(facts, signature):
        facts["layers"]["inner"].pop("forward", None)
        if signature is not None:
            facts["layers"]["inner"]["forward"] = signature

    others = {other: handed(other, ModelSummaryView).capture() for other in HANDED if other != name}
    for signature in SIGNATURES:
        baseline = reread(view, capture, lambda facts, text=signature: claimed(facts, text))
        assert matches(view, baseline, capture)
        for other, drifted in others.items():
            assert not matches(view, baseline, drifted), (signature, other)


@pytest.mark.parametrize("name", HANDED)
def test_no_signature_that_a_trace_claims_takes_one_argument_for_another(name):
    view, kind = handed(name), HANDED[name][0]
    capture = view.capture()
    others = {other: handed(other).capture() for other in HANDED if other != name and HANDED[other][0] is kind}

    def claimed(trace, signature, defaults):
        config = trace.modules["inner"].config
        config |= {"defaults": defaults, "forward": config["forward"] if signature is None else signature}

    for defaults in ("", "mask=7\nbias=7", "mask=None\nbias=None\nzz=None\nscale=None", "zz=7\nargs[0]=7\nargs[1]=7"):
        for signature in SIGNATURES:
            forge = functools.partial(claimed, signature=signature, defaults=defaults)
            baseline = retraced(view, capture, forge)
            assert matches(view, baseline, capture)
            for other, drifted in others.items():
                assert not matches(view, baseline, drifted), (signature, defaults, other)


class Renamed(nn.Module):
    def forward(self, y, mask=None, shift=None):
        return y + 0


Renamed.__name__ = Renamed.__qualname__ = "Attends"


def test_a_parameter_with_another_name_is_no_other_argument():
    """Also of a baseline that names no parameters, as earlier ones, if it is given the first of them."""
    models = [HandsOver(kind(), HANDED["mask"][1]) for kind in (Attends, Renamed)]
    view, other = (FeatureMapsView(model, image()) for model in models)
    assert matches(other, view.capture(), other.capture())
    view, other = (ModelSummaryView(model, input_data=image()) for model in models)
    capture = view.capture()
    assert capture.facts["layers"]["inner"]["forward"] == "x, mask, bias"
    earlier = reread(view, capture, lambda facts: facts["layers"]["inner"].pop("forward"))
    assert matches(other, capture, other.capture())
    assert matches(other, earlier, other.capture())
    assert matches(view, earlier, capture)


class Subtracts(nn.Module):
    def __init__(self, swapped):
        super().__init__()
        self.swapped = [swapped]  # no configuration

    def forward(self, a, b):
        return b - a if self.swapped[0] else a - b


@pytest.mark.parametrize(
    ("operands", "inputs", "matching"),
    [
        ("ab", "ab", "a - b"),
        ("ab", "ba", "a - b"),
        ("ba", "ab", "b - a"),
        ("cd", "cd", "a - b"),
        ("dc", "cd", "b - a"),
        ("ac", "ac", "a - b"),
        ("cb", "cb", "a - b"),
        ("cb", "bc", None),
        ("bc", "bc", None),
        ("ca", "ca", None),
        ("ac", "ca", None),
    ],
)
def test_no_input_that_both_graphs_know_stands_for_another(operands, inputs, matching):
    data = {"a": torch.ones(2, 4), "b": torch.rand(2, 4)}
    views = {"a - b": ModelGraphView(Subtracts(False), data), "b - a": ModelGraphView(Subtracts(True), data)}
    view = views["a - b"]

    def renamed(facts):
        facts["inputs"] = {f"input.{name}": facts["inputs"]["input.a"] for name in inputs}
        for row in facts["operators"].values():
            row["in"] = [f"input.{name}" for name in operands]

    baseline = reread(view, view.capture(), renamed)
    matched = [name for name, other in views.items() if matches(other, baseline, other.capture())]
    assert matched == ([] if matching is None else [matching])


class Bends(nn.Module):
    """Two convolutions between which something bends, all weights off by a part of their standard deviation."""

    def __init__(self, bend, off=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.bend, self.head = bend, nn.Linear(8, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.add_(off * parameter.std() * torch.randn(parameter.shape))

    def forward(self, x):
        return self.head(self.bend(self.second(self.bend(self.first(x)))).mean((2, 3)))


EXPLAINED = {
    "saliency_map": lambda model: SaliencyMapView(model, image(), target=1),
    "smoothgrad": lambda model: SaliencyMapView(model, image(), target=1, method="smoothgrad"),
    "gradcam": lambda model: CamMapView(model, image(), target_layer="second", target=1),
    "layercam": lambda model: CamMapView(model, image(), target_layer="first", target=1, method="layercam"),
    "fullgrad": lambda model: CamMapView(model, image(), target=1, method="fullgrad"),
    "activation_maximization": lambda model: ActivationMaximizationView(
        model, "second", input_size=(3, 8, 8), steps=3, learning_rate=0.01
    ),
}


@pytest.mark.parametrize("name", EXPLAINED)
@pytest.mark.parametrize("bend", [torch.tanh, nn.functional.silu, nn.functional.gelu, torch.sigmoid])
def test_no_pass_of_a_drifted_model_grants_a_gradient_kinks_that_it_has_not(name, bend):
    """The explanation of what was recorded, over the forward pass of what has drifted since."""
    view = EXPLAINED[name](Bends(bend))
    capture = view.capture()
    for off in (0.002, 0.004, 0.008, 0.015):
        other = EXPLAINED[name](Bends(bend, off))
        actual = other.capture()
        trace = stored_trace(actual.arrays)
        trace.gradients = stored_trace(capture.arrays).gradients
        baseline = mended(
            view, capture, **{key.replace(".", "__"): values for key, values in pack_trace(trace).items()}
        )
        assert matches(view, baseline, view.capture())
        assert not matches(other, baseline, actual), off


@pytest.mark.parametrize("name", EXPLAINED)
@pytest.mark.parametrize(
    ("bend", "smooth"),
    [
        (torch.tanh, True),
        (nn.functional.silu, True),
        (torch.relu, None),
        (nn.functional.hardswish, None),
        (lambda x: x.clamp(min=0), None),
        (lambda x: torch.where(x > 0, x, 0.1 * x), None),
        (lambda x: torch.max_pool2d(x, 3, 1, 1), None),
        (lambda x: x.masked_fill(x < 0, 0.0), None),
        (lambda x: x.abs(), None),
    ],
)
def test_what_has_kinks_is_found_however_it_is_written(name, bend, smooth):
    assert EXPLAINED[name](Bends(bend)).capture().facts.get("smooth") is smooth
