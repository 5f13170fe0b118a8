"""Numbers into colours on a stated scale; NaN and the infinities get colours that no map holds.

All maps but `jet` are perceptually uniform: steps of equal size look equally large, also to the colour-blind and in
grey. Of matplotlib's, `viridis`, `inferno` and `cividis` were made in CAM02-UCS, `coolwarm` in CIELAB (Moreland 2009).
`inferno` is the default of heatmaps: it begins at black and has the widest range of lightness, so that the photograph
below keeps its look where the map is cold, and shines where it is hot. `jet` is there for those who expect it.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pytest_modelviz.records.colormap import NOT_FINITE_NAMES, Colormap

Image = npt.NDArray[np.uint8]
Values = npt.NDArray[np.floating]

SEQUENTIAL, DIVERGING = "viridis", "coolwarm"
GREYS = "gray"  # of photographs and of colours about zero, on their bars alone
NOT_A_NUMBER, POSITIVE_INFINITY, NEGATIVE_INFINITY = (255, 0, 255), (0, 255, 0), (0, 96, 0)
NOT_FINITE = dict(zip(NOT_FINITE_NAMES, (NOT_A_NUMBER, POSITIVE_INFINITY, NEGATIVE_INFINITY), strict=True))

_HEAT = contextvars.ContextVar("heat", default=Colormap.INFERNO)


def heat_colours() -> str:
    """The map that heatmaps are painted with."""
    return _HEAT.get().value


@contextlib.contextmanager
def heatmaps_in(colours: Colormap) -> Iterator[None]:
    """Paint heatmaps with this map within the block."""
    token = _HEAT.set(colours)
    try:
        yield
    finally:
        _HEAT.reset(token)


@dataclass(frozen=True)
class Scale:
    """A range of values and the colour map that paints it."""

    low: float
    high: float
    colours: str = SEQUENTIAL

    @classmethod
    def of(cls, *arrays: Values) -> Scale:
        """The scale that fits all arrays: diverging about zero where there are values of both signs."""
        finite = np.concatenate([np.asarray(a, np.float64)[np.isfinite(a)].ravel() for a in arrays])
        if not finite.size:
            return cls(0.0, 1.0)
        low, high = float(finite.min()), float(finite.max())
        if low < 0.0 < high:
            return cls.about_zero(max(-low, high))
        return cls(low, high if high > low else low + (abs(low) or 1.0))

    @classmethod
    def about_zero(cls, reach: float, colours: str = DIVERGING) -> Scale:
        """From `-reach` to `reach`."""
        return cls(-reach, reach, colours)

    def painted_with(self, colours: str) -> Scale:
        return replace(self, colours=colours)

    @property
    def reach(self) -> float:
        """The largest difference that can be painted about zero as strongly as the values themselves."""
        return self.high if self.low == -self.high else self.high - self.low

    def unit(self, values: Values) -> npt.NDArray[np.float64]:
        """Where finite values lie between `low`, 0, and `high`, 1; all others are 0."""
        numbers = np.asarray(values, np.float64)
        with np.errstate(all="ignore"):
            unit = (numbers - self.low) / (self.high - self.low)
        return np.clip(np.where(np.isfinite(numbers), unit, 0.0), 0.0, 1.0)


def paint(values: Values, scale: Scale) -> Image:
    """Colour a two-dimensional array: shape (h, w) -> (h, w, 3), uint8."""
    colours = _table(scale.colours)
    image: Image = colours[np.minimum(scale.unit(values) * len(colours), len(colours) - 1).astype(np.intp)]
    mark_not_finite(image, values)
    return image


@functools.lru_cache(maxsize=16)
def _table(name: str) -> Image:
    """The colours of a map, (256, 3)."""
    import matplotlib  # here, since most runs paint nothing

    colours = matplotlib.colormaps[name](np.arange(256))
    return np.asarray(np.rint(np.asarray(colours)[:, :3] * 255), np.uint8)


def paint_rgb(values: Values, scale: Scale) -> Image:
    """Three channels as red, green and blue: shape (3, h, w) -> (h, w, 3), uint8, a scale about zero has zero grey.

    A pixel of which a channel is not finite has the colour of NaN, or of the infinity that it holds.
    """
    image: Image = np.rint(scale.unit(values).transpose(1, 2, 0) * 255).astype(np.uint8)
    for channel in values:
        mark_not_finite(image, channel)
    mark_not_finite(image, np.where(np.isnan(values).any(0), np.nan, 0.0))
    return image


def mark_not_finite(image: Image, values: Values) -> None:
    """Give the pixels of an image (h, w, 3) whose values (h, w) are not finite their own colours."""
    image[np.isnan(values)] = NOT_A_NUMBER
    image[np.isposinf(values)] = POSITIVE_INFINITY
    image[np.isneginf(values)] = NEGATIVE_INFINITY


def not_finite(*arrays: Values) -> frozenset[str]:
    """Which of NaN, +inf and -inf the arrays hold."""
    held = {
        "NaN": any(np.isnan(array).any() for array in arrays),
        "+inf": any(np.isposinf(array).any() for array in arrays),
        "-inf": any(np.isneginf(array).any() for array in arrays),
    }
    return frozenset(name for name, is_there in held.items() if is_there)


def overlay(photo: Image, heat: Image) -> Image:
    """Lay a painted map over a picture of the same size, whose own colours give way to the map's."""
    grey = photo.astype(np.float64).mean(axis=2, keepdims=True)
    return np.asarray(np.rint((grey + heat) / 2), dtype=np.uint8)
