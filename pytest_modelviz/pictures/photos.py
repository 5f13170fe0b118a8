"""Photographs and other inputs of up to three colours, as they were stored: stretched, beside the range they had."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pytest_modelviz.pictures.colour import GREYS, Image, Scale, Values, paint_rgb
from pytest_modelviz.pictures.composite import PANEL, Panel, Row
from pytest_modelviz.pictures.difference import difference_panel, sentences
from pytest_modelviz.pictures.layout import enlarge

_LEVELS = 255
_MOST_BEYOND = 0.02  # of the scale, that may be cut without a word


class Photo(NamedTuple):
    """`pixels` (h, w, 3), uint8, in which 0 stands for `low` and 255 for `high`; None where these are not known."""

    pixels: Image
    low: float | None = None
    high: float | None = None

    @property
    def scale(self) -> Scale | None:
        return None if self.low is None or self.high is None else Scale(self.low, self.high, GREYS)

    def looks_like(self, other: Photo) -> bool:
        """Whether nothing tells the two apart; a range that is not known tells nothing."""
        same = self.scale == other.scale or None in (self.scale, other.scale)
        return same and np.array_equal(self.pixels, other.pixels)

    def values(self, scale: Scale) -> Values:
        """(3, h, w)."""
        unit = self.pixels.transpose(2, 0, 1) / np.float64(_LEVELS)
        return np.asarray(scale.low + unit * (scale.high - scale.low), np.float64)


def photo_panel(photo: Photo) -> Panel:
    """A photograph with the range that it had."""
    return Panel(enlarge(photo.pixels, PANEL, smooth=True), photo.scale)


def photo_row(baseline: Photo, actual: Photo, shown: str = "") -> Row:
    """Baseline | actual | difference, on the baseline's scale where both ranges are known.

    In the difference grey is zero; one that is no more than the rounding to 256 levels is not drawn.
    """
    first, second = baseline.scale, actual.scale
    if first is None or second is None:
        stretched = Scale(0.0, 1.0, GREYS)
        row = _row(baseline, actual, stretched, stretched, shown)
        row = replace(row, actual=replace(row.actual, scale=None))
        row = row if row.baseline is None else replace(row, baseline=replace(row.baseline, scale=None))
        comment = "Each is stretched to its own contrast, since the baseline does not hold its range."
    else:
        row = _row(baseline, actual, first, second, shown)
        beyond = max(first.low - second.low, second.high - first.high) / (first.high - first.low)
        cut = f"actual is {second.low:.3g} to {second.high:.3g}: what is beyond the scale is cut."
        comment = cut if beyond > _MOST_BEYOND else ""
    return replace(row, comment=sentences([row.comment, comment]))


def _row(baseline: Photo, actual: Photo, first: Scale, second: Scale, shown: str) -> Row:
    values = baseline.values(first), actual.values(second)
    before, after = (Panel(_smooth(each, first), first) for each in values)
    if values[0].shape != values[1].shape:
        return Row(after, before, comment="The sizes differ: these cannot be subtracted.")
    difference = values[1] - values[0]
    rounding = (first.high - first.low + second.high - second.low) / 2 / _LEVELS
    difference[np.abs(difference) <= rounding * (1 + 1e-6)] = 0.0
    return Row(after, before, difference_panel(difference, first, _smooth, GREYS, shown))


def _smooth(values: Values, scale: Scale) -> Image:
    return enlarge(paint_rgb(values, scale), PANEL, smooth=True)
