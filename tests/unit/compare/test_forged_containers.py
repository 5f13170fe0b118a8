"""A forged baseline gains nothing by leaving out a Sequential's call, or by what it says of a rectifier."""

import dataclasses
import time

import pytest
import torch
from forging_by_hand import retraced
from torch import nn

from pytest_modelviz.compare.containers import ContainerTolerances
from pytest_modelviz.compare.tolerance import LayerTolerance, Tolerances
from pytest_modelviz.records.shadow import Shadow
from pytest_modelviz.records.structure import SIDE_EFFECTS, WRITTEN, ModelStructure, ModuleRecord
from pytest_modelviz.records.trace import Call, ForwardTrace
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView

X = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))


class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.__dict__["_factor"] = factor

    def forward(self, x):
        return torch.tanh(x) * self.__dict__["_factor"]


class InAList(nn.Module):
    """The Sequential's caller is not its parent by name."""

    def __init__(self, factor):
        super().__init__()
        self.stem = nn.Linear(8, 8)
        self.blocks = nn.ModuleList([nn.Sequential(nn.LayerNorm(8, eps=0), nn.Linear(8, 4))])
        self.__dict__["_factor"] = factor

    def forward(self, x):
        return self.blocks[0](self.stem(x) * self.__dict__["_factor"])


class WithAnotherName(nn.Module):
    """A child of the Sequential was registered elsewhere before."""

    def __init__(self, factor):
        super().__init__()
        self.act = Scaled(factor)
        self.blocks = nn.Sequential(nn.Linear(8, 8), self.act)

    def forward(self, x):
        return self.blocks(x)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(nn.LayerNorm(8, eps=0), nn.Linear(8, 8))

    def forward(self, x):
        return self.blocks(x)


class Decoder(nn.Module):
    def __init__(self, blocks, factor):
        super().__init__()
        self.inner, self.blocks = nn.Linear(8, 8), blocks
        self.__dict__["_factor"] = factor

    def forward(self, x):
        return self.blocks(self.inner(x) * self.__dict__["_factor"])


class Twice(nn.Module):
    """A Sequential is called by a layer as strict as itself, and then by one that is allowed more."""

    def __init__(self, factor):
        super().__init__()
        self.enc = Encoder()
        self.dec = Decoder(self.enc.blocks, factor)

    def forward(self, x):
        return self.dec(self.enc(x))


class LayerScale(nn.Module):
    """A branch of which little is left, with every digit meant."""

    def __init__(self, factor):
        super().__init__()
        self.blocks = nn.Sequential(nn.Linear(8, 8), Scaled(1e-5 * factor))
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(x + self.blocks(x))


def made(kind, factor=1.0, dtype=torch.float32):
    torch.manual_seed(0)
    return FeatureMapsView(kind(factor).to(dtype), X.to(dtype))


def without_container(trace):
    kinds = [trace.modules[call.layer].class_name for call in trace.calls]
    at = kinds.index("Sequential")
    container = trace.calls.pop(at)
    for call in trace.calls[at:]:
        if call.depth <= container.depth:
            break
        call.depth -= 1


@pytest.mark.parametrize("kind", [InAList, WithAnotherName])
@pytest.mark.parametrize(
    "tolerances",
    [
        Tolerances(rtol=1e-2, layers=(LayerTolerance("blocks*", rtol=1e-6),)),
        Tolerances(atol=1.0, layers=(LayerTolerance("blocks*", atol=0.0),)),
    ],
    ids=["rtol", "atol"],
)
def test_a_sequential_that_the_user_allows_less_than_its_caller_is_not_skipped(kind, tolerances):
    view, drifted = made(kind), made(kind, 1.005)
    honest, actual = view.capture(), drifted.capture()
    assert view.compare(honest, view.capture(), tolerances).matched
    assert not view.compare(honest, actual, tolerances).matched
    assert not view.compare(retraced(view, honest, without_container), actual, tolerances).matched


def test_each_call_of_a_sequential_is_one_that_may_be_allowed_less():
    strict = (LayerTolerance("enc*", rtol=1e-6), LayerTolerance("", rtol=1e-6))
    tolerances = Tolerances(rtol=1e-2, layers=strict)
    view, drifted = made(Twice), made(Twice, 1.005)
    honest, actual = view.capture(), drifted.capture()

    def without_both(trace):
        for _ in range(2):
            without_container(trace)

    assert view.compare(honest, view.capture(), tolerances).matched
    assert not view.compare(retraced(view, honest, without_both), actual, tolerances).matched


def test_nothing_is_skipped_before_the_model_itself():
    class Writes(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.blocks = nn.Sequential(nn.Linear(8, 8))
            self.__dict__["_factor"] = factor

        def forward(self, x, cache):
            result = self.blocks[0](x)
            cache["result"] = result * self.__dict__["_factor"]
            return result

    def moved(trace):
        root = trace.calls[0]
        root.outputs = {path: leaf for path, leaf in root.outputs.items() if not path.endswith(WRITTEN)}
        trace.modules["blocks"].config[SIDE_EFFECTS] = trace.modules[""].config.pop(SIDE_EFFECTS)
        for call in trace.calls:
            call.depth += 1
        trace.calls.insert(0, Call("blocks", 0, 0, {}, {}))

    torch.manual_seed(0)
    view = FeatureMapsView(Writes(1.0), (X, {}))
    torch.manual_seed(0)
    actual = FeatureMapsView(Writes(7.0), (X, {})).capture()
    assert not view.compare(retraced(view, view.capture(), moved), actual, Tolerances()).matched


def test_tolerances_of_layers_take_no_quadratic_time():
    nested = ForwardTrace(
        ModelStructure({"": ModuleRecord("Net", {}, {}), "a": ModuleRecord("Sequential", {}, {})}, {})
    )
    nested.calls = [Call("a" if at else "", at, at, {}, {}) for at in range(20_000)]
    start = time.process_time()
    containers = ContainerTolerances(nested, Tolerances(layers=(LayerTolerance("a", rtol=1e-3),)))
    assert all(containers.is_less(call) for call in nested.calls)  # a number and a default are of two kinds
    assert time.process_time() - start < 2


def test_a_number_that_the_user_gives_may_be_less_than_a_default():
    tolerances = Tolerances(layers=(LayerTolerance("blocks", rtol=1e-2),))  # bfloat16 is allowed 3e-2
    view, drifted = (made(WithAnotherName, factor, torch.bfloat16) for factor in (1.0, 1.02))
    view.set_shadow(Shadow.NEVER)
    drifted.set_shadow(Shadow.NEVER)
    forged = retraced(view, view.capture(), without_container)
    assert not view.compare(forged, drifted.capture(), tolerances).matched


def test_a_sequential_stands_for_itself_where_all_around_are_allowed_the_same():
    tolerances = Tolerances(rtol=1e-3, layers=(LayerTolerance("elsewhere", rtol=1e-2),))
    view = made(InAList)
    forged = retraced(view, view.capture(), without_container)
    assert view.compare(forged, view.capture(), tolerances).matched
    assert view.compare(forged, view.capture(), Tolerances()).matched


class Pair(nn.Module):
    """Returns two results, of which the second is no larger than rounding of the input."""

    def __init__(self, factor):
        super().__init__()
        self.__dict__["_factor"] = factor

    def forward(self, x):
        return x, x * (1e-7 * self.__dict__["_factor"])


class PairInASequential(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.blocks, self.head = nn.Sequential(nn.Linear(8, 8), Pair(factor)), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(sum(self.blocks(x)))


class Nested(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.blocks = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8), Scaled(1e-5 * factor)))
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(x + self.blocks(x))


@pytest.mark.parametrize("kind", [LayerScale, PairInASequential, Nested, WithAnotherName])
@pytest.mark.parametrize("factor", [1.00008, 1.00029, 1.00034, 1.01, -1.0, 4.0])
def test_a_sequential_is_allowed_exactly_what_its_last_module_is(kind, factor):
    view, actual = made(kind), made(kind, factor).capture()
    honest = view.capture()
    verdict, forged = (
        view.compare(baseline, actual, Tolerances()) for baseline in (honest, retraced(view, honest, without_container))
    )
    assert (verdict.matched, verdict.error) == (forged.matched, forged.error)


class TinyInFloat32(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.full((8,), 1e-6))

    def forward(self, x):
        return x.float() * self.gain


class UnderAutocast(nn.Module):
    """What the Sequential returns has the tolerance of bfloat16, and so has what its caller makes of it."""

    def __init__(self, one_by_one):
        super().__init__()
        self.blocks, self.after = nn.Sequential(nn.Linear(8, 8), TinyInFloat32()), nn.Identity()
        self.__dict__["_one_by_one"] = one_by_one

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            x = self.blocks[1](self.blocks[0](x)) if self.__dict__["_one_by_one"] else self.blocks(x)
        return self.after(x * 1e6)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_what_is_forgiven_to_the_last_module_is_no_exact_result_of_the_sequential(one_by_one):
    def rounded(trace):
        for key, record in trace.tensors.items():
            if key != "<x":
                sketch = (record.sketch * (1 + 1e-3)).astype(record.sketch.dtype)
                trace.tensors[key] = dataclasses.replace(record, sketch=sketch)

    view = made(UnderAutocast, one_by_one)
    assert view.compare(retraced(view, view.capture(), rounded), view.capture(), Tolerances()).matched


def test_a_small_result_of_a_sequential_is_allowed_three_times_the_table():
    view = made(LayerScale)
    honest = view.capture()
    for factor, matches in ((1.00029, True), (1.00034, False)):
        assert view.compare(honest, made(LayerScale, factor).capture(), Tolerances()).matched == matches


class Sequential(nn.Sequential):
    names = ("boxes", "scores")

    def forward(self, x):
        return dict(zip(self.names, (self[0](x), x), strict=True))


class Named(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.blocks, self.head = Sequential(nn.Linear(8, 8)), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(sum(self.blocks(x).values()))


def test_a_namesake_of_sequential_is_not_skipped(monkeypatch):
    view = made(Named)
    honest = view.capture()
    forged = retraced(view, honest, without_container)
    monkeypatch.setattr(Sequential, "names", ("a", "b"))
    actual = view.capture()
    assert not view.compare(honest, actual, Tolerances()).matched
    assert not view.compare(forged, actual, Tolerances()).matched
