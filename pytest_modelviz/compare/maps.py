"""The difference between two heatmaps, which are small enough to be kept whole."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def map_difference(
    baseline: npt.NDArray[np.float32], actual: npt.NDArray[np.float32], *, signless: bool = False, floor: float = 0.0
) -> float:
    """The largest absolute difference, as a fraction of the baseline's largest magnitude.

    Differences that are nowhere above `floor` count as none.

    Infinite where shapes or the places of NaN and infinities differ, or where a map that was zero no longer is.
    With `signless` a map and its negative are the same, sample by sample.
    """
    if baseline.shape != actual.shape:
        return math.inf
    before, after = baseline.astype(np.float64), actual.astype(np.float64)
    for places in (np.isnan, np.isposinf, np.isneginf):
        if not np.array_equal(places(before), places(after)):
            return math.inf
    before, after = np.nan_to_num(before, posinf=0, neginf=0), np.nan_to_num(after, posinf=0, neginf=0)
    if signless:
        axes = tuple(range(1, before.ndim))
        agreement = (before * after).sum(axis=axes, keepdims=True)
        after = np.where(agreement < 0, -after, after)
    greatest, peak = float(np.abs(after - before).max(initial=0.0)), float(np.abs(before).max(initial=0.0))
    if greatest <= floor:
        return 0.0
    return greatest / peak if peak > 0.0 else math.inf
