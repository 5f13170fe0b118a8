"""Numbers into colours on a stated scale; NaN gets a colour of its own."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Values = npt.NDArray[np.floating]

NOT_A_NUMBER = (255, 0, 255)
SEQUENTIAL, DIVERGING, HEAT = "viridis", "RdBu_r", "jet"


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
            reach = max(-low, high)
            return cls(-reach, reach, DIVERGING)
        return cls(low, high if high > low else low + (abs(low) or 1.0))

    @property
    def text(self) -> str:
        return f"{self.low:.3g} to {self.high:.3g}"


def paint(values: Values, scale: Scale) -> Image:
    """Colour a two-dimensional array: shape (h, w) -> (h, w, 3), uint8."""
    numbers = np.asarray(values, np.float64)
    unit = (numbers - scale.low) / (scale.high - scale.low)
    finite = np.isfinite(numbers)
    coloured = matplotlib.colormaps[scale.colours](np.clip(np.where(finite, unit, 0.0), 0.0, 1.0))
    image: Image = np.rint(np.asarray(coloured)[..., :3] * 255).astype(np.uint8)
    image[np.isnan(numbers)] = NOT_A_NUMBER
    image[np.isposinf(numbers)] = (255, 255, 255)
    image[np.isneginf(numbers)] = (0, 0, 0)
    return image


def overlay(photo: Image, heat: Image) -> Image:
    """Lay a painted map over a picture of the same size."""
    mixed = (photo.astype(np.float64) + heat) / 2
    return np.asarray(np.rint(mixed), dtype=np.uint8)
