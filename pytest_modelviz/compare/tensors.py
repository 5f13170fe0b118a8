"""The difference between two tensors of which only sketches are at hand."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from pytest_modelviz.compare.tolerance import ROUNDING, WORST_BUCKET, Tolerances, is_exact, weight_tolerance
from pytest_modelviz.trace import Leaf, TensorRecord


def rms(record: TensorRecord) -> float:
    """Estimate of the root mean square of the finite elements of a tensor."""
    if not record.numel:
        return 0.0
    return float(np.linalg.norm(record.sketch.astype(np.float64))) / math.sqrt(record.numel)


def difference(baseline: TensorRecord, actual: TensorRecord, *, atol: float = 0.0) -> float:
    """Relative L2 difference ||a - b|| / ||b||, or a fifth of the worst bucket's where that is larger.

    Infinite where dtype, shape or the places of NaN and infinities differ. A difference whose root mean square is not
    above `atol` counts as none.
    """
    if (baseline.dtype, baseline.shape) != (actual.dtype, actual.shape):
        return math.inf
    if {kind: tuple(place) for kind, place in baseline.places.items()} != dict(actual.places):
        return math.inf
    if baseline.sketch.size != actual.sketch.size:
        return math.inf
    if not baseline.sketch.size:
        return 0.0
    before = baseline.sketch.astype(np.float64)
    delta = actual.sketch.astype(np.float64) - before
    distance, size = float(np.linalg.norm(delta)), float(np.linalg.norm(before))
    if distance == 0.0 or distance <= atol * math.sqrt(baseline.numel):
        return 0.0
    if size == 0.0 or not math.isfinite(distance):
        return math.inf
    worst = float(np.abs(delta).max()) * math.sqrt(delta.size)
    return max(distance, worst / WORST_BUCKET) / size


def tolerance_for(record: TensorRecord, dtype: str, tolerances: Tolerances) -> float:
    """Exact dtypes have no tolerance; the rest has that of the coarsest dtype that led to them."""
    return 0.0 if is_exact(record.dtype) else tolerances.relative(dtype)


def weight_difference(baseline: TensorRecord, actual: TensorRecord) -> float:
    """Relative difference of two weights, zero where it is within what processors do to one seed."""
    error = difference(baseline, actual)
    return error if not error <= weight_tolerance(baseline.dtype) else 0.0


def leaf_difference(
    baseline: Mapping[str, Leaf],
    actual: Mapping[str, Leaf],
    before: Mapping[str, TensorRecord],
    after: Mapping[str, TensorRecord],
    *,
    dtype: str,
    tolerances: Tolerances,
    scale: float = 0.0,
) -> tuple[float, float, str]:
    """Compare two nested values leaf by leaf: (error, tolerance, path) of the leaf that is furthest off.

    `scale` is the size of what the values were computed from: rounding of that size is forgiven.
    """
    if list(baseline) != list(actual):
        different = sorted(set(baseline) ^ set(actual)) or list(actual)
        return math.inf, 0.0, different[0]
    worst = (0.0, tolerances.relative(dtype), "")
    excess = -1.0
    for path, leaf in baseline.items():
        other = actual[path]
        if leaf.tensor is None or other.tensor is None:
            error, allowed = (0.0 if leaf == other else math.inf), 0.0
        else:
            one, two = before[leaf.tensor], after[other.tensor]
            atol = 0.0 if is_exact(one.dtype) else tolerances.absolute + ROUNDING * scale
            error, allowed = difference(one, two, atol=atol), tolerance_for(one, dtype, tolerances)
        ratio = error / allowed if allowed else (math.inf if error else 0.0)
        if ratio > excess:
            excess, worst = ratio, (error, allowed, path)
    return worst
