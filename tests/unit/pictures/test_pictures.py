"""Colours and layouts; the figures are small enough to be checked pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pytest_modelviz.pictures.colour import DIVERGING, NOT_A_NUMBER, SEQUENTIAL, Scale, overlay, paint
from pytest_modelviz.pictures.composite import (
    PANEL,
    channels_composite,
    channels_picture,
    heat_composite,
    heat_picture,
    magnification,
    photo_composite,
    sheet,
)
from pytest_modelviz.pictures.layout import below, beside, enlarge, grid, labelled

RED, BLUE = (255, 0, 0), (0, 0, 255)


def block(colour, height=2, width=3):
    return np.full((height, width, 3), colour, np.uint8)


class TestScale:
    def test_one_sign_is_sequential_both_are_diverging_about_zero(self):
        assert Scale.of(np.array([1.0, 3.0])) == Scale(1.0, 3.0, SEQUENTIAL)
        assert Scale.of(np.array([-1.0]), np.array([3.0])) == Scale(-3.0, 3.0, DIVERGING)

    def test_constants_and_nothing_have_a_scale(self):
        assert Scale.of(np.zeros(3)) == Scale(0.0, 1.0)
        assert Scale.of(np.full(3, -2.0)) == Scale(-2.0, 0.0)
        assert Scale.of(np.array([np.nan])) == Scale(0.0, 1.0)

    def test_paint_by_hand(self):
        image = paint(np.array([[0.0, 1.0, np.nan], [np.inf, -np.inf, 5.0]]), Scale(0.0, 1.0))
        assert image[0, 0].tolist() == [68, 1, 84]  # viridis begins
        assert image[0, 1].tolist() == [253, 231, 37]  # and ends
        assert tuple(image[0, 2]) == NOT_A_NUMBER
        assert (image[1, 0].tolist(), image[1, 1].tolist()) == ([255] * 3, [0] * 3)
        assert image[1, 2].tolist() == [253, 231, 37]  # beyond the scale is its end

    @given(arrays.arrays(np.float64, (2, 3), elements=st.floats(width=32)))
    def test_any_numbers_can_be_painted(self, values):
        image = paint(values, Scale.of(values))
        assert (image.shape, image.dtype) == ((2, 3, 3), np.uint8)
        assert (image[np.isnan(values)] == NOT_A_NUMBER).all()

    def test_overlay(self):
        assert overlay(block(RED), block(BLUE))[0, 0].tolist() == [128, 0, 128]


class TestLayout:
    def test_beside_and_below(self):
        row = beside([block(RED), block(BLUE, height=4)], gap=1)
        assert row.shape == (4, 7, 3)
        assert (tuple(row[0, 0]), tuple(row[0, 3]), tuple(row[0, 4]), tuple(row[3, 0])) == (
            RED,
            (255,) * 3,
            BLUE,
            (255,) * 3,
        )
        assert below([block(RED), block(BLUE, width=5)], gap=2).shape == (6, 5, 3)
        assert grid([block(RED)] * 3, columns=2, gap=1).shape == (5, 7, 3)

    def test_enlarging_keeps_pixels_sharp(self):
        big = enlarge(beside([block(RED, 1, 1), block(BLUE, 1, 1)], gap=0), 8)
        assert big.shape == (4, 8, 3)
        assert {tuple(pixel) for pixel in big.reshape(-1, 3)} == {RED, BLUE}

    def test_labels_widen_the_picture_and_leave_ink(self):
        image = labelled(block(RED), "a label that is wider than the picture", "x" * 500)
        assert image.shape[1] > 100
        assert image[:16].min() < 128
        assert tuple(image[-1, 0]) == RED


class TestComposites:
    def test_magnification_is_a_round_number(self):
        scale = Scale(0.0, 1.0)
        assert magnification(np.array([0.0]), scale) == 1
        assert magnification(np.array([0.4, np.nan]), scale) == 1
        assert magnification(np.array([-0.1]), scale) == 5
        assert magnification(np.array([0.0011]), scale) == 200

    def test_channels_show_three_panels_of_equal_size(self):
        base = np.linspace(0, 1, 4 * 5 * 5).reshape(4, 5, 5)
        picture = channels_composite("layer", base, base + 0.01, "headline")
        plain = channels_picture("layer", base)
        assert picture.label == "layer"
        assert picture.image.shape[1] == 3 * plain.image.shape[1] + 2 * 12

    def test_equal_channels_show_no_difference(self):
        base = np.random.default_rng(0).normal(size=(1, 6, 6))
        image = channels_composite("layer", base, base, "h").image
        third = image[-100:, -100:]
        assert len(np.unique(third.reshape(-1, 3), axis=0)) == 1  # the middle of the scale

    def test_other_shapes_and_missing_baselines_show_what_there_is(self):
        one, two = np.zeros((1, 4, 4)), np.ones((2, 4, 4))
        both = channels_composite("layer", one, two, "h").image.shape[1]
        assert both > channels_composite("layer", None, two, "h").image.shape[1]

    def test_nan_has_its_own_colour_in_all_panels(self):
        base = np.ones((1, 4, 4))
        broken = base.copy()
        broken[0, 0, 0] = np.nan
        image = channels_composite("layer", base, broken, "h").image
        found = (image == NOT_A_NUMBER).all(-1)
        thirds = [found[:, start : start + PANEL].any() for start in (0, PANEL + 12, 2 * (PANEL + 12))]
        assert thirds == [False, True, True]

    @pytest.mark.parametrize("photo", [None, block(RED, 10, 10), block(RED, 10, 20)])
    def test_heatmaps_with_and_without_a_photo(self, photo):
        heat = np.linspace(0, 1, 49, dtype=np.float32).reshape(7, 7)
        assert heat_picture("map", "caption", [(heat, photo)]).image.shape[0] >= PANEL
        picture = heat_composite("map", "headline", [(heat, photo)], [(heat[::-1], photo)])
        assert picture.image.shape[1] >= 3 * PANEL
        assert (
            heat_composite("map", "h", [(heat, None)], [(heat[:3], None)]).image.shape[1] < picture.image.shape[1] + 10
        )

    def test_nan_in_a_heatmap_is_not_smoothed_away(self):
        heat = np.zeros((8, 8), np.float32)
        heat[3, 3] = np.nan
        image = heat_picture("map", "caption", [(heat, None)]).image
        assert (image == NOT_A_NUMBER).all(-1).sum() == (PANEL // 8) ** 2

    def test_sheets(self):
        assert sheet([]) is None
        one = photo_composite("input", block(RED), block(BLUE))
        assert sheet([one, one]).shape[0] == 2 * one.image.shape[0] + 12
