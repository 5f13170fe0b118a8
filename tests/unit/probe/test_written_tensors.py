"""What a model writes into a tensor after it was recorded: into what it returns, and into its arguments."""

import math
from collections import deque
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import UnstatedFinding
from pytest_modelviz.records.structure import EMPTY, SIDE_EFFECTS, WRITTEN
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.feature_maps.records import layer_rows

UNSTATED = UnstatedFinding("what the model writes into its arguments, and what it returns empty")


class Writer(nn.Module):
    def __init__(self, convert, write):
        super().__init__()
        self.layer = nn.Identity()
        self.__dict__["convert"], self.__dict__["write"] = convert, write

    def forward(self, x):
        y = self.layer(self.convert(x))
        self.write(y)
        return y


def nested(layout):
    return lambda x: torch.nested.nested_tensor([x[:1], x[1:]], layout=layout)


def by_numpy(factor):
    def write(y):
        values = y.numpy()
        values *= factor

    return write


TENSORS = {
    "coo": (torch.Tensor.to_sparse, lambda by: lambda y: y.mul_(by)),
    "coo values": (lambda x: x.to_sparse().coalesce(), lambda by: lambda y: y.values().mul_(by)),
    "csr": (torch.Tensor.to_sparse_csr, lambda by: lambda y: y.mul_(by)),
    "csr values": (torch.Tensor.to_sparse_csr, lambda by: lambda y: y.values().mul_(by)),
    "nested": (nested(torch.strided), lambda by: lambda y: y.mul_(by)),
    "jagged values": (nested(torch.jagged), lambda by: lambda y: y.values().mul_(by)),
    "numpy": (torch.clone, by_numpy),
    "dlpack": (torch.clone, lambda by: lambda y: torch.from_dlpack(y).mul_(by)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", TENSORS)
def test_what_is_returned_is_compared_as_it_is_returned(kind):
    convert, write = TENSORS[kind]
    x = torch.rand(4, 8, generator=torch.Generator().manual_seed(0))
    view, other = (FeatureMapsView(Writer(convert, write(by)), x) for by in (2.0, 3.0))
    capture = view.capture()
    assert view.compare(capture, view.capture(), Tolerances()).matched
    verdict = view.compare(capture, other.capture(), Tolerances())
    assert not verdict.matched
    assert verdict.first.layer == ""


def test_a_tensor_that_nobody_has_written_into_is_recorded_once():
    trace = FeatureMapsView(nn.Sequential(nn.ReLU()), torch.full((2, 400), torch.nan)).capture().result.trace
    assert list(trace.tensors) == ["<input", "0"]


class Cache:
    def __init__(self):
        self.keys = []


class Fills(nn.Module):
    """Returns its input, and has another effect on what it is given with it."""

    def __init__(self, write):
        super().__init__()
        self.__dict__["write"] = write

    def forward(self, x, given, scale=1.0):
        self.write(x, given)
        return x


def x():
    return torch.rand(4, 8, generator=torch.Generator().manual_seed(0))


EFFECTS = {
    "out": (lambda: torch.zeros(4, 8), lambda by: lambda x, given: torch.mul(x, by, out=given)),
    "object": (Cache, lambda by: lambda x, given: given.keys.append(x * by)),
    "list": (list, lambda by: lambda x, given: given.append(x * by)),
    "dict": (dict, lambda by: lambda x, given: given.update(aux=x * by)),
    "number": (lambda: [1.0], lambda by: lambda x, given: given.append(by)),
    "text": (lambda: ["a"], lambda by: lambda x, given: given.append(f"b{by}")),
    "removed": (lambda: [1, 2, 3], lambda by: lambda x, given: [given.pop() for _ in range(int(by) - 1)]),
}


@pytest.mark.parametrize("kind", EFFECTS)
def test_what_is_written_into_an_argument_is_compared(kind):
    make, write = EFFECTS[kind]
    view, other, still = (
        FeatureMapsView(Fills(effect), (x(), make())) for effect in (write(2.0), write(3.0), lambda x, given: None)
    )
    capture = view.capture()
    assert view.compare(capture, view.capture(), Tolerances()).findings == ()
    for changed in (other, still):
        verdict = view.compare(capture, changed.capture(), Tolerances())
        assert not verdict.matched
        assert verdict.first.layer == ""


def test_a_model_that_writes_nothing_has_no_more_outputs_and_tensors():
    view = FeatureMapsView(Fills(lambda x, given: None), {"x": x(), "given": [1.0, x(), "a"], "scale": 2.5})
    trace = view.capture().result.trace
    assert set(trace.calls[0].outputs) == {""}
    assert len(trace.tensors) == 4


WRITES = {  # what is also returned, and so is not new to the trace
    "the other key": ({}, lambda y, c: c.update(k=y), lambda y, c: c.update(v=y)),
    "nowhere": ({}, lambda y, c: c.update(k=y), lambda y, c: None),
    "exchanged": ({}, lambda y, c: c.update(k=y, v=y[:1]), lambda y, c: c.update(v=y, k=y[:1])),
    "twice": ([], lambda y, c: c.extend([y]), lambda y, c: c.extend([y, y])),
    "in place": (torch.ones(4, 8), lambda y, c: c.copy_(y), lambda y, c: None),
    "an empty list": ({}, lambda y, c: c.update(k=[]), lambda y, c: None),
    "emptied": ({"k": [1]}, lambda y, c: c.update(k=[]), lambda y, c: c.pop("k")),
    "cleared": ([[]], lambda y, c: c.clear(), lambda y, c: None),
}


@pytest.mark.parametrize("kind", WRITES)
def test_what_is_written_and_returned_is_compared_in_both_positions(kind):
    given, *writes = WRITES[kind]

    class Returns(nn.Module):
        def __init__(self, write):
            super().__init__()
            self.__dict__["write"] = write

        def forward(self, x, given):
            y = x * 2
            self.write(y, given)
            return y, y[:1]

    views = [FeatureMapsView(Returns(write), (x(), given)) for write in writes]
    captures = [view.capture() for view in views]
    for view, capture, other in zip(views, captures, captures[::-1], strict=True):
        assert view.compare(capture, view.capture(), Tolerances()).findings == ()
        assert not view.compare(capture, other, Tolerances()).matched


class Note:
    def __init__(self):
        self.text, self.count, self.inner, self.values = "a", 1, [Fraction(1)], [1.0, "b"]


class Named(dict):
    def named(self, n):
        self.n = n
        return self


class Column:
    """Such as a table's: whether it is true is ambiguous."""

    __slots__ = ()

    def __len__(self):
        return 2

    def __bool__(self):
        raise ValueError("ambiguous")


class Array(np.ndarray):
    pass


class Calls:
    """Remembers that it was called."""

    def __init__(self):
        self.text = ""

    def __call__(self):
        self.text = "cached"


UNCOMPARED = {
    "a text": (Note, lambda x, given: setattr(given, "text", "b"), "given.text"),
    "a text that stays": (Note, lambda x, given: setattr(given, "text", "a"), None),
    "a number": (Note, lambda x, given: setattr(given, "count", 2), None),
    "a fraction": (Note, lambda x, given: given.inner.append(Fraction(2)), "given.inner[1]"),
    "an empty list": (Note, lambda x, given: given.values.append([]), "given.values[2]"),
    "a new attribute": (Note, lambda x, given: setattr(given, "more", b"c"), "given.more"),
    "an attribute of a dict": (lambda: Named(x=x()), lambda x, given: setattr(given, "n", 2), "given.n"),
    "an attribute of a tensor": (x, lambda x, given: setattr(given, "n", x), "given.n"),
    "bytes": (lambda: bytearray(b"ab"), lambda x, given: given.__setitem__(0, 3), "given"),
    "a gradient": (x, lambda x, given: setattr(given, "grad", x), "given.grad"),
    "a buffer": (lambda: nn.BatchNorm1d(8), lambda x, given: given.running_mean.add_(1), "given"),
    "an attribute of a module": (nn.Dropout, lambda x, given: setattr(given, "p", 0.25), "given"),
    "the mode of a module": (nn.Dropout, lambda x, given: given.eval(), "given"),
    "a mask": (lambda: np.ma.masked_array([1, 2], [0, 0]), lambda x, given: given.mask.__setitem__(0, 1), "given"),
    "a long array": (lambda: np.array(["a"] * 2000), lambda x, given: given.__setitem__(500, "b"), "given"),
    "an attribute of an array": (lambda: np.ones(2).view(Array), lambda x, given: setattr(given, "n", 1), "given.n"),
    "a callable": (Calls, lambda x, given: given(), "given"),
    "a deque": (deque, lambda x, given: given.append(x), None),
    "of no truth": (Column, lambda x, given: None, None),
    "NaN": (lambda: Named(x=x()).named(math.nan), lambda x, given: None, None),
    "nothing": (Note, lambda x, given: None, None),
}


@pytest.mark.parametrize("kind", UNCOMPARED)
def test_what_is_written_and_not_compared_is_noted(kind):
    make, write, path = UNCOMPARED[kind]
    view = FeatureMapsView(Fills(write), (x(), make()))
    capture, still = view.capture(), FeatureMapsView(Fills(lambda x, given: None), (x(), make()))
    notes = (f"the model writes what is not compared into its arguments: {path}",) if path else ()
    assert capture.notes == notes
    assert view.compare(capture, view.capture(), Tolerances()).matched
    if path and not callable(make()):  # of which the model gets no copy: it may be as the first pass has left it
        assert not view.compare(capture, still.capture(), Tolerances()).matched  # that it writes is compared


def test_an_argument_that_a_forward_calls_otherwise_is_the_same():
    def model(name):
        scope = {"nn": nn}
        source = f"class Model(nn.Module):\n def forward(self, x, {name}):\n  {name}[0].mul_(2)\n  return x.mul_(2)"
        exec(source, scope)
        return FeatureMapsView(scope["Model"](), (x(), [x()]))

    baseline = model("given").capture()
    for name in ("given", "store"):
        view = model(name)
        verdict = view.compare(baseline, view.capture(), Tolerances())
        assert (verdict.matched, verdict.findings) == (True, ())


def recorded_formerly(actual):
    """A capture as a version would have made it that did not record what is written, nor what is empty."""
    trace = actual.result.trace
    outputs = trace.calls[0].outputs.items()
    outputs = {path: leaf for path, leaf in outputs if WRITTEN not in path and leaf.literal != EMPTY}
    used = {leaf.tensor for leaf in (*outputs.values(), *trace.calls[0].inputs.values())}
    trace.calls[0].outputs = outputs
    trace.tensors = {key: record for key, record in trace.tensors.items() if key in used}
    config = {key: text for key, text in trace.modules[""].config.items() if key != SIDE_EFFECTS}
    trace.modules[""] = replace(trace.modules[""], config=config)
    return replace(
        actual, arrays={**actual.arrays, **pack_trace(trace)}, facts={**actual.facts, "layers": layer_rows(trace)}
    )


@pytest.mark.parametrize("write", [lambda x, given: given.append(x * 2), lambda x, given: given.append(x)])
def test_baselines_of_earlier_versions_match_and_that_is_reported(write):
    view = FeatureMapsView(Fills(write), (x(), []))
    actual = view.capture()
    baseline = recorded_formerly(view.capture())
    verdict = view.compare(baseline, actual, Tolerances())
    assert verdict.matched
    assert verdict.findings == (UNSTATED,)


def test_baselines_of_earlier_versions_do_not_say_what_is_empty():
    class Empty(nn.Module):
        def forward(self, x):
            return {"x": x, "boxes": []}

    view = FeatureMapsView(Empty(), x())
    verdict = view.compare(recorded_formerly(view.capture()), view.capture(), Tolerances())
    assert (verdict.matched, verdict.findings) == (True, (UNSTATED,))


def test_a_model_that_begins_to_write_drifts():
    view, writing = (FeatureMapsView(Fills(write), (x(), [])) for write in (lambda *_: None, lambda x, c: c.append(x)))
    capture, actual = view.capture(), writing.capture()
    assert not writing.compare(capture, actual, Tolerances()).matched
    formerly = recorded_formerly(view.capture())
    assert writing.compare(formerly, actual, Tolerances()).findings == (UNSTATED,)
