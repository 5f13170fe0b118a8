"""Which parameters an optimiser's groups hold, and which scheduler it has: no other training stands for it."""

import itertools
from dataclasses import replace

import pytest
import torch
from forging_by_hand import reread
from torch import nn
from torch.optim import lr_scheduler

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import UnstatedFinding
from pytest_modelviz.reports.sentences import sentences
from pytest_modelviz.views.training_curve.capture import TrainingCurveView
from pytest_modelviz.views.training_curve.optimizer_comparison import optimizer_findings, unstated_options
from pytest_modelviz.views.training_curve.optimizer_recorder import OptimizerRecorder
from pytest_modelviz.views.training_curve.optimizer_records import SchedulerRecord


def divided(sizes, *, named, order=(0, 1, 2)):
    """Three parameters of one shape, or of two, in groups of these sizes, as they are recorded."""
    model = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(3)))
    parameters = iter([list(model.parameters())[at] for at in order])
    groups = [{"params": list(itertools.islice(parameters, size))} for size in sizes]
    return OptimizerRecorder(torch.optim.SGD(groups, lr=0.1), model if named else None, step).records()


UNUSED = "one that the step function does not name"


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


def scheduled(make, *, used=True, rate=0.1):
    """An optimiser whose scheduler, if it has any, the step function names or does not."""
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=rate)
    scheduler = make(optimizer) if make else None

    def using(number):
        return scheduler

    return OptimizerRecorder(optimizer, None, using if used else step).records()


def stepping(optimizer):
    return lr_scheduler.StepLR(optimizer, 30)


def test_a_scheduler_that_only_one_of_two_trainings_uses_is_a_drift():
    used, left_over, without = scheduled(stepping), scheduled(stepping, used=False), scheduled(None)
    for before, after, text in [
        (used, left_over, f"StepLR -> {UNUSED}"),
        (left_over, used, f"{UNUSED} -> StepLR"),
        (used, without, "StepLR -> none"),
        (without, used, "none -> StepLR"),
        (left_over, without, f"{UNUSED} -> none"),
        (without, left_over, f"none -> {UNUSED}"),
    ]:
        assert said(before, after) == [f"the optimiser: scheduler (SGD): {text}"]
        assert not said(before, before)


@pytest.mark.parametrize(
    "class_name", ["", "none", "one that the step function does not name", "StepLR, ExponentialLR"]
)
def test_no_class_of_a_scheduler_stands_for_none_or_for_several(class_name):
    (record,) = scheduled(None)
    forged = replace(record, schedulers=(SchedulerRecord(class_name, {}),))
    twice = tuple(SchedulerRecord(name, {}) for name in ("StepLR", "ExponentialLR"))
    for actual in (record, *scheduled(stepping, used=False), replace(record, schedulers=twice)):
        assert optimizer_findings([forged], [actual])


def test_another_rate_that_a_scheduler_starts_from_is_a_drift():
    def pausing(optimizer):
        return lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)

    (view,), (other,) = scheduled(pausing), scheduled(pausing, rate=0.2)
    assert said([view], [other]) == ["the optimiser: initial_lr (SGD): 0.1 -> 0.2"]
    (group,) = view.groups
    rest = {key: value for key, value in group.options.items() if key != "initial_lr"}
    assert said([replace(view, groups=(replace(group, options=rest),))], [other])


def lacking(record, *, group=(), scheduler=()):
    """A record without some options of its only group and its only scheduler, as another version of torch has them."""
    groups, schedulers = (
        tuple(
            replace(each, options={key: each.options[key] for key in each.options if key not in names}) for each in own
        )
        for own, names in ((record.groups, group), (record.schedulers, scheduler))
    )
    return replace(record, groups=groups, schedulers=schedulers)


@pytest.mark.parametrize(
    ("lacks", "subjects"),
    [
        ({}, []),
        ({"group": ["nesterov"]}, ["how nesterov of SGD is set"]),
        ({"group": ["nesterov", "maximize"]}, ["how maximize, nesterov of SGD are set"]),
        ({"scheduler": ["cooldown"]}, ["how cooldown of ReduceLROnPlateau is set"]),
    ],
)
def test_an_option_that_is_off_and_that_the_baseline_lacks_is_noted(lacks, subjects):
    (actual,) = scheduled(lr_scheduler.ReduceLROnPlateau)
    before = [lacking(actual, **lacks)]
    assert not said(before, [actual])
    assert [finding.subject for finding in unstated_options(before, [actual])] == subjects
    assert not unstated_options(before, [actual], ["nesterov", "maximize", "cooldown"])
    assert not unstated_options([actual], before)


def test_a_match_with_a_baseline_that_lacks_an_option_says_so():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train(number):
        optimizer.zero_grad()
        loss = model(torch.ones(3, 2)).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    view = TrainingCurveView(train, steps=2, model=model, optimizer=optimizer)
    made = view.capture()
    before = reread(view, made, lambda facts: facts["optimizer"][0]["groups"][0]["options"].pop("maximize"))
    for baseline, findings in ((made, ()), (before, (UnstatedFinding("how maximize of SGD is set"),))):
        verdict = view.compare(baseline, made, Tolerances())
        assert (verdict.matched, verdict.findings) == (True, findings)
