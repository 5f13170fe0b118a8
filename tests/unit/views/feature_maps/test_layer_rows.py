"""What a baseline's JSON file says of each layer, by a trace that was written down by hand."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from traces_by_hand import trace

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.structure import ModuleRecord
from pytest_modelviz.records.trace import Call, Leaf
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.feature_maps.records import layer_rows


def test_a_tensor_is_described_where_it_came_into_being_and_named_elsewhere():
    made = trace()
    sketch = np.full(251, 2.0, np.float32)  # of norm 31.7: the mean of one tensor is known, of another it is not
    made.tensors["head"] = dataclasses.replace(made.tensors["head"], shape=(1000,), sketch=sketch, mean=0.12345)
    made.tensors["block"] = dataclasses.replace(made.tensors["block"], shape=(10, 10), sketch=sketch)
    made.tensors["block.b<x"] = made.tensors["b<"]
    made.calls[3] = Call("block.b", 0, 2, {"x": Leaf(tensor="block.b<x"), "flag": Leaf(literal="True")}, {})
    made.calls.append(Call("head", 1, 1, {}, {"[0]": Leaf(tensor="head"), "[1]": Leaf(literal="None")}))
    made.calls[4] = Call("head", 0, 1, {"x": Leaf(tensor="block")}, {"": Leaf(tensor="head")})
    made.modules["block.never"] = ModuleRecord("Dropout", {}, {})
    assert layer_rows(made) == {
        "": {"class": "Net", "in": "x: = in", "out": "= head"},
        "block": {"class": "Block", "in": "x: = in", "out": "float32[10, 10] rms 3.17"},
        "block.a": {"class": "Linear", "in": "x: = in", "out": "= a"},
        "block.b": {"class": "Linear", "in": "x: float32[1] mean 2 rms 2; flag: True", "out": ""},
        "head": {"class": "Linear", "in": "x: = block", "out": "float32[1000] mean 0.123 rms 1"},
        "head#1": {"class": "Linear", "in": "", "out": "[0]: = head; [1]: None"},
        "block.never": {"class": "Dropout", "never_called": True},
    }


class Numbered(nn.Module):
    def __init__(self, called):
        super().__init__()
        self._called = called
        for name in ("a", "a#1", "b", "b#1"):
            self.add_module(name, nn.Linear(2, 2))

    def forward(self, x):
        for name in self._called:
            x = self.get_submodule(name)(x)
        return x


@pytest.mark.parametrize("called", [("a", "a", "a#1", "b", "b"), ("a#1", "a#1", "a", "b#1"), ("a", "a")])
def test_the_name_of_a_module_may_look_like_the_second_call_of_another(called):
    view = FeatureMapsView(Numbered(called), torch.ones(1, 2))
    captured = view.capture()
    rows = captured.facts["layers"]
    assert len(rows) == 1 + len(called) + len({"a", "a#1", "b", "b#1"} - set(called))
    assert view.compare(captured, view.capture(), Tolerances()).matched
    other = FeatureMapsView(Numbered(("a", *called)), torch.ones(1, 2))
    assert not view.compare(captured, other.capture(), Tolerances()).matched
