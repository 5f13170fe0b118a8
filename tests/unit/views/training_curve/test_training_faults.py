"""Why two trainings part: each fault is found at its step and explained."""

import math

import pytest
import torch
from torch import nn
from trainings import Net, adam, compared, trained

from pytest_modelviz.compare.tolerance import LayerTolerance
from pytest_modelviz.records.findings import FactFinding, ModuleFinding, WeightFinding
from pytest_modelviz.views.training_curve.capture import TrainingCurveView
from pytest_modelviz.views.training_curve.curve_tables import CurveKind
from pytest_modelviz.views.training_curve.findings import CurveFinding, CurveRemark, Onset, PartingFinding, Remark


def scaled(factor):
    def change(model):
        with torch.no_grad():
            model.last.weight.mul_(factor)

    return change


class Backwards(torch.autograd.Function):
    """The same result and a gradient that is a tenth too large."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 1.1


def wrong_backward(model):
    forward = model.norm.forward
    model.norm.forward = lambda x: Backwards.apply(forward(x))


def lower_rate(step, optimiser):
    if step == 5:
        optimiser.param_groups[0]["lr"] = 0.01


def momentum(rate=0.05, *, momentum=0.9, without=0):
    return lambda p: torch.optim.SGD(p[: len(p) - without], lr=rate, momentum=momentum)


FAULTS = {
    "rate": ({"optimiser": momentum(0.05 * 1.01)}, (CurveKind.UPDATE, Onset.START, 0), "computation", ""),
    "momentum": ({"optimiser": momentum(momentum=0.89)}, (CurveKind.UPDATE, Onset.LATER, 1), "computation", ""),
    "optimiser": ({"optimiser": adam()}, (CurveKind.UPDATE, Onset.START, 0), "computation", ""),
    "forgotten parameter": ({"optimiser": momentum(without=1)}, (CurveKind.UPDATE, Onset.START, 0), "computation", ""),
    "schedule": ({"at": lower_rate}, (CurveKind.UPDATE, Onset.LATER, 5), "computation", ""),
    "no zero_grad": ({"zero": False}, (CurveKind.GRADIENT, Onset.LATER, 1), None, "last"),
    "loss": ({"loss": nn.functional.l1_loss}, (CurveKind.SCALAR, Onset.START, 0), "computation", ""),
    "data": ({"data": lambda i, x: x.flip(0) if i == 3 else x}, (CurveKind.SCALAR, Onset.LATER, 3), None, ""),
    "gradient": ({"change": wrong_backward}, (CurveKind.GRADIENT, Onset.START, 0), "gradient", "norm"),
    "weights": ({"change": scaled(1.001)}, (CurveKind.SCALAR, Onset.KNOWN, 0), "weights", "last"),
    "configuration": ({"model": lambda: Net(dropout=0.1)}, (CurveKind.SCALAR, Onset.KNOWN, 0), "architecture", "drop"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_at_its_step_and_explained(fault):
    changed, heading, cause, layer = FAULTS[fault]
    if "model" in changed:
        torch.manual_seed(1)
        changed = {"model": changed["model"]()}
        torch.manual_seed(1)
        baseline = trained(model=Net())
    else:
        baseline = trained()
    verdict = compared(baseline, trained(**changed))
    assert not verdict.matched
    assert verdict.findings[0] == PartingFinding(*heading)
    assert (verdict.cause, verdict.first.layer) == (cause, layer)
    assert verdict.error > verdict.tolerance
    assert verdict.compared == 3
    assert verdict.drifted
    assert (CurveRemark(Remark.ONCE) in verdict.findings) == (cause is None)


def test_what_parted_is_told_with_its_numbers():
    verdict = compared(trained(steps=1), trained(steps=1, change=wrong_backward))
    assert verdict.first.class_name == "BatchNorm1d"
    before, after = (trained(steps=1, change=change).capture().result for change in (lambda m: None, wrong_backward))
    found = {finding.name: finding for finding in verdict.findings if isinstance(finding, CurveFinding)}
    # all that lies before the fault, but the bias before a batch norm: that has no gradient but rounding
    assert set(found) == {"first.weight", "norm.weight", "norm.bias"}
    weight = found["first.weight"]
    assert weight.change == pytest.approx(0.1, rel=1e-3)
    assert weight.before == pytest.approx(before.gradients["first.weight"][0], rel=1e-5)
    assert weight.after == pytest.approx(after.gradients["first.weight"][0], rel=1e-5)


def test_a_parameter_that_the_optimiser_forgot_is_named():
    verdict = compared(trained(steps=1), trained(steps=1, optimiser=lambda p: torch.optim.SGD(p[:-1], lr=0.05)))
    assert [f.name for f in verdict.findings if isinstance(f, CurveFinding) and f.name] == ["last.bias"]


def test_without_a_model_scalars_alone_are_compared():
    assert compared(trained(given=False), trained(given=False)).matched
    verdict = compared(trained(given=False), trained(given=False, zero=False))
    assert verdict.findings[0] == PartingFinding(CurveKind.SCALAR, Onset.LATER, 2)
    assert (verdict.first, verdict.cause, verdict.findings[-1]) == (None, None, CurveRemark(Remark.ONCE))


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ({"steps": 2}, {"steps": 3}, "steps"),
        ({"given": True}, {"given": False}, "model"),
    ],
)
def test_another_question_is_no_drift_of_the_model(one, other, kind):
    verdict = compared(trained(**one), trained(**other))
    assert [finding.fact for finding in verdict.findings] == [kind]
    assert (verdict.cause, verdict.first, verdict.matched) == (None, None, False)


def test_other_scalars_are_another_question():
    verdict = compared(TrainingCurveView(lambda i: {"a": 1, "b": 1}), TrainingCurveView(lambda i: {"a": 1, "c": 1}))
    assert verdict.findings == (FactFinding("scalars", "a, b", "a, c"),)


def test_scalars_in_another_order_are_the_same():
    assert compared(
        TrainingCurveView(lambda i: {"a": 1, "b": 2}), TrainingCurveView(lambda i: {"b": 2, "a": 1})
    ).matched


class Reordered(Net):
    def __init__(self):
        super().__init__()
        self._modules["first"] = self._modules.pop("first")  # the same modules, registered in another order


def test_parameters_registered_in_another_order_are_the_same():
    Reordered.__name__ = "Net"
    torch.manual_seed(1)
    one = Net()
    torch.manual_seed(1)
    assert compared(trained(model=one), trained(model=Reordered())).matched


class Longer(Net):
    def __init__(self):
        super().__init__()
        self.more = nn.Linear(1, 1)


def test_a_model_with_other_parameters_is_another_architecture():
    Longer.__name__ = "Net"
    verdict = compared(trained(), trained(model=Longer()))
    assert (verdict.cause, verdict.first.layer, verdict.first.class_name) == ("architecture", "", "Net")
    assert verdict.findings == (ModuleFinding("more", "added", "Linear"),)
    assert math.isinf(verdict.error)


def test_a_changed_weight_that_no_curve_shows_is_a_drift():
    def idle(factor):
        model = nn.Linear(2, 2, bias=False)
        model.weight.data = torch.full((2, 2), factor)
        return TrainingCurveView(lambda i: 0.0, steps=2, model=model)

    assert compared(idle(1.0), idle(1.0 + 4e-8)).matched
    verdict = compared(idle(1.0), idle(1.001))
    assert verdict.findings[0] == CurveRemark(Remark.AGREEING)
    assert ([type(finding) for finding in verdict.findings[1:]], verdict.cause) == ([WeightFinding], "weights")
    assert (verdict.error, verdict.tolerance) == (pytest.approx(1e-3, rel=1e-2), pytest.approx(1e-4))
    assert compared(idle(1.0), idle(1.001), layers=(LayerTolerance("", 1e-2),)).matched


def test_a_tensor_that_is_mere_state_is_not_the_reason():
    def counting(count):
        def change(model):
            model.first.seen = torch.full((3,), count)

        return change

    assert compared(trained(change=counting(1.0)), trained(change=counting(2.0))).matched
    verdict = compared(trained(change=counting(1.0)), trained(change=counting(2.0), loss=nn.functional.l1_loss))
    assert verdict.cause == "computation"
