"""The pictures' raw material as views store it: half precision beside a power of two."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Array

_LARGEST_EXPONENT = 200


def packed(values: npt.NDArray[np.float32]) -> tuple[Array, int]:
    """Half precision with a common power of two, so that no magnitude overflows."""
    finite = np.abs(values[np.isfinite(values)])
    exponent = int(np.frexp(finite.max())[1]) if finite.size and finite.max() > 0 else 0
    with np.errstate(all="ignore"):  # what is far below the largest value may vanish
        return np.ldexp(values, -exponent).astype(np.float16), exponent


def unpacked_values(
    values: Array, pages: Any, layer: str, most: tuple[int, ...] | None = None
) -> npt.NDArray[np.float32]:
    """What was packed, given the facts about each layer's picture, in a shape with no side longer than in `most`.

    Raises UnreadableBaselineError.
    """
    fits = most is None or (values.ndim == len(most) and all(s <= m for s, m in zip(values.shape, most, strict=True)))
    try:
        exponent = int(pages[layer]["exponent"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnreadableBaselineError(f"its picture of {layer!r} has no scale") from error
    if abs(exponent) > _LARGEST_EXPONENT or values.dtype != np.float16 or not values.size or not fits:
        raise UnreadableBaselineError(f"its picture of {layer!r} is damaged")
    return np.ldexp(values.astype(np.float32), exponent)
