"""L2 norms of numbers of any size: the squares of small and of large ones are no numbers, so they are scaled first."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

_Numbers = npt.NDArray[Any]
_Wide = npt.NDArray[np.float64]
_LEAST = 1e-250  # sums of squares between this and its reciprocal have all their digits


def norm(values: _Numbers) -> float:
    """The L2 norm of real `values`, of any shape.

    Example:
        >>> norm(np.array([3e-200, 4e-200]))
        5e-200

    """
    flat = values.astype(np.float64).ravel()
    if values.dtype == np.float32:  # whose squares are numbers of double precision
        square = float(np.dot(flat, flat))
    else:
        with np.errstate(all="ignore"):
            square = float(np.dot(flat, flat))
    return math.sqrt(square) if _LEAST < square < 1 / _LEAST else float(row_norms(flat[None])[0])


def row_norms(table: _Numbers) -> _Wide:
    """The L2 norm of each row of a real (rows, n) table, float64 (rows,)."""
    table = table.astype(np.float64)
    scale = _scale(table)
    with np.errstate(all="ignore"):  # the norm itself may be no number
        return np.asarray(np.linalg.norm(table / scale, axis=1) * scale[:, 0], np.float64)


def on_common_scale(*arrays: _Numbers) -> tuple[_Wide, float]:
    """Arrays of equal shape, stacked and divided by the largest magnitude in any of them; and that magnitude."""
    stacked = np.stack(arrays).astype(np.float64)
    scale = float(_scale(stacked.reshape(1, -1))[0, 0])
    return stacked / scale, scale


def _scale(table: _Wide) -> _Wide:
    """The largest magnitude of each row, (rows, 1); 1 where that is zero or no finite number."""
    largest = np.abs(table).max(axis=1, keepdims=True, initial=0.0)
    return np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
