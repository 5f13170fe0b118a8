"""Parameters whose gradient is a small part of the whole: compared, or noted where it may be rounding."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from trainings import compared

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.reports.sentences import sentence
from pytest_modelviz.views.training_curve.capture import TrainingCurveView
from pytest_modelviz.views.training_curve.curve_comparison import CurveComparison, compare_curves
from pytest_modelviz.views.training_curve.findings import UnsureUpdatesFinding
from pytest_modelviz.views.training_curve.records import Training


def training(gradients, updates, *, size=1.0):
    """Parameters a and b, each step's gradient and update of b given; those of a are 1."""
    steps = len(gradients)
    moves = np.zeros((3, steps, 2))
    moves[1] = size
    nothing = Training.of_scalars({"loss": np.ones(steps)})
    tables = (np.stack([np.ones(steps), values], axis=1) for values in (gradients, updates))
    return replace(nothing, parameters=("a", "b"), gradients=next(tables), updates=next(tables), moves=moves)


def found(one, other, **tolerances) -> CurveComparison:
    return compare_curves(one, other, "float32", Tolerances(**tolerances))


@pytest.mark.parametrize("update", [0.0, 0.97e-3, 1.03e-3, 1.0])
def test_an_update_is_compared_where_both_gradients_are_equally_long(update):
    (difference,) = found(training([1e-6], [1e-3]), training([1.0009e-6], [update])).differences
    assert (difference.step, difference.kind.value, difference.name) == (0, "update", "b")


def test_it_may_be_two_per_cent_apart_and_is_noted_where_it_differs_with_its_gradient():
    assert not found(training([1e-6], [1e-3]), training([1e-6], [0.981e-3])).differences
    other = found(training([1e-6], [1e-3]), training([1.0011e-6], [1e-2]))
    assert (other.differences, other.unsure) == ((), ("b",))
    assert found(training([1e-6], [1e-3]), training([2e-6], [1e-3])).unsure == ()  # it moves as it did


def test_a_gradient_that_once_differed_is_never_sure_again():
    before = training([1e-6, 1e-6], [1e-3, 1e-3])
    assert found(before, training([3e-6, 1e-6], [1e-3, 1e-2])).unsure == ("b",)
    (difference,) = found(before, training([1e-6, 3e-6], [1e-2, 1e-2])).differences
    assert difference.step == 0


def test_a_move_that_is_lost_in_the_last_digits_is_no_difference():
    """Of a parameter of norm 1e4 in float32 moves of 1e-3 are a digit or none."""
    other = found(training([1e-6], [1e-3], size=1e4), training([1e-6], [0.0], size=1e4))
    assert (other.differences, other.unsure) == ((), ())


def test_coarse_dtypes_leave_them_out():
    assert not compare_curves(training([1e-6], [1e-3]), training([1e-6], [1.0]), "bfloat16", Tolerances()).differences


def slight(rate: float, scale: float = 3e-6) -> TrainingCurveView:
    """A layer, and beside it a parameter that hardly counts, which Adam moves as far as any other."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"layer": nn.Linear(8, 4)})
    model.offset = nn.Parameter(torch.ones(3))
    groups = [{"params": model["layer"].parameters(), "lr": 1e-2}, {"params": [model.offset], "lr": rate}]
    optimizer = torch.optim.Adam(groups)
    x, y = torch.randn(16, 8), torch.randn(16, 4) * 3

    def step(number):
        optimizer.zero_grad()
        loss = (model["layer"](x) + scale * model.offset.sum() - y).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return TrainingCurveView(step, model=model, steps=6)


@pytest.mark.parametrize("rate", [0.0, 0.9e-2, 1e-1, 1.0])
def test_another_rate_of_a_parameter_that_hardly_counts_is_a_drift(rate):
    verdict = compared(slight(1e-2), slight(rate))
    assert (verdict.matched, verdict.cause) == (False, "computation")
    same = compared(slight(1e-2), slight(1e-2))
    assert (same.matched, same.findings) == (True, ())


def test_no_baseline_hides_that_a_rate_was_not_compared():
    """One that claims another gradient, so that it may be rounding."""
    view, other = slight(1e-2), slight(1e-1)
    baseline, actual = view.capture(), other.capture()
    trained = Training.from_arrays(baseline.arrays)
    at = trained.parameters.index("offset")
    forged = replace(trained, gradients=np.where(np.arange(3) == at, 2.0, 1.0) * trained.gradients)
    facts = {**baseline.facts, "parameters": forged.parameter_rows(), "steps": forged.step_rows()}
    mended = replace(baseline, facts=facts, arrays={**baseline.arrays, **forged.to_arrays()})
    verdict = other.compare(mended, actual, Tolerances())
    assert verdict.matched
    assert verdict.findings == (UnsureUpdatesFinding(("offset",)),)
    assert sentence(verdict.findings[0]) == (
        "how offset moves differs and was not compared: the gradient is less than 1e-5 of the whole and differs too, "
        "as rounding does"
    )
