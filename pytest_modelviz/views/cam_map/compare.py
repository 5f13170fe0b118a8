"""The difference between two heatmaps, which are small enough to be kept whole."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.gradients import size_difference
from pytest_modelviz.compare.nonfinite import has_same_nonfinite
from pytest_modelviz.compare.tensors import fair_size
from pytest_modelviz.records.verdict import Finding
from pytest_modelviz.text.side_by_side import apart

_SCALED = 1e-3  # what may be left when one map is fitted to the other, as a part of it
_UNEXPLAINED = 0.1  # and as a part of the difference between them


def map_findings(baseline: npt.NDArray[np.float32], actual: npt.NDArray[np.float32]) -> list[Finding]:
    """What can be said of a changed map as a whole: that it has NaN, is empty, or is the old one in another size.

    "map:blank" is a map of which people see nothing, because no part of it is positive any more. "map:scale" and
    "map:negated" are the old map times a number, where that explains nearly all of the difference.
    """
    before, after = baseline.astype(np.float64), actual.astype(np.float64)
    odd = [int((~np.isfinite(values)).sum()) for values in (before, after)]
    if odd[0] != odd[1]:
        return [Finding("map:nan", before=f"{odd[0]} of {before.size}", after=f"{odd[1]} of {after.size}")]
    if odd[0] or before.shape != after.shape:
        return []
    if before.any() != after.any():
        return [Finding("map:empty", before=_peak(before), after=_peak(after))]
    if (before > 0).any() != (after > 0).any():
        return [Finding("map:blank", before=_peak(before), after=_peak(after))]
    square = float((before * before).sum())
    factor = float((before * after).sum()) / square if square else 0.0
    left, apart_by = float(np.linalg.norm(after - factor * before)), float(np.linalg.norm(after - before))
    if factor and left <= min(_SCALED * float(np.linalg.norm(after)), _UNEXPLAINED * apart_by):
        return [Finding("map:scale" if factor > 0 else "map:negated", before="1", after=apart(factor, 1.0, 4)[0])]
    return []


def _peak(values: npt.NDArray[np.float64]) -> str:
    return f"{values.min():.3g} to {values.max():.3g}"


def aligned(baseline: npt.NDArray[Any], actual: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Maps (n, ...) of equal shape whose signs are arbitrary, each turned to the sign that fits its baseline's."""
    with np.errstate(invalid="ignore"):
        agreement = (baseline * actual).sum(axis=tuple(range(1, baseline.ndim)), keepdims=True)
    return np.where(agreement < 0, -actual, actual)


def map_difference(
    baseline: npt.NDArray[np.float32], actual: npt.NDArray[np.float32], *, signless: bool = False, floor: float = 0.0
) -> float:
    """The largest absolute difference, as a fraction of the baseline's largest magnitude.

    Differences that are nowhere above `floor` count as none.

    Infinite where shapes or the places of NaN and infinities differ, or where a map that was zero no longer is.
    With `signless` a map and its negative are the same, sample by sample.
    """
    pair = _comparable(baseline, actual, signless=signless)
    if pair is None:
        return math.inf
    before, after = pair
    greatest = float(np.abs(after - before).max(initial=0.0))
    peak = fair_size(*(float(np.abs(values).max(initial=0.0)) for values in (before, after)))
    if greatest <= floor:
        return 0.0
    return greatest / peak if peak > 0.0 else math.inf


def map_distance(
    baseline: npt.NDArray[np.float32], actual: npt.NDArray[np.float32], *, signless: bool = False
) -> tuple[float, float]:
    """The relative L2 difference of all maps together, and by how much their sizes differ.

    Infinite where `map_difference` is.
    """
    pair = _comparable(baseline, actual, signless=signless)
    if pair is None or not pair[0].any():
        return math.inf, math.inf
    before, after = pair
    size = fair_size(float(np.linalg.norm(before)), float(np.linalg.norm(after)))
    return float(np.linalg.norm(after - before)) / size, size_difference(before, after)


def _comparable(
    baseline: npt.NDArray[np.float32], actual: npt.NDArray[np.float32], *, signless: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Both without NaN and infinities, which must be at the same places."""
    before, after = baseline.astype(np.float64), actual.astype(np.float64)
    if not has_same_nonfinite(before, after):
        return None
    before, after = np.nan_to_num(before, posinf=0, neginf=0), np.nan_to_num(after, posinf=0, neginf=0)
    return before, aligned(before, after) if signless else after
