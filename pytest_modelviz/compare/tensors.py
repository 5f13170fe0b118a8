"""The difference between two tensors, computed from their sketches."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.precision import coarser, is_eight_bit, is_exact
from pytest_modelviz.compare.tolerance import ROUNDING, WORST_BUCKET, Source, Tolerances, weight_tolerance
from pytest_modelviz.records.norms import norm, on_common_scale
from pytest_modelviz.records.tensors import INTEGERS, LARGEST_GROUPED, TensorRecord, is_of_giants

_ROUNDED_SUMS = 1e-9  # of integers that are known to be equal: of their sums each processor loses other digits
# Where a result is no larger than what its inputs differ by (a ReLU that lets nothing through), a difference has
# nothing to be relative to: so many times that gap is forgiven.
NOTHING_LEFT = 4.0


def rms(record: TensorRecord) -> float:
    """Estimate the root mean square of a tensor's finite values, without giants."""
    if not record.elements:
        return 0.0
    return norm(record.bulk_sketch) / math.sqrt(record.elements)


def sketched_alike(baseline: TensorRecord, actual: TensorRecord) -> tuple[TensorRecord, TensorRecord]:
    """The two records, the actual one as earlier versions sketched it where the baseline is of one of these."""
    return baseline, (actual.former or actual) if baseline.is_of_earlier_version else actual


def rms_difference(baseline: TensorRecord, actual: TensorRecord) -> float:
    """Estimate the root mean square of two tensors' difference, without giants; zero if they cannot be subtracted."""
    baseline, actual = sketched_alike(baseline, actual)
    before, after = baseline.bulk_sketch, actual.bulk_sketch
    comparable = (baseline.dtype, baseline.shape, before.size) == (actual.dtype, actual.shape, after.size)
    if not comparable or not actual.elements or is_exact(baseline.dtype):
        return 0.0
    with np.errstate(all="ignore"):
        distance = norm(after.astype(np.float64) - before.astype(np.float64))
    return distance / math.sqrt(actual.elements) if math.isfinite(distance) else 0.0


def is_no_more_than(record: TensorRecord, amount: float) -> bool:
    """Whether a result is no larger than a difference of this amount in what it was computed from."""
    return not is_exact(record.dtype) and rms(record) <= amount


def difference(baseline: TensorRecord, actual: TensorRecord, *, atol: float = 0.0, allowed: float = math.inf) -> float:
    """Relative L2 difference ||a - b|| / ||b||, estimated from sketches.

    A change at one position of a large tensor must not be averaged away: where the whole is `allowed`, but the worst
    bucket is more than five times further off, a fifth of that bucket's difference counts. Where a few giants would
    hide everything else, the other values are compared by themselves as well.

    Args:
        baseline: the recorded tensor.
        actual: the tensor of this run.
        atol: a difference whose root mean square is not above this counts as none.
        allowed: the tolerance that the result will be compared with.

    Returns:
        The difference; infinite where dtype, shape, a nested tensor's components or the positions of NaN and infinities
        differ.

    """
    baseline, actual = sketched_alike(baseline, actual)
    layouts = [(record.dtype, record.shape, record.value_count) for record in (baseline, actual)]
    if layouts[0] != layouts[1]:
        return math.inf
    before, after = dict(baseline.value_fingerprints), dict(actual.value_fingerprints)
    if INTEGERS not in before and baseline.sketch.size:
        after.pop(INTEGERS, None)
    if before != after:
        return math.inf
    if [sketch.size for sketch in baseline.sketches] != [sketch.size for sketch in actual.sketches]:
        return math.inf
    if not any(sketch.size for sketch in baseline.sketches):
        return 0.0
    pairs = zip(baseline.sketches, actual.sketches, strict=True)
    error = max(relative_distance(*pair, floor=atol * math.sqrt(actual.elements), allowed=allowed) for pair in pairs)
    return 0.0 if INTEGERS in before and error <= _ROUNDED_SUMS else error


def whole_difference(baseline: TensorRecord, actual: TensorRecord) -> float:
    """The least tolerance with which the difference of two tensors is allowed."""
    error = difference(baseline, actual, allowed=0.0)
    return max(error, difference(baseline, actual, allowed=error))


def relative_distance(
    baseline: npt.NDArray[Any], actual: npt.NDArray[Any], *, floor: float = 0.0, allowed: float = math.inf
) -> float:
    """||a - b|| / ||b|| of arrays of equal shape, the worst element counting as in `difference`.

    A distance that is not above `floor` counts as none. Infinite where it cannot be computed.
    """
    if np.array_equal(baseline, actual) and np.isfinite(actual).all():
        return 0.0
    with np.errstate(all="ignore"):
        (before, after), scale = on_common_scale(baseline, actual)
        delta = after - before
        floor /= scale
    distance, size = norm(delta), fair_size(norm(before), norm(after))
    if distance == 0.0 or distance <= floor:
        return 0.0
    if size == 0.0 or not math.isfinite(distance):
        return math.inf
    worst = float(np.abs(delta).max()) * math.sqrt(delta.size) / WORST_BUCKET
    return worst / size if distance <= allowed * size < worst else distance / size


def fair_size(baseline: float, actual: float) -> float:
    """The size that a difference is relative to: the baseline's, unless that is more than twice the actual one's.

    Relative to a giant baseline every difference would be small.
    """
    return actual if baseline > 2 * actual > 0.0 else baseline


def is_mere_rounding(record: TensorRecord, scale: float) -> bool:
    """Whether a result is no larger than the rounding of inputs of size `scale`."""
    return is_no_more_than(record, 3 * ROUNDING * scale)


def own_source(record: TensorRecord) -> Source:
    """What a tensor's own dtype does to it: integers with a scale are rounded by up to half a step."""
    if not is_eight_bit(record.dtype):
        return Source(record.dtype)
    if record.step is None:
        return Source(record.dtype, rounded=math.inf)
    size = rms(record)
    return Source(record.dtype, rounded=abs(record.step) / 2 / size if size else 0.0)


def allowed_for(
    record: TensorRecord, source: Source, tolerances: Tolerances, noise: float | None = None
) -> tuple[float, float]:
    """(rtol, atol) of a tensor: what is allowed here, or to anything that led to it. Exact dtypes have no tolerance.

    The `noise` that the baseline states, if any, says how much of what its dtype is allowed it needs.
    """
    if is_exact(record.dtype):
        return 0.0, 0.0
    dtype = coarser(source.dtype, record.dtype)
    relative = tolerances.relative(dtype, noise, record.shadow_distance)
    if is_eight_bit(dtype):
        relative = tolerances.quantised(record.dtype, source.rounded)
    return max(relative, source.rtol), max(tolerances.absolute, source.atol)


def lacks_giants(baseline: TensorRecord, actual: TensorRecord) -> bool:
    """Whether the giants of a small weight are not told from its other numbers in a baseline: by earlier versions."""
    is_apart = [record.sketch_without_giants is not None for record in (baseline, actual)]
    return is_apart == [False, True] and actual.numbers <= LARGEST_GROUPED


def without_unknown_giants(baseline: TensorRecord, actual: TensorRecord) -> TensorRecord:
    """The actual record of a weight as the baseline's version would have made it."""
    if not lacks_giants(baseline, actual):
        return actual
    others = {kind: own for kind, own in actual.value_fingerprints.items() if not is_of_giants(kind)}
    return replace(actual, value_fingerprints=others, sketch_without_giants=None)


def weight_difference(baseline: TensorRecord, actual: TensorRecord) -> float:
    """Relative difference of two weights, zero where the same seed may differ so much between processors."""
    allowed = weight_tolerance(baseline.dtype)
    error = difference(baseline, without_unknown_giants(baseline, actual), allowed=allowed)
    return error if not error <= allowed else 0.0
