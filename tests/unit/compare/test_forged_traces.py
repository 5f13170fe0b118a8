"""Nothing that a baseline's trace adds, leaves out or makes a little different loosens what is allowed."""

import dataclasses

import numpy as np
import pytest
import torch
from forgery_subjects import (
    Attention,
    Small,
    convolved,
    image,
    negated,
    negative,
    net,
    noisy,
    rows,
    scaled,
    sequential,
    shifted,
    tenth,
    unused,
)
from forging_by_hand import less, matches, retraced
from torch import nn

from pytest_modelviz.compare.tolerance import LayerTolerance, Tolerances
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Leaf
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView


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


@pytest.mark.parametrize(
    ("original", "drifted"), [(("b", True), (None, True)), ((None, True), ("b", True)), ((None, True), (None, False))]
)
def test_what_a_container_alone_is_given_or_returns_is_compared(original, drifted):
    class Sequential(nn.Sequential):
        def forward(self, x, mode=None):
            results = [x := module(x) for module in self]
            return results[-1 if self.returned[0] else 0]

    class Named(nn.Module):
        def forward(self, x, name):
            return x + 1

    class Discards(nn.Module):
        def __init__(self, mode, is_last):
            super().__init__()
            torch.manual_seed(0)
            self.part, self.mode = Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), [mode, lambda: None]
            self.part.returned = [is_last, lambda: None]  # no configuration
            self.other = Named()

        def forward(self, x):
            self.part(x, *self.mode[:1])
            return self.other(x, "b")

    def uncalled(trace):
        trace.calls[:] = [call for call in trace.calls if call.layer != "part"]
        for call in trace.calls:
            call.depth = min(call.depth, 1)

    view, other = (FeatureMapsView(Discards(*which), image()) for which in (original, drifted))
    baseline = retraced(view, view.capture(), uncalled)
    assert not matches(view, baseline, view.capture())  # a class of the user's may do anything
    assert not matches(other, baseline, other.capture())


class Scales(nn.Module):
    def forward(self, pair):
        x, factor = pair
        return x * factor, factor


class Handing(nn.Module):
    """Hands a number on with a tensor, module by module or to the `whole` container, which may start with another."""

    def __init__(self, number, *, whole, first=None):
        super().__init__()
        self.number, self.whole = number, whole
        self.body = nn.Sequential(nn.Sequential(Scales(), Scales()), Scales())
        if first is not None:
            self.body = self._starting(first)

    @staticmethod
    def _starting(first):
        class Sequential(nn.Sequential):
            def forward(self, pair):
                return super().forward((pair[0], first))

        return Sequential(Scales(), Scales())

    def forward(self, x):
        pair = x, self.number
        if self.whole:
            return self.body(pair)[0]
        for module in [module for module in self.body.modules() if isinstance(module, Scales)]:
            pair = module(pair)
        return pair[0]


@pytest.mark.parametrize("number", [0.5, float("nan"), 2, 1j, torch.tensor(0.5)])
def test_a_number_that_a_container_hands_on_is_the_same_number(number):
    views = [FeatureMapsView(Handing(number, whole=whole), image()) for whole in (True, False)]
    for view, other in (views, views[::-1]):
        assert matches(other, view.capture(), other.capture())


@pytest.mark.parametrize("number", [0.25, -0.5, 0.5 + 1e-12])
def test_a_container_that_is_given_another_number_is_compared(number):
    view = FeatureMapsView(Handing(0.5, whole=False, first=0.5), image())
    other = FeatureMapsView(Handing(number, whole=True, first=0.5), image())
    assert not matches(other, view.capture(), other.capture())


@pytest.mark.parametrize(("rtol", "own", "is_looked_at"), [(0.05, 1e-6, True), (1e-6, 0.05, False), (None, 1e-7, True)])
def test_a_container_that_is_allowed_less_than_those_around_it_is_compared_itself(rtol, own, is_looked_at):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.features, self.head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            return self.head(self.features(x))

    def uncalled(trace):
        trace.calls[:] = [call for call in trace.calls if call.layer != "features"]
        for call in trace.calls:
            call.depth = min(call.depth, 1)

    view = FeatureMapsView(Net(), image())
    actual = view.capture()
    tolerances = Tolerances(rtol=rtol, layers=(LayerTolerance("features", own),))
    assert view.compare(retraced(view, actual, uncalled), actual, tolerances).matched is not is_looked_at


@pytest.mark.parametrize("mark", ["rewritten", "unsaved"])
def test_no_baseline_declares_a_weight_mere_state(mark):
    def declared(trace):
        for module in trace.modules.values():
            module.config[mark] = "\n".join(module.weights)

    view, other = FeatureMapsView(net(), image()), FeatureMapsView(net(unused, shifted), image())
    assert not matches(other, retraced(view, view.capture(), declared), other.capture())


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


class Noise(nn.Module):
    """Returns what is left where rounding alone differs: another for each seed."""

    def __init__(self, seed, size=2e-8):
        super().__init__()
        self.noise = [size * torch.randn(2, 400, generator=torch.Generator().manual_seed(seed)), lambda: None]

    def forward(self, x):
        return x * 0 + self.noise[0]


class Sequential(nn.Sequential):
    def forward(self, x):
        return super().forward(x) * -1


class Around(nn.Module):
    def __init__(self, inner, gain=1.0):
        super().__init__()
        self.inner, self.gain = inner, gain

    def forward(self, x):
        return x + self.inner(x) * self.gain


def is_noise_forgiven(build, tolerances=None):
    view, other = (FeatureMapsView(build(seed), torch.ones(2, 400)) for seed in (0, 1))
    return other.compare(view.capture(), other.capture(), tolerances or Tolerances()).matched


@pytest.mark.parametrize(
    "wrap", [lambda inner: inner, nn.Sequential, lambda inner: nn.Sequential(nn.Sequential(inner))]
)
def test_mere_rounding_is_forgiven_to_a_container_as_to_the_module_that_made_it(wrap):
    assert is_noise_forgiven(lambda seed: Around(wrap(Noise(seed))))
    assert not is_noise_forgiven(lambda seed: Around(wrap(Noise(seed, size=1e-6))))
    assert not is_noise_forgiven(lambda seed: Around(wrap(Noise(seed)), gain=1e6))


@pytest.mark.parametrize(
    "build",
    [
        lambda seed: nn.Sequential(Noise(seed)),  # all that the model returns
        lambda seed: Around(Sequential(Noise(seed))),
        lambda seed: Around(nn.Sequential(Noise(seed), nn.Tanh())),
    ],
)
def test_mere_rounding_is_forgiven_to_no_container_that_makes_anything_of_it(build):
    assert not is_noise_forgiven(build)


def test_mere_rounding_is_not_forgiven_to_a_container_that_is_allowed_less():
    tolerances = Tolerances(layers=(LayerTolerance("inner", 1e-6),))
    assert not is_noise_forgiven(lambda seed: Around(nn.Sequential(Noise(seed))), tolerances)


class Boltzmann(nn.Module):
    def __init__(self, temperature):
        super().__init__()
        self.temperature = [temperature, lambda: None]  # nothing that a configuration shows

    def forward(self, x):
        return torch.exp(-x / self.temperature[0])


ENERGIES = 15 + 5 * torch.rand(3, 16, generator=torch.Generator().manual_seed(0))


def scripted(beta):
    return torch.jit.script(nn.Sequential(nn.Softplus(beta=beta)))


@pytest.mark.parametrize(
    ("models", "data"),
    [
        ((Boltzmann(1.0), Boltzmann(1.2)), ENERGIES),
        ((scripted(1.0), scripted(1.3)), -ENERGIES),
        ((nn.Sequential(Boltzmann(1.0)), nn.Sequential(Boltzmann(1.2))), ENERGIES),
    ],
    ids=["own forward", "TorchScript", "Sequential"],
)
def test_a_model_that_makes_its_inputs_small_is_compared_to_the_last_digit(models, data):
    view, other = (FeatureMapsView(model, data) for model in models)
    assert not matches(other, view.capture(), other.capture())
    assert matches(view, view.capture(), view.capture())


@pytest.mark.parametrize("wrap", [lambda layer: layer, Around], ids=["model", "module"])
def test_a_weighted_sum_that_cancels_is_rounding_whether_it_is_a_model_or_a_module(wrap):
    def edges(seed):
        layer = nn.Conv2d(1, 1, 3, padding=1, padding_mode="replicate", bias=False)
        noise = 3e-8 * torch.randn(3, 3, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            layer.weight[0, 0] = torch.tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]]) + noise
        return FeatureMapsView(wrap(layer), torch.ones(1, 1, 20, 20))

    view, other = edges(0), edges(1)
    assert matches(other, view.capture(), other.capture())


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


@pytest.mark.parametrize("forge", [less(""), less("weight"), less("bias")])
def test_no_kernel_is_less_than_what_was_recorded(forge):
    view, other = KernelMapsView(net()), KernelMapsView(net(convolved))
    assert not matches(other, retraced(view, view.capture(), forge), other.capture())
