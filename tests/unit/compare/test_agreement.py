"""The short way to a match comes to the verdict of the long one, and leaves to it all that is not plainly a match."""

import dataclasses
import zlib

import numpy as np
import pytest
import torch
from forgery_subjects import image, net, scaled
from torch import nn
from zoo import images, sequences

from pytest_modelviz.compare import agreement
from pytest_modelviz.compare.layouts import matching_layout
from pytest_modelviz.compare.stored import trace_pair
from pytest_modelviz.compare.tolerance import LayerTolerance, Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.trace_arrays import unpack_trace
from pytest_modelviz.records.trace_structure import layout_of
from pytest_modelviz.views.base import measured
from pytest_modelviz.views.feature_maps import compare as comparison
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView


class Branches(nn.Module):
    """Hands the same tensor to two modules, returns several, one of them small, one of integers."""

    def __init__(self):
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.right = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3)), nn.Tanh())
        self.head = nn.Linear(8, 5)

    def forward(self, x, *, mode="mean"):
        both = self.left(x) + self.right(x)
        scores = self.head(both.mean((2, 3)))
        return {"scores": scores, "class": scores.argmax(1), "map": both}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


MODELS = {"net": (net, image), "branches": (Branches, images), "recurrent": (Recurrent, sequences)}


@pytest.fixture(params=MODELS)
def recorded(request):
    """(the view, what was recorded with noise and means, what is captured now)"""
    model, data = MODELS[request.param]
    torch.manual_seed(0)
    view = FeatureMapsView(model().eval(), data())
    return view, measured(view, view.capture()), view.capture()


def moved(capture, by, seed=0):
    """A capture as another processor might have made it: each number of each sketch is off by this, relatively."""
    draw, arrays = np.random.default_rng(seed), dict(capture.arrays)
    for name in ("trace.sketches", "trace.wide"):
        noise = 1 + by * draw.standard_normal(arrays[name].shape)
        whole = arrays[name] == np.round(arrays[name])  # such as integers, which are exact
        arrays[name] = np.where(whole, arrays[name], arrays[name] * noise).astype(arrays[name].dtype)
    return dataclasses.replace(capture, arrays=arrays)


def both_ways(monkeypatch, baseline, actual, tolerances):
    """The verdict of the short way, None where it was not taken, and that of the long one."""
    found = []
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "compare_passes", lambda *_, **__: found.append("long"))
        short = comparison.compare(baseline, actual, tolerances)
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "quick_match", lambda *_: None)
        return None if found else short, comparison.compare(baseline, actual, tolerances)


SETTINGS = {
    "default": Tolerances(),
    "rtol": Tolerances(rtol=1e-3),
    "atol": Tolerances(atol=1e-7),
    "a part of it": Tolerances(scale=0.5),
    "on a GPU": Tolerances(device="cuda"),
}


@pytest.mark.parametrize("tolerances", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("by", [0.0, 1e-9, 3e-8, 1e-7])
def test_both_ways_come_to_one_verdict(recorded, by, tolerances, monkeypatch):
    _, baseline, actual = recorded
    short, long = both_ways(monkeypatch, moved(baseline, by), actual, tolerances)
    assert long.matched
    assert short is not None
    assert (short.compared, short.drifted, short.findings, short.first) == (long.compared, 0, long.findings, None)
    assert (short.error, short.tolerance) == pytest.approx((long.error, long.tolerance))
    assert [(layer.layer, layer.call) for layer in short.layers] == [(layer.layer, layer.call) for layer in long.layers]
    for own, other in zip(short.layers, long.layers, strict=True):
        assert (own.error, own.tolerance) == pytest.approx((other.error, other.tolerance), rel=1e-9, abs=0)


def test_where_sketches_lie(recorded):
    _, _, actual = recorded
    trace, layout = actual.arrays.trace, layout_of(actual.arrays.trace)
    assert zlib.decompress(actual.arrays["trace.structure"].tobytes()) == layout.text
    assert layout.sketches.tobytes() == actual.arrays["trace.sketches"].tobytes()
    assert layout.wide.tobytes() == actual.arrays["trace.wide"].tobytes()
    records = (*trace.tensors.values(), *trace.weights.values())
    for record, (is_wide, start, size) in zip(records, layout.positions, strict=True):
        numbers = layout.wide if is_wide else layout.sketches
        assert numbers[start : start + size].tobytes() == record.sketch.tobytes()


DECLINED = {
    "more than half of what is allowed": lambda b, a: (moved(b, 2e-5), a, Tolerances()),
    "NaN": lambda b, a: (changed(b, "trace.sketches", np.nan), a, Tolerances()),
    "infinite": lambda b, a: (changed(b, "trace.sketches", np.inf), a, Tolerances()),
    "other tolerances of a layer": lambda b, a: (b, a, Tolerances(layers=(LayerTolerance("head", 1e-5),))),
    "TF32 now": lambda b, a: (b, a, Tolerances(precision="tf32")),
    "TF32 then": lambda b, a: (in_tf32(b), a, Tolerances()),
    "read from a file": lambda b, a: (b, read(a), Tolerances()),
}


def changed(capture, name, value):
    numbers = capture.arrays[name].copy()
    numbers[numbers.size // 2] = value
    return dataclasses.replace(capture, arrays={**capture.arrays, name: numbers})


def in_tf32(capture):
    return dataclasses.replace(capture, environment={**capture.environment, "float32_precision": "tf32"})


def read(capture):
    """The same as it comes from a file, which does not say what was captured just now."""
    return dataclasses.replace(capture, arrays=dict(capture.arrays))


@pytest.mark.parametrize("change", DECLINED.values(), ids=DECLINED)
def test_what_is_not_plain_is_left_to_the_long_way(change, monkeypatch):
    view = FeatureMapsView(net(), image())
    baseline, actual, tolerances = change(measured(view, view.capture()), view.capture())
    short, _ = both_ways(monkeypatch, baseline, actual, tolerances)
    assert short is None


def test_a_drift_is_none_here(monkeypatch):
    view, other = FeatureMapsView(net(), image()), FeatureMapsView(net(scaled), image())
    short, long = both_ways(monkeypatch, measured(view, view.capture()), other.capture(), Tolerances())
    assert short is None
    assert not long.matched


def test_a_weight_that_nothing_reads_counts(monkeypatch):
    def unused(model):
        model.spare.weight.mul_(1.01)

    view, other = FeatureMapsView(net(), image()), FeatureMapsView(net(unused), image())
    short, long = both_ways(monkeypatch, measured(view, view.capture()), other.capture(), Tolerances())
    assert short is None
    assert not long.matched


def test_noise_of_another_length_is_damage():
    view = FeatureMapsView(net(), image())
    baseline = measured(view, view.capture())
    arrays = {**baseline.arrays, "trace.noise": baseline.arrays["trace.noise"][1:]}
    with pytest.raises(UnreadableBaselineError):
        view.compare(dataclasses.replace(baseline, arrays=arrays), view.capture(), Tolerances())


TEXTS = {
    "another class": ("stem.0", "class", "Conv3d"),
    "another size": ("stem.0", "out", "float32[1, 4, 8, 8] mean 0.1 rms 123"),
    "another shape": ("stem.0", "out", "float32[1, 4, 8, 9] rms 0.3"),
    "no number as a mean": ("stem.0", "out", "float32[1, 4, 8, 8] mean much rms 0.3"),
    "another reference": ("stem.1", "in", "input: = block"),
    "no text": ("stem.0", "out", 1),
}


@pytest.mark.parametrize(("layer", "key", "text"), TEXTS.values(), ids=TEXTS)
def test_a_text_that_contradicts_is_found(layer, key, text):
    view = FeatureMapsView(net(), image())
    baseline, actual = measured(view, view.capture()), view.capture()
    layers = {**baseline.facts["layers"], layer: {**baseline.facts["layers"][layer], key: text}}
    with pytest.raises(UnreadableBaselineError):
        view.compare(dataclasses.replace(baseline, facts={**baseline.facts, "layers": layers}), actual, Tolerances())


def test_words_that_look_like_a_mean_are_read_closely():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x):
            return {"a rms 1": self.act(x), "b": 1}

    view = FeatureMapsView(Named(), torch.rand(2, 300))
    baseline, actual = measured(view, view.capture()), view.capture()
    assert view.compare(baseline, actual, Tolerances()).matched
    layers = dict(baseline.facts["layers"])
    layers[""] = {**layers[""], "out": layers[""]["out"].replace("a rms 1", "a mean 5 rms 1")}
    with pytest.raises(UnreadableBaselineError):
        view.compare(dataclasses.replace(baseline, facts={**baseline.facts, "layers": layers}), actual, Tolerances())


class Made(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make, self.first, self.last = make, nn.Flatten(), nn.Identity()

    def forward(self, x):
        return self.last(self.make(self.first(x)))


def with_giants(x):
    return torch.where(x > 0.99, -1e9, x)


ODD = {
    "giants": with_giants,
    "half precision": torch.Tensor.half,
    "double precision": torch.Tensor.double,
    "complex": lambda x: torch.complex(x, x),
    "quantised": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8),
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_odd_numbers_are_left_to_the_long_way(make, monkeypatch):
    torch.manual_seed(0)
    view = FeatureMapsView(Made(make), torch.rand(1, 4, 200))
    short, long = both_ways(monkeypatch, measured(view, view.capture()), view.capture(), Tolerances())
    assert short is None
    assert long.matched


BROKEN = {
    "cut off": lambda packed: packed[:-3],
    "no compression": np.zeros_like,
    "longer": lambda packed: np.frombuffer(zlib.compress(zlib.decompress(packed.tobytes()) + b" "), np.uint8),
    "more behind it": lambda packed: np.concatenate([packed, packed]),
    "gigabytes": lambda packed: np.frombuffer(zlib.compress(bytes(2**26)), np.uint8),
    "of two dimensions": lambda packed: packed[None],
    "of another dtype": lambda packed: packed.view(np.int8),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_another_structure_is_no_match(change):
    view = FeatureMapsView(net(), image())
    actual = view.capture()
    arrays = {**actual.arrays, "trace.structure": change(actual.arrays["trace.structure"])}
    assert matching_layout(dict(actual.arrays), actual.arrays) is not None
    assert matching_layout(arrays, actual.arrays) is None
    assert agreement.quick_match(arrays, actual.arrays, Tolerances()) is None


def test_a_baseline_that_is_the_same_is_not_read():
    view = SaliencyMapView(net(), image(), target=1)
    baseline, actual = read(view.capture()), view.capture()
    before, after = trace_pair(baseline.arrays, actual.arrays)
    assert before is after
    assert (after.calls, after.modules) == (unpack_trace(baseline.arrays).calls, unpack_trace(baseline.arrays).modules)
    before, after = trace_pair(moved(baseline, 1e-6).arrays, actual.arrays)
    assert before is not after


def test_a_pass_of_a_single_call_is_left_to_the_long_way():
    view = FeatureMapsView(nn.Linear(2, 2), torch.ones(1, 2))
    actual = view.capture()
    assert agreement.quick_match(actual.arrays, actual.arrays, Tolerances()) is None
    assert view.compare(actual, actual, Tolerances()).matched


def test_a_pass_with_giants_is_left_to_the_long_way():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.Identity()

        def forward(self, x):
            return self.act(torch.where(x > 0.99, -1e9, x))

    view = FeatureMapsView(nn.Sequential(Masked()), torch.rand(4, 100))
    actual = view.capture()
    assert agreement.quick_match(actual.arrays, actual.arrays, Tolerances()) is None
    assert view.compare(measured(view, actual), view.capture(), Tolerances()).matched
