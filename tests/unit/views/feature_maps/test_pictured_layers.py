"""Which layers and channels of a pass are pictured, in which order, and what is said of them."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures import channels, composite, difference, profiles
from pytest_modelviz.records.verdict import LayerError, Verdict
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.input_pictures import input_pictures
from pytest_modelviz.views.stored_pictures import stored_input


class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.conv, self.relu, self.pool = nn.Conv2d(3, width, 3), nn.ReLU(), nn.MaxPool2d(2)

    def forward(self, x):
        return self.pool(self.relu(self.conv(x)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def texts(monkeypatch):
    """All that is written into pictures."""
    found = []
    for module in (channels, composite):
        kept = module.labelled
        monkeypatch.setattr(
            module, "labelled", lambda image, *lines, kept=kept: found.extend(lines) or kept(image, *lines)
        )
    for module in (difference, profiles):
        kept_box = module.text_box
        monkeypatch.setattr(
            module, "text_box", lambda text, *size, kept=kept_box: found.append(text) or kept(text, *size)
        )
    kept = composite.commented
    monkeypatch.setattr(
        composite, "commented", lambda image, text, **how: found.append(text) or kept(image, text, **how)
    )
    return found


def image(low=0.0, high=1.0):
    values = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    values[0, 0, 0, 0], values[0, 0, 0, 1] = 0.0, 1.0
    return low + values * (high - low)


def pictured(before, after):
    first, second = before.capture(), after.capture()
    return after.picture(second, first, after.compare(first, second, Tolerances()))


def changed(net, channel, by=2.0):
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.conv.weight[channel] *= by
        other.conv.bias[channel] *= by
    return other


def numbers(texts):
    return [text.removeprefix("channel ") for text in texts if text.startswith("channel ")]


def test_the_channel_that_differs_comes_first_and_those_that_are_dead_last(net, texts):
    with torch.no_grad():
        net.conv.weight[2], net.conv.bias[2] = 0.0, -1.0  # which the rectifier turns into zeros
    pictured(*(FeatureMapsView(model, image(), layers=["relu"]) for model in (net, changed(net, 10))))
    assert numbers(texts)[0] == "10"  # of 0, 2, 4, ..., 14
    assert numbers(texts)[7] == "2"
    assert not any("does not differ" in text for text in texts)


def test_a_drift_that_no_stored_channel_shows_is_said_in_words(net, texts):
    pictured(*(FeatureMapsView(model, image(), layers=["conv"]) for model in (net, changed(net, 11))))
    assert "What is stored for this picture does not differ: 8 of 16 channels, 10 x 10, in half precision." in texts


def test_a_drift_smaller_than_half_precision_is_no_noise_in_the_picture(net, texts):
    pictured(*(FeatureMapsView(model, image(), layers=["conv"]) for model in (net, changed(net, 10, 1.0004))))
    assert any(text.startswith("What is stored for this picture does not differ") for text in texts)


def test_of_other_widths_the_channels_that_both_have_are_compared(texts):
    wide, narrow = (FeatureMapsView(Net(width), image(), layers=["conv"]) for width in (48, 16))
    first, second = narrow.capture(), wide.capture()  # 0, 2, ..., 14 and 0, 6, ..., 42
    (picture,) = wide.picture(second, first)
    assert sorted(set(numbers(texts)), key=int) == ["0", "6", "12"]
    assert picture.difference is not None


def test_a_file_that_does_not_say_which_channels_they_are_is_pictured_without_numbers(net, texts):
    view = FeatureMapsView(net, image(), layers=["conv"])
    capture = view.capture()
    for odd in (None, "01234567", [0] * 8, [1, 2], [None] * 8):
        page = {**capture.facts["pictures"]["conv"], "channels": odd}
        view.picture(capture, replace(capture, facts={**capture.facts, "pictures": {"conv": page}}))
        assert not numbers(texts)


class TestInputs:
    def test_a_range_is_stored_beside_a_picture(self):
        arrays = input_pictures(image(-1.0, 3.0))
        assert arrays["input.range"].tolist() == [-1.0, 3.0]
        assert (arrays["input"].min(), arrays["input"].max()) == (0, 255)
        assert input_pictures(torch.full((1, 3, 8, 8), 7.0))["input.range"].tolist() == [7.0, 14.0]

    def test_samples_that_differ_in_their_range_alone_are_two(self):
        arrays = input_pictures(torch.cat([image(), image(0.0, 2.0), image()]), 3)
        assert set(arrays) == {"input", "input.range", "input.1", "input.1.range"}

    def test_another_range_is_pictured_on_the_baseline_s_scale(self, net, texts):
        views = [FeatureMapsView(net, image(high=high), layers=["conv"]) for high in (1.0, 255.0)]
        picture = pictured(*views)[0]
        assert picture.label == "(input)"
        assert "actual is 0 to 255: what is beyond the scale is cut." in texts
        assert picture.difference is not None
        assert [one.label for one in pictured(views[0], views[0])] == ["conv"]

    def test_a_baseline_without_ranges_is_read(self, net, texts):
        views = [FeatureMapsView(net, data, layers=["conv"]) for data in (image(), image().flip(3))]
        first, second = (view.capture() for view in views)
        arrays = {key: array for key, array in first.arrays.items() if not key.endswith(".range")}
        earlier = replace(first, arrays=arrays)
        verdict = views[1].compare(earlier, second, Tolerances())
        assert views[1].picture(second, earlier, verdict)[0].label == "(input)"
        assert any("stretched to its own contrast" in text for text in texts)
        assert views[0].compare(earlier, first, Tolerances()).matched
        assert views[0].picture(first, earlier)[0].label != "(input)"

    @pytest.mark.parametrize("limits", [[0.0, np.nan], [1.0, 1.0], [2.0, 1.0], [-np.inf, 0.0]])
    def test_limits_that_make_no_range_are_none(self, net, limits):
        capture = FeatureMapsView(net, image()).capture()
        odd = replace(capture, arrays={**capture.arrays, "input.range": np.array(limits)})
        assert stored_input(odd).scale is None

    def test_a_picture_larger_than_any_that_is_recorded_is_unreadable(self, net):
        capture = FeatureMapsView(net, image()).capture()
        large = replace(capture, arrays={**capture.arrays, "input": np.zeros((97, 96, 3), np.uint8)})
        with pytest.raises(UnreadableBaselineError, match="its picture of the input is damaged"):
            stored_input(large)

    @pytest.mark.parametrize("limits", [np.zeros(3, np.float32), np.zeros((1, 2)), np.zeros(2, np.uint8)])
    def test_damaged_limits_are_unreadable(self, net, limits):
        capture = FeatureMapsView(net, image()).capture()
        with pytest.raises(UnreadableBaselineError, match="the range of its picture is damaged"):
            stored_input(replace(capture, arrays={**capture.arrays, "input.range": limits}))


def test_a_layer_that_is_called_twice_is_pictured_with_the_error_of_its_worse_call(net, texts):
    view = FeatureMapsView(net, image(), layers=["relu", "conv"])
    capture = view.capture()
    layers = [LayerError("relu", 0, 0.5, 0.1), LayerError("conv", 0, 0.0, 0.1), LayerError("relu", 1, 0.0, 0.1)]
    pictures = view.picture(capture, capture, Verdict.drift(layers=layers))
    assert [picture.label for picture in pictures] == ["relu"]
    assert any("error 0.5, allowed 0.1 in call 0" in text for text in texts)


class Stages(nn.Module):
    """Layers of one resolution, of which each has other channels or runs in another mode."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        with torch.inference_mode():
            x = self.first(x)
        return self.third(self.second(x.clone()))


def test_the_last_layer_of_a_resolution_is_pictured_whatever_ran_before_it():
    torch.manual_seed(0)
    model = Stages()
    pictures = FeatureMapsView(model, image()).capture().result.pictures
    assert list(pictures) == ["third"]
    with torch.no_grad():
        assert np.array_equal(pictures["third"], model(image())[0].numpy())


@pytest.mark.parametrize("width", [3, 8])
def test_a_layer_in_inference_mode_may_be_followed_by_one_outside_of_it(width):
    torch.manual_seed(0)
    model = Stages()
    model.second, model.third = nn.Conv2d(8, width, 1), nn.Conv2d(width, width, 1)
    pictures = FeatureMapsView(model, image()).capture().result.pictures
    assert list(pictures) == ["third"]
    with torch.no_grad():
        assert np.array_equal(pictures["third"], model(image())[0].numpy())
