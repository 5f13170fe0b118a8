"""Dimensions counted from the end and other names of operators are compared as what they are; nested tensors work."""

import pytest
import torch
from graph_models import capture, compared
from torch import nn

from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_graph.dimensions import canonical
from pytest_modelviz.views.model_graph.findings import ArgumentFinding
from pytest_modelviz.views.model_graph.records import Operator, OperatorGraph


class Applied(nn.Module):
    def __init__(self, function):
        super().__init__()
        self._function = function

    def forward(self, x):
        return self._function(x)


def verdict(before, after):
    x = torch.rand(2, 3, 5, 4)
    captures = [ModelGraphView(Applied(function), x).capture() for function in (before, after)]
    return compared(*captures)[0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda x: torch.cat([x, x], 1), lambda x: torch.concatenate([x, x], -3)),
        (lambda x: x.softmax(-1), lambda x: x.softmax(3)),
        (lambda x: x.sum((-1, -3)), lambda x: x.sum((3, 1))),
        (lambda x: x.unsqueeze(-1), lambda x: x.unsqueeze(4)),
        (lambda x: torch.stack([x, x], -2), lambda x: torch.stack([x, x], 3)),
        (lambda x: x.transpose(-1, 1), lambda x: x.transpose(3, 1)),
        (lambda x: x.flatten(-3, -2), lambda x: x.flatten(1, 2)),
        (lambda x: x.clone().unsqueeze_(-1), lambda x: x.clone().unsqueeze_(4)),
        (lambda x: x.clone().clip_(0, 1), lambda x: x.clone().clamp_(0, 1)),
        (lambda x: x.diagonal(0, 1, -1), lambda x: x.diagonal(0, 1, 3)),
    ],
)
def test_the_same_dimension_is_no_drift(before, after):
    assert verdict(before, after).matched


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda x: torch.cat([x, x], 1), lambda x: torch.cat([x, x], -2)),
        (lambda x: x.softmax(-1), lambda x: x.softmax(2)),
        (lambda x: torch.roll(x, -1, 3), lambda x: torch.roll(x, 3, 3)),
        (lambda x: x[:1, :1, :1, :1].clone().unsqueeze_(-1), lambda x: x[:1, :1, :1, :1].clone().unsqueeze_(3)),
        (lambda x: x[:, 0, 0, :2].diag_embed(0, -1, 0), lambda x: x[:, 0, 0, :2].diag_embed(0, 1, 0)),
    ],
)
def test_another_dimension_or_number_is(before, after):
    found = verdict(before, after)
    assert not found.matched
    assert any(isinstance(finding, ArgumentFinding) for finding in found.findings)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("softmax", "-1", "2"),
        ("softmax", "2", "2"),
        ("softmax", "-9", "-9"),
        ("sum", "(-1, 0)", "(2, 0)"),
        ("sum", "[-1, -2]", "[2, 1]"),
        ("unsqueeze", "-1", "3"),
        ("names", "'a-1'", "'a-1'"),
    ],
)
def test_dimensions_are_counted_from_the_start(kind, text, expected):
    output = "float32[2, 3, 5, 1]" if kind == "unsqueeze" else "float32[2, 3, 5]"
    operator = Operator(f"/{kind}", kind, ("input.x",), {"dim": text, "other": "-1"}, output)
    graph = OperatorGraph("exported", "", {"input.x": "float32[2, 3, 5]"}, (operator,), (), {})
    assert canonical(graph).operators[0].arguments == {"dim": expected, "other": "-1"}


def test_a_weight_beside_which_others_are_laid_is_as_any_tensor():
    class Tokens(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.first, self.__dict__["dim"] = nn.Parameter(torch.ones(1, 1, 4)), dim

        def forward(self, x):
            return torch.cat([self.first, x], self.dim[0])

    captures = [ModelGraphView(Tokens([dim]), torch.rand(1, 3, 4)).capture() for dim in (1, -2)]
    findings = compared(*captures)[0].findings
    assert not any(isinstance(finding, ArgumentFinding) for finding in findings)


def test_of_an_input_whose_rank_is_not_known_nothing_is():
    operator = Operator("/softmax", "softmax", ("weight",), {"dim": "-1"}, "float32[2, 3]")
    graph = OperatorGraph("exported", "", {}, (operator,), (), {})
    assert canonical(graph) == graph


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_are_described(layout):
    pieces = torch.nested.nested_tensor([torch.ones(3, 4), torch.ones(2, 4)], layout=layout)
    graph = capture(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), pieces).result
    assert dict(graph.inputs) == {"input.input": "nested float32[2, *, 4]"}
    assert [operator.output for operator in graph.operators] == ["nested float32[2, *, 4]"] * 2
