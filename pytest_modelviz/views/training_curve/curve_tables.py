"""All that is compared of two short trainings, as tables: before, after, how far apart, and how far they may be.

What is small, and what is rounding, follows from the actual training: a baseline must not say how closely it is looked
at. Rounding grows from step to step, so what is allowed at a step follows from how far apart the earlier ones are,
until they may be so far apart that nothing can be said of the steps after them.
"""

import enum
import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.norms import row_norms
from pytest_modelviz.views.training_curve import tolerance as rules
from pytest_modelviz.views.training_curve.records import Training, Values

Flags: TypeAlias = npt.NDArray[np.bool_]

_SMALL_SCALAR = 1e-3  # of a curve's peak: what is smaller is compared with that much of it
_SMALL_GRADIENT = 1e-2  # of the whole gradient's norm, likewise
_ROUNDING_GRADIENT = 1e-5  # of the whole gradient's norm: such a gradient is rounding, which Adam makes a full step of
# A parameter with such a gradient is compared, with its own update alone, if the gradient cannot be rounding: if it has
# been as long in the baseline, up to this part, at every step so far. Of rounding two trainings share no digit.
_SURE_GRADIENT, _SLIGHT_UPDATE = 1e-3, 2e-2
_AS_GRADIENT = 3.0  # times as far apart as the gradients of a step may its updates be, but
_MOST_FOLLOWED = 0.5  # no further than this
# What makes updates part shows in gradients and scalars, then or before. All updates together may be so many times as
# far apart as those have been, or as they themselves may be at first: updates that have parted excuse no further ones.
# Measured with and without vector instructions and oneDNN, in MKL's compatible mode, with two threads and from weights
# 6e-8 apart, over six small networks (12 steps; MLPs, a CNN, an LSTM, a transformer) and four larger ones (5 steps;
# ResNet-18, MobileNet, ConvNeXt, a ViT), SGD to Adamax: where they parted by more than 1e-4 it was by at most 0.8 times
# as much, else by at most 6.1e-5 (an MLP, Adamax; of the other optimisers 1.9e-5).
_AS_CAUSE, _MOST_UNCAUSED = 10.0, 30.0
# One parameter's update may be almost anything where single elements of its gradient are rounding, but it is there or
# not. Of dtypes with few digits not even that: the step may be too small for the parameter to move.
_MOVED = {"float32": 0.9, "float64": 0.9}
_SMALL_UPDATE = 1e-2  # of all updates together: what is smaller is compared with that much of them
# Times as much of a baseline's update as of the actual one may be rounding. From weights that differ in their last
# digit on it was at most 1.3 times as much (a transformer, Adagrad), and no pair of 1,800 needed more than this
# (attention, transformers, an LSTM, CNNs, MLPs; eight optimisers).
_AS_ROUNDED = 3.0
# A small move may be lost in the last digits of a large parameter: before, and after.
_LAST_DIGIT = {"float64": 0.0, "float32": 1.2e-7}


class CurveKind(enum.Enum):
    """Whose values a curve shows."""

    SCALAR = "scalar"
    GRADIENT = "gradient"
    UPDATE = "update"
    DECAY = "decay"

    @property
    def stage(self) -> "CurveKind":
        """What of a step it belongs to; how far an update is along the parameter belongs to the update."""
        return UPDATE if self is DECAY else self


SCALAR, GRADIENT, UPDATE, DECAY = CurveKind


class CurveDifference(NamedTuple):
    """What differs at a step: a scalar, a parameter's gradient, a parameter's update, or all updates together ("").

    A decay is how far of an update is along the parameter itself.
    """

    step: int
    kind: CurveKind
    name: str
    before: float
    after: float
    error: float
    allowed: float


class Curves(NamedTuple):
    """Everything of one kind: before, after, error, allowed, and whether that says anything, each (steps, names).

    The last two are (steps, 1) where they are the same for all names.
    """

    kind: CurveKind
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
    def beyond_steps(self) -> npt.NDArray[np.intp]:
        """The steps at which anything is beyond what is allowed."""
        return np.flatnonzero(self._beyond.any(axis=1))

    def differences(self, step: int) -> list[tuple[float, CurveDifference]]:
        """(how many times what is allowed, what differs) of all that is beyond it at a step."""
        excess = self.excess[step]
        return [(float(excess[at]), self.difference(step, int(at))) for at in np.flatnonzero(self._beyond[step])]

    @property
    def _beyond(self) -> Flags:
        return ~(self.error <= self.allowed) & self._counts

    @property
    def _counts(self) -> Flags:
        """Also unjudged steps where only one of the trainings has a number: that is no rounding."""
        return self.judged | ~np.isfinite(self.error)

    def difference(self, step: int, at: int) -> CurveDifference:
        tables = np.broadcast_arrays(self.before, self.after, self.error, self.allowed)
        return CurveDifference(step, self.kind, self.names[at], *(float(table[step, at]) for table in tables))


def tabulate(
    baseline: Training, actual: Training, dtype: str, tolerances: Tolerances
) -> tuple[list[Curves], tuple[str, ...]]:
    """All that is compared, and the names of the parameters whose updates differ and are not, as `unsure` has them."""
    own, names, parameters = tolerances.of(""), tuple(baseline.scalars), baseline.parameters

    def differences(before: Values, after: Values, floor: Values | float) -> Values:
        return relative_differences(before, after, floor, own.absolute)

    before, after = (np.stack([training.scalars[name] for name in names], axis=1) for training in (baseline, actual))
    peaks = np.minimum(_largest_finite(before, 0), _largest_finite(after, 0))
    scalars = differences(before, after, _SMALL_SCALAR * peaks)
    norm = _largest_finite(actual.gradient[:, None], 1)
    gradients = differences(baseline.gradients, actual.gradients, _SMALL_GRADIENT * norm)
    # what has no gradient at all may be moved by hand, as an average of other parameters is
    counts = (actual.gradients > _ROUNDING_GRADIENT * norm) | (actual.gradients == 0.0)
    meant_before = _meant(baseline, _believable(baseline.rounding, actual.rounding))
    meant_after = _meant(actual, actual.rounding)
    whole_before, whole_after = (_norm(np.where(counts, meant, 0.0)) for meant in (meant_before, meant_after))
    whole = differences(whole_before, whole_after, 0.0)
    larger = np.fmax(baseline.updates, actual.updates)  # so that the error is at most 1
    single = np.where(counts, differences(baseline.updates, actual.updates, larger), 0.0)
    scale = np.maximum(meant_after, _SMALL_UPDATE * whole_after)
    moved, decayed = (
        np.where(counts, differences(*pair, scale), 0.0)
        for pair in ((meant_before, meant_after), (baseline.along, actual.along))
    )
    # how far apart scalars and updates were before each step, and how far gradients
    earlier = _largest_before(np.concatenate([scalars, whole], axis=1))
    turned = np.minimum(_largest_before(np.concatenate([moved, decayed], axis=1)), rules.ROUNDED)
    pulled = np.maximum(_largest_before(gradients), turned)

    def at_each_step(rule: Callable[[Tolerances, str, float, float], float], *each: Tolerances) -> Values:
        pairs = zip(earlier.tolist(), pulled.tolist(), strict=True)
        return np.array([[rule(tolerance, dtype, *pair) for tolerance in each] for pair in pairs], np.float64)

    judged = at_each_step(rules.is_lost, own) == 0
    scalar_allowed = at_each_step(rules.step_tolerance if parameters else rules.scalar_tolerance, own)
    tables = [Curves(SCALAR, names, before, after, scalars, scalar_allowed, judged)]
    if not parameters:
        return tables, ()
    at_layer = [tolerances.of(name.rpartition(".")[0]) for name in parameters]
    gradient_allowed = at_each_step(rules.gradient_tolerance, *at_layer)
    whole_allowed, allowed = scalar_allowed, at_each_step(rules.update_tolerance, *at_layer)
    if own.rtol is None:
        # what the user allows the gradient of one layer excuses the updates of no other
        is_own = np.array([tolerance.rtol is not None for tolerance in at_layer])
        followed = _AS_GRADIENT * _largest_finite(np.where(is_own, 0.0, gradients), 1)
        of_each = np.minimum(followed, _MOST_FOLLOWED)
        of_own = _AS_GRADIENT * _norm(np.where(is_own, gradients * _ratio(meant_after, whole_after), 0.0))
        whole_allowed = np.maximum(whole_allowed, np.minimum(np.fmax(followed, of_own), _MOST_FOLLOWED))
        causes = np.concatenate([scalars, np.where(counts & ~is_own, gradients, 0.0)], axis=1)
        cause = _AS_CAUSE * np.maximum.accumulate(_largest_finite(causes, 1))
        uncaused = _MOST_UNCAUSED * rules.step_tolerance(own, dtype, 0.0, 0.0)
        if actual.gradients.any():  # else they were never accumulated, and nothing is known of causes
            whole_allowed = np.minimum(whole_allowed, np.fmax(np.fmax(cause, of_own), uncaused))
        allowed = np.maximum(allowed, of_each) + _ratio(_LAST_DIGIT.get(dtype, 0.0) * actual.sizes, scale)
    single_allowed = np.maximum(gradient_allowed, _MOVED.get(dtype, 1.0))
    judged_each = at_each_step(rules.is_lost, *at_layer) == 0
    decay_before, decay_after = (_decay(training, counts) for training in (baseline, actual))
    decay = differences(decay_before, decay_after, whole_after)
    tables += [
        Curves(GRADIENT, parameters, baseline.gradients, actual.gradients, gradients, gradient_allowed, judged_each),
        Curves(UPDATE, ("",), whole_before, whole_after, whole, whole_allowed, judged),
        Curves(UPDATE, parameters, baseline.updates, actual.updates, single, single_allowed, judged_each),
        Curves(DECAY, ("",), decay_before, decay_after, decay, whole_allowed, judged),
    ]
    if dtype in _LAST_DIGIT and own.precision == "ieee":
        tables += [
            Curves(UPDATE, parameters, meant_before, meant_after, moved, allowed, judged_each),
            Curves(DECAY, parameters, baseline.along, actual.along, decayed, allowed, judged_each),
        ]
        # what is small is compared by itself: it is lost in all updates together
        larger = np.fmax(meant_before, meant_after)
        slight = np.where(counts, 0.0, differences(meant_before, meant_after, larger))
        slight_allowed = np.maximum(gradient_allowed, _SLIGHT_UPDATE) + _ratio(
            _LAST_DIGIT[dtype] * actual.sizes, larger
        )
        is_sure = _is_sure(baseline.gradients, actual.gradients)
        own_updates = np.where(is_sure, slight, 0.0)
        tables.append(Curves(UPDATE, parameters, meant_before, meant_after, own_updates, slight_allowed, judged_each))
        differing = (judged_each & ~is_sure & ~(slight <= slight_allowed)).any(axis=0)
        return tables, tuple(parameters[at] for at in np.flatnonzero(differing))
    return tables, ()


def _is_sure(before: Values, after: Values) -> Flags:
    """Where each gradient has been as long in both trainings at every step so far, (steps, parameters)."""
    is_same = np.abs(after - before) <= _SURE_GRADIENT * np.fmax(before, after)
    return np.asarray(np.logical_and.accumulate(is_same, axis=0), np.bool_)


def relative_differences(before: Values, after: Values, floor: Values | float, atol: float) -> Values:
    """|a - b| relative to |a|, or to the floor where that is larger; equal infinities and NaN do not differ."""
    distance, sizes = np.abs(after - before), (np.abs(before), np.abs(after))
    fair = np.where((sizes[0] > 2 * sizes[1]) & (sizes[1] > 0), sizes[1], sizes[0])  # see `tensors.fair_size`
    scale = np.maximum(fair, np.nan_to_num(floor, nan=0.0, posinf=0.0))
    relative = np.where(scale > 0, distance / np.where(scale > 0, scale, 1.0), np.where(distance > 0, np.inf, 0.0))
    same = (before == after) | (np.isnan(before) & np.isnan(after)) | (distance <= atol)
    finite = np.isfinite(before) & np.isfinite(after)
    return np.asarray(np.where(same, 0.0, np.where(finite, relative, np.inf)), np.float64)


def _largest_finite(values: Values, axis: int) -> Values:
    """The largest finite magnitude along an axis, which stays, with length 1."""
    finite = np.where(np.isfinite(values), np.abs(values), 0.0)
    return np.asarray(finite.max(axis=axis, keepdims=True, initial=0.0), np.float64)


def _largest_before(errors: Values) -> Values:
    """For each step the largest finite difference at any step before it, (steps, n) -> (steps,)."""
    each = _largest_finite(errors, 1)[:, 0]
    return np.asarray(np.maximum.accumulate(np.concatenate([[0.0], each[:-1]])), np.float64)


def _believable(stated: Values, own: Values) -> Values:
    """The rounding that a baseline may state of its updates, (steps, parameters), beside what this training has."""
    return np.clip(np.nan_to_num(stated, nan=0.0, posinf=np.inf), 0.0, _AS_ROUNDED * np.nan_to_num(own, nan=0.0))


def _meant(training: Training, rounding: Values) -> Values:
    """How far each step moved each parameter, without what follows from rounding.

    The key's bias of attention, for one, has no gradient but rounding: Adagrad moved it otherwise by 0.018 where
    everything else agreed within 1e-6.
    """
    roots = np.maximum(training.updates - rounding, 0.0), training.updates + rounding  # squares may be no numbers
    return np.asarray(np.sqrt(roots[0]) * np.sqrt(roots[1]), np.float64)


def _decay(training: Training, counts: Flags) -> Values:
    """How far all parameters together have moved along themselves at each step, (steps, 1)."""
    along, sizes = (np.where(counts, table, 0.0) for table in (training.along, training.sizes))
    together = (along * _ratio(sizes, _norm(sizes))).sum(axis=1, keepdims=True)
    return np.asarray(np.nan_to_num(together, nan=0.0, posinf=0.0, neginf=0.0), np.float64)


def _norm(table: Values) -> Values:
    return row_norms(table)[:, None]


def _ratio(numerator: Values, denominator: Values) -> Values:
    """The quotient, zero where that is no number."""
    return np.asarray(np.nan_to_num(numerator / denominator, nan=0.0, posinf=0.0, neginf=0.0), np.float64)
