"""Which parameters an optimiser's groups hold: no other training stands for it."""

import itertools

import pytest
import torch
from torch import nn

from pytest_modelviz.reports.sentences import sentences
from pytest_modelviz.views.training_curve.optimizer_comparison import optimizer_findings
from pytest_modelviz.views.training_curve.optimizer_recorder import OptimizerRecorder


def divided(sizes, *, named, order=(0, 1, 2)):
    """Three parameters of one shape, or of two, in groups of these sizes, as they are recorded."""
    model = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(3)))
    parameters = iter([list(model.parameters())[at] for at in order])
    groups = [{"params": list(itertools.islice(parameters, size))} for size in sizes]
    return OptimizerRecorder(torch.optim.SGD(groups, lr=0.1), model if named else None, step).records()


def step(number):
    return None


def said(before, after):
    return sentences(optimizer_findings(before, after))


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(("old", "new"), [((1, 2), (2, 1)), ((2, 1), (1, 2)), ((0, 3), (3, 0)), ((1, 1, 1), (1, 0, 2))])
def test_parameters_of_equal_groups_that_are_divided_otherwise_are_a_drift(old, new, named):
    assert said(divided(old, named=named), divided(new, named=named))
    assert not said(divided(old, named=named), divided(old, named=named))


def test_what_has_moved_is_named():
    move = "group 1 -> group 0"
    assert said(divided((1, 2), named=False), divided((2, 1), named=False)) == [
        f"the optimiser: float32[2, 2] (SGD): {move}"
    ]
    assert said(divided((1, 2), named=True), divided((2, 1), named=True)) == [f"the optimiser: 1.weight (SGD): {move}"]
    assert said(divided((1, 2), named=True), divided((1, 2), named=True, order=(2, 1, 0))) == [
        "the optimiser: 0.weight (SGD): group 0 -> group 1",
        "the optimiser: 2.weight (SGD): group 1 -> group 0",
    ]


@pytest.mark.parametrize("named", [True, False])
def test_groups_of_equal_options_in_another_order_are_a_drift(named):
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 3, bias=False))

    def recorded(order):
        groups = [{"params": [model[at].weight]} for at in order]
        return OptimizerRecorder(torch.optim.SGD(groups, lr=0.1), model if named else None, step).records()

    assert said(recorded((0, 1)), recorded((1, 0)))
