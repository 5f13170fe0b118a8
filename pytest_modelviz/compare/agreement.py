"""A short way to the most frequent verdict: two passes of one structure, whose numbers agree far within tolerance.

Where the structures are equal byte for byte, both passes have the same events, configuration and kinds of tensors, and
nothing is left to compare but sketches: all of them together, in a few operations on arrays. The verdict is the one
that `compare_traces` comes to. Whatever is the least unusual, or takes more than half of what is allowed, is left to
that: a drift is never found here, and no baseline gains anything by being compared here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.containers import is_sequential
from pytest_modelviz.compare.error_propagation import ErrorPropagation
from pytest_modelviz.compare.layouts import matching_layout
from pytest_modelviz.compare.leaves import forgiven_rounding, worst
from pytest_modelviz.compare.precision import is_exact
from pytest_modelviz.compare.tolerance import WORST_BUCKET, Tolerances, weight_tolerance
from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.captured_arrays import CapturedArrays
from pytest_modelviz.records.noise import unpacked_noise
from pytest_modelviz.records.structure import ModuleRecord
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Event, ForwardTrace
from pytest_modelviz.records.trace_structure import TraceLayout
from pytest_modelviz.records.verdict import LayerError, Verdict

_SHARE = 0.5  # of what is allowed: closer to it, the last digit might decide
_MOST = 1e-3  # whatever is allowed: the texts of two passes that are further apart may differ in more than that
_FLOAT = "float32"
_WEIGHTS = ("float32", "float64")

_Numbers = npt.NDArray[np.float64]


def quick_match(
    baseline: Mapping[str, Array], actual: Mapping[str, Array], tolerances: Tolerances
) -> tuple[Verdict, ForwardTrace] | None:
    """The verdict on two passes in single precision that agree, and the actual pass; None where that takes more to see.

    Args:
        baseline: the arrays of a stored capture, which may hold anything.
        actual: those of a capture that was just made.
        tolerances: what is allowed.

    """
    if not isinstance(actual, CapturedArrays) or not _is_plain(actual.trace, tolerances):
        return None
    layout = matching_layout(baseline, actual)
    differences = None if layout is None else _differences(baseline, layout)
    if differences is None:
        return None
    trace, noise, count = actual.trace, baseline.get("trace.noise"), len(actual.trace.tensors)
    noises = [None] * count if noise is None else unpacked_noise(noise, count)
    relative = tolerances.by_noise(_FLOAT)
    allowed = [
        relative(own) if record.dtype == _FLOAT else 0.0
        for record, own in zip(trace.tensors.values(), noises, strict=True)
    ]
    for found, most in zip(differences, allowed, strict=False):
        if found is not _SAME and found.error(most) > min(_SHARE * most, _MOST):
            return None
    for found, weight in zip(differences[count:], trace.weights.values(), strict=True):
        if found is not _SAME and found.error(most := weight_tolerance(weight.dtype)) > _SHARE * most:
            return None
    table = dict(zip(trace.tensors, zip(differences, allowed, strict=False), strict=False))
    layers = list(_layer_errors(trace, table, tolerances))
    first = max(layers, key=lambda layer: layer.error, default=LayerError("", 0, 0.0, 0.0))
    compared = len({call.layer for call in trace.calls})
    return Verdict.match(compared=compared, error=first.error, tolerance=first.tolerance, layers=layers), trace


def _is_plain(trace: ForwardTrace, tolerances: Tolerances) -> bool:
    """Whether a pass is of the kind that is compared here: in float32 throughout, with nothing rounded to integers."""
    if tolerances.layers or tolerances.precision != "ieee" or tolerances.shadow_of:
        return False
    if len(trace.calls) < 2 or trace.gradients or trace.shadow is not None:
        return False
    if not (_are_plain(trace.tensors.values(), (_FLOAT,)) and _are_plain(trace.weights.values(), _WEIGHTS)):
        return False
    modules = trace.modules.values()
    held = {local: "" for module in modules for local in module.weights}
    return not (ModuleRecord("", {}, held).has_integers or any(module.rounds_inputs for module in modules))


def _are_plain(records: Collection[TensorRecord], floats: Collection[str]) -> bool:
    """Whether each of these tensors has a single sketch, of this version, and one of these dtypes or an exact one."""
    if not all(dtype in floats or is_exact(dtype) for dtype in {record.dtype for record in records}):
        return False
    return not any(
        record.sketch_without_giants is not None
        or record.former is not None
        or record.step is not None
        or record.is_of_earlier_version
        for record in records
    )


@dataclass(frozen=True)
class _Difference:
    """What `compare.tensors.relative_distance` makes the difference of two sketches from, all on one scale."""

    distance: float = 0.0
    size: float = 1.0
    worst: float = 0.0
    scale: float = 1.0

    def error(self, allowed: float, floor: float = 0.0) -> float:
        if self.distance == 0.0 or self.distance * self.scale <= floor:
            return 0.0
        if self.size == 0.0:
            return math.inf
        is_uneven = self.distance <= allowed * self.size < self.worst
        return (self.worst if is_uneven else self.distance) / self.size


_SAME = _Difference()


def _differences(baseline: Mapping[str, Array], actual: TraceLayout) -> Sequence[_Difference] | None:
    """The difference of each record's sketches; None where they are no numbers to subtract."""
    stored = (baseline["trace.sketches"], actual.sketches), (baseline["trace.wide"], actual.wide)
    pairs = [(np.asarray(old, np.float64), np.asarray(new, np.float64)) for old, new in stored]
    if not all(np.isfinite(numbers).all() for pair in pairs for numbers in pair):
        return None
    if all(np.array_equal(*pair) for pair in pairs):
        return [_SAME] * len(actual.positions)
    differing = [np.concatenate([[0], np.cumsum(old != new)]) for old, new in pairs]
    found = [_SAME] * len(actual.positions)
    groups: dict[tuple[bool, int], list[int]] = {}
    for at, (is_wide, start, size) in enumerate(actual.positions):
        if differing[is_wide][start + size] != differing[is_wide][start]:
            groups.setdefault((is_wide, size), []).append(at)
    for (is_wide, size), group in groups.items():
        places = np.array([actual.positions[at][1] for at in group])[:, None] + np.arange(size)
        old, new = pairs[is_wide]
        for at, difference in zip(group, _differences_of_rows(old[places], new[places]), strict=True):
            if difference.distance == 0.0:  # beyond what squares hold
                return None
            found[at] = difference
    return found


def _differences_of_rows(baseline: _Numbers, actual: _Numbers) -> list[_Difference]:
    """The differences of (n, width) pairs of sketches that differ."""
    scales = np.maximum(np.abs(baseline).max(axis=1), np.abs(actual).max(axis=1))
    before, after = baseline / scales[:, None], actual / scales[:, None]
    delta = after - before
    distances, old, new = (np.sqrt(np.einsum("ij,ij->i", rows, rows)) for rows in (delta, before, after))
    sizes = np.where((old > 2 * new) & (new > 0.0), new, old)  # as `fair_size`
    worst = np.abs(delta).max(axis=1) * math.sqrt(delta.shape[1]) / WORST_BUCKET
    return [_Difference(*row) for row in np.stack([distances, sizes, worst, scales], axis=1).tolist()]


def _layer_errors(
    trace: ForwardTrace, found: Mapping[str, tuple[_Difference, float]], tolerances: Tolerances
) -> Iterator[LayerError]:
    """The error of every call, in the order of leaving, as `LockstepComparison` gives them."""
    differing = {key for key, (difference, _) in found.items() if difference is not _SAME}
    propagation = ErrorPropagation(trace, trace, tolerances) if differing else None
    handed_over: dict[str, tuple[float, float]] = {}
    for call, parent in trace.left():
        keys = {path: leaf.tensor for path, leaf in (call.outputs or {}).items()}
        if propagation is None or differing.isdisjoint(keys.values()):
            handed_over = {}  # errors of what is the same are none, whoever hands it on
            first = next(iter(keys.values()), None)
            yield LayerError(call.layer, call.index, 0.0, 0.0 if first is None else found[first][1])
            continue
        is_container = parent is not None and is_sequential(trace.modules[call.layer])
        event = Event("leave", call, parent)
        errors: dict[str, tuple[float, float]] = {}
        for path, key in keys.items():
            difference, allowed = (_SAME, 0.0) if key is None else found[key]
            if difference is _SAME or key is None:
                errors[path] = 0.0, allowed
            elif is_container and key in handed_over:
                errors[path] = handed_over[key]
            else:
                errors[path] = _error(event, trace.tensors[key], difference, allowed, tolerances, propagation)
        handed_over = {key: errors[path] for path, key in keys.items() if key is not None}
        error, allowed, _ = worst(errors)
        yield LayerError(call.layer, call.index, error, allowed)


def _error(
    event: Event,
    record: TensorRecord,
    difference: _Difference,
    allowed: float,
    tolerances: Tolerances,
    propagation: ErrorPropagation,
) -> tuple[float, float]:
    """(error, tolerance) of what a call returns, without what may be rounding of its inputs."""
    most = 3 * min(allowed, tolerances.scale * tolerances.default(_FLOAT))
    scale, cancels = propagation.input_scale(event), propagation.may_cancel(event)
    forgiven = tolerances.absolute + forgiven_rounding(record, scale, most, cancels=cancels)
    return difference.error(allowed, forgiven * math.sqrt(record.elements)), allowed
