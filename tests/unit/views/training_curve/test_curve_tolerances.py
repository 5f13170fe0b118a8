"""How far curves may part: strict at the first step, and no further than rounding grows."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from trainings import Scale, compared, trained

from pytest_modelviz.compare.tolerance import LayerTolerance, Tolerances
from pytest_modelviz.records.findings import IncomparableStepsFinding
from pytest_modelviz.views.training_curve.capture import TrainingCurveView
from pytest_modelviz.views.training_curve.curve_comparison import compare_curves
from pytest_modelviz.views.training_curve.curve_tables import CurveKind
from pytest_modelviz.views.training_curve.findings import Onset, PartingFinding
from pytest_modelviz.views.training_curve.records import Training
from pytest_modelviz.views.training_curve.tolerance import step_tolerance


def curves(**scalars):
    return Training.of_scalars({name: np.array(values, np.float64) for name, values in scalars.items()})


def pulled(gradients, updates=None, loss=None):
    gradients = np.array(gradients, np.float64)
    updates = gradients if updates is None else np.array(updates, np.float64)
    names = tuple(f"{chr(97 + at)}.weight" for at in range(gradients.shape[1]))
    # so large that a single update is lost in the last digit, and all together move by no part of themselves
    moves = np.zeros((3, *gradients.shape))
    moves[1] = 1e30
    nothing = Training.of_scalars({"loss": np.array(loss or [1.0] * len(gradients))})
    return replace(nothing, parameters=names, gradients=gradients, updates=updates, moves=moves)


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


def test_updates_that_have_parted_excuse_no_further_ones():
    same, nearly = [[1.0, 1.0]] * 3, [[1.0 + 1e-6, 1.0], [1.0, 1.0], [1.0, 1.0]]

    def moved(second, third, gradient=1.0):
        return pulled([*nearly[:2], [gradient, 1.0]], [[1.0, 1.0], [1 + second] * 2, [1 + third] * 2])

    # from 1e-6 in gradients follow 300e-6, and from those 0.09, but no gradient or scalar explains that
    assert first(pulled(same), moved(2.9e-4, 2.9e-4)) is None
    assert first(pulled(same), moved(2.9e-4, 3.1e-4)) == (2, "update", "")
    # 1e-4 apart in gradients, before or then, explains ten times as much
    assert first(pulled(same), moved(2.9e-4, 9.9e-4, gradient=1 + 1e-4)) is None
    assert first(pulled(same), moved(2.9e-4, 1.1e-3, gradient=1 + 1e-4)) == (2, "update", "")
    assert first(pulled(same), moved(2.9e-4, 3.1e-4), rtol=1e-2) is None
    unknown = [pulled([[0.0, 0.0]] * 3, updates) for updates in (same, [[1.0, 1.0], [1 + 2e-6] * 2, [1 + 5e-4] * 2])]
    assert first(*unknown) is None  # gradients that are not accumulated cannot explain anything


@pytest.mark.parametrize("betas", [(0.9, 0.99), (0.905, 0.999)])
@pytest.mark.parametrize("steps", [3, 10])
def test_other_betas_do_not_excuse_themselves(betas, steps):
    def adamw(**options):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Linear(32, 4))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, **options)

        def step(number):
            x, target = torch.randn(16, 8), torch.randint(0, 4, (16,))
            loss = nn.functional.cross_entropy(model(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return TrainingCurveView(step, steps=steps, model=model)

    assert compared(adamw(), adamw()).matched
    assert not compared(adamw(), adamw(betas=betas)).matched


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


def test_a_users_tolerance_holds_for_updates_whatever_their_gradients_did():
    """By default updates may be three times as far apart as gradients are, which here are within the tolerance."""
    one, two = [[1.0, 1.0]], [[1.009, 1.009]]
    assert first(pulled(one), pulled(two, [[1.02, 1.02]]), rtol=1e-2) == (0, "update", "")
    assert first(pulled(one), pulled(two, two), rtol=1e-2) is None
    assert first(pulled(one), pulled(two, [[1.02, 1.02]]), rtol=3e-2) is None
    assert first(pulled(one), pulled(one, two), rtol=1e-2) is None  # no gradient explains that, and none has to


def test_a_layer_has_a_tolerance_of_its_own():
    two, drifted = [[1.0, 1.0]], [[1.1, 1.0]]
    assert first(pulled(two), pulled(drifted, two)) == (0, "gradient", "a.weight")
    assert first(pulled(two), pulled(drifted, two), layers=(LayerTolerance("a", 0.2),)) is None
    assert first(pulled(two), pulled(drifted, two), layers=(LayerTolerance("b", 0.2),)) == (0, "gradient", "a.weight")


def test_what_one_layers_gradient_is_allowed_excuses_its_own_share_of_an_update():
    # a's gradient is 0.16 larger, and a makes up sqrt(1/2) of the update: 3 * 0.16 * sqrt(1/2) = 0.34 for the whole
    two, larger, own = [[1.0, 1.0]], [[1.16, 1.0]], (LayerTolerance("a", 0.3),)
    assert first(pulled(two), pulled(larger), layers=own) is None  # as plain SGD follows it
    assert first(pulled(two), pulled(larger, [[1.32, 1.32]]), layers=own) is None
    assert first(pulled(two), pulled(larger, [[1.4, 1.4]]), layers=own) == (0, "update", "")
    assert first(pulled([[1.0, 100.0]]), pulled([[1.16, 100.0]], [[1.0, 101.0]]), layers=own) == (0, "update", "")


def test_coarse_types_and_accelerators_are_allowed_more():
    one, other = curves(a=[1.0]), curves(a=[1.0 + 5e-5])
    assert first(one, other, device="cuda:0") is None
    assert first(one, other) is not None
    assert not compare_curves(one, curves(a=[1.01]), "bfloat16", Tolerances()).differences
    assert compare_curves(one, curves(a=[1.01]), "float64", Tolerances()).differences
    assert step_tolerance(Tolerances(scale=0.1), "float32", 0.0, 0.0) == pytest.approx(1e-6)


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
    two = replace(one, scalars={"loss": np.array(changed)})
    assert [(f.step, f.kind.value) for f in compare_curves(one, two, "float32", Tolerances()).differences] == [
        (step, "scalar")
    ]


@pytest.mark.parametrize("size", [1e-200, 1e-160, 1e160])
@pytest.mark.parametrize("rate", [1.0, 2.0])
def test_trainings_of_numbers_of_any_size_are_compared(size, rate):
    def training(rate):
        model = Scale().double()
        with torch.no_grad():
            model.w.mul_(size)
        optimizer = torch.optim.SGD(model.parameters(), lr=rate * 0.01)

        def step(number):
            optimizer.zero_grad()
            (model(torch.ones(1, dtype=torch.float64)) * size).sum().backward()
            optimizer.step()
            return 1.0

        return TrainingCurveView(step, steps=3, model=model)

    assert compared(training(1.0), training(rate)).matched is (rate == 1.0)


def test_the_time_to_compare_grows_with_the_steps_and_no_faster():
    training = pulled(np.linspace(1.0, 0.5, 60_000).reshape(20_000, 3))
    started = time.process_time()
    assert first(training, training) is None
    assert time.process_time() - started < 5  # not all steps anew at each step
