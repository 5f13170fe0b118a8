"""Profiles drawn: what their difference is beyond rounding, its scale, and what is said where there is none."""

import numpy as np
import pytest

from pytest_modelviz.pictures import profiles
from pytest_modelviz.pictures.colour import NOT_A_NUMBER
from pytest_modelviz.pictures.composite import PANEL
from pytest_modelviz.pictures.layout import text_box
from pytest_modelviz.pictures.profiles import profile_row, profiles_differ
from pytest_modelviz.records.profiles import Profile

NAN = np.nan
RED, BLUE = (180, 4, 38), (59, 76, 192)


def profile(**changed):
    shares = np.zeros(24)
    shares[12:16] = 0.25
    tables = {
        "places": np.full((4, 4), 2.54),
        "energies": np.array([2.54, 1.0]),
        "means": np.array([-2.54, 1.0]),
        "shares": shares,
    }
    return Profile(**{**tables, "sign": 1, "exponent": 2, "channels": 2, **changed})


def coloured(image, colour):
    return (image == colour).all(-1)


@pytest.fixture
def texts(monkeypatch):
    found = []
    for name in ("spread_texts", "text_box"):
        kept = getattr(profiles, name)
        monkeypatch.setattr(
            profiles,
            name,
            lambda texts, *size, kept=kept: (
                found.extend(texts if isinstance(texts, list) else [texts]) or kept(texts, *size)
            ),
        )
    return found


class TestDifferences:
    @pytest.mark.parametrize(
        ("table", "least"), [("places", 0.015), ("energies", 0.015), ("means", 0.03), ("shares", 0.001476)]
    )
    def test_one_and_a_half_steps_of_rounding_are_none(self, table, least):
        before = profile()
        for factor, differs in ((0.99, False), (1.01, True)):
            moved = getattr(before, table).copy()
            moved.flat[-1] -= least * factor
            assert profiles_differ(before, profile(**{table: moved})) is differs

    def test_values_that_have_changed_their_sign_are_seen_in_the_means(self):
        row = profile_row(profile(), profile(means=np.array([2.54, 1.0])))
        assert profiles_differ(profile(), profile(means=np.array([2.54, 1.0])))
        assert not coloured(row.difference.image, RED).any()  # of no bar, there is a mark
        assert (coloured(row.difference.image, (30, 30, 30)).sum(1) > PANEL / 3).any()

    def test_what_is_more_is_red_and_what_is_less_is_blue(self):
        difference = profile_row(profile(), profile(energies=np.array([2.0, 1.5]))).difference.image
        red, blue = (np.argwhere(coloured(difference, colour)) for colour in (RED, BLUE))
        assert red[:, 1].min() >= PANEL / 2 > blue[:, 1].max()
        assert red[:, 0].max() <= blue[:, 0].min() + 1  # above and below the axis

    def test_nan_is_a_difference_and_the_same_nan_none(self):
        broken = profile(energies=np.array([NAN, 1.0]))
        assert profiles_differ(profile(), broken)
        assert not profiles_differ(broken, broken)
        row = profile_row(profile(), broken)
        assert row.actual.kinds == {"NaN"}
        assert coloured(row.actual.image, NOT_A_NUMBER).any()
        assert not coloured(row.baseline.image, NOT_A_NUMBER).any()


class TestScales:
    def test_both_sides_are_drawn_on_one_and_the_difference_on_one_with_its_numbers(self, texts):
        profile_row(profile(), profile(energies=np.array([2.64, 1.0])))
        assert texts.count("-2.5 to 2.6") == 2
        assert "\N{PLUS-MINUS SIGN}0.259" in texts  # a twentieth of the range
        assert "enlarged 20 x" in texts

    def test_values_are_counted_in_the_same_bins(self, texts):
        halved = np.zeros(24)
        halved[:8] = 0.125  # from 0 to 2/3: the same distribution in bins a quarter as wide
        same = profile(sign=0, exponent=1, shares=halved)
        assert not profiles_differ(profile(shares=np.eye(24)[12:14].sum(0) / 2), same)
        profile_row(profile(), same)
        assert {"-4", "4"} <= set(texts)

    def test_sides_that_cannot_be_subtracted_say_so(self, texts):
        row = profile_row(profile(), profile(places=np.ones((2, 2))))
        assert texts.count("The shapes differ: these cannot be subtracted.") == 1
        assert row.difference is not None
        profile_row(profile(places=np.ones((9, 1))), profile(places=np.zeros((0, 0))))
        assert "It has no such places." in texts


class TestWords:
    def test_they_stand_in_the_place_of_a_difference_that_is_blank(self, texts):
        row = profile_row(profile(), profile(), "It is elsewhere.")
        text = "What is stored of it, in 8 bits, does not differ. It is elsewhere."
        assert np.array_equal(row.difference.image, text_box(text, *row.actual.image.shape[:2]))
        texts.clear()
        profile_row(profile(), profile(energies=np.array([2.0, 1.0])), "It is elsewhere.")
        assert texts.count("What is stored of it, in 8 bits, does not differ.") == 2  # places and values
        assert not any("elsewhere" in text for text in texts)

    def test_a_profile_alone(self):
        row = profile_row(None, profile())
        assert (row.baseline, row.difference) == (None, None)


@pytest.mark.parametrize("places", [(8, 8), (64, 1), (1, 8), (8, 1), (2, 1), (0, 0)])
@pytest.mark.parametrize("groups", [1, 7, 32])
def test_all_three_parts_are_as_wide_as_a_panel(places, groups):
    random = np.random.default_rng(0)
    sides = [
        profile(places=random.random(places), energies=random.random(groups), means=random.random(groups) - 0.5)
        for _ in range(2)
    ]
    row = profile_row(*sides)
    assert {panel.image.shape for panel in row.panels.values()} == {row.actual.image.shape}
    assert row.actual.image.shape[1] == PANEL


@pytest.mark.parametrize("number", [0.0, 1e38, -1e38, NAN])
def test_whatever_numbers_it_holds_it_can_be_drawn(number):
    odd = profile(
        places=np.full((2, 2), abs(number)), energies=np.full(2, abs(number)), means=np.full(2, number),
        shares=np.full(24, abs(number)), exponent=127,
    )  # fmt: skip
    for pair in ((profile(), odd), (odd, odd), (None, odd)):
        assert profile_row(*pair).actual.image.size
