import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pytest_modelviz.compare.tolerance import LayerTolerance, Tolerances
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.pictures.exhibits import Curve, Histogram
from pytest_modelviz.records.findings import FactFinding, IncomparableStepsFinding, ModuleFinding, WeightFinding
from pytest_modelviz.reports.tensorboard import EventFiles
from pytest_modelviz.storage.formats import decode_arrays, encode_arrays
from pytest_modelviz.views.training_curve.capture import TrainingCurveView
from pytest_modelviz.views.training_curve.chart import chart
from pytest_modelviz.views.training_curve.curve_comparison import CurveKind, compare_curves
from pytest_modelviz.views.training_curve.findings import CurveFinding, CurveRemark, Onset, PartingFinding, Remark
from pytest_modelviz.views.training_curve.records import BINS, Training


class Scale(nn.Module):
    """w * x with w = 1: everything about its training can be worked out by hand."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.w * x


class Net(nn.Module):
    def __init__(self, width=16, dropout=0.0):
        super().__init__()
        self.first = nn.Linear(4, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(dropout)
        self.last = nn.Linear(width, 1)

    def forward(self, x):
        return self.last(self.drop(torch.relu(self.norm(self.first(x)))))


def trained(
    *,
    model=None,
    change=lambda model: None,
    optimiser=lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    loss=nn.functional.mse_loss,
    data=lambda step, x: x,
    zero=True,
    at=lambda step, optimiser: None,
    steps=8,
    seed=0,
    given=True,
):
    """A view of a small training, with one thing of it changed."""
    torch.manual_seed(1)
    model = Net() if model is None else model
    change(model)
    chosen = optimiser(list(model.parameters()))

    def step(number):
        x = torch.randn(32, 4)
        target = x.sum(1, keepdim=True).sin()
        at(number, chosen)
        if zero:
            chosen.zero_grad()
        found = loss(model(data(number, x)), target)
        found.backward()
        chosen.step()
        return found

    return TrainingCurveView(step, steps=steps, seed=seed, model=model if given else None)


def compared(one, other, **tolerances):
    baseline, actual = one.capture(), other.capture()
    return other.compare(baseline, actual, Tolerances(**tolerances))


# what is recorded


def test_a_training_worked_out_by_hand():
    # (w - 0)^2 with a rate of 1/4: the gradient is 2 w, the step w / 2, and w halves each time
    model = Scale()
    rate = torch.optim.SGD(model.parameters(), lr=0.25)

    def step(_):
        rate.zero_grad()
        loss = model(torch.ones(1)).square().sum()
        loss.backward()
        rate.step()
        return loss

    capture = TrainingCurveView(step, steps=4, model=model).capture()
    result = capture.result
    assert result.scalars["loss"].tolist() == [1, 0.25, 0.0625, 0.015625]
    assert result.gradients["w"].tolist() == [2, 1, 0.5, 0.25]
    assert result.updates["w"].tolist() == [0.5, 0.25, 0.125, 0.0625]
    assert model.w.item() == 0.0625  # it has been trained
    assert capture.facts["steps"]["1"] == {"loss": 0.25, "gradient norm": 1.0}
    assert capture.facts["parameters"] == {"w": {"gradient": [2.0, 0.25], "update": [0.5, 0.0625]}}
    record = Training.from_arrays(capture.arrays)
    assert record.values.ranges.tolist() == [[0.0625, 0.0625]]  # after the last step
    assert record.pulls.ranges.tolist() == [[0.25, 0.25]]  # in the last step
    assert record.pulls.counts.sum() == 1


def test_a_histogram_counts_every_finite_value():
    model = nn.Linear(3, 1, bias=False)
    model.weight.data = torch.tensor([[0.0, 3.0, float("nan")]])
    record = Training.from_arrays(TrainingCurveView(lambda i: 0, steps=1, model=model).capture().arrays)
    assert record.values.ranges.tolist() == [[0.0, 3.0]]
    assert record.values.counts[0].tolist() == [1, *[0] * (BINS - 2), 1]
    assert not record.pulls.counts.any()


@pytest.mark.parametrize(
    ("low", "high"),
    [(1.0, 1.0 + 2.3e-16), (1e300, 1e300), (-1.7e308, 1.7e308), (0.0, 5e-324), (1e-310, 3e-310), (-1e200, 1e200)],
)
def test_any_range_of_values_has_a_histogram_that_can_be_written(low, high, tmp_path):
    model = nn.Linear(2, 1, bias=False).double()
    model.weight.data = torch.tensor([[low, high]], dtype=torch.float64)
    view = TrainingCurveView(lambda i: 0.0, steps=1, model=model)
    capture = view.capture()
    counts = Training.from_arrays(capture.arrays).values.counts[0]
    assert counts.sum() == 2
    assert (counts[0], counts[-1]) == ((1, 1) if low < high else (0, 0))
    (histogram,) = (one for one in view.picture(capture, capture) if isinstance(one, Histogram))
    (edges, _), _ = histogram.series.values()
    assert np.isfinite(edges).all()
    files = EventFiles(tmp_path)
    files.show("tag", histogram)
    files.close()


@pytest.mark.parametrize(
    "value",
    [
        0.5,
        np.float32(0.5),
        np.float64(0.5),
        torch.tensor(0.5),
        torch.tensor([[0.5]], dtype=torch.bfloat16),
        torch.tensor(0.5, requires_grad=True),
    ],
    ids=repr,
)
def test_scalars_of_every_kind(value):
    result = TrainingCurveView(lambda i: {"x": value, "n": 3, "flag": True, "count": np.int64(2)}, steps=2).capture()
    assert {name: curve.tolist() for name, curve in result.result.scalars.items()} == {
        "x": [0.5, 0.5],
        "n": [3, 3],
        "flag": [1, 1],
        "count": [2, 2],
    }
    assert all(curve.dtype == np.float64 for curve in result.result.scalars.values())


def test_the_coarsest_dtype_that_took_part_is_recorded():
    def dtype(model=None, scalar=1.0):
        return TrainingCurveView(lambda i: scalar, steps=1, model=model).capture().facts["dtype"]

    assert dtype() == "float32"
    assert dtype(nn.Linear(1, 1).double()) == "float64"
    assert dtype(nn.Linear(1, 1).double(), torch.tensor(1.0)) == "float32"
    assert dtype(nn.Linear(1, 1), torch.tensor(1.0).bfloat16()) == "bfloat16"


@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_that_a_step_throws_away_at_its_end_are_seen(to_none):
    model = Scale()

    def step(_):
        for _ in range(3):  # accumulated: 2 w three times
            model(torch.ones(1)).square().sum().backward()
        model.zero_grad(set_to_none=to_none)

        return 0.0

    capture = TrainingCurveView(step, steps=2, model=model).capture()
    assert capture.result.gradients["w"].tolist() == [6, 6]
    assert Training.from_arrays(capture.arrays).pulls.ranges.tolist() == [[6, 6]]


def test_frozen_and_unused_parameters_have_no_gradient_and_do_not_move():
    model = nn.ModuleDict({"used": nn.Linear(2, 1), "frozen": nn.Linear(1, 1), "unused": nn.Linear(2, 2)})
    model["frozen"].requires_grad_(False)
    rate = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(number):
        if number == 1:
            model["frozen"].requires_grad_(True)  # as a schedule does
        loss = model["frozen"](model["used"](torch.ones(1, 2))).square().sum()
        rate.zero_grad()
        loss.backward()
        rate.step()
        return loss

    result = TrainingCurveView(step, steps=2, model=model).capture().result
    moving = {name: (result.gradients[name] > 0).tolist() for name in result.gradients}
    assert moving["used.weight"] == [True, True]
    assert moving["frozen.weight"] == [False, True]
    assert moving["unused.weight"] == [False, False]
    for name, gradients in moving.items():
        assert (result.updates[name] > 0).tolist() == gradients


class Odd(nn.Module):
    """Sparse gradients, complex numbers, a tied weight, half precision."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 2, sparse=True)
        self.wave = nn.Parameter(torch.tensor([3 + 4j]))
        self.one = nn.Linear(2, 2)
        self.two = nn.Linear(2, 2)
        self.two.weight = self.one.weight
        self.coarse = nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
        self.none = nn.Parameter(torch.zeros(0))

    def forward(self):
        x = self.table(torch.tensor([1, 1, 2]))
        return self.two(self.one(x)).square().sum() + self.wave.abs().square().sum() / 2 + self.coarse.float().sum()


def test_sparse_complex_tied_half_and_empty_parameters():
    model = Odd()

    def step(_):
        model.zero_grad()
        model().backward()
        with torch.no_grad():
            model.coarse -= 1
        return 0.0

    capture = TrainingCurveView(step, steps=1, model=model).capture()
    assert set(capture.result.gradients) == {
        "table.weight", "wave", "one.weight", "one.bias", "two.bias", "coarse", "none",
    }  # fmt: skip
    dense = torch.zeros(5, 2).index_add(0, torch.tensor([1, 1, 2]), torch.autograd.grad(
        model.two(model.one(x := model.table(torch.tensor([1, 1, 2])).detach().requires_grad_())).square().sum(), x
    )[0])  # fmt: skip
    assert capture.result.gradients["table.weight"][0] == pytest.approx(float(dense.norm()), rel=1e-5)
    assert capture.result.gradients["wave"][0] == pytest.approx(5.0)  # torch's gradient of |z|^2 / 2 is z
    assert capture.result.gradients["coarse"][0] == pytest.approx(math.sqrt(2))
    assert capture.result.updates["coarse"][0] == pytest.approx(math.sqrt(2))
    assert capture.result.gradients["none"][0] == 0


def test_a_compiled_model_has_the_names_of_the_one_inside():
    model = Net()
    wrapped = torch.compile(model, backend="eager")
    view = TrainingCurveView(lambda i: wrapped(torch.ones(2, 4)).sum().backward() or 0.0, steps=1, model=wrapped)
    gradients = view.capture().result.gradients
    assert set(gradients) == {name for name, _ in model.named_parameters()}
    assert gradients["last.weight"][0] > 0


def test_an_optimiser_that_calls_a_closure_many_times():
    model = Scale()
    search = torch.optim.LBFGS(model.parameters(), max_iter=5)

    def step(_):
        def closure():
            search.zero_grad()
            loss = (model(torch.ones(1)) - 3).square().sum()
            loss.backward()
            return loss

        return search.step(closure)

    result = TrainingCurveView(step, steps=2, model=model).capture().result
    assert result.scalars["loss"][0] == 4
    assert result.updates["w"][0] == pytest.approx(2, abs=1e-3)


def test_a_deep_model_stays_in_the_kilobytes():
    model = nn.Sequential(*[nn.Linear(64, 64) for _ in range(30)])  # as many parameters as a ResNet-18 has
    arrays = TrainingCurveView(lambda i: 0.0, steps=20, model=model).capture().arrays
    assert len(encode_arrays(arrays)) < 100_000


# purity


def states():
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()


def hooks(model):
    return [len(parameter._post_accumulate_grad_hooks or {}) for parameter in model.parameters()]


@pytest.mark.parametrize("raises", [False, True])
def test_nothing_is_left_behind_but_what_was_learned(raises):
    model = Net()
    model.train()
    model.norm.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    drawn, seen = [], []

    def step(number):
        seen.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
        drawn.append((float(torch.rand(1)), random.random(), np.random.rand()))
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        if number == 1 and raises:
            raise KeyError("the step's own")
        return 0.0

    before = states()
    with torch.inference_mode():
        if raises:
            with pytest.raises(KeyError, match="the step's own"):
                TrainingCurveView(step, steps=2, model=model).capture()
        else:
            TrainingCurveView(step, steps=2, model=model).capture()
        assert not torch.is_grad_enabled()
    assert states() == before
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert seen[0] == (True, False)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert not any(hooks(model))
    random.seed(0)
    rng = np.random.RandomState(0)
    expected = (float(torch.rand(1, generator=torch.Generator().manual_seed(0))), random.random(), rng.rand())
    assert drawn[0] == expected


def test_a_users_own_hooks_stay():
    model = Scale()
    calls = []
    model.w.register_post_accumulate_grad_hook(lambda p: calls.append(1))
    TrainingCurveView(lambda i: model(torch.ones(1)).sum().backward() or 0, steps=3, model=model).capture()
    assert (len(calls), hooks(model)) == (3, [1])


def test_a_hook_that_uses_up_the_gradient_is_no_error():
    model = Scale()

    def update(parameter):
        parameter.data -= 0.5 * parameter.grad
        parameter.grad = None

    model.w.register_post_accumulate_grad_hook(update)
    capture = TrainingCurveView(lambda i: model(torch.ones(1)).sum().backward() or 0, steps=1, model=model).capture()
    assert capture.result.updates["w"].tolist() == [0.5]
    assert "no gradient was accumulated" in capture.notes[0]


def test_it_is_not_looked_at_twice():
    assert not trained().capture().repeatable


def test_the_seed_decides_what_is_drawn():
    assert compared(trained(), trained()).matched
    verdict = compared(trained(), trained(seed=1))
    assert (verdict.cause, verdict.tolerance) == (None, 0.0)
    assert verdict.findings == (FactFinding("seed", "0", "1"),)


# errors


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "a NoneType: return the loss"),
        ("0.5", "a str"),
        (1j, "a complex"),
        ([0.5], "a list"),
        ({}, "an empty dict"),
        ({"a": None}, "for 'a' a NoneType"),
        ({1: 0.5}, "a scalar named 1: names are printable texts"),
        ({"": 0.5}, "a scalar named ''"),
        ({"a\n": 0.5}, "a scalar named 'a\\\\n'"),
        (torch.ones(2), r"a float32 tensor of shape \[2\] on cpu: return one real number, for example loss.mean"),
        (torch.ones(0), r"shape \[0\]"),
        (torch.ones(1, dtype=torch.complex64), "a complex64 tensor"),
        (torch.ones((), device="meta"), "on meta, which holds no numbers"),
    ],
    ids=repr,
)
def test_what_is_no_scalar(returned, message):
    with pytest.raises(ModelvizError, match=rf"^step\(0\) returned .*{message}"):
        TrainingCurveView(lambda i: returned).capture()


def test_scalars_that_come_and_go():
    view = TrainingCurveView(lambda i: {"loss": 1.0, **({"late": 2.0} if i == 3 else {})})
    with pytest.raises(ModelvizError, match=r"step\(3\) returned the scalars 'late', 'loss', but step\(0\) 'loss'"):
        view.capture()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step": 3}, r"step takes a function that does one training step, step\(i\) -> loss, not a int"),
        ({"step": nn.Linear(1, 1)}, "not a Linear"),
        ({"step": dict}, r"not a class \(dict\)"),
        ({"steps": 0}, "steps takes a whole number from 1 to 100000, not 0"),
        ({"steps": True}, "steps takes a whole number"),
        ({"steps": 1.0}, "steps takes a whole number"),
        ({"seed": -1}, "seed takes a whole number from 0 to 4294967295, not -1"),
        ({"model": lambda x: x}, "the model must be a torch.nn.Module, not function"),
    ],
)
def test_arguments_that_cannot_be(arguments, message):
    with pytest.raises(ModelvizError, match=message):
        TrainingCurveView(**{"step": lambda i: 0.0, **arguments})


def test_models_that_cannot_be_trained():
    with pytest.raises(ModelvizError, match="the parameter 'weight' is not initialised yet: call the model once"):
        TrainingCurveView(lambda i: 0.0, model=nn.LazyLinear(2)).capture()
    with pytest.raises(ModelvizError, match="the parameter 'weight' is on the meta device"):
        TrainingCurveView(lambda i: 0.0, model=nn.Linear(1, 1, device="meta")).capture()


def test_a_model_that_is_not_the_one_trained_is_noted():
    capture = TrainingCurveView(lambda i: 0.0, model=Net()).capture()
    assert capture.notes == ("no step changed a parameter of the model: is it the one that is trained?",)
    assert trained().capture().notes == ()


# why trainings part


def adam(rate=1e-2):
    return lambda parameters: torch.optim.Adam(parameters, lr=rate)


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


# how far curves may part


def curves(**scalars):
    return Training({name: np.array(values, np.float64) for name, values in scalars.items()})


def pulled(gradients, updates=None, loss=None):
    gradients = np.array(gradients, np.float64)
    updates = gradients if updates is None else np.array(updates, np.float64)
    names = tuple(f"{chr(97 + at)}.weight" for at in range(gradients.shape[1]))
    return Training({"loss": np.array(loss or [1.0] * len(gradients))}, names, gradients, updates)


def first(one, other, **tolerances):
    found = compare_curves(one, other, "float32", Tolerances(**tolerances)).differences
    return (found[0].step, found[0].kind.value, found[0].name) if found else None


def test_the_first_step_is_strict_and_rounding_may_grow():
    assert first(curves(a=[1.0, 2.0]), curves(a=[1.0 + 9e-6, 2.0])) is None
    assert first(curves(a=[1.0, 2.0]), curves(a=[1.0 + 2e-5, 2.0])) == (0, "scalar", "a")
    assert first(curves(a=[1.0, 2.0]), curves(a=[1.0, 2.0 + 3e-5])) == (1, "scalar", "a")  # all before is equal
    assert first(curves(a=[1.0, 2.0]), curves(a=[1.0 + 1e-6, 2.0 + 3e-2])) is None  # 20 sqrt(1e-6) = 0.02
    assert first(curves(a=[1.0, 2.0]), curves(a=[1.0 + 1e-6, 2.0 + 5e-2])) == (1, "scalar", "a")


def test_gradients_may_jump_where_scalars_may_not():
    two = [[1.0, 1.0], [1.0, 1.0]]
    assert first(pulled(two), pulled([[1.004, 1.0], [1.0, 1.0]], two)) is None
    assert first(pulled(two), pulled([[1.006, 1.0], [1.0, 1.0]], two)) == (0, "gradient", "a.weight")
    # 1e-6 apart at step 0: gradients may be 0.02 apart at step 1, scalars and updates 300e-6
    rounded = [[1.0 + 1e-6, 1.0], [1.019, 1.0]]
    assert first(pulled(two), pulled(rounded, two)) is None
    assert first(pulled(two), pulled([[1.0 + 1e-6, 1.0], [1.021, 1.0]], two)) == (1, "gradient", "a.weight")
    assert first(pulled(two), pulled(rounded, two, [1.0, 1.00029])) is None
    assert first(pulled(two), pulled(rounded, two, [1.0, 1.00031])) == (1, "scalar", "loss")


def louder_from(later, gradient=1.0):
    """A training whose loss is 1.8 times as large from a step on, and whose first gradients are scaled."""
    now = {"loss": 1.0, "gradient": gradient}

    def at(step, optimiser):
        now.update(loss=1.8 if step >= later else 1.0, gradient=1.0 if step else gradient)

    def change(model):
        for parameter in model.parameters():
            parameter.register_hook(lambda pull: pull * now["gradient"])

    return trained(change=change, at=at, loss=lambda y, target: now["loss"] * nn.functional.mse_loss(y, target))


def test_a_gradient_that_jumped_does_not_hide_what_comes_after_it():
    assert compared(trained(), louder_from(9, 1.004)).matched
    for gradient in (1.0, 1.004):
        verdict = compared(trained(), louder_from(3, gradient))
        assert verdict.findings[0] == PartingFinding(CurveKind.SCALAR, Onset.LATER, 3)
    two = [[1.0, 1.0], [1.0, 1.0]]
    jumped = [[1.004, 1.0], [1.0, 1.0]]
    assert first(pulled(two), pulled(jumped, two, [1.0, 1.039])) is None  # ten times 0.004
    assert first(pulled(two), pulled(jumped, two, [1.0, 1.041])) == (1, "scalar", "loss")
    assert first(pulled(two), pulled(jumped, two, [1.0, 2.2])) == (1, "scalar", "loss")


def test_no_difference_may_grow_without_end():
    one = curves(a=[1.0, 1.0, 1.0])
    assert first(one, curves(a=[1.0 + 9e-6, 1.059, 1.0])) is None  # 20 sqrt(9e-6) = 0.06
    two = [[1.0, 1.0]] * 3
    assert first(pulled(two), pulled(two, two, [1.000009, 1.0026, 1.19])) is None
    assert first(pulled(two), pulled(two, two, [1.000009, 1.0026, 1.21])) == (2, "scalar", "loss")
    assert first(pulled(two), pulled([*two[:2], [1.49, 1.0]], two, [1.000009, 1.0026, 1.0])) is None
    assert first(pulled(two), pulled([*two[:2], [1.51, 1.0]], two, [1.000009, 1.0026, 1.0])) == (
        2,
        "gradient",
        "a.weight",
    )


def test_what_rounding_has_torn_apart_is_not_compared_and_that_is_told():
    two = [[1.0, 1.0]] * 4
    lost = pulled(two, two, [1.000009, 1.0026, 1.1, 7.0])
    found = compare_curves(pulled(two), lost, "float32", Tolerances())
    assert (found.differences, found.judged_steps) == ((), 3)
    assert found.worst.step < 3
    assert compare_curves(pulled(two), pulled(two), "float32", Tolerances()).judged_steps is None
    # a user's own tolerance holds to the end, and so does what is a number and then none
    assert first(pulled(two), lost, rtol=0.2) == (3, "scalar", "loss")
    assert first(pulled(two), pulled(two, two, [1.000009, 1.0026, 1.1, math.nan])) == (3, "scalar", "loss")
    blind = compare_curves(curves(a=[1.0, 1.0, 1.0]), curves(a=[1.000009, 1.05, 3.0]), "float32", Tolerances())
    assert (blind.differences, blind.judged_steps) == ((), 2)


def test_steps_that_cannot_be_compared_are_no_match():
    def losing(values):
        return TrainingCurveView(lambda i: values[i], steps=3)

    verdict = compared(losing([1.0, 1.0, 1.0]), losing([1.000009, 1.05, 3.0]))
    assert not verdict.matched
    assert (verdict.first, verdict.cause) == (None, None)
    assert verdict.findings == (IncomparableStepsFinding(2),)
    assert not compared(losing([1.0, 1.0, 1.0]), losing([1.0, 1.0, 1.0])).findings


def test_updates_are_strict_together_and_lenient_one_by_one():
    two = [[1.0, 1.0]]
    assert first(pulled(two), pulled(two, [[1.00001, 1.0]])) is None
    assert first(pulled(two), pulled(two, [[1.00003, 1.00003]])) == (0, "update", "")
    # a small parameter that no longer moves
    assert first(pulled([[1.0, 1e-3]], [[1.0, 1e-4]]), pulled([[1.0, 1e-3]], [[1.0, 0.5e-4]])) is None
    assert first(pulled([[1.0, 1e-3]], [[1.0, 1e-4]]), pulled([[1.0, 1e-3]], [[1.0, 0.0]])) == (0, "update", "b.weight")


def test_updates_may_follow_their_gradients():
    one, two = [[1.0, 1.0]], [[1.004, 1.004]]
    assert first(pulled(one), pulled(two, two)) is None
    assert first(pulled(one), pulled(two, [[1.02, 1.02]])) == (0, "update", "")
    assert first(pulled(one), pulled(one, two)) == (0, "update", "")


def test_a_gradient_that_is_only_rounding_is_not_compared():
    # of a bias before a batch norm: Adam makes a full step of it, in any direction
    assert first(pulled([[1.0, 1e-7]], [[1.0, 0.1]]), pulled([[1.0, 3e-7]], [[1.0, 0.01]])) is None
    assert first(pulled([[1.0, 1e-2]], [[1.0, 0.1]]), pulled([[1.0, 3e-2]], [[1.0, 0.1]])) == (
        0,
        "gradient",
        "b.weight",
    )


def test_a_scalar_near_zero_is_compared_with_its_curve():
    assert first(curves(a=[1.0, 1e-9]), curves(a=[1.0, 2e-9])) is None
    assert first(curves(a=[1.0, 1e-6]), curves(a=[1.0, 2e-6])) == (1, "scalar", "a")
    assert first(curves(a=[0.0, 0.0]), curves(a=[0.0, 1e-30])) == (1, "scalar", "a")


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_must_be_so_in_the_same_steps(odd):
    assert first(curves(a=[1.0, odd]), curves(a=[1.0, odd])) is None
    for one, other in (([1.0, odd, 1.0], [1.0, 2.0, 1.0]), ([1.0, 2.0, 1.0], [1.0, odd, 1.0])):
        assert first(curves(a=one), curves(a=other)) == (1, "scalar", "a")
        (found,) = compare_curves(curves(a=one), curves(a=other), "float32", Tolerances(rtol=1e9)).differences
        assert math.isinf(found.error)
    assert first(curves(a=[math.inf]), curves(a=[-math.inf])) == (0, "scalar", "a")
    table, plain = [[odd, 1.0]], [[1.0, 1.0]]
    assert first(pulled(table), pulled(table)) is None
    assert first(pulled(table), pulled(plain)) == (0, "gradient", "a.weight")
    assert first(pulled(plain, table), pulled(plain)) == (0, "update", "")


def test_a_users_tolerance_holds_at_every_step():
    one, other = curves(a=[1.0, 1.0, 1.0]), curves(a=[1.009, 1.009, 1.02])
    assert first(one, other, rtol=1e-2) == (2, "scalar", "a")
    assert first(one, other, rtol=3e-2) is None
    assert first(one, other, layers=(LayerTolerance("*", 3e-2),)) is None
    assert first(curves(a=[1.0]), curves(a=[1.0 + 1e-6]), rtol=1e-7) == (0, "scalar", "a")
    assert first(curves(a=[1.0]), curves(a=[1.1]), atol=0.2) is None
    assert first(curves(a=[1.0]), curves(a=[1.3]), atol=0.2) == (0, "scalar", "a")


def test_a_layer_has_a_tolerance_of_its_own():
    two, drifted = [[1.0, 1.0]], [[1.1, 1.0]]
    assert first(pulled(two), pulled(drifted, two)) == (0, "gradient", "a.weight")
    assert first(pulled(two), pulled(drifted, two), layers=(LayerTolerance("a", 0.2),)) is None
    assert first(pulled(two), pulled(drifted, two), layers=(LayerTolerance("b", 0.2),)) == (0, "gradient", "a.weight")


def test_coarse_types_and_accelerators_are_allowed_more():
    one, other = curves(a=[1.0]), curves(a=[1.0 + 5e-5])
    assert first(one, other, device="cuda:0") is None
    assert first(one, other) is not None
    assert not compare_curves(one, curves(a=[1.01]), "bfloat16", Tolerances()).differences
    assert compare_curves(one, curves(a=[1.01]), "float64", Tolerances()).differences
    assert Tolerances(scale=0.1).step("float32", 0.0) == pytest.approx(1e-6)


def test_the_spread_counts_what_is_beyond_what_the_first_step_allows():
    # later steps are allowed anything, once they have parted: that says nothing about them
    same = [[1.0, 1.0, 1.0]] * 3
    later = [[1.0, 1.0, 1.0], [1.0, 1.0, 1.5], [1.0, 1.5, 1.5]]
    assert compare_curves(pulled(same), pulled(later, same), "float32", Tolerances()).drifted == {
        "b.weight",
        "c.weight",
    }


numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6), st.data())
@settings(max_examples=100)
def test_any_training_matches_itself_and_no_other(rows, data):
    loss, other = ([row[at] for row in rows] for at in (0, 1))
    one = pulled([[abs(x), abs(y)] for x, y in zip(loss, other, strict=True)], loss=loss)
    assert not compare_curves(one, one, "float32", Tolerances()).differences
    step = data.draw(st.integers(0, len(rows) - 1))
    changed = list(loss)
    changed[step] = math.nan if math.isfinite(loss[step]) else 0.0
    two = Training({"loss": np.array(changed)}, one.parameters, one.gradients, one.updates)
    assert [(f.step, f.kind.value) for f in compare_curves(one, two, "float32", Tolerances()).differences] == [
        (step, "scalar")
    ]


# what is stored


def test_it_comes_back_from_its_file():
    capture = trained().capture()
    arrays = decode_arrays(encode_arrays(capture.arrays))
    one, other = Training.from_arrays(capture.arrays), Training.from_arrays(arrays)
    assert one.parameters == other.parameters == tuple(dict(Net().named_parameters()))
    assert np.array_equal(one.gradients, other.gradients)
    assert not compare_curves(one, other, "float32", Tolerances()).differences


DAMAGE = {
    "no curves": lambda arrays: arrays.pop("curve.loss"),
    "short": lambda arrays: arrays.update({"curve.late": np.zeros(2)}),
    "empty": lambda arrays: arrays.update({"curve.loss": np.zeros(0)}),
    "integers": lambda arrays: arrays.update({"curve.loss": np.zeros(8, np.int64)}),
    "table": lambda arrays: arrays.update({"curve.loss": np.zeros((8, 1))}),
    "names": lambda arrays: arrays.update({"parameters.names": np.frombuffer(b"[1]", np.uint8)}),
    "no names": lambda arrays: arrays.update({"parameters.names": np.frombuffer(b"[]", np.uint8)}),
    "no json": lambda arrays: arrays.update({"parameters.names": np.frombuffer(b"\xff", np.uint8)}),
    "twice": lambda arrays: arrays.update({"parameters.names": np.frombuffer(b'["a","a","b","c","d","e"]', np.uint8)}),
    "gradients": lambda arrays: arrays.pop("parameters.gradients"),
    "updates": lambda arrays: arrays.update({"parameters.updates": np.zeros((8, 5))}),
    "edges": lambda arrays: arrays.update({"histograms.edges": np.full((2, 6, 2), np.nan)}),
    "counts": lambda arrays: arrays.update({"histograms.counts": np.full((2, 6, BINS), -1)}),
    "bins": lambda arrays: arrays.pop("histograms.counts"),
    "trace": lambda arrays: arrays.pop("trace.structure"),
    "no trace": lambda arrays: [arrays.pop(key) for key in list(arrays) if key.startswith("trace.")],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told(damage):
    view = trained()
    capture = view.capture()
    arrays = dict(capture.arrays)
    DAMAGE[damage](arrays)
    with pytest.raises(UnreadableBaselineError):
        view.compare(type(capture)(capture.view, capture.facts, arrays), capture, Tolerances())


# what is shown


def shown(**changed):
    one, other = trained().capture(), trained(**changed).capture()
    view = trained()
    return view.picture(other, one, view.compare(one, other, Tolerances()))


def test_both_curves_and_histograms_are_shown():
    picture, *others = shown(optimiser=adam())
    assert picture.label == "chart"
    found = {exhibit.label: exhibit for exhibit in others}
    assert len(found) == len(others)  # one thing a tag
    loss = found["curves/loss"]
    assert isinstance(loss, Curve)
    assert list(loss.series) == ["baseline", "actual"]
    assert loss.series["baseline"] == trained().capture().result.scalars["loss"].tolist()
    assert loss.series["actual"] == trained(optimiser=adam()).capture().result.scalars["loss"].tolist()
    assert {"curves/gradient norm", "gradient norms/first.weight"} <= set(found)
    weight = found["parameters/first.weight"]
    assert isinstance(weight, Histogram)
    assert weight.step == 7
    assert list(weight.series) == ["baseline", "actual"]
    for edges, counts in weight.series.values():
        assert (len(edges), len(counts), sum(counts)) == (BINS + 1, BINS, 64)
    assert "gradients/last.bias" in found


def test_a_large_model_shows_the_parameters_that_parted_most():
    def deep(factor=1.0):
        torch.manual_seed(0)
        model = nn.Sequential(*[nn.Linear(2, 2, bias=False) for _ in range(20)])

        def step(_):
            model.zero_grad()
            model(torch.ones(1, 2)).sum().backward()
            with torch.no_grad():
                model[7].weight.grad.mul_(1)
            return 0.0

        model[7].weight.register_hook(lambda gradient: gradient * factor)
        return TrainingCurveView(step, steps=1, model=model)

    one, other = deep().capture(), deep(2.0).capture()
    labels = [exhibit.label for exhibit in deep().picture(other, one, None)]
    assert next(label for label in labels if label.startswith("parameters/")) == "parameters/7.weight"
    assert sum(label.startswith("parameters/") for label in labels) == 12


def test_of_a_baseline_no_more_is_shown_than_the_training_has():
    view = trained(steps=3)
    capture = view.capture()
    stored = Training.from_arrays(trained(steps=8).capture().arrays)
    scalars = {**stored.scalars, **{f"forged {at}": np.zeros(8) for at in range(50)}}
    arrays = Training(
        scalars, stored.parameters, stored.gradients, stored.updates, stored.values, stored.pulls, stored.moves
    )
    forged = type(capture)(capture.view, capture.facts, {**capture.arrays, **arrays.to_arrays()})
    found = [one for one in view.picture(capture, forged) if isinstance(one, Curve)]
    assert {one.label for one in found if one.label.startswith("curves/")} == {"curves/loss", "curves/gradient norm"}
    assert {len(values) for one in found for values in one.series.values()} == {3}


def test_one_capture_is_a_chart_of_its_curves():
    view = trained()
    (picture,) = view.picture(view.capture())
    assert picture.image.shape[1] == 700
    assert picture.image.dtype == np.uint8
    (again,) = trained().picture(trained().capture())
    assert np.array_equal(picture.image, again.image)


def colours(image):
    return {tuple(colour) for colour in image.reshape(-1, 3).tolist()}


def test_a_chart_shows_both_lines_and_what_is_no_number():
    blue, grey, red = (31, 95, 168), (154, 165, 177), (179, 55, 47)
    values = np.array([1.0, 2.0, 3.0])
    alone = colours(chart("c", {"loss": {"actual": values}}).image)
    assert blue in alone
    assert not {grey, red} & alone
    both = colours(chart("c", {"loss": {"baseline": values, "actual": values * [1, 1.1, 1.2]}}).image)
    assert {blue, grey, red} <= both
    equal = colours(chart("c", {"loss": {"baseline": values, "actual": values}}).image)
    assert red not in equal

    def magenta(shown):
        return any(red > 200 and blue > 200 and green < 150 for red, green, blue in shown)

    assert not magenta(both)
    assert magenta(colours(chart("c", {"loss": {"baseline": values, "actual": values * [1, np.nan, 1]}}).image))


@pytest.mark.parametrize(
    "values",
    [[1.0], [math.nan] * 3, [math.inf, -math.inf], [1.7e308, -1.7e308], [5e-324, 0.0], [0.0, 0.0], [1.0] * 500],
    ids=str,
)
def test_any_curve_can_be_drawn(values):
    values = np.array(values)
    for one in (values, values[:1], np.zeros_like(values)):
        assert chart("c", {"$bad^{": {"baseline": one, "actual": values}}).image.shape == (350, 700, 3)
    assert chart("c", {"x" * 500: {"actual": values}}).image.shape == (240, 700, 3)


def test_of_many_curves_the_first_and_the_last_are_drawn():
    curve = {"actual": np.arange(3.0)}
    six = chart("c", {str(at): curve for at in range(6)}).image
    many = chart("c", {str(at): curve for at in range(40)}).image
    assert six.shape == many.shape
    assert not np.array_equal(six, many)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "shown"), [("損失", "\\u640d\\u5931"), ("λ", "λ"), ("a🦀", "a\\U0001f980")])
def test_a_name_that_the_font_has_not_is_written_out(name, shown):
    curve = {"actual": np.arange(3.0)}
    assert np.array_equal(chart("c", {name: curve}).image, chart("c", {shown: curve}).image)
    assert not np.array_equal(chart("c", {name: curve}).image, chart("c", {"?": curve}).image)
