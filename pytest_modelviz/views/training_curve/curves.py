"""Two short trainings laid over each other: at which step, and in what, they part.

A step computes scalars, then gradients, then moves the parameters; what parts first in that order is where to look.
Rounding grows from step to step, so what is allowed at one step follows from how far apart the earlier ones are, until
they may be so far apart that nothing can be said of the steps after them. What is small, and what is rounding, follows
from the actual training: a baseline must not say how closely it is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.tolerance import ROUNDED, Tolerances
from pytest_modelviz.views.training_curve.records import Moves, Training, Values

SCALAR, GRADIENT, UPDATE, DECAY = "scalar", "gradient", "update", "decay"
_IN_ORDER = ((SCALAR,), (GRADIENT,), (UPDATE, DECAY))  # of a step

_SMALL_SCALAR = 1e-3  # of a curve's peak: what is smaller is compared with that much of it
_SMALL_GRADIENT = 1e-2  # of the whole gradient's norm, likewise
_NOISE = 1e-5  # of the whole gradient's norm: such a gradient is rounding, which Adam makes a full step of
_AS_GRADIENT = 3.0  # times as far apart as the gradients of a step may its updates be, but
_MOST_FOLLOWED = 0.5  # no further than this
# One parameter's update may be almost anything where single elements of its gradient are rounding, but it is there or
# not. Of dtypes with few digits not even that: the step may be too small for the parameter to move.
_MOVED = {"float32": 0.9, "float64": 0.9}
_SMALL_UPDATE = 1e-2  # of all updates together: what is smaller is compared with that much of them
# A small move may be lost in the last digits of a large parameter: before, and after.
_LAST_DIGIT = {"float64": 0.0, "float32": 1.2e-7}


Flags: TypeAlias = npt.NDArray[np.bool_]


class Part(NamedTuple):
    """What parted at one step: a scalar, a parameter's gradient, a parameter's update, or all updates together ("").

    A decay is how far of an update is along the parameter itself.
    """

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

    `parts` are those of the step and kind that parted first, the worst first. `parameters` drifted then or later, in
    gradient or update. `worst` is what came nearest to what is allowed, or went farthest beyond it. `judged` is the
    number of steps that could be compared, where that is not all of them; then no part is of a later step, but for what
    is a number in one training only.
    """

    parts: tuple[Part, ...] = ()
    parameters: frozenset[str] = frozenset()
    worst: Part = field(default=Part(0, SCALAR, "", 0.0, 0.0, 0.0, 0.0))
    judged: int | None = None


class _Table(NamedTuple):
    """Everything of one kind: (steps, names) before, after, error, allowed, and whether that says anything."""

    kind: str
    names: tuple[str, ...]
    before: Values
    after: Values
    error: Values
    allowed: Values
    judged: Flags

    @property
    def excess(self) -> Values:
        """How many times what is allowed, (steps, names)."""
        with np.errstate(all="ignore"):
            nothing = np.where(self.error > 0, math.inf, 0.0)
            excess = np.where(self.allowed > 0, self.error / self.allowed, nothing)
        return np.asarray(np.where(self._counts, excess, 0.0), np.float64)

    @property
    def beyond(self) -> Flags:
        return ~(self.error <= self.allowed) & self._counts

    @property
    def _counts(self) -> Flags:
        """However far apart: a number in one training and none in the other is told."""
        return self.judged | ~np.isfinite(self.error)

    def part(self, step: int, at: int) -> Part:
        told = (float(values[step, at]) for values in (self.before, self.after, self.error, self.allowed))
        return Part(step, self.kind, self.names[at], *told)


def part(baseline: Training, actual: Training, dtype: str, tolerances: Tolerances) -> Parting:
    """Compare two trainings of as many steps, the same scalars and the same parameters, step by step."""
    with np.errstate(all="ignore"):
        tables = _tables(baseline, actual, dtype, tolerances)
    for step in range(baseline.steps):
        for kinds in _IN_ORDER:
            found = [
                (float(table.excess[step, at]), table.part(step, int(at)))
                for table in tables
                if table.kind in kinds
                for at in np.flatnonzero(table.beyond[step])
            ]
            if found:
                found.sort(key=lambda one: -one[0])
                parts: dict[tuple[str, str], Part] = {}
                for _, one in found:
                    parts.setdefault((_of(one), one.name), one)  # of each the worst
                return Parting(tuple(parts.values()), _drifted(tables, step), found[0][1])
    table = max(tables, key=lambda one: float(one.excess.max()))
    place = divmod(int(table.excess.argmax()), len(table.names))
    unjudged = np.flatnonzero(~np.logical_and.reduce([table.judged.all(axis=1) for table in tables]))
    return Parting((), frozenset(), table.part(*place), int(unjudged[0]) if unjudged.size else None)


def _of(one: Part) -> str:
    """What a part is about: where a whole update is another, how far of it is along the parameter says no more."""
    return UPDATE if one.kind == DECAY else one.kind


def _drifted(tables: list[_Table], first: int) -> frozenset[str]:
    """The parameters that are beyond what the first step that parted allows, at that step or later.

    An update by itself is measured here with what all of them together are allowed.
    """
    found: set[str] = set()
    updates = min((float(table.allowed[first].min()) for table in tables if table.kind == UPDATE), default=0.0)
    for table in tables:
        if table.kind in (GRADIENT, UPDATE):
            beyond = ~(table.error[first:] <= (updates if table.kind == UPDATE else table.allowed[first]))
            found.update(table.names[at] for at in np.flatnonzero(beyond.any(axis=0)))
    return frozenset(found - {""})


def _tables(baseline: Training, actual: Training, dtype: str, tolerances: Tolerances) -> list[_Table]:
    own = tolerances.of("")
    names, layers = tuple(baseline.scalars), baseline.parameters
    before, after = (np.stack([one.scalars[name] for name in names], axis=1) for one in (baseline, actual))
    peaks = np.minimum(_largest(before, 0), _largest(after, 0))
    scalars = _differences(before, after, _SMALL_SCALAR * peaks, own.absolute)
    if not layers:
        apart = _Apart(dtype, _earlier(scalars), np.zeros(len(scalars)))
        allowed = apart.allowed([own.unwatched] * len(names))
        return [_Table(SCALAR, names, before, after, scalars, allowed, apart.judged([own] * len(names)))]
    pulled = _largest(actual.gradient[:, None], 1)
    gradients = _differences(baseline.gradients, actual.gradients, _SMALL_GRADIENT * pulled, own.absolute)
    counts = actual.gradients > _NOISE * pulled
    meant = [_meant(one) for one in (baseline, actual)]
    moved, moves_together = (_norm(np.where(counts, one, 0.0)) for one in meant)
    together = _differences(moved, moves_together, np.zeros_like(moved), own.absolute)
    larger = np.fmax(baseline.updates, actual.updates)  # so that the error is at most 1
    single = np.where(counts, _differences(baseline.updates, actual.updates, larger, own.absolute), 0.0)
    scale = np.maximum(meant[1], _SMALL_UPDATE * moves_together)
    moves = [
        (kind, one, other, np.where(counts, _differences(one, other, scale, own.absolute), 0.0))
        for kind, one, other in _moves(baseline, actual)
    ]
    turned = [np.minimum(_earlier(errors), ROUNDED) for *_, errors in moves]
    pulled_apart = np.maximum.reduce([_earlier(gradients), *turned])
    apart = _Apart(dtype, _earlier(np.concatenate([scalars, together], axis=1)), pulled_apart)
    at_layer = [tolerances.of(name.rpartition(".")[0]) for name in layers]
    steps, pulls = apart.allowed([own.step]), apart.allowed([one.gradient for one in at_layer])
    if own.rtol is None:
        steps = np.maximum(steps, np.minimum(_AS_GRADIENT * _finite_largest(gradients), _MOST_FOLLOWED))
    singles = np.maximum(pulls, _MOVED.get(dtype, 1.0))
    judged, each = apart.judged([own]), apart.judged(at_layer)
    every = apart.allowed([own.step] * len(names))
    tables = [
        _Table(SCALAR, names, before, after, scalars, every, apart.judged([own] * len(names))),
        _Table(GRADIENT, layers, baseline.gradients, actual.gradients, gradients, pulls, each),
        _Table(UPDATE, ("",), moved, moves_together, together, steps, judged),
        _Table(UPDATE, layers, baseline.updates, actual.updates, single, singles, each),
    ]
    if baseline.moves is None or actual.moves is None:
        return tables
    total, totals = (_decay(one, counts) for one in (baseline.moves, actual.moves))
    decays = _differences(total, totals, moves_together, own.absolute)
    tables.append(_Table(DECAY, ("",), total, totals, decays, steps, judged))
    if dtype not in _LAST_DIGIT or own.precision != "ieee":
        return tables
    allowed = apart.allowed([one.update for one in at_layer])
    if own.rtol is None:
        allowed = np.maximum(allowed, _AS_GRADIENT * _finite_largest(gradients))
        allowed = allowed + _ratio(_LAST_DIGIT[dtype] * actual.moves.size, scale)
    return [*tables, *(_Table(kind, layers, one, other, errors, allowed, each) for kind, one, other, errors in moves)]


def _moves(baseline: Training, actual: Training) -> list[tuple[str, Values, Values]]:
    """What each parameter's update is judged by; nothing where a file is too old to say."""
    if baseline.moves is None or actual.moves is None:
        return []
    return [
        (UPDATE, _meant(baseline), _meant(actual)),
        (DECAY, baseline.moves.along, actual.moves.along),
    ]


def _meant(training: Training) -> Values:
    """How far each step moved each parameter, without what follows from rounding.

    The key's bias of attention, for one, has no gradient but rounding: Adagrad moved it otherwise by 0.018 where
    everything else agreed within 1e-6.
    """
    if training.moves is None:
        return training.updates
    with np.errstate(all="ignore"):
        return np.asarray(np.sqrt(np.maximum(training.updates**2 - training.moves.rounding**2, 0.0)), np.float64)


def _decay(moves: Moves, counts: Flags) -> Values:
    """How far all parameters together have moved along themselves at each step, (steps, 1)."""
    along, size = (np.where(counts, table, 0.0) for table in (moves.along, moves.size))
    return _ratio((along * size).sum(axis=1, keepdims=True), _norm(size))


def _norm(table: Values) -> Values:
    return np.asarray(np.sqrt((table**2).sum(axis=1, keepdims=True)), np.float64)


def _ratio(part: Values, whole: Values) -> Values:
    """One divided by the other, zero where that is no number."""
    with np.errstate(all="ignore"):
        return np.asarray(np.nan_to_num(part / whole, nan=0.0, posinf=0.0, neginf=0.0), np.float64)


class _Apart(NamedTuple):
    """How far apart two trainings were before each step, (steps,): scalars and updates, and gradients."""

    dtype: str
    moved: Values
    pulled: Values

    def allowed(self, allowances: Sequence[Callable[[str, float, float], float]]) -> Values:
        """What each allowance comes to at each step, (steps, allowances)."""
        return np.array([[one(self.dtype, *pair) for one in allowances] for pair in self._pairs], np.float64)

    def judged(self, tolerances: Sequence[Tolerances]) -> Flags:
        """Whether each step can be judged, (steps, tolerances): once lost, always lost."""
        return ~np.array([[one.lost(self.dtype, *pair) for one in tolerances] for pair in self._pairs], np.bool_)

    @property
    def _pairs(self) -> list[tuple[float, float]]:
        return list(zip(self.moved.tolist(), self.pulled.tolist(), strict=True))


def _differences(before: Values, after: Values, floor: Values, atol: float) -> Values:
    """|a - b| relative to |a|, or to the floor where that is larger; equal infinities and NaN do not differ."""
    distance, sizes = np.abs(after - before), (np.abs(before), np.abs(after))
    fair = np.where((sizes[0] > 2 * sizes[1]) & (sizes[1] > 0), sizes[1], sizes[0])  # see `tensors.fair_size`
    scale = np.maximum(fair, np.nan_to_num(floor, nan=0.0, posinf=0.0))
    relative = np.where(scale > 0, distance / np.where(scale > 0, scale, 1.0), np.where(distance > 0, np.inf, 0.0))
    same = (before == after) | (np.isnan(before) & np.isnan(after)) | (distance <= atol)
    finite = np.isfinite(before) & np.isfinite(after)
    return np.asarray(np.where(same, 0.0, np.where(finite, relative, np.inf)), np.float64)


def _largest(values: Values, axis: int) -> Values:
    """The largest finite magnitude along an axis, which is kept."""
    return np.asarray(np.where(np.isfinite(values), np.abs(values), 0.0).max(axis=axis, keepdims=True), np.float64)


def _finite_largest(errors: Values) -> Values:
    return np.asarray(np.where(np.isfinite(errors), errors, 0.0).max(axis=1, keepdims=True), np.float64)


def _earlier(errors: Values) -> Values:
    """For each step the largest finite difference at any step before it, (steps,)."""
    each = _finite_largest(errors)[:, 0]
    return np.asarray(np.maximum.accumulate(np.concatenate([[0.0], each[:-1]])), np.float64)
