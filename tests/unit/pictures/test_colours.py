"""The colours themselves: even steps, and three that stand for nothing else. Distances are those of CIELAB."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from pytest_modelviz.pictures.channels import channels_picture
from pytest_modelviz.pictures.colour import (
    DIVERGING,
    GREYS,
    NOT_FINITE,
    SEQUENTIAL,
    Scale,
    heat_colours,
    heatmaps_in,
    overlay,
    paint,
)
from pytest_modelviz.pictures.files import png_bytes, quick_png_bytes, quick_pngs
from pytest_modelviz.pictures.heat import Heat, heat_picture
from pytest_modelviz.records.colormap import Colormap

HEATS = [colormap.value for colormap in Colormap]


def lab(colours):
    """Red, green and blue from 0 to 255 as lightness, a and b of CIELAB under D65."""
    unit = np.asarray(colours, np.float64) / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    relative = linear @ np.transpose(matrix) / [0.95047, 1.0, 1.08883]
    x, y, z = np.moveaxis(
        np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116), -1, 0
    )
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def colours_of(name, count=256):
    return np.rint(matplotlib.colormaps[name](np.linspace(0, 1, count))[:, :3] * 255)


def test_cielab_by_hand():
    assert lab([255, 255, 255]) == pytest.approx([100, 0, 0], abs=0.05)
    assert lab([0, 0, 0]) == pytest.approx([0, 0, 0], abs=0.05)
    assert lab([255, 0, 0]) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)


@pytest.mark.parametrize("name", [SEQUENTIAL, DIVERGING, *HEATS])
@pytest.mark.parametrize("kind", NOT_FINITE)
def test_no_map_comes_near_what_is_not_finite(name, kind):
    """About 2 is the least that can be told apart, and 34 is the distance of yellow from orange."""
    assert np.linalg.norm(lab(colours_of(name)) - lab(NOT_FINITE[kind]), axis=1).min() > 30


@pytest.mark.parametrize("name", [DIVERGING, *HEATS])
def test_nor_does_one_that_is_laid_over_a_photo(name):
    laid = [overlay(np.full((1, 256, 3), grey, np.uint8), colours_of(name)[None])[0] for grey in range(0, 256, 15)]
    distances = [np.linalg.norm(lab(laid) - lab(colour), axis=-1).min() for colour in NOT_FINITE.values()]
    assert min(distances) > 15


def test_they_differ_from_each_other_and_from_paper():
    nan, positive, negative = map(lab, NOT_FINITE.values())
    for one, other in ((nan, positive), (nan, negative), (positive, negative)):
        assert np.linalg.norm(one - other) > 60
    assert all(np.linalg.norm(lab([255] * 3) - colour) > 60 for colour in (nan, positive, negative))
    assert abs(positive[0] - negative[0]) > 40  # also where green has no hue


@pytest.mark.parametrize("name", [SEQUENTIAL, DIVERGING, *HEATS])
def test_steps_look_equally_large_in_all_maps_but_one(name):
    steps = np.linalg.norm(np.diff(lab(colours_of(name, 17)), axis=0), axis=1)
    lightness = lab(colours_of(name))[:, 0]
    halves = [lightness[:128], lightness[:127:-1]] if name == DIVERGING else [lightness]
    is_uniform = steps.std() / steps.mean() < 0.3
    rises = all((np.diff(half) > -0.5).all() for half in halves)
    assert (is_uniform, rises) == ((False, False) if name == "jet" else (True, True))


def test_the_bars_of_photographs_are_grey():
    assert (np.ptp(colours_of(GREYS), axis=1) == 0).all()


def test_heatmaps_have_the_map_that_is_asked_for():
    heat = Heat(np.linspace(0, 1, 49).reshape(7, 7))
    assert heat_colours() == "inferno"
    plain = heat_picture("a", "", [heat], [""]).image
    with heatmaps_in(Colormap.JET):
        assert heat_colours() == "jet"
        jet = heat_picture("a", "", [heat], [""]).image
    assert heat_colours() == "inferno"
    assert (plain == (0, 0, 4)).all(-1).any()  # where inferno begins
    assert (jet == (0, 0, 128)).all(-1).any()
    assert not (plain == (0, 0, 128)).all(-1).any()


def as_part(image):
    """A picture encoded as a part of one that is larger."""
    whole, part = quick_pngs(np.pad(image, ((40, 0), (40, 0), (0, 0)), constant_values=255), image)
    assert Image.open(io.BytesIO(whole)).getpalette() == Image.open(io.BytesIO(part)).getpalette()
    return part


@pytest.mark.parametrize("place", [(50, 50), (51, 51)])
@pytest.mark.parametrize("encode", [quick_png_bytes, as_part])
def test_a_single_pixel_of_another_colour_is_seen(encode, place):
    """As a fault of the preprocessing may leave it in a photograph, whose colours stand in no bar."""
    image = np.repeat(np.random.default_rng(0).integers(60, 180, (192, 192, 1), np.uint8), 3, axis=2)
    image[place] = 255, 0, 0
    decoded = np.asarray(Image.open(io.BytesIO(encode(image))).convert("RGB"))
    assert np.linalg.norm(lab(decoded[place]) - lab(np.array([255, 0, 0], np.uint8))) < 15


@pytest.mark.parametrize("encode", [png_bytes, quick_png_bytes, as_part])
def test_a_few_such_pixels_are_still_there_in_a_file_of_256_colours(encode):
    """The busiest picture: all of a map's colours, and of each kind a single value."""
    values = np.random.default_rng(0).normal(size=(8, 32, 32))
    values[0, 0, :3] = np.nan, np.inf, -np.inf
    image = channels_picture("layer", values).image
    decoded = np.asarray(Image.open(io.BytesIO(encode(image))).convert("RGB"))
    for colour in NOT_FINITE.values():
        there = (image == colour).all(-1)
        assert there.sum() == 3 * 3 + 16 * 16  # the value, and the legend
        assert np.linalg.norm(lab(decoded[there]) - lab(colour), axis=-1).max() < 15
    assert (paint(np.array([[np.nan]]), Scale(0.0, 1.0))[0, 0] == NOT_FINITE["NaN"]).all()
