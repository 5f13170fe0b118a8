"""Curves, histograms and charts of a training, beside those of its baseline."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from trainings import adam, trained

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.pictures import fonts
from pytest_modelviz.pictures.exhibits import Curve, Histogram
from pytest_modelviz.views.training_curve.capture import TrainingCurveView
from pytest_modelviz.views.training_curve.chart import chart
from pytest_modelviz.views.training_curve.records import BINS, Training


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


def test_updates_are_shown_where_they_drifted():
    slower = shown(optimiser=lambda parameters: torch.optim.SGD(parameters, lr=0.04, momentum=0.9))
    updates = {exhibit.label: exhibit for exhibit in slower if exhibit.label.startswith("updates/")}
    assert set(updates) == {f"updates/{name}" for name in trained().capture().result.updates}
    series = updates["updates/first.weight"].series
    assert series["baseline"] == trained().capture().result.updates["first.weight"].tolist()
    assert series["actual"][0] == pytest.approx(0.8 * series["baseline"][0])
    assert not [exhibit for exhibit in shown() if exhibit.label.startswith("updates/")]
    other_loss = shown(given=False, loss=nn.functional.l1_loss)
    assert not [exhibit for exhibit in other_loss if exhibit.label.startswith("updates/")]


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
    longer = replace(stored, scalars=scalars)
    forged = type(capture)(capture.view, capture.facts, {**capture.arrays, **longer.to_arrays()})
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
def test_a_name_that_no_font_has_is_written_out(name, shown, monkeypatch):
    monkeypatch.setattr(fonts, "_font_with", lambda letters: None)
    curve = {"actual": np.arange(3.0)}
    assert np.array_equal(chart("c", {name: curve}).image, chart("c", {shown: curve}).image)
    assert not np.array_equal(chart("c", {name: curve}).image, chart("c", {"?": curve}).image)


@pytest.mark.parametrize("numbers", [(1.0, 1e305), (-1e305, 1e305), (5e-324, 1.7e308), (9e299, -9e299)])
def test_a_chart_takes_every_number_that_a_float_holds(numbers):
    for before, after in (numbers, reversed(numbers)):
        series = {"baseline": np.array([1.0, before, before]), "actual": np.array([1.0, before, after])}
        assert chart("chart", {"loss": series}).image.size
