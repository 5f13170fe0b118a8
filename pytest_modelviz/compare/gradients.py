"""How far apart two gradients on an input are, and how far they may be."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.tensors import difference
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.trace import TensorRecord


def gradient_difference(
    before: TensorRecord, after: TensorRecord, dtype: str, tolerances: Tolerances, *, kinks: Callable[[], bool]
) -> tuple[float, float]:
    """(error, what is allowed) of two gradients, relative L2.

    A rectifier whose input is next to zero may open on one processor and not on another, and then the gradient jumps
    where the forward pass does not. So where the forward pass agrees, which `kinks` says, more is allowed; less of that
    to a gradient that has kept its direction and changed its size, which kinks do not do.
    """
    strict = tolerances.explanation(dtype)
    error = difference(before, after, allowed=strict)
    if error <= strict or tolerances.rtol is not None or not kinks():
        return error, strict
    loose = tolerances.differentiated(dtype)
    turned = difference(before, after, allowed=loose), loose
    one, two = (record.sketches[-1].astype(np.float64) for record in (before, after))
    return worse(turned, (size_difference(one, two), tolerances.resized(dtype)))


def size_difference(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> float:
    """By how much the factor that fits one to the other best is not one; zero where that says nothing."""
    if before.shape != after.shape or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return 0.0
    square = float((before * before).sum())
    return abs(float((before * after).sum()) / square - 1) if square > 0.0 else 0.0


def worse(*pairs: tuple[float, float]) -> tuple[float, float]:
    """Of several errors with what is allowed to each the one that is further beyond it, or nearest to it."""
    return max(pairs, key=lambda pair: pair[0] / pair[1] if pair[1] else (math.inf if pair[0] else 0.0))
