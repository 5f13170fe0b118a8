"""A training leaves nothing behind but what was learned, and what cannot be trained or recorded is an error."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from trainings import Net, Scale, compared, trained

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.findings import FactFinding
from pytest_modelviz.views.training_curve.capture import TrainingCurveView


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


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "a NoneType: return the loss"),
        ("0.5", "a str"),
        (1j, "a complex"),
        ([0.5], "a list"),
        ({}, "an empty dict"),
        ({"a": None}, "for 'a' a NoneType"),
        ({1: 0.5}, "a scalar named 1: names must be printable strings"),
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
