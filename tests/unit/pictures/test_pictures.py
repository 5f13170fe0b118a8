"""Colours and layouts; the figures are small enough to be checked pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from pytest_modelviz.pictures import layout
from pytest_modelviz.pictures.colour import (
    DIVERGING,
    NEGATIVE_INFINITY,
    NOT_A_NUMBER,
    POSITIVE_INFINITY,
    SEQUENTIAL,
    Scale,
    not_finite,
    overlay,
    paint,
    paint_rgb,
)
from pytest_modelviz.pictures.composite import Panel, plain_picture, sheet
from pytest_modelviz.pictures.layout import (
    HEADING,
    MOST_WIDTH,
    below,
    beside,
    commented,
    enlarge,
    enlarge_values,
    grid,
    headed,
    labelled,
)
from pytest_modelviz.pictures.legend import BAR_HEIGHT, colour_bar, not_finite_legend

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
        assert (tuple(image[1, 0]), tuple(image[1, 1])) == (POSITIVE_INFINITY, NEGATIVE_INFINITY)
        assert image[1, 2].tolist() == [253, 231, 37]  # beyond the scale is its end

    @given(arrays.arrays(np.float64, (2, 3), elements=st.floats(width=32)))
    def test_any_numbers_can_be_painted(self, values):
        image = paint(values, Scale.of(values))
        assert (image.shape, image.dtype) == ((2, 3, 3), np.uint8)
        assert (image[np.isnan(values)] == NOT_A_NUMBER).all()

    def test_three_channels_are_colours(self):
        values = np.array([[[1.0, 0.0, np.nan]], [[0.0, 0.0, 0.0]], [[-1.0, np.inf, 5.0]]])
        image = paint_rgb(values, Scale.about_zero(1.0))
        assert image[0, 0].tolist() == [255, 128, 0]
        assert (tuple(image[0, 1]), tuple(image[0, 2])) == (POSITIVE_INFINITY, NOT_A_NUMBER)

    def test_what_is_not_finite_is_found(self):
        assert not_finite(np.array([np.nan, 1.0]), np.array([-np.inf])) == {"NaN", "-inf"}
        assert not_finite(np.zeros(2)) == set()

    def test_a_map_over_a_photo_is_half_its_colours_and_half_the_photo_s_lightness(self):
        assert overlay(block((90, 0, 0)), block(BLUE))[0, 0].tolist() == [15, 15, 142]

    def test_the_reach_of_a_scale_is_what_a_difference_can_be(self):
        assert Scale(2.0, 5.0).reach == 3.0
        assert Scale.about_zero(4.0).reach == 4.0


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

    def test_numbers_are_enlarged_before_they_are_painted(self):
        assert enlarge_values(np.array([[1e-60, 3e300]]), 4).shape == (2, 4)
        assert enlarge_values(np.full((2, 2), 1e-60), 4) == pytest.approx(np.full((4, 4), 1e-60))
        assert np.isnan(enlarge_values(np.array([[np.nan, 1.0]]), 4)).sum() == 4  # of 2 x 4, not smeared

    def test_a_heading_is_seven_pixels_high_at_a_quarter_of_its_size(self):
        image = headed(block(RED, width=300), "layer4.1.conv2")
        small = np.asarray(Image.fromarray(image).resize((75, image.shape[0] // 4), Image.Resampling.BOX))
        inked = np.flatnonzero((small[:-1] < 200).any(axis=(1, 2)))
        assert inked.max() - inked.min() + 1 >= 6
        assert HEADING / 4 >= 7

    @pytest.mark.parametrize("name", ["encoder." * 12, "x" * 500, "a b" * 90])
    def test_a_long_heading_is_broken_into_lines_that_fit(self, name):
        image = headed(block(RED), name)
        assert image.shape[1] <= MOST_WIDTH
        assert image.shape[0] <= 3 * 36 + 4
        assert image.shape[0] > 2 * 26

    def test_a_comment_is_broken_after_a_word(self, monkeypatch):
        lines = []
        monkeypatch.setattr(layout, "text_lines", lambda texts, *size: lines.extend(texts) or block(RED))
        commented(block(RED, width=112), "mean activation -4.79 to 48.0 and more", width=0)
        assert lines == ["mean activation", "-4.79 to 48.0", "and more"]
        assert commented(block(RED), "").shape == (2, 3, 3)


class TestLegends:
    def test_a_bar_has_the_colours_and_the_numbers_of_its_scale(self):
        bar = colour_bar(Scale(0.0, 1.0), 200)
        assert bar.shape == (BAR_HEIGHT, 200, 3)
        assert (bar[0, 0].tolist(), bar[0, -1].tolist()) == ([68, 1, 84], [253, 231, 37])
        ink = (bar[12:] < 128).all(-1).any(0)
        assert ink[:10].any()  # 0
        assert ink[90:110].any()  # 0.5
        assert ink[-10:].any()  # 1
        assert not ink[15:80].any()

    def test_a_bar_too_short_for_three_numbers_has_those_of_its_ends(self):
        ink = (colour_bar(Scale(-0.000123, 0.000123), 140)[12:] < 128).all(-1).any(0)
        assert not ink[66:76].any()

    def test_a_bar_of_a_map_over_a_photo_looks_as_it_does_over_grey(self):
        bar = colour_bar(Scale(0.0, 1.0, "gray"), 100, over_photo=True)
        assert (bar[0, 0].tolist(), bar[0, -1].tolist()) == ([64] * 3, [192] * 3)

    def test_what_is_not_finite_is_explained_where_it_is_seen(self):
        assert not_finite_legend([]) is None
        legend = not_finite_legend(["-inf", "NaN", "NaN"])
        assert tuple(legend[0, 0]) == NOT_A_NUMBER
        colours = {tuple(pixel) for pixel in legend.reshape(-1, 3)}
        assert {NOT_A_NUMBER, NEGATIVE_INFINITY} <= colours
        assert POSITIVE_INFINITY not in colours

    def test_it_stands_below_a_picture_that_has_any(self):
        values = np.array([[1.0, np.inf]])
        with_it = plain_picture("a", [], [("", Panel(block(RED), Scale.of(values), kinds=not_finite(values)))]).image
        without = plain_picture("a", [], [("", Panel(block(RED), Scale.of(values)))]).image
        assert with_it.shape[0] == without.shape[0] + 12 + 16
        assert (with_it == POSITIVE_INFINITY).all(-1).sum() == 16 * 16


class TestSheets:
    def test_pictures_below_each_other(self):
        assert sheet([]) is None
        one = plain_picture("a", [], [("", Panel(block(RED)))])
        assert sheet([one, one]).shape[0] == 2 * one.image.shape[0] + 12

    def test_panels_stand_in_rows_that_fit(self):
        for count, width, columns in ((3, 192, 3), (4, 192, 3), (2, 400, 1), (1, 900, 1)):
            image = plain_picture("a", [], [("", Panel(block(RED, width=width)))] * count).image
            assert image.shape[1] == columns * width + (columns - 1) * 12
