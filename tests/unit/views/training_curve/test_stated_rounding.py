"""What a baseline of training_curve may state of rounding and of schedules, and parameters that have no gradient."""

import copy

import numpy as np
import pytest
import torch
from forging_by_hand import mended
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.views.training_curve.capture import TrainingCurveView
from pytest_modelviz.views.training_curve.optimizer_records import optimizers_from_json


def learning(rate):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    images = torch.rand(16, 4)

    def step(number):
        optimizer.zero_grad()
        loss = model(images).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return TrainingCurveView(step, steps=1, model=model)


def compared(view, baseline, actual):
    return view.compare(baseline, actual, Tolerances()).matched


@pytest.mark.parametrize("rate", [0.09, 0.05, 0.0101])
@pytest.mark.parametrize("state", [lambda claim: claim, lambda claim: -claim, lambda claim: claim * np.nan])
def test_no_rounding_that_a_baseline_states_hides_another_rate(rate, state):
    view, other = learning(0.1), learning(rate)
    baseline, actual = view.capture(), other.capture()
    moves = baseline.arrays["parameters.moves"].copy()
    before, after = (capture.arrays["parameters.updates"] for capture in (baseline, actual))
    moves[2] = state(np.sqrt(np.maximum(before**2 - after**2, 0)))
    forged = Capture(
        baseline.view, baseline.facts, {**baseline.arrays, "parameters.moves": moves}, baseline.environment
    )
    assert not compared(other, forged, actual)


def test_many_parameters_do_not_each_claim_what_all_together_may():
    def alike(rate):
        model = nn.ParameterList([nn.Parameter(torch.ones(4)) for _ in range(110)])
        across = torch.tensor([1.0, -1.0, 1.0, -1.0])  # no update is along its parameter
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)

        def step(number):
            optimizer.zero_grad()
            loss = sum((parameter * across).sum() for parameter in model)
            loss.backward()
            optimizer.step()
            return loss

        return TrainingCurveView(step, steps=1, model=model)

    view, other = alike(0.1), alike(0.09)
    baseline, actual = view.capture(), other.capture()
    before, after = (capture.arrays["parameters.updates"] for capture in (baseline, actual))
    moves = baseline.arrays["parameters.moves"].copy()
    moves[2] = np.sqrt(np.maximum(before**2 - after**2, 0))
    forged = Capture(
        baseline.view, baseline.facts, {**baseline.arrays, "parameters.moves": moves}, baseline.environment
    )
    assert not compared(other, forged, actual)


def test_a_small_part_of_all_updates_is_no_rounding_either():
    def with_slow_biases(rate):
        torch.manual_seed(0)
        model, images = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 1)), torch.rand(32, 64) * 12
        groups = [[layer.weight for layer in model], [layer.bias for layer in model]]
        slow = {"params": groups[1], "lr": rate}
        optimizer = torch.optim.SGD([{"params": groups[0]}, slow], lr=0.001)

        def step(number):
            optimizer.zero_grad()
            loss = model(images).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        return TrainingCurveView(step, steps=1, model=model)

    view, other = with_slow_biases(0.001), with_slow_biases(0.00011)
    baseline, actual = view.capture(), other.capture()
    before, after = (capture.arrays["parameters.updates"] for capture in (baseline, actual))
    moves = baseline.arrays["parameters.moves"].copy()
    moves[2] = np.sqrt(np.maximum(before**2 - after**2, 0))
    assert (before[0, 1::2] < 0.05 * np.linalg.norm(before)).all()
    assert not compared(other, mended(view, baseline, parameters__moves=moves), actual)
    assert compared(with_slow_biases(0.001), baseline, with_slow_biases(0.001).capture())


@pytest.mark.parametrize("momentum", [0.0, 3.0])
def test_parameters_that_move_without_a_gradient_are_compared(momentum):
    def averaging(momentum):
        torch.manual_seed(0)
        student = nn.Linear(4, 2)
        pair = nn.ModuleDict({"student": student, "teacher": copy.deepcopy(student)})
        optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
        images = torch.rand(8, 4)

        def step(number):
            optimizer.zero_grad()
            loss = student(images).square().mean()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for own, given in zip(pair["teacher"].parameters(), student.parameters(), strict=True):
                    own.mul_(momentum).add_(given, alpha=1 - momentum)
            return loss

        return TrainingCurveView(step, steps=3, model=pair)

    view, other = averaging(0.9), averaging(momentum)
    baseline = view.capture()
    assert compared(view, baseline, averaging(0.9).capture())
    assert not compared(other, baseline, other.capture())


@pytest.mark.parametrize("step", ["02", "\u0662", "+2", " 2", "2.0"])
def test_a_step_of_a_schedule_has_one_name(step):
    record = {"class": "SGD", "name": "", "options": {}, "groups": [], "schedulers": []}
    good = optimizers_from_json([{**record, "schedules": {"0.lr": {"0": 0.1, "2": 0.05}}}])
    assert good[0].schedules == {"0.lr": {0: 0.1, 2: 0.05}}
    with pytest.raises(UnreadableBaselineError):
        optimizers_from_json([{**record, "schedules": {"0.lr": {"0": 0.1, "2": 0.05, step: 50.0}}}])
