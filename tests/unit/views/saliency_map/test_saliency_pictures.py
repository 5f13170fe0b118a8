"""Saliency maps as they are drawn, pixel by pixel, and which stored ones are."""

import numpy as np
import pytest

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.colour import NOT_A_NUMBER
from pytest_modelviz.pictures.composite import PANEL
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.views.saliency_map.pictures import Sample, picture, saliency_composite, saliency_picture

TEXT, GAP, PIXEL = 16, 4, PANEL // 4  # a line of text, the gap between panels, a pixel of a map of four in a row


def sample(*values, largest=None, photo=None):
    """Four pixels in a row, grey unless a value has three channels."""
    colours = np.array([[np.broadcast_to(value, 3)] for value in values], np.float32).transpose(2, 1, 0)
    magnitudes = np.abs(colours).max(0) if largest is None else np.array([largest], np.float32)
    return Sample(colours, magnitudes, photo)


def panels(image, top, count):
    """The colours of the four pixels of each panel of a row that begins at `top`."""
    middles = PIXEL // 2 + PIXEL * np.arange(4)
    starts = (PANEL + GAP) * np.arange(count)
    return [[tuple(map(int, image[top + TEXT + PIXEL // 2, start + at])) for at in middles] for start in starts]


def grey(*levels):
    return [(level,) * 3 for level in levels]


def test_zero_is_grey_and_the_largest_is_brightest():
    image = saliency_picture("saliency", "caption", [sample(-2.0, 0.0, 1.0, 2.0)]).image
    assert panels(image, TEXT, 2) == [grey(0, 128, 191, 255), grey(255, 0, 128, 255)]


def test_channels_are_colours():
    image = saliency_picture("saliency", "caption", [sample((1.0, 0.0, -1.0), 1.0, -1.0, 0.0)]).image
    assert panels(image, TEXT, 1) == [[(255, 128, 0), *grey(255, 0, 128)]]


def test_what_is_no_number_is_marked():
    image = saliency_picture("saliency", "caption", [sample(np.nan, np.inf, -np.inf, 1.0)]).image
    assert panels(image, TEXT, 2) == [[NOT_A_NUMBER, *grey(255, 0, 255)], [NOT_A_NUMBER] * 3 + grey(255)]


def test_nothing_is_drawn_where_there_is_no_gradient():
    image = saliency_picture("saliency", "caption", [sample(0.0, 0.0, 0.0, 0.0)]).image
    assert panels(image, TEXT, 2) == [grey(128, 128, 128, 128), grey(0, 0, 0, 0)]


@pytest.mark.parametrize(("value", "laid"), [(0.0, (153, 153, 153)), (1.0, (230, 68, 38))])
def test_it_is_laid_over_the_darkened_photo_in_red(value, laid):
    photo = np.full((2, 8, 3), 255, np.uint8)
    image = saliency_picture("saliency", "caption", [sample(*[value] * 4, photo=photo)]).image
    given, _, largest, over = panels(image, TEXT, 4)
    assert (given, largest) == (grey(255, 255, 255, 255), grey(*[round(value * 255)] * 4))
    assert over == [laid] * 4


def test_it_is_not_laid_over_a_photo_of_another_shape():
    photo = np.full((8, 8, 3), 255, np.uint8)
    image = saliency_picture("saliency", "caption", [sample(1.0, 1.0, 1.0, 1.0, photo=photo)]).image
    assert image.shape[1] == 3 * PANEL + 2 * GAP


def test_baseline_and_actual_are_on_one_scale_and_their_difference_is_enlarged():
    image = saliency_composite("saliency", "h", [sample(0.0, 1.0, -2.0, 2.0)], [sample(0.0, 0.5, -1.0, 1.0)]).image
    row, gap = TEXT + TEXT + PIXEL, 12
    tops = [2 * TEXT + TEXT + number * (row + gap) for number in range(2)]
    assert panels(image, tops[0], 2) == [grey(128, 191, 0, 255), grey(0, 128, 255, 255)]
    assert panels(image, tops[1], 2) == [grey(128, 159, 64, 191), grey(0, 64, 128, 128)]
    differences = panels(image, tops[1] + row + gap - TEXT, 1)[0]
    assert differences[0] == (247, 246, 246)  # zero, in the middle of the scale
    assert differences[1] != differences[2] == differences[3]


def test_a_baseline_of_another_shape_has_a_scale_of_its_own_and_no_difference():
    wide = Sample(np.full((3, 2, 4), 9.0, np.float32), np.full((2, 4), 9.0, np.float32), None)
    image = saliency_composite("saliency", "h", [wide], [sample(0.0, 0.5, -1.0, 1.0)]).image
    top = 2 * TEXT + (TEXT + TEXT + 2 * PIXEL) + 12 + TEXT
    assert panels(image, top, 2) == [grey(128, 191, 0, 255), grey(0, 128, 255, 255)]
    assert image.shape[0] == top + TEXT + PIXEL


def test_a_sample_that_the_baseline_has_not_is_drawn_alone():
    one = sample(0.0, 0.5, -1.0, 1.0)
    alone, both = (saliency_composite("saliency", "h", [one] * count, [one] * 2).image.shape[0] for count in (1, 2))
    assert both - alone == 12 + (TEXT + TEXT + PIXEL) + 12 + (TEXT + PIXEL)


def drawn(*shapes):
    """The picture of a capture with stored gradients of these shapes."""
    arrays = {f"gradient.{number}": np.zeros(shape, np.float16) for number, shape in enumerate(shapes)}
    facts = {"method": "gradient", "targets": [0], "pictures": {name: {"exponent": 0} for name in arrays}}
    return picture(Capture("saliency_map", facts, arrays))


@pytest.mark.parametrize(
    "shapes",
    [
        *([shape] for shape in ((4, 97, 8), (4, 8, 97), (3, 8, 8), (5, 8, 8), (4, 8, 8, 1), (4, 8), (), (4, 0, 8))),
        [(4, 8, 8)] * 5,
    ],
)
def test_pictures_other_than_the_view_makes_are_refused(shapes):
    with pytest.raises(UnreadableBaselineError, match=f"its picture (of )?'gradient.{len(shapes) - 1}' is damaged"):
        drawn(*shapes)


@pytest.mark.parametrize("shapes", [[], [(4, 96, 96)], [(4, 1, 1)], [(4, 8, 8)] * 4])
def test_pictures_as_the_view_makes_them_are_drawn_on_one_sheet(shapes):
    assert len(drawn(*shapes)) == min(len(shapes), 1)
