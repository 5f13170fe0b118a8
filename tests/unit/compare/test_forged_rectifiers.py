"""A forged baseline gains no more than the table states by what it says of a rectifier that lets nothing through."""

import dataclasses

import numpy as np
import pytest
import torch
from forging_by_hand import retraced
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView

X = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))


def made(kind, factor=1.0):
    torch.manual_seed(0)
    return FeatureMapsView(kind(factor), X)


class Dead(nn.Module):
    """A rectifier lets nothing through; beside it other numbers are computed."""

    def __init__(self, factor):
        super().__init__()
        self.before, self.act, self.part, self.head = Below(), nn.ReLU(), Part(factor), nn.Linear(8, 4, bias=False)

    def forward(self, x):
        return self.head(self.part(self.act(self.before(x)), x * 0.1))


class Below(nn.Module):
    def forward(self, x):
        return x.clamp(-2, 2) - 4


class Part(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.__dict__["_factor"] = factor

    def forward(self, rectified, x):
        return (rectified + x) * self.__dict__["_factor"]


def filled(trace):
    """What goes into the rectifier is a little off, and what comes out is noise."""
    noise = np.random.RandomState(0).randn(trace.tensors["act"].sketch.size) * 2e-5
    before = trace.tensors["before"].sketch * np.float32(1 + 5e-5)
    trace.tensors["before"] = dataclasses.replace(trace.tensors["before"], sketch=before)
    trace.tensors["act"] = dataclasses.replace(trace.tensors["act"], sketch=noise.astype(np.float32))


@pytest.mark.parametrize(
    ("tolerances", "factor"), [(Tolerances(), 1.00029), (Tolerances(), 1.0002), (Tolerances(rtol=1e-2), 1.029)]
)
def test_a_dead_rectifier_excuses_no_more_than_is_allowed(tolerances, factor):
    view, drifted = made(Dead), made(Dead, factor)
    forged = retraced(view, view.capture(), filled)
    assert view.compare(forged, view.capture(), tolerances).matched
    assert not view.compare(forged, drifted.capture(), tolerances).matched


class ReLU(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.__dict__["_factor"] = factor

    def forward(self, x):
        return torch.relu(x) * 1e-5 * self.__dict__["_factor"]


class Namesake(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.before, self.act, self.head = nn.Linear(8, 8), ReLU(factor), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.act(self.before(x)))


@pytest.mark.parametrize("ignored", [(), ("*",), ("act.*",)])
def test_what_the_user_ignores_makes_no_namesake_a_rectifier(ignored):
    view, drifted = made(Namesake), made(Namesake, -1.0)

    def off(trace):
        before = trace.tensors["before"].sketch * np.float32(1 + 5e-5)
        trace.tensors["before"] = dataclasses.replace(trace.tensors["before"], sketch=before)

    forged = retraced(view, view.capture(), off)
    assert not view.compare(forged, drifted.capture(), Tolerances(ignored=ignored)).matched


class Add(nn.Module):
    def forward(self, first, second):
        return first + second


class TinyArgument(nn.Module):
    """Beside a dead rectifier's result, the next module is given a tensor that has nothing to do with it."""

    def __init__(self, factor):
        super().__init__()
        self.before, self.act, self.add, self.head = nn.Linear(8, 8), nn.ReLU(), Add(), nn.Linear(8, 4)
        self.__dict__["_factor"] = factor

    def forward(self, x):
        before = self.before(x)
        rectified = self.act(-before.abs() - 1)
        return self.head(self.add(before, before * (3e-6 * self.__dict__["_factor"])) + rectified)


def with_false_noise(trace):
    for key, record in trace.tensors.items():
        trace.tensors[key] = dataclasses.replace(record, noise=1.0)


def nudged(rectifier, also=()):
    """Its input is a little off, its output a billionth, `also` other tensors a digit, and the noise is false."""

    def change(trace):
        with_false_noise(trace)
        call = next(call for call in trace.calls if call.layer == rectifier)
        for key, factor, offset in (
            (call.inputs["input"].tensor, 1 + 5e-5, 0.0),
            (call.outputs[""].tensor, 1.0, 1e-9),
            *((key, 1 + 2e-7, 0.0) for key in also),
        ):
            record = trace.tensors[key]
            sketch = (record.sketch * factor + offset).astype(np.float32)
            trace.tensors[key] = dataclasses.replace(record, sketch=sketch)

    return change


@pytest.mark.parametrize("factor", [1.01, 2.0, -1.0, -8.0])
def test_what_is_made_beside_a_dead_rectifier_is_not_excused(factor):
    view, drifted = made(TinyArgument), made(TinyArgument, factor)
    forged = retraced(view, view.capture(), nudged("act"))
    assert view.compare(forged, view.capture(), Tolerances()).matched
    assert not view.compare(forged, drifted.capture(), Tolerances()).matched


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.__dict__["_factor"] = 1e-6 * factor

    def forward(self, x):
        return x * self.__dict__["_factor"]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        return x + self.act(-x.abs() - 1)


class Both(nn.Module):
    """What is far smaller than its inputs, after a dead rectifier."""

    def __init__(self, factor):
        super().__init__()
        self.before, self.dead, self.scale, self.head = nn.Linear(8, 8), Residual(), Scale(factor), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(x + self.scale(self.dead(self.before(x))))


@pytest.mark.parametrize(("factor", "matches"), [(1.00029, True), (1.00035, False), (1.00044, False)])
def test_two_allowances_do_not_add_up(factor, matches):
    view, drifted = made(Both), made(Both, factor)
    honest = view.capture()
    dead = next(call for call in view.capture().result.trace.calls if call.layer == "dead").outputs[""].tensor
    forged = retraced(view, honest, nudged("dead.act", also=[dead]))
    assert view.compare(forged, view.capture(), Tolerances()).matched
    assert view.compare(forged, drifted.capture(), Tolerances()).matched == matches
