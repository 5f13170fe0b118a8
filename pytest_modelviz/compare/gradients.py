"""How far apart two gradients on an input are, and how far they may be."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.tensors import difference
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.tensors import TensorRecord


def gradient_difference(
    before: TensorRecord, after: TensorRecord, dtype: str, tolerances: Tolerances, *, kinks: Callable[[], bool]
) -> tuple[float, float]:
    """Compare two gradients by their relative L2 difference.

    A rectifier whose input is next to zero may open on one processor and not on another; the gradient then jumps where
    the forward pass does not. Where the actual pass has such kinks and the forward passes agree, more is therefore
    allowed, but less of that to a gradient that has kept its direction and changed its size, which kinks do not cause.

    Args:
        before: the baseline's gradient.
        after: the actual gradient.
        dtype: what the gradients were computed in.
        tolerances: what is allowed.
        kinks: whether the actual pass has kinks and the forward passes agree; only called if need be.

    Returns:
        (error, tolerance)

    """
    strict = tolerances.explanation(dtype)
    error = difference(before, after, allowed=strict)
    if error <= strict or tolerances.rtol is not None or not kinks():
        return error, strict
    loose = tolerances.differentiated(dtype)
    turned = difference(before, after, allowed=loose), loose
    sketches = (record.bulk_sketch.astype(np.float64) for record in (before, after))
    return worse(turned, (size_difference(*sketches), tolerances.resized(dtype)))


def size_difference(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> float:
    """How far the factor that best fits one gradient to the other is from 1; zero where there is no such factor."""
    if before.shape != after.shape or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return 0.0
    square = float((before * before).sum())
    return abs(float((before * after).sum()) / square - 1) if square > 0.0 else 0.0


def worse(*pairs: tuple[float, float]) -> tuple[float, float]:
    """The (error, tolerance) pair whose error is largest for its tolerance."""
    return max(pairs, key=lambda pair: pair[0] / pair[1] if pair[1] else (math.inf if pair[0] else 0.0))
