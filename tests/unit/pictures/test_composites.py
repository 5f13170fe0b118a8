"""Baseline | actual | difference: what is compared, in which order, on which scale, and how wide that is."""

import numpy as np
import pytest

from pytest_modelviz.pictures import channels, difference
from pytest_modelviz.pictures.channels import channels_composite, channels_picture, most_different_first
from pytest_modelviz.pictures.colour import DIVERGING, NEGATIVE_INFINITY, NOT_A_NUMBER, POSITIVE_INFINITY, Scale
from pytest_modelviz.pictures.composite import PANEL, Panel, Row, composite
from pytest_modelviz.pictures.difference import (
    HALF_PRECISION,
    difference_of,
    difference_panel,
    far_apart,
    magnification,
)
from pytest_modelviz.pictures.layout import MOST_WIDTH, text_box
from pytest_modelviz.pictures.legend import BAR_HEIGHT

_SAME = "What is stored for this picture does not differ"
NAN, INF = np.nan, np.inf


def block(colour, height=2, width=3):
    return np.full((height, width, 3), colour, np.uint8)


class TestDifferences:
    def test_by_hand(self):
        before, after = np.array([1.0, NAN, INF, INF, -INF, 0.0]), np.array([3.0, NAN, INF, -INF, 1.0, NAN])
        assert np.array_equal(difference_of(before, after), [2.0, 0.0, 0.0, -INF, INF, NAN], equal_nan=True)

    def test_the_rounding_of_what_is_stored_is_no_difference(self):
        before = np.array([1.0, 1.0, 2.0, 1e-9])
        after = np.array([1 + 2.0**-10, 1 + 2.0**-9, -2.0, 0.0])
        assert difference_of(before, after, precision=HALF_PRECISION).tolist() == [0.0, 2.0**-9, -4.0, 0.0]
        assert difference_of(before, after)[0] == 2.0**-10

    @pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
    def test_numbers_rounded_to_half_precision_do_not_differ_by_that(self, scale):
        exact = np.random.default_rng(0).normal(size=1000) * np.logspace(-8, 0, 1000)
        rounded = exact.astype(np.float16).astype(np.float64)
        assert not difference_of(exact * scale, rounded * scale, precision=HALF_PRECISION).any()

    def test_magnification_is_a_round_number(self):
        assert magnification(np.array([0.0]), 1.0) == 1
        assert magnification(np.array([0.4, NAN]), 1.0) == 1
        assert magnification(np.array([-0.1]), 1.0) == 5
        assert magnification(np.array([0.0011]), 1.0) == 200
        assert magnification(np.array([7.0, INF]), 1.0) == 1

    @pytest.mark.parametrize(
        ("greatest", "reach", "note"),
        [(0.5, 2.0, ""), (0.1, 0.2, "enlarged 10 x"), (2.0, 2.0, ""), (3.0, 3.0, "on a wider scale"), (0.0, 2.0, "")],
    )
    def test_the_scale_is_the_values_own_where_the_difference_is_seen_on_it(self, greatest, reach, note):
        values = np.array([[greatest, -greatest / 2, NAN]])
        panel = difference_panel(values, Scale(1.0, 3.0), lambda values, scale: block(0))
        assert (panel.scale, panel.note, panel.kinds) == (Scale(-reach, reach, DIVERGING), note, {"NaN"})

    def test_a_side_that_makes_the_other_pale_says_how_much_larger_it_is(self):
        small, large = np.array([-1.0, NAN]), np.array([25.0, INF])
        assert far_apart(small, large) == "actual is up to 25 times as large."
        assert far_apart(large, small) == "baseline is up to 25 times as large."
        assert far_apart(small, large * 0.8) == far_apart(np.zeros(2), large) == ""

    def test_words_stand_in_the_place_of_a_blank_difference(self, monkeypatch):
        said = []
        monkeypatch.setattr(difference, "text_box", lambda text, *size: said.append((text, *size)) or block(1, *size))
        panel = difference_panel(
            np.zeros((1, 2)), Scale(0.0, 1.0), lambda *_: block(0, 20, 30), shown="8 of 64 channels"
        )
        assert said == [("What is stored for this picture does not differ: 8 of 64 channels.", 20, 30)]
        assert panel == Panel(panel.image)  # without a colour bar
        assert (panel.image == 1).all()


class TestOrder:
    def test_what_differs_most_comes_first_and_what_is_dead_last(self):
        before = np.zeros((5, 1, 2))
        after = before.copy()
        before[1:4] = after[1:4] = 1.0
        after[1] += 0.5
        after[3] += 2.0
        assert most_different_first(after - before, before, after) == [3, 1, 2, 0, 4]
        after[2, 0, 0] = NAN
        assert most_different_first(after - before, before, after) == [2, 3, 1, 0, 4]

    def test_it_is_the_order_in_which_they_are_drawn_with_their_numbers(self, monkeypatch):
        titles = []
        monkeypatch.setattr(channels, "labelled", lambda image, *lines: titles.extend(lines) or image)
        before = np.stack([np.zeros((2, 2)), np.ones((2, 2)), np.ones((2, 2))])
        after = before + np.array([0.0, 0.0, 1.0])[:, None, None]
        channels_composite("layer", before, after, "layer", numbers=[0, 8, 16])
        assert titles == ["channel 16", "channel 8", "channel 0"] * 3
        titles.clear()
        channels_picture("layer", before, numbers=[0, 8, 16])
        assert titles == ["channel 8", "channel 16", "channel 0"]


class TestComposites:
    def test_three_panels_of_equal_size_and_each_for_itself(self):
        base = np.linspace(0, 1, 4 * 5 * 5).reshape(4, 5, 5)
        picture = channels_composite("layer", base, base + 0.01, "layer   error 1")
        assert picture.label == "layer"
        side = 2 * 96 + 2
        assert picture.image.shape[1] == 3 * side + 2 * 12
        for part in (picture.baseline, picture.actual, picture.difference):
            assert part.shape[1] == side
            assert part.shape[0] == picture.actual.shape[0]
        assert not np.array_equal(picture.baseline, picture.actual)
        assert np.array_equal(picture.baseline[-BAR_HEIGHT:], picture.actual[-BAR_HEIGHT:])  # one scale

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 9, 16])
    @pytest.mark.parametrize("shape", [(1, 1), (7, 7), (32, 32), (3, 32), (32, 3)])
    def test_no_picture_is_wider_than_a_page(self, count, shape):
        values = np.random.default_rng(0).normal(size=(count, *shape))
        numbers = range(1000, 1000 + count)
        for picture in (
            channels_composite("layer." * 40, values, 2 * values, "layer." * 40, numbers=numbers),
            channels_composite("layer", None, values, "layer", numbers=numbers),
            channels_picture("layer", values, numbers=numbers),
        ):
            assert picture.image.shape[1] <= MOST_WIDTH

    @pytest.mark.parametrize(("width", "is_stacked"), [(225, False), (226, True), (336, True)])
    def test_panels_that_would_be_too_wide_stand_below_each_other(self, width, is_stacked):
        panel = Panel(block((9, 9, 9), 20, width))
        image = composite("layer", [], [Row(panel, panel, panel)]).image
        assert image.shape[1] == (width if is_stacked else 3 * width + 2 * 12)

    def test_a_shared_scale_has_one_bar_and_a_difference_of_its_own_another(self):
        own, other = Scale(0.0, 1.0), Scale.about_zero(0.1)
        panels = Panel(block(9, 50, 200), own), Panel(block(9, 50, 200), own), Panel(block(9, 50, 200), other)
        image = composite("layer", [], [Row(panels[1], panels[0], panels[2])]).image
        bar = image[-BAR_HEIGHT]
        assert bar[0].tolist() == [68, 1, 84]  # viridis begins
        assert bar[206].tolist() == [33, 145, 140]  # and is in its middle between the two panels
        assert bar[411].tolist() == [253, 231, 37]  # and ends below the second panel
        assert bar[424].tolist() == [59, 76, 192]  # coolwarm begins

    def test_equal_channels_have_no_difference_and_that_is_said(self):
        base = np.random.default_rng(0).normal(size=(1, 6, 6))
        same = channels_composite("layer", base, base, "layer")
        assert same.difference[:PANEL].tolist() == text_box(f"{_SAME}.", PANEL, PANEL).tolist()

    def test_other_shapes_and_missing_baselines_show_what_there_is(self):
        one, two = np.zeros((1, 4, 4)), np.ones((2, 4, 4))
        both, alone = channels_composite("layer", one, two, "h"), channels_composite("layer", None, two, "h")
        assert both.image.shape[1] > alone.image.shape[1]
        assert (both.difference, alone.baseline, alone.difference) == (None, None, None)
        assert both.baseline is not None

    def test_what_is_not_finite_has_its_own_colour_in_all_panels(self):
        base = np.ones((1, 4, 4))
        broken = base.copy()
        broken[0, 0, :3] = NAN, INF, -INF
        picture = channels_composite("layer", base, broken, "h")
        for colour in (NOT_A_NUMBER, POSITIVE_INFINITY, NEGATIVE_INFINITY):
            found = [(part == colour).all(-1).sum() for part in (picture.baseline, picture.actual, picture.difference)]
            assert found == [0, 48 * 48, 48 * 48]
            assert (picture.image == colour).all(-1).sum() == 2 * 48 * 48 + 16 * 16  # and a legend

    def test_a_row_without_a_part_leaves_its_room(self):
        panel = Panel(block(9, 20, 30))
        picture = composite("layer", [], [Row(panel, panel, panel), Row(panel, panel)])
        assert picture.difference.shape == picture.actual.shape == (52, 30, 3)
        assert (picture.difference[20:] == 255).all()
