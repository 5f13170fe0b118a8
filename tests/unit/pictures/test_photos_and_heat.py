"""Photographs and heatmaps: on the baseline's scale, with differences in their own units."""

import numpy as np
import pytest

from pytest_modelviz.pictures.colour import GREYS, NOT_A_NUMBER, Scale
from pytest_modelviz.pictures.composite import PANEL, composite
from pytest_modelviz.pictures.heat import Heat, heat_composite, heat_picture, laid_over
from pytest_modelviz.pictures.layout import MOST_WIDTH
from pytest_modelviz.pictures.photos import Photo, photo_panel, photo_row


def photo(level, low=None, high=None, size=8):
    return Photo(np.full((size, size, 3), level, np.uint8), low, high)


def ends(panel):
    return panel.image[0, 0].tolist(), panel.scale


class TestPhotos:
    def test_both_are_painted_on_the_baseline_s_scale(self):
        row = photo_row(photo(255, 0.0, 1.0), photo(51, 0.0, 2.5))  # 1 and 0.5
        assert ends(row.baseline) == ([255] * 3, Scale(0.0, 1.0, GREYS))
        assert ends(row.actual) == ([128] * 3, Scale(0.0, 1.0, GREYS))
        assert ends(row.difference) == ([64] * 3, Scale(-1.0, 1.0, GREYS))  # -0.5
        assert row.comment == "actual is 0 to 2.5: what is beyond the scale is cut."

    def test_a_small_difference_is_enlarged(self):
        row = photo_row(photo(100, 0.0, 255.0), photo(110, 0.0, 255.0))
        assert row.difference.scale == Scale(-25.5, 25.5, GREYS)
        assert row.difference.note == "enlarged 10 x"
        assert row.difference.image[0, 0].tolist() == [178] * 3  # 10 of 25.5 above the middle

    def test_the_rounding_to_256_levels_is_no_difference(self):
        row = photo_row(photo(100, 0.0, 1.0), photo(101, 0.0, 1.0))
        assert row.difference.scale is None  # words stand there
        assert photo_row(photo(100, 0.0, 1.0), photo(102, 0.0, 1.0)).difference.scale is not None

    @pytest.mark.parametrize("known", [(), (0.0, 2.0)])
    def test_a_baseline_of_an_earlier_version_is_stretched_and_so_is_what_is_beside_it(self, known):
        row = photo_row(photo(100), photo(200, *known))
        assert (row.baseline.image[0, 0].tolist(), row.actual.image[0, 0].tolist()) == ([100] * 3, [200] * 3)
        assert (row.baseline.scale, row.actual.scale) == (None, None)
        assert row.comment == "Each is stretched to its own contrast, since the baseline does not hold its range."

    def test_other_sizes_are_not_subtracted(self):
        row = photo_row(photo(100, 0.0, 1.0), photo(100, 0.0, 1.0, size=9))
        assert row.difference is None
        assert row.comment == "The sizes differ: these cannot be subtracted."

    def test_which_look_alike(self):
        assert photo(1).looks_like(photo(1, 0.0, 1.0))
        assert not photo(1, 0.0, 1.0).looks_like(photo(1, 0.0, 2.0))
        assert not photo(1, 0.0, 1.0).looks_like(photo(2, 0.0, 1.0))

    def test_a_single_one_has_its_range(self):
        assert photo_panel(photo(1, -1.0, 3.0)).scale == Scale(-1.0, 3.0, GREYS)
        assert photo_panel(photo(1)).scale is None

    def test_three_parts_in_a_picture(self):
        picture = composite("(input)", [], [photo_row(photo(9, 0.0, 1.0), photo(99, 0.0, 1.0))])
        assert picture.image.shape[1] == 3 * PANEL + 2 * 12
        assert picture.baseline.shape[1] == picture.actual.shape[1] == picture.difference.shape[1] == PANEL


RED = np.full((10, 10, 3), (255, 0, 0), np.uint8)


class TestHeatmaps:
    @pytest.mark.parametrize("under", [None, RED, np.concatenate([RED, RED], axis=1)])
    def test_with_and_without_a_photo(self, under):
        heat = np.linspace(0, 1, 49, dtype=np.float32).reshape(7, 7)
        assert heat_picture("map", "caption", [Heat(heat, under)], [""]).image.shape[0] >= PANEL
        picture = heat_composite("map", ["headline"], [Heat(heat, under)], [Heat(heat[::-1], under)], [""])
        assert PANEL < picture.image.shape[1] <= MOST_WIDTH
        assert picture.difference is not None

    def test_a_map_s_negative_part_is_not_painted_but_subtracted(self):
        before, after = Heat(np.array([[-1.0, 2.0]])), Heat(np.array([[-3.0, 2.0]]))
        picture = heat_composite("map", [], [before], [after], [""])
        assert np.array_equal(picture.baseline, picture.actual)
        assert picture.difference[0, 0].tolist() == [59, 76, 192]  # -2 on a scale that reaches to 2

    def test_maps_far_apart_have_a_scale_each(self):
        one, ten, eleven = (Heat(np.array([[0.0, peak]])) for peak in (1.0, 10.0, 11.0))
        shared, apart = (heat_composite("map", [], [one], [other], [""]) for other in (ten, eleven))
        assert apart.image.shape[0] > shared.image.shape[0]  # which says so
        assert (apart.actual[0, -1] == apart.baseline[0, -1]).all()
        assert not (shared.actual[0, -1] == shared.baseline[0, -1]).all()

    def test_shapes_that_differ_are_not_subtracted(self):
        picture = heat_composite("map", [], [Heat(np.zeros((2, 2)))], [Heat(np.zeros((3, 3)))], [""])
        assert picture.difference is None

    def test_what_is_not_finite_is_neither_smoothed_away_nor_mixed_with_the_photo(self):
        heat = np.zeros((8, 8), np.float32)
        heat[3, 3] = np.nan
        for under in (None, RED):
            panels = heat_picture("map", "caption", [Heat(heat, under)], [""]).image
            assert (panels == NOT_A_NUMBER).all(-1).sum() == (PANEL // 8) ** 2 + 16 * 16

    def test_a_photo_of_another_form_stands_beside_the_map(self):
        assert laid_over(np.concatenate([RED, RED], axis=1), np.zeros((7, 7)), Scale(0.0, 1.0)) is None

    def test_each_sample_has_its_title_in_every_part_and_what_stands_around_them_is_kept_as_text(self):
        heats = [Heat(np.eye(2)), Heat(np.full((2, 2), np.nan))]
        titled, plain = (heat_composite("map", ["error 1", ""], heats, heats, titles) for titles in ("ab", ["", ""]))
        for part in ("baseline", "actual", "difference"):
            assert getattr(titled, part).shape[0] == getattr(plain, part).shape[0] + 2 * 16
        assert plain.captions == ("error 1", "baseline is positive nowhere. actual is positive nowhere.")
        assert titled.captions[1].startswith("b: baseline is positive nowhere.")
        assert titled.not_finite == {"NaN"}
