"""The difference between two tensors of which only sketches are at hand."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np

from pytest_modelviz.compare.devices import same_but_for_devices
from pytest_modelviz.compare.tolerance import (
    MOST,
    ROUNDING,
    WORST_BUCKET,
    Source,
    Tolerances,
    coarser,
    is_exact,
    weight_tolerance,
)
from pytest_modelviz.records.trace import Leaf, Sketch, TensorRecord
from pytest_modelviz.text.side_by_side import apart

_KINDS = {"nan": "NaN", "+inf": "infinite", "-inf": "-infinite"}
# Where a result is no more than what its inputs differ by (a ReLU lets nothing through), there is nothing for a
# difference to be relative to: so many times that much is forgiven.
NOTHING_LEFT = 4.0


def rms(record: TensorRecord) -> float:
    """Estimate of the root mean square of the finite elements of a tensor, without giants."""
    if not record.numel:
        return 0.0
    return float(np.linalg.norm(record.sketches[-1].astype(np.float64))) / math.sqrt(record.numel)


def rms_difference(baseline: TensorRecord, actual: TensorRecord) -> float:
    """Estimate of the root mean square of the difference of two tensors, without giants; zero for what is not alike."""
    one, two = baseline.sketches[-1], actual.sketches[-1]
    alike = (baseline.dtype, baseline.shape, one.size) == (actual.dtype, actual.shape, two.size)
    if not alike or not baseline.numel or is_exact(baseline.dtype):
        return 0.0
    distance = float(np.linalg.norm(two.astype(np.float64) - one.astype(np.float64)))
    return distance / math.sqrt(baseline.numel) if math.isfinite(distance) else 0.0


def is_no_more_than(record: TensorRecord, amount: float) -> bool:
    """Whether a result is so small that a difference of this amount in what it is made of says all about it."""
    return not is_exact(record.dtype) and rms(record) <= amount


def difference(baseline: TensorRecord, actual: TensorRecord, *, atol: float = 0.0, allowed: float = math.inf) -> float:
    """Relative L2 difference ||a - b|| / ||b||.

    Where that is `allowed`, but five times as much is not for the worst bucket, a fifth of the worst bucket's: a change
    in one place of a large tensor must not be averaged away. Where a few giants would hide everything else, the others
    are compared by themselves as well. Infinite where dtype, shape or the places of NaN and
    infinities differ. A difference whose root mean square is not above `atol` counts as none.
    """
    if (baseline.dtype, baseline.shape) != (actual.dtype, actual.shape):
        return math.inf
    if {kind: tuple(place) for kind, place in baseline.places.items()} != dict(actual.places):
        return math.inf
    if baseline.sketch.size != actual.sketch.size:
        return math.inf
    if not baseline.sketch.size:
        return 0.0
    pairs = zip(baseline.sketches, actual.sketches, strict=True)
    return max(_distance(one, two, atol * math.sqrt(baseline.numel), allowed) for one, two in pairs)


def _distance(one: Sketch, two: Sketch, floor: float, allowed: float) -> float:
    before, after = one.astype(np.float64), two.astype(np.float64)
    delta = after - before
    distance = float(np.linalg.norm(delta))
    size = fair_size(float(np.linalg.norm(before)), float(np.linalg.norm(after)))
    if distance == 0.0 or distance <= floor:
        return 0.0
    if size == 0.0 or not math.isfinite(distance):
        return math.inf
    worst = float(np.abs(delta).max()) * math.sqrt(delta.size) / WORST_BUCKET
    return worst / size if distance <= allowed * size < worst else distance / size


def fair_size(baseline: float, actual: float) -> float:
    """What a difference is relative to: the baseline's size, unless that is more than twice the actual one's.

    Beside a giant everything would be alike, where as much as the whole may differ.
    """
    return actual if baseline > 2 * actual > 0.0 else baseline


def _forgiven(record: TensorRecord, scale: float, allowed: float) -> float:
    """How much of a difference is rounding of inputs of size `scale`: all of what is no more than that itself.

    Of a result that is more than rounding, no more than three times what is allowed anyway.
    """
    rounding, size = ROUNDING * scale, rms(record)
    return 4 * rounding if size <= 3 * rounding else min(rounding, 3 * allowed * size)


def mismatch(
    baseline: Leaf | None, actual: Leaf | None, before: Mapping[str, TensorRecord], after: Mapping[str, TensorRecord]
) -> tuple[str, str]:
    """What cannot be subtracted, in two short texts that differ."""
    one, two = _described(baseline, before), _described(actual, after)
    if one != two:
        return one, two
    if baseline is None or actual is None or baseline.tensor is None or actual.tensor is None:
        return one, two
    return _contents(before[baseline.tensor], after[actual.tensor])


def _described(leaf: Leaf | None, table: Mapping[str, TensorRecord]) -> str:
    if leaf is None:
        return "absent"
    if leaf.tensor is None:
        return str(leaf.literal)
    record = table[leaf.tensor]
    return f"{record.dtype}{list(record.shape)}"


def _contents(one: TensorRecord, other: TensorRecord) -> tuple[str, str]:
    """What two tensors of one shape hold: how many NaN, infinities and values far beyond all others, and how large."""
    sizes = apart(rms(one), rms(other))
    texts = []
    for record, size in zip((one, other), sizes, strict=True):
        counts = {_KINDS.get(kind, f"about {kind}"): count for kind, (count, _) in record.places.items()}
        odd = [f"{count} of {record.numel} values are {kind}" for kind, count in counts.items()]
        rest = f"rms {size}" if rms(record) else "zero"
        texts.append(", ".join([*odd, f"the others {rest}" if odd else rest]))
    return texts[0], texts[1] if texts[0] != texts[1] else f"{texts[1]}, in other places"


def allowed_for(record: TensorRecord, source: Source, tolerances: Tolerances) -> tuple[float, float]:
    """(rtol, atol) of a tensor: what is allowed here, or to what led to it. Exact dtypes have no tolerance."""
    if is_exact(record.dtype):
        return 0.0, 0.0
    relative = tolerances.relative(coarser(source.dtype, record.dtype))
    return max(relative, source.rtol), max(tolerances.absolute, source.atol)


def weight_difference(baseline: TensorRecord, actual: TensorRecord) -> float:
    """Relative difference of two weights, zero where it is within what processors do to one seed."""
    allowed = weight_tolerance(baseline.dtype)
    error = difference(baseline, actual, allowed=allowed)
    return error if not error <= allowed else 0.0


def leaf_errors(
    baseline: Mapping[str, Leaf],
    actual: Mapping[str, Leaf],
    before: Mapping[str, TensorRecord],
    after: Mapping[str, TensorRecord],
    *,
    sources: Mapping[str, Source],
    tolerances: Tolerances,
    scale: float | None = 0.0,
    nothing: Collection[str] = (),
    renamed: Collection[str] = (),
) -> dict[str, tuple[float, float]]:
    """Compare two nested values leaf by leaf: path -> (error, tolerance).

    Where they are not made of the same parts, only the parts that one of them lacks. `sources` say what led to each
    tensor of the actual side, by its key; `scale` is the size of what the values were computed from: rounding of
    that size is forgiven; with None nothing is, nor a user's atol. `nothing` are tensors of the actual side that are no
    more than what their inputs differ by, `renamed` paths that the actual side does not have itself.
    """
    lacking = sorted(baseline.keys() ^ actual.keys())
    if lacking:
        return dict.fromkeys(lacking, (math.inf, 0.0))
    errors = {}
    for path, leaf in baseline.items():
        other = actual[path]
        if leaf.tensor is None or other.tensor is None:
            same = leaf == other or _same_number(leaf, other, before, after)
            same = same or (path not in renamed and _same_device(leaf, other, path))
            errors[path] = (0.0 if same else math.inf), 0.0
        else:
            one, two = before[leaf.tensor], after[other.tensor]
            allowed, atol = allowed_for(two, sources.get(other.tensor, Source()), tolerances)
            forgiven = 0.0
            if scale is not None and not is_exact(two.dtype):
                excused = sources.get(other.tensor, Source()).excused
                # of what comes of nothing no more than of anything: it may have another size altogether
                if excused and other.tensor not in nothing:
                    excused = min(excused, min(3 * allowed, MOST) * min(rms(one), rms(two)))
                forgiven = atol + _forgiven(two, scale, allowed) + excused
            errors[path] = difference(one, two, atol=forgiven, allowed=allowed), allowed
    return errors


def _same_device(one: Leaf, other: Leaf, path: str) -> bool:
    """Whether two texts differ by nothing but the devices that they name."""
    if one.literal is None or other.literal is None:
        return False
    return same_but_for_devices(one.literal, other.literal, path)


def _same_number(one: Leaf, other: Leaf, before: Mapping[str, TensorRecord], after: Mapping[str, TensorRecord]) -> bool:
    """Whether 1 became 1.0, or 0.5 a default that is kept as a text: integers are texts, floats are tensors."""
    first, second = _number(one, before), _number(other, after)
    return first is not None and first == second


def _number(leaf: Leaf, table: Mapping[str, TensorRecord]) -> float | None:
    if leaf.tensor is None:
        try:
            return float(str(leaf.literal))
        except ValueError:
            return None
    record = table[leaf.tensor]
    is_number = (record.dtype, record.shape) == ("float64", ()) and record.sketch.size and not record.places
    return float(record.sketch[0]) if is_number else None


def worst(errors: Mapping[str, tuple[float, float]]) -> tuple[float, float, str]:
    """(error, tolerance, path) of the leaf that is furthest off for what it may be; of nothing, nothing."""

    def excess(path: str) -> float:
        error, allowed = errors[path]
        return error / allowed if allowed else (math.inf if error else 0.0)

    if not errors:
        return 0.0, 0.0, ""
    path = max(errors, key=excess)
    return (*errors[path], path)
