"""Damaged baselines of `kernel_maps` are unreadable, and sound ones come back."""

import copy

import numpy as np
import pytest
from kernel_models import changed
from torch import nn
from zoo import SmallNet

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView


class TestDamage:
    def test_pictures_and_layers_that_are_damaged_are_unreadable(self):
        model = SmallNet()
        other = KernelMapsView(changed(model, lambda net: net.conv1.weight.mul_(2)))
        view, actual = KernelMapsView(model), other.capture()
        for spoil in (
            lambda facts, arrays: facts.update(layers=[]),
            lambda facts, arrays: facts.update(layers={"conv1": 3}),
            lambda facts, arrays: facts.update(pictures=None),
            lambda facts, arrays: facts["pictures"].update(conv1=None),
            lambda facts, arrays: facts["pictures"]["conv1"].update(exponent=10**6),
            lambda facts, arrays: arrays.pop("picture.conv1"),
            lambda facts, arrays: arrays.update({"picture.conv1": np.zeros((8, 2, 3, 3), np.float16)}),
            lambda facts, arrays: arrays.update({"picture.conv1": np.zeros((8, 3, 3, 3), np.float32)}),
            lambda facts, arrays: arrays.pop("trace.sketches"),
        ):
            baseline = view.capture()
            facts, arrays = copy.deepcopy(dict(baseline.facts)), dict(baseline.arrays)
            spoil(facts, arrays)
            damaged = type(baseline)(baseline.view, facts, arrays)
            with pytest.raises(UnreadableBaselineError):
                other.picture(actual, damaged, other.compare(damaged, actual, Tolerances()))

    def test_pictures_larger_than_any_that_is_kept_are_unreadable(self):
        model = SmallNet()
        view = KernelMapsView(model)
        capture = view.capture()
        for shape in ((65, 3, 3, 3), (65, 3, 3), (2, 257, 3), (2, 3, 257), (2, 3, 3, 257), (1, 257, 3), (1, 3, 1025)):
            arrays = {**capture.arrays, "picture.conv1": np.zeros(shape, np.float16)}
            forged = type(capture)(capture.view, capture.facts, arrays)
            with pytest.raises(
                UnreadableBaselineError, match="its picture of 'conv1' is larger than any recorded picture"
            ):
                view.picture(capture, forged)

    def test_pictures_of_layers_that_the_model_has_not_are_not_unpacked(self):
        view = KernelMapsView(SmallNet())
        capture = view.capture()
        facts = copy.deepcopy(dict(capture.facts))
        facts["pictures"]["other"] = {"exponent": 0}
        forged = type(capture)(capture.view, facts, {**capture.arrays, "picture.other": np.zeros(3, np.float16)})
        assert view.picture(capture, forged)

    @pytest.mark.parametrize(
        ("conv", "shape"),
        [
            (lambda: nn.Conv1d(2, 2, 2000), (1, 2, 1024)),
            (lambda: nn.Conv2d(3, 1, (300, 2)), (1, 3, 256, 2)),
            (lambda: nn.Conv2d(2, 2, (2, 300)), (2, 2, 256)),
        ],
    )
    def test_what_is_kept_of_an_enormous_kernel_can_be_shown(self, conv, shape):
        view = KernelMapsView(conv())
        capture = view.capture()
        assert capture.result.pictures[""].shape == shape
        assert view.picture(capture, capture)
