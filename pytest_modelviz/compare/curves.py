"""Two short trainings laid over each other: at which step, and in what, they part.

A step computes scalars, then gradients, then moves the parameters; what parts first in that order is where to look.
Rounding grows from step to step, so what is allowed at one step follows from how far apart the earlier ones are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.tolerance import AMPLIFIED, GRADIENTS_AMPLIFIED, Tolerances
from pytest_modelviz.training import Training, Values

SCALAR, GRADIENT, UPDATE = "scalar", "gradient", "update"

_SMALL_SCALAR = 1e-3  # of a curve's peak: what is smaller is compared with that much of it
_SMALL_GRADIENT = 1e-2  # of the whole gradient's norm, likewise
_NOISE = 1e-5  # of the whole gradient's norm: such a gradient is rounding, which Adam makes a full step of
# One parameter's update may be anything where single elements of its gradient are rounding; but it is there or not.
_MOVED = 0.5


class Part(NamedTuple):
    """What parted at one step: a scalar, a parameter's gradient, a parameter's update, or all updates together ("")."""

    step: int
    kind: str
    name: str
    before: float
    after: float
    error: float
    allowed: float


@dataclass(frozen=True)
class Parting:
    """How far two trainings are apart.

    `parts` are those of the step and kind that parted first, the worst first. `parameters` drifted at some step, in
    gradient or update. `worst` is what came nearest to what is allowed, or went farthest beyond it.
    """

    parts: tuple[Part, ...] = ()
    parameters: frozenset[str] = frozenset()
    worst: Part = field(default=Part(0, SCALAR, "", 0.0, 0.0, 0.0, 0.0))


class _Table(NamedTuple):
    """Everything of one kind: (steps, names) before, after, error, allowed."""

    kind: str
    names: tuple[str, ...]
    before: Values
    after: Values
    error: Values
    allowed: Values

    @property
    def excess(self) -> Values:
        """How many times what is allowed, (steps, names)."""
        with np.errstate(all="ignore"):
            nothing = np.where(self.error > 0, math.inf, 0.0)
            return np.asarray(np.where(self.allowed > 0, self.error / self.allowed, nothing), np.float64)

    @property
    def beyond(self) -> npt.NDArray[np.bool_]:
        return ~(self.error <= self.allowed)

    def part(self, step: int, at: int) -> Part:
        told = (float(values[step, at]) for values in (self.before, self.after, self.error, self.allowed))
        return Part(step, self.kind, self.names[at], *told)


def part(baseline: Training, actual: Training, dtype: str, tolerances: Tolerances) -> Parting:
    """Compare two trainings of as many steps, the same scalars and the same parameters, step by step."""
    with np.errstate(all="ignore"):
        tables = _tables(baseline, actual, dtype, tolerances)
    drifted: set[str] = set()
    for table in tables:
        if table.kind != SCALAR:
            drifted.update(table.names[at] for at in np.flatnonzero(table.beyond.any(axis=0)))
    for step in range(baseline.steps):
        for kind in (SCALAR, GRADIENT, UPDATE):
            found = [
                (float(table.excess[step, at]), table.part(step, int(at)))
                for table in tables
                if table.kind == kind
                for at in np.flatnonzero(table.beyond[step])
            ]
            if found:
                found.sort(key=lambda one: -one[0])
                return Parting(tuple(one for _, one in found), frozenset(drifted - {""}), found[0][1])
    table = max(tables, key=lambda one: float(one.excess.max()))
    place = divmod(int(table.excess.argmax()), len(table.names))
    return Parting((), frozenset(), table.part(*place))


def _tables(baseline: Training, actual: Training, dtype: str, tolerances: Tolerances) -> list[_Table]:
    own = tolerances.of("")
    names = tuple(baseline.scalars)
    before, after = (np.stack([one.scalars[name] for name in names], axis=1) for one in (baseline, actual))
    scalars = _differences(before, after, _SMALL_SCALAR * _largest(before, 0), own.absolute)
    if not baseline.parameters:
        so_far = _so_far(scalars)
        return [_Table(SCALAR, names, before, after, scalars, _allowed(own, dtype, so_far, names, GRADIENTS_AMPLIFIED))]
    pulled = _largest(np.stack([baseline.gradient, actual.gradient], axis=1), 1)
    gradients = _differences(baseline.gradients, actual.gradients, _SMALL_GRADIENT * pulled, own.absolute)
    counts = np.minimum(baseline.gradients, actual.gradients) > _NOISE * pulled
    moved, moves = (
        np.sqrt((np.where(counts, one.updates, 0.0) ** 2).sum(axis=1, keepdims=True)) for one in (baseline, actual)
    )
    updates = _differences(moved, moves, np.zeros_like(moved), own.absolute)
    so_far = _so_far(np.concatenate([scalars, gradients, updates], axis=1))
    larger = np.fmax(baseline.updates, actual.updates)
    single = _differences(baseline.updates, actual.updates, larger, own.absolute)
    layers = baseline.parameters
    return [
        _Table(SCALAR, names, before, after, scalars, _allowed(own, dtype, so_far, names, AMPLIFIED)),
        _Table(
            GRADIENT,
            layers,
            baseline.gradients,
            actual.gradients,
            gradients,
            _allowed(tolerances, dtype, so_far, layers, GRADIENTS_AMPLIFIED),
        ),
        _Table(UPDATE, ("",), moved, moves, updates, _allowed(own, dtype, so_far, ("",), AMPLIFIED)),
        _Table(
            UPDATE,
            layers,
            baseline.updates,
            actual.updates,
            single,
            np.maximum(_MOVED, _allowed(tolerances, dtype, so_far, layers, GRADIENTS_AMPLIFIED)),
        ),
    ]


def _differences(before: Values, after: Values, floor: Values, atol: float) -> Values:
    """|a - b| relative to |a|, or to the floor where that is larger; equal infinities and NaN do not differ."""
    distance = np.abs(after - before)
    scale = np.maximum(np.abs(before), np.nan_to_num(floor, nan=0.0, posinf=0.0))
    relative = np.where(scale > 0, distance / np.where(scale > 0, scale, 1.0), np.where(distance > 0, np.inf, 0.0))
    same = (before == after) | (np.isnan(before) & np.isnan(after)) | (distance <= atol)
    finite = np.isfinite(before) & np.isfinite(after)
    return np.asarray(np.where(same, 0.0, np.where(finite, relative, np.inf)), np.float64)


def _largest(values: Values, axis: int) -> Values:
    """The largest finite magnitude along an axis, which is kept."""
    return np.asarray(np.where(np.isfinite(values), np.abs(values), 0.0).max(axis=axis, keepdims=True), np.float64)


def _so_far(errors: Values) -> Values:
    """For each step the largest finite difference at any step before it, (steps,)."""
    each = np.where(np.isfinite(errors), errors, 0.0).max(axis=1)
    return np.asarray(np.maximum.accumulate(np.concatenate([[0.0], each[:-1]])), np.float64)


def _allowed(tolerances: Tolerances, dtype: str, so_far: Values, names: tuple[str, ...], factor: float) -> Values:
    """What each name is allowed at each step: that of a parameter is its layer's."""
    columns = []
    for name in names:
        own = tolerances.of(name.rpartition(".")[0])
        columns.append([own.step(dtype, float(earlier), factor) for earlier in so_far])
    return np.stack([np.array(column, np.float64) for column in columns], axis=1)
