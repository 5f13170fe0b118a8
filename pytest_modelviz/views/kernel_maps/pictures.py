"""Convolution kernels as tiles: filters of three channels in colour, all others painted on one scale about zero."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_modelviz.pictures.colour import DIVERGING, NOT_A_NUMBER, Image, Scale, Values, paint
from pytest_modelviz.pictures.composite import Picture, magnification
from pytest_modelviz.pictures.layout import beside, enlarge, grid, labelled

_TILE = 40  # the least size of a filter, in whole multiples of its own pixels
_ROWS = 336  # the longer side of a picture that shows filters as rows
_GAP = 3


def kernels_picture(label: str, captions: Sequence[str], filters: Values) -> Picture:
    """One capture's filters of one layer: (n, 3, h, w) in colour, (n, h, w) as tiles, (1, n, m) as rows."""
    scale = kernel_scale(filters)
    return Picture(label, labelled(_tiles(filters, scale), label, *captions, _legend(filters, scale)))


def kernels_composite(label: str, captions: Sequence[str], baseline: Values, actual: Values) -> Picture:
    """Baseline | actual | difference of a layer's filters on one scale; a small difference is shown enlarged."""
    if baseline.shape != actual.shape:
        panels = [("baseline", baseline, kernel_scale(baseline)), ("actual", actual, kernel_scale(actual))]
        return Picture(label, _row(captions, panels))
    scale = kernel_scale(baseline, actual)
    with np.errstate(invalid="ignore"):
        difference = np.asarray(actual, np.float64) - np.asarray(baseline, np.float64)
    factor = magnification(difference, scale)
    name = "difference" if factor == 1 else f"difference x {factor:g}"
    panels = [("baseline", baseline, scale), ("actual", actual, scale), (name, difference * factor, scale)]
    return Picture(label, _row([*captions, _legend(actual, scale)], panels))


def kernel_scale(*filters: Values) -> Scale:
    """One scale for all, symmetric about zero, which is white, or grey in colour."""
    finite = [np.abs(np.asarray(one, np.float64)[np.isfinite(one)]) for one in filters]
    reach = max((float(one.max(initial=0.0)) for one in finite), default=0.0) or 1.0
    return Scale(-reach, reach, DIVERGING)


def _legend(filters: Values, scale: Scale) -> str:
    return f"scale {scale.text}, {'grey is zero' if filters.ndim == 4 else 'blue to red'}"


def _row(captions: Sequence[str], panels: Sequence[tuple[str, Values, Scale]]) -> Image:
    images = [labelled(_tiles(values, scale), name) for name, values, scale in panels]
    return labelled(beside(images, gap=12), *captions)


def _tiles(filters: Values, scale: Scale) -> Image:
    if filters.ndim == 3 and len(filters) == 1:
        return _enlarged(paint(filters[0], scale), _ROWS)
    painted = [_coloured(one, scale) if one.ndim == 3 else paint(one, scale) for one in filters]
    return grid([_enlarged(one, _TILE) for one in painted], 4 if len(painted) <= 16 else 8, _GAP)


def _enlarged(image: Image, size: int) -> Image:
    """Every pixel the same whole number of times: the smallest number that reaches the size, or none."""
    longer = max(image.shape[:2])
    return enlarge(image, longer * max(1, -(-size // longer)))


def _coloured(one: Values, scale: Scale) -> Image:
    """(3, h, w) as red, green and blue, zero in the middle; what is not finite in its own colour."""
    numbers = np.asarray(one, np.float64).transpose(1, 2, 0)
    finite = np.isfinite(numbers)
    unit = np.clip((np.where(finite, numbers, 0.0) - scale.low) / (scale.high - scale.low), 0.0, 1.0)
    image: Image = np.rint(unit * 255).astype(np.uint8)
    image[~finite.all(-1)] = NOT_A_NUMBER
    return image
