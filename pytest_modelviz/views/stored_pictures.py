"""The pictures' raw material as captures hold it: maps in half precision beside a power of two, and the model's input.

Knows no torch: the pictures of stored captures are made from this.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.photos import Photo
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.text.strict_json import JsonValue
from pytest_modelviz.views.half_precision import common_exponent, in_half_precision

MOST_INPUTS, INPUT_SIDE = 4, 96  # samples of a batch, and the longest side of a picture of one
_INPUT = "input"
_LARGEST_EXPONENT = 200
_LARGEST = 1e300


def packed(values: npt.NDArray[np.float32]) -> tuple[Array, int]:
    """Half precision with a common power of two, so that no magnitude overflows."""
    exponent = common_exponent(values)
    return in_half_precision(values, exponent), exponent


def unpacked_values(
    values: Array, page: JsonValue, layer: str, most: tuple[int, ...] | None = None
) -> npt.NDArray[np.float32]:
    """What was packed, given the facts about the layer's picture, in a shape with no side longer than in `most`.

    Raises UnreadableBaselineError.
    """
    fits = most is None or (values.ndim == len(most) and all(s <= m for s, m in zip(values.shape, most, strict=True)))
    exponent = page.get("exponent") if isinstance(page, Mapping) else None
    if not isinstance(exponent, int):
        raise UnreadableBaselineError(f"its picture of {layer!r} has no scale")
    if abs(exponent) > _LARGEST_EXPONENT or values.dtype != np.float16 or not values.size or not fits:
        raise UnreadableBaselineError(f"its picture of {layer!r} is damaged")
    return np.ldexp(values.astype(np.float32), exponent)


def input_key(sample: int = 0) -> str:
    """The name of the array that holds a sample's picture."""
    return f"{_INPUT}.{sample}" if sample else _INPUT


def range_key(sample: int = 0) -> str:
    """The name of the array that holds the least and the greatest value of a sample's picture, float32 (2,)."""
    return f"{input_key(sample)}.range"


def stored_input(capture: Capture, sample: int = 0) -> Photo | None:
    """A sample's picture, None where the input was none; where samples look alike, the first one's.

    Earlier versions stored no range with it. Raises UnreadableBaselineError for a damaged one.
    """
    own = sample if input_key(sample) in capture.arrays else 0
    stored, limits = capture.arrays.get(input_key(own)), capture.arrays.get(range_key(own))
    if stored is None:
        return None
    if stored.dtype != np.uint8 or stored.ndim != 3 or stored.shape[2] != 3 or not 0 < stored.size <= 3 * INPUT_SIDE**2:
        raise UnreadableBaselineError("its picture of the input is damaged")
    return Photo(stored.astype(np.uint8, copy=False), *stored_range(limits))


def stored_range(limits: Array | None) -> tuple[float, float] | tuple[None, None]:
    """The least and the greatest value of a picture, None where they are not known or no range can be made of them.

    Raises UnreadableBaselineError for what is no pair of numbers.
    """
    if limits is None:
        return None, None
    if limits.dtype not in (np.float32, np.float64) or limits.shape != (2,):
        raise UnreadableBaselineError("the range of its picture is damaged")
    low, high = (float(limit) for limit in limits)
    return (low, high) if -_LARGEST < low < high < _LARGEST else (None, None)
