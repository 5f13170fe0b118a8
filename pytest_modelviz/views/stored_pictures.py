"""The pictures' raw material as captures hold it: maps in half precision beside a power of two, and the model's input.

Knows no torch: the pictures of stored captures are made from this.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.colour import Image
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.text.strict_json import JsonValue

MOST_INPUTS = 4  # samples of a batch
_INPUT = "input"
_LARGEST_EXPONENT = 200


def packed(values: npt.NDArray[np.float32]) -> tuple[Array, int]:
    """Half precision with a common power of two, so that no magnitude overflows."""
    finite = np.abs(values[np.isfinite(values)])
    exponent = int(np.frexp(finite.max())[1]) if finite.size and finite.max() > 0 else 0
    with np.errstate(all="ignore"):  # what is far below the largest value may vanish
        return np.ldexp(values, -exponent).astype(np.float16), exponent


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


def stored_input(capture: Capture, sample: int = 0) -> Image | None:
    """A sample's picture (h, w, 3), uint8, None where the input was none; where samples look alike, the first one's.

    Raises UnreadableBaselineError for a damaged one.
    """
    stored = capture.arrays.get(input_key(sample), capture.arrays.get(_INPUT))
    if stored is None:
        return None
    if stored.dtype != np.uint8 or stored.ndim != 3 or stored.shape[2] != 3 or not stored.size:
        raise UnreadableBaselineError("its picture of the input is damaged")
    return stored.astype(np.uint8, copy=False)
