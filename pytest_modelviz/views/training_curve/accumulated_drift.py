"""How far apart two trainings were before each step, and how far rounding may therefore have taken them at it.

Rounding grows from step to step, so what is allowed at a step follows from how far apart the earlier ones are, until
they may be so far apart that nothing can be said of the steps after them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.views.training_curve.records import Values

Flags: TypeAlias = npt.NDArray[np.bool_]


class AccumulatedDrift(NamedTuple):
    """How far apart two trainings were before each step, (steps,): in scalars and updates, and in gradients."""

    dtype: str
    scalars_and_updates: Values
    gradients: Values

    def allowed(self, allowances: Sequence[Callable[[str, float, float], float]]) -> Values:
        """What each allowance comes to at each step, (steps, allowances)."""
        return np.array([[allow(self.dtype, *pair) for allow in allowances] for pair in self._pairs], np.float64)

    def judged(self, tolerances: Sequence[Tolerances]) -> Flags:
        """Whether each step can be judged, (steps, tolerances): once lost, always lost."""
        return ~np.array([[own.lost(self.dtype, *pair) for own in tolerances] for pair in self._pairs], np.bool_)

    @property
    def _pairs(self) -> list[tuple[float, float]]:
        return list(zip(self.scalars_and_updates.tolist(), self.gradients.tolist(), strict=True))


def relative_differences(before: Values, after: Values, floor: Values, atol: float) -> Values:
    """|a - b| relative to |a|, or to the floor where that is larger; equal infinities and NaN do not differ."""
    distance, sizes = np.abs(after - before), (np.abs(before), np.abs(after))
    fair = np.where((sizes[0] > 2 * sizes[1]) & (sizes[1] > 0), sizes[1], sizes[0])  # see `tensors.fair_size`
    scale = np.maximum(fair, np.nan_to_num(floor, nan=0.0, posinf=0.0))
    relative = np.where(scale > 0, distance / np.where(scale > 0, scale, 1.0), np.where(distance > 0, np.inf, 0.0))
    same = (before == after) | (np.isnan(before) & np.isnan(after)) | (distance <= atol)
    finite = np.isfinite(before) & np.isfinite(after)
    return np.asarray(np.where(same, 0.0, np.where(finite, relative, np.inf)), np.float64)


def largest_finite(values: Values, axis: int) -> Values:
    """The largest finite magnitude along an axis, which stays, with length 1."""
    return np.asarray(np.where(np.isfinite(values), np.abs(values), 0.0).max(axis=axis, keepdims=True), np.float64)


def largest_before(errors: Values) -> Values:
    """For each step the largest finite difference at any step before it, (steps, n) -> (steps,)."""
    each = largest_finite(errors, 1)[:, 0]
    return np.asarray(np.maximum.accumulate(np.concatenate([[0.0], each[:-1]])), np.float64)
