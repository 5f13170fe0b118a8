"""No curve, start, dtype or optimiser that a baseline claims excuses a training that has drifted."""

import numpy as np
import pytest
import torch
from forgery_subjects import UNNOTICED, falling, learning, training
from forging_by_hand import less, marked, matches, mended, reread, retraced
from torch import nn

from pytest_modelviz.compare.tolerance import LayerTolerance, Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.findings import ShapeFinding
from pytest_modelviz.views.training_curve.capture import TrainingCurveView


@pytest.mark.parametrize("giants", [[9e21, 5.9e25, 1e30], [1e30, 1e30, 1e30], [1.0, 1e300, 1.0], [1.0, np.inf, 1.0]])
def test_giants_in_a_curve_hide_no_other_losses(giants):
    view, other = falling(), falling(random_losses=True)
    capture = view.capture()
    losses = np.ones(8)
    losses[:3] = giants
    assert not matches(other, mended(view, capture, curve__loss=losses), other.capture())


@pytest.mark.parametrize("kind", ["accumulated", "rate", "late", "loss", "decay"])
def test_a_start_that_is_a_little_off_excuses_no_later_step(kind):
    view, other = training(), training(kind)
    capture = view.capture()
    gradients, updates = capture.arrays["parameters.gradients"].copy(), capture.arrays["parameters.updates"].copy()
    gradients[0] *= 1.0049  # just within what is allowed: everything after that might be rounding
    updates[0] *= 1.0145
    gradients[1:], updates[1:] = 1.0, 1.0
    losses = capture.arrays["curve.loss"].copy()
    losses[1:] = 1e30
    changed = {"parameters__gradients": gradients, "parameters__updates": updates}
    for arrays in (changed, {**changed, "curve__loss": losses}):
        assert not matches(other, mended(view, capture, **arrays), other.capture())


def test_what_a_baseline_says_of_rounding_and_size_excuses_no_update():
    view, other = training(), training("decay")
    capture = view.capture()
    moves = capture.arrays["parameters.moves"].copy()
    moves[1:] = 1e30
    assert not matches(other, mended(view, capture, parameters__moves=moves), other.capture())


def late(where, option):
    """A training with an option that makes no difference to the first steps."""
    torch.manual_seed(0)
    model, x = nn.Linear(4, 1), torch.ones(2, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 100)
    {"start": vars(optimizer), "group": optimizer.param_groups[0], "schedule": vars(scheduler)}[where].update(option)

    def step(number):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return TrainingCurveView(step, steps=2, model=model, optimizer=scheduler)


@pytest.mark.parametrize("stated", ["nothing", None, 0, False, 5, "as a default"])
@pytest.mark.parametrize("where", ["start", "group", "schedule"])
def test_no_baseline_stands_for_two_options(where, stated):
    options = ({}, {"start": None}, {"start": 0}, {"start": "x"}, {"start": 5})

    def change(facts):
        record = facts["optimizer"][0]
        holder = {"start": record, "group": record["groups"][0], "schedule": record["schedulers"][0]}[where]
        holder["options"].pop("start", None)
        if stated == "as a default":
            record.setdefault("defaults", {})["start"] = holder.setdefault("defaults", {})["start"] = None
        elif stated != "nothing":
            holder["options"]["start"] = stated

    view = late(where, {})
    baseline = reread(view, view.capture(), change)
    assert sum(matches(view, baseline, late(where, option).capture()) for option in options) == 1


@pytest.mark.parametrize("rate", [0.09, 0.05, 0.02])
def test_no_update_is_smaller_because_the_baseline_calls_the_rest_rounding(rate):
    def once(rate):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        optimizer, x = torch.optim.SGD(model.parameters(), lr=rate), torch.rand(16, 4)

        def step(number):
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        return TrainingCurveView(step, steps=1, model=model)

    view, other = once(0.1), once(rate)
    capture, actual = view.capture(), other.capture()
    moves = actual.arrays["parameters.moves"].copy()
    before, after = (one.arrays["parameters.updates"] for one in (capture, actual))
    moves[2] = np.sqrt(before**2 - after**2)
    assert not matches(other, mended(view, capture, parameters__moves=moves), actual)
    assert matches(other, once(rate).capture(), actual)


@pytest.mark.parametrize("dtype", ["float8_e5m2", "qint8", "float16", "nothing", ""])
@pytest.mark.parametrize("kind", ["loss", "rate", "late", ""])
def test_the_dtype_of_a_training_is_the_actual_one(dtype, kind):
    view, other = training(), training(kind)
    baseline = reread(view, view.capture(), lambda facts: facts.update(dtype=dtype))
    assert not matches(other, baseline, other.capture())


@pytest.mark.parametrize("forge", [{"schedulers": []}, {"schedulers": [{"class": "StepLR", "options": {}}]}])
def test_a_schedule_that_a_baseline_leaves_out_is_compared(forge):
    def scheduled(gamma):
        torch.manual_seed(0)
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 30, gamma=gamma)  # stepped later than here

        def step(number):
            optimizer.zero_grad()
            loss = model(torch.ones(2, 4)).square().mean()
            loss.backward()
            optimizer.step()
            return loss if number < 99 else scheduler.step()

        return TrainingCurveView(step, steps=3, model=model, optimizer=optimizer)

    view, other = scheduled(0.1), scheduled(0.9)
    capture = view.capture()
    assert matches(scheduled(0.1), capture, scheduled(0.1).capture())
    baseline = reread(view, capture, lambda facts: facts["optimizer"][0].update(forge))
    assert not matches(other, baseline, other.capture())


def test_an_option_of_an_optimiser_has_one_name():
    view, other = training("decay"), training()

    def doubled(facts):
        group = facts["optimizer"][0]["groups"][0]
        group["options"] = {**group["options"], "_weight_decay": 0.0}

    capture = view.capture()
    assert "weight_decay" in capture.facts["optimizer"][0]["groups"][0]["options"]
    with pytest.raises(UnreadableBaselineError, match="twice"):
        other.compare(reread(view, capture, doubled), other.capture(), Tolerances())


@pytest.mark.parametrize("change", UNNOTICED)
@pytest.mark.parametrize(
    "forge", [less(""), less("running_var"), less("weight"), less("table"), less("cache"), marked("cache"), marked("")]
)
def test_no_start_of_a_training_is_less_than_what_was_recorded(change, forge):
    view, other = learning(), learning(UNNOTICED[change])
    capture, actual = view.capture(), other.capture()
    assert matches(other, capture, learning().capture())
    assert not matches(other, capture, actual)
    assert not matches(other, retraced(view, capture, forge), actual)


@pytest.mark.parametrize(
    ("options", "layer"), [({"size": 9}, "spare"), ({"dtype": torch.float64}, "spare"), ({"entries": 7}, "")]
)
def test_weights_of_another_shape_are_another_start(options, layer):
    other = learning(**options)
    verdict = other.compare(learning().capture(), other.capture(), Tolerances())
    assert (verdict.matched, verdict.cause, verdict.first.layer) == (False, "architecture", layer)
    assert any(isinstance(finding, ShapeFinding) and finding.layer == layer for finding in verdict.findings)


def test_a_forged_gradient_of_a_layer_that_is_allowed_more_excuses_no_other_rate():
    def view(rate):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)

        def step(number):
            x = torch.randn(32, 4)
            loss = nn.functional.mse_loss(model(x), x.sum(1, keepdim=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return TrainingCurveView(step, steps=1, model=model)

    recorded, actual = view(0.05).capture(), view(0.07).capture()
    gradients = recorded.arrays["parameters.gradients"].copy()
    gradients[0, 2] *= 1.16
    forged = mended(view(0.05), recorded, parameters__gradients=gradients)
    tolerances = Tolerances(layers=(LayerTolerance("2", 0.3),))
    assert view(0.05).compare(forged, view(0.05).capture(), tolerances).matched
    assert not view(0.07).compare(forged, actual, tolerances).matched


@pytest.mark.parametrize("factor", [0.3, 0.41, 0.45, 11.0])
def test_a_forged_last_gradient_excuses_no_update_of_one_parameter_beyond_the_table(factor):
    def view(factor=1.0, steps=4):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))
        bias, *others = model[0].bias, model[0].weight, *model[2].parameters()
        bias.data.zero_()
        optimizer = torch.optim.SGD([{"params": others}, {"params": [bias]}], lr=0.01)
        data = torch.randn(steps, 64, 4, generator=torch.Generator().manual_seed(1))

        def step(number):
            if number == steps - 1:
                optimizer.param_groups[1]["lr"] *= factor
            optimizer.zero_grad()
            loss = (model(data[number]) - data[number].sum(1, keepdim=True)).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        return TrainingCurveView(step, steps=steps, model=model)

    honest, actual = view().capture(), view(factor).capture()
    for early, late in ((1e-4, 0.05), (1e-3, 0.7), (1e-3, 0.99)):
        gradients = honest.arrays["parameters.gradients"].copy()
        gradients[0] *= 1 + early
        gradients[-1] *= 1 + late
        assert not matches(view(factor), mended(view(), honest, parameters__gradients=gradients), actual)
