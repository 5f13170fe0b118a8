"""The layer that is named first and those around it are always pictured, and never with a difference that is blank."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.pictures import composite, difference, profiles
from pytest_modelviz.records.verdict import Divergence, Verdict
from pytest_modelviz.views.feature_maps import drift_pictures
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from tests import traces_by_hand

NOT_RECORDED = "Not recorded in this baseline."
SAME, ELSEWHERE = "What is stored of it, in 8 bits, does not differ.", "The error is too small for that"


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()

    def forward(self, x):
        return x + self.relu(self.relu(self.conv(x)) - 0.1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = Block(), Block(), nn.Linear(3, 40)

    def forward(self, x):
        h = self.second(self.first(x))
        return {"maps": h, "scores": self.head(h.mean((2, 3)))}


class Gate(nn.Module):
    """Large values are multiplied."""

    def __init__(self, factor):
        super().__init__()
        self.multiply = lambda x: x * factor

    def forward(self, x):
        return self.multiply(x) if x.max() > 1.0 else x * 1.0


class Twice(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.gate = Gate(factor)

    def forward(self, x):
        return self.gate(self.gate(x) * 100.0)


class Permuted(nn.Module):
    """Neighbouring channels exchanged, which no average over them shows."""

    def forward(self, x):
        return x.view(len(x), -1, 2).flip(2).view(len(x), -1)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def headlines(monkeypatch):
    found = []
    for name in ("labelled", "headed"):
        kept = getattr(composite, name)
        monkeypatch.setattr(
            composite, name, lambda image, *lines, kept=kept: found.extend(lines) or kept(image, *lines)
        )
    return found


@pytest.fixture
def boxes(monkeypatch):
    """The sentences that stand in the place of images."""
    found = []
    for module in (difference, profiles, drift_pictures):
        kept = module.text_box
        monkeypatch.setattr(module, "text_box", lambda text, *size, kept=kept: found.append(text) or kept(text, *size))
    return found


def image(size=8):
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def scaled(net, name, factor=1.5):
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.get_submodule(name).parameters():
            parameter.mul_(factor)
    return other


def pictured(before, after, data=None, other_data=None, **options):
    data = image() if data is None else data
    given = (before, data), (after, data if other_data is None else other_data)
    views = [FeatureMapsView(*each, **options) for each in given]
    first, second = (view.with_noise(view.capture()) for view in views)
    return pictures_of(views[1], first, second)


def pictures_of(view, first, second):
    verdict = view.compare(first, second, Tolerances())
    return {picture.label: picture for picture in view.picture(second, first, verdict)}


class TestWhichLayers:
    def test_the_named_one_what_was_called_before_the_caller_and_the_output(self, net, headlines):
        pictures = pictured(net, scaled(net, "second.conv"), layers=[])
        assert list(pictures) == ["second.conv", "first", "second", "(model)"]
        assert all(image is not None for p in pictures.values() for image in (p.baseline, p.actual, p.difference))
        for role in ("where the drift begins", "called just before", "the caller", "the model's output"):
            assert sum(headline.endswith(role) for headline in headlines) == 1

    def test_a_later_call_of_a_layer_is_pictured_as_such(self, headlines):
        model, other = (Twice(factor) for factor in (2.0, 3.0))
        assert list(pictured(model, other, torch.rand(2, 40))) == ["gate#1", "gate"]
        roles = ["where the drift begins, the model's output", "called just before"]
        assert [headline.rpartition("   ")[2] for headline in headlines if "   " in headline] == roles

    def test_calls_that_return_the_same_tensor_are_one_picture(self, headlines):
        model = nn.Sequential(nn.Linear(40, 40), nn.Linear(40, 40))
        pictures = pictured(model, scaled(model, "1"), torch.rand(2, 40))
        assert list(pictures) == ["1", "0"]
        assert any(h.endswith("where the drift begins, the model's output") for h in headlines)

    def test_of_several_outputs_the_one_that_differs(self, net, headlines):
        pictured(net, scaled(net, "head"), layers=[])
        assert "output .scores" in headlines

    def test_stored_channels_stand_above_the_profile_of_the_named_layer_alone(self, net):
        pictures = pictured(net, scaled(net, "first.conv"), layers="*")
        heights = {label: picture.actual.shape[0] for label, picture in pictures.items()}
        assert heights["first.conv"] > heights["first"]
        assert next(iter(pictures)) == "first.conv"
        assert set(pictures) > {"second.conv", "second", "head"}  # which drifted, too

    def test_the_baseline_s_tree_says_it_of_a_layer_that_is_gone(self):
        before = traces_by_hand.trace()
        after = replace(before, calls=[call for call in before.calls if call.layer != "block.b"])
        verdict = Verdict.drift(first=Divergence("block.b", "Linear", 0, 1.0, 0.0))
        around = drift_pictures.surroundings(verdict, (before, after), str)
        assert [(near.call.layer, near.roles) for near in around] == [
            ("block.a", ["called just before"]), ("block", ["the caller"]), ("", ["the model's output"]),
        ]  # fmt: skip


class TestInputs:
    def test_a_drift_that_begins_in_the_input_does_not_begin_in_the_output(self, headlines):
        model, data = nn.Linear(40, 40), torch.rand(2, 40)
        pictured(model, model, data, data * 2)
        (headline,) = (headline for headline in headlines if "the model's output" in headline)
        assert headline.rpartition("   ")[2] == "the model's output"

    def test_what_is_no_picture_is_shown_as_a_profile(self):
        model = nn.Linear(40, 40)
        data = torch.rand(2, 40)
        pictures = pictured(model, model, data, data * 2)
        assert list(pictures) == ["(input) input", "(model)"]

    def test_photographs_stay_photographs(self, net):
        assert list(pictured(net, net, other_data=image().flip(3), layers=[])) == ["(input)", "(model)"]


class TestNothingBlank:
    def test_a_drift_that_averages_do_not_show_is_said_in_words(self, boxes):
        model = nn.Sequential(nn.Linear(64, 64), nn.Identity(), nn.Flatten())
        other = copy.deepcopy(model)
        other[1] = Permuted()
        pictures = pictured(model, other, torch.rand(2, 64))
        assert next(iter(pictures)) == "1"
        assert any(text.startswith(f"{SAME} {ELSEWHERE}") for text in boxes)

    def test_of_a_layer_that_agrees_no_error_is_spoken_of(self, net, boxes):
        pictured(net, scaled(net, "second.conv", 3.0), layers=[])
        assert f"{SAME} " in boxes  # of what was called before
        assert not any(ELSEWHERE in text for text in boxes)

    def test_channels_that_do_not_show_it_stand_above_a_profile_that_does(self, boxes):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 1))
        other = copy.deepcopy(model)
        with torch.no_grad():
            other[0].weight[11] *= 3.0  # of 0, 2, ..., 14
        pictures = pictured(model, other, layers="*")
        assert sum("8 of 16 channels" in text for text in boxes) == 2  # of the convolution and the rectifier
        assert pictures["0"].difference.shape == pictures["1"].difference.shape
        assert pictures["1"].actual.shape[0] > pictures["2"].actual.shape[0]


class TestBaselinesWithoutProfiles:
    def test_they_are_read_and_the_picture_says_so(self, net, boxes):
        first, second = (FeatureMapsView(model, image(), layers=[]) for model in (net, scaled(net, "head")))
        pictures = pictures_of(second, first.capture(), second.with_noise(second.capture()))
        assert list(pictures) == ["head", "second", "(model)"]
        assert boxes.count(NOT_RECORDED) == 3
        assert all(p.difference is None and p.baseline is not None for p in pictures.values())

    def test_so_are_two_of_them(self, net, boxes):
        first, second = (FeatureMapsView(model, image(), layers=[]) for model in (net, scaled(net, "head")))
        assert list(pictures_of(second, first.capture(), second.capture())) == ["head", "second", "(model)"]
        assert sum(text.startswith("No picture") for text in boxes) == 3
