"""Noise in two bytes: never less than what was measured, and nothing else than what can have been packed."""

import math

import numpy as np
import pytest

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.noise import explanation_noise, packed_noise, unpacked_noise, with_explanation_noise


def test_it_is_rounded_up_to_eight_bits():
    packed = packed_noise([0.0, 0.5, 1.0 + 2**-7, 1.0 + 2**-8, math.inf, None])
    assert packed.dtype == np.uint16
    assert unpacked_noise(packed, 6) == [0.0, 0.5, 1.0 + 2**-7, 1.0 + 2**-7, math.inf, None]


@pytest.mark.parametrize("packed", [np.zeros(3, np.uint16), np.zeros(2, np.float32), packed_noise([-0.5, 0.5])])
def test_anything_else_is_unreadable(packed):
    with pytest.raises(UnreadableBaselineError):
        unpacked_noise(packed, 2)


def test_the_largest_difference_of_each_quantity_is_kept():
    capture = Capture("cam_map", {}, {"map": np.zeros(1)})
    assert explanation_noise(capture, 2) == [None, None]
    assert explanation_noise(with_explanation_noise(capture, [(0.5, 2.0), (0.25, 4.0)]), 2) == [0.5, 4.0]
    assert with_explanation_noise(capture, []) is capture
    assert with_explanation_noise(capture, [], "refused").notes == ("refused",)
