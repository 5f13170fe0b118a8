"""Whether two recordings differ in nothing but the last digits, so that recording again would add nothing.

The verdict of the comparison does not count: a file that fools it must not survive an update. Everything that is stored
is compared number by number, also what no comparison reads.
"""

import math
from collections.abc import Mapping

import numpy as np

from pytest_modelviz.compare.precision import coarser, is_exact
from pytest_modelviz.compare.readable import is_same_but_for_rounding
from pytest_modelviz.compare.tensors import allowed_for, difference, own_source
from pytest_modelviz.compare.tolerance import Tolerances, weight_tolerance
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.noise import EXPLANATION_NOISE, NOISE_ARRAYS, TRACE_NOISE
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_arrays import holds_nothing_else, unpack_trace

_SMALL = 1e-7  # of the largest number of an array: what is smaller is compared with that much of it
_PACKED = {"trace.structure", "trace.sketches", "trace.wide"}  # a trace in arrays
# How many times as large noise may be on another machine: whether a rectifier opens there decides about a gradient's.
_NOISE_RANGE = {**dict.fromkeys(TRACE_NOISE, 2.0), EXPLANATION_NOISE: 10.0}
_PICTURE_SIDES = 3  # height, width and channels; more are of several pictures
_ROUNDED = {"profiles.levels"}  # to 8 bits, as pixels are
_SHADOW = {"shadow.structure", "shadow.sketches", "shadow.wide"}


def differs_in_last_digits(baseline: Capture, actual: Capture, tolerances: Tolerances) -> bool:
    """Whether facts and arrays of two captures are the same, but for differences within these tolerances.

    What a user allows does not count: it says what may drift, not what is noise.
    """
    own = Tolerances(device=tolerances.device, scale=tolerances.scale, precision=tolerances.precision)
    keys = actual.arrays.keys() - NOISE_ARRAYS
    if baseline.arrays.keys() - NOISE_ARRAYS != keys or not is_same_but_for_rounding(baseline.facts, actual.facts):
        return False
    others = keys - (_PACKED | _SHADOW if actual.arrays.keys() >= _PACKED else set())
    if len(others) < len(keys):
        before, after = (unpack_trace(capture.arrays) for capture in (baseline, actual))
        if not (holds_nothing_else(before, baseline.arrays) and _same_traces(before, after, own)):
            return False
        if before.shadow and after.shadow and not _same_traces(before.shadow, after.shadow, own):
            return False
    return all(_same_numbers(key, baseline.arrays[key], actual.arrays[key], own) for key in others)


def has_same_noise(baseline: Capture, measured: Capture) -> bool:
    """Whether a baseline states the noise that was measured, but for how that differs between machines."""
    stated = NOISE_ARRAYS & baseline.arrays.keys()
    return stated == NOISE_ARRAYS & measured.arrays.keys() and all(
        _is_same_noise(baseline.arrays[key], measured.arrays[key], _NOISE_RANGE[key]) for key in stated
    )


def _is_same_noise(before: Array, after: Array, times: float) -> bool:
    if (before.dtype, before.shape) != (after.dtype, after.shape):
        return False
    old, new = ((packed.astype(np.uint32) << 16).view(np.float32) for packed in (before, after))
    with np.errstate(all="ignore"):
        near = (old == new) | (np.maximum(old, new) <= times * np.minimum(old, new)) | (np.isnan(old) & np.isnan(new))
    return bool(near.all())


def _same_traces(before: ForwardTrace, after: ForwardTrace, tolerances: Tolerances) -> bool:
    if (before.modules, before.structure.ties, before.calls) != (after.modules, after.structure.ties, after.calls):
        return False
    tables = (before.tensors, after.tensors), (before.gradients, after.gradients), (before.weights, after.weights)
    weights = {key: weight_tolerance(record.dtype) for key, record in after.weights.items()}
    return all(_same_records(*pair, tolerances) for pair in tables) and all(
        difference(before.weights[key], after.weights[key], allowed=most) <= most for key, most in weights.items()
    )


def _same_records(
    before: Mapping[str, TensorRecord], after: Mapping[str, TensorRecord], tolerances: Tolerances
) -> bool:
    if list(before) != list(after):  # noise is listed in their order
        return False
    allowed = {key: allowed_for(record, own_source(record), tolerances)[0] for key, record in after.items()}
    return all(
        dict(before[key].value_fingerprints) == dict(record.value_fingerprints)
        and _is_same_step(before[key].step, record.step)
        and difference(before[key], record, allowed=allowed[key]) <= allowed[key]
        for key, record in after.items()
    ) and _same_formers(before, after, tolerances)


def _is_same_step(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return before is after
    return math.isclose(before, after, rel_tol=_SMALL)


def _same_formers(
    before: Mapping[str, TensorRecord], after: Mapping[str, TensorRecord], tolerances: Tolerances
) -> bool:
    """Whether the records that are there for baselines of earlier versions are the same too."""
    old, new = ({key: record.former for key, record in table.items() if record.former} for table in (before, after))
    return not (old or new) or _same_records(old, new, tolerances)


def _same_numbers(name: str, before: Array, after: Array, tolerances: Tolerances) -> bool:
    dtype = str(after.dtype)
    if (before.dtype, before.shape) != (after.dtype, after.shape):
        return False
    if dtype == "uint8" and (after.ndim >= _PICTURE_SIDES or name in _ROUNDED):  # all others are text, or exact
        return bool((np.abs(before.astype(np.int16) - after.astype(np.int16)) <= 1).all())
    if is_exact(dtype):
        return np.array_equal(before, after)
    largest = float(np.abs(after[np.isfinite(after)]).max(initial=0.0))
    relative = tolerances.relative(coarser(dtype, "float32"))
    return np.allclose(before, after, rtol=relative, atol=_SMALL * largest, equal_nan=True)
