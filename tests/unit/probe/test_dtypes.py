"""The dtypes that code computes in are noted by a mode, which is there for the model's own code alone."""

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from pytest_modelviz.probe import dtypes
from pytest_modelviz.probe.context_stacks import ModeStack
from pytest_modelviz.probe.dtypes import DtypeRecorder
from pytest_modelviz.probe.forward import call, prepared
from pytest_modelviz.probe.pass_recorder import CallObserver


class Looking(CallObserver):
    """Computes something of what each call returns."""

    def leave(self, call, module, output):
        output.float().square().mean()
        return output


class Inner(nn.Module):
    def __init__(self, entered=()):
        super().__init__()
        self.linear, self._entered = nn.Linear(8, 8).bfloat16(), list(entered)

    def forward(self, x):
        for mode in self._entered:
            mode.__enter__()
        return self.linear(x.float().exp().bfloat16())


class Doubling(nn.Module):
    def forward(self, x):
        return (x.double() * 2).bfloat16()


def recorded(model, *observers):
    data = torch.ones(2, 8, dtype=torch.bfloat16)
    with prepared(model, data) as ready:
        recorder = DtypeRecorder(ready, observers)
        with recorder.recording():
            call(ready, data)
    return recorder.trace


def computed_in(trace):
    literals = {call.layer: call.outputs.get("(computed in)") for call in trace.calls}
    return {layer: leaf.literal for layer, leaf in literals.items() if leaf is not None}


def test_what_observes_a_pass_is_not_observed(monkeypatch):
    functions, original = [], dtypes._DtypeMode.__torch_function__

    def noted(self, func, types, args=(), kwargs=None):
        functions.append(func)
        return original(self, func, types, args, kwargs)

    monkeypatch.setattr(dtypes._DtypeMode, "__torch_function__", noted)
    model = nn.Sequential(Inner(), Doubling())
    assert computed_in(recorded(model, Looking())) == {"0": "float32", "1": "float64"}
    assert torch.Tensor.exp in functions
    assert torch.Tensor.square not in functions
    assert len(functions) < 10  # which the model calls


def test_a_mode_that_the_model_enters_and_never_leaves():
    class Mode(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    stack = ModeStack("modes", "function")
    before = stack.read()
    for modes in ([Mode()], [Mode(), Mode()]):
        model = nn.Sequential(Inner(modes), Doubling(), nn.Linear(8, 8).bfloat16(), Inner())
        assert computed_in(recorded(model)) == {"0": "float32", "1": "float64", "3": "float32"}
        assert stack.read() == before
