"""The leaves of two events: tensors, numbers and texts in what calls are given or return."""

import contextlib
import math
from collections.abc import Collection, Mapping

from pytest_modelviz.compare.devices import same_but_for_devices
from pytest_modelviz.compare.precision import coarser, is_exact
from pytest_modelviz.compare.tensors import allowed_for, difference, is_mere_rounding, rms
from pytest_modelviz.compare.tolerance import ROUNDING, Source, Tolerances
from pytest_modelviz.records.findings import COMPUTED_IN
from pytest_modelviz.records.tensors import COMPONENTS, INTEGERS, LARGE_INTEGERS, TensorRecord
from pytest_modelviz.records.trace import Leaf
from pytest_modelviz.text.side_by_side import apart

_EXCUSED = 1.5  # times what a dtype is allowed: no more is forgiven for results that were excused
_KINDS = {"nan": "NaN", "+inf": "infinite", "-inf": "-infinite"}


def leaf_errors(
    baseline: Mapping[str, Leaf],
    actual: Mapping[str, Leaf],
    before: Mapping[str, TensorRecord],
    after: Mapping[str, TensorRecord],
    *,
    sources: Mapping[str, Source],
    tolerances: Tolerances,
    scale: float | None = 0.0,
    negligible: Collection[str] = (),
    cancels: bool = True,
    returned: bool = False,
) -> dict[str, tuple[float, float]]:
    """Compare two nested values leaf by leaf.

    Args:
        baseline: the leaves of the baseline, by path.
        actual: the leaves of the actual pass, by path.
        before: the baseline's tensors.
        after: the actual pass's tensors.
        sources: what led to each tensor of the actual pass.
        tolerances: what is allowed here.
        scale: the size of what the values were computed from, whose rounding is forgiven; with None nothing is, not
            even a user's atol.
        negligible: tensors of the actual pass that are no larger than what their inputs differ by.
        cancels: whether a value that is no larger than this rounding may be nothing but that.
        returned: whether these are no arguments, which may be defaults: two literals are then the same only by letter.

    Returns:
        path -> (error, tolerance); if the values have different paths, only those that one of them lacks.

    """
    lacking = sorted(baseline.keys() ^ actual.keys())
    if lacking and lacking != [COMPUTED_IN]:
        return dict.fromkeys(lacking, (math.inf, 0.0))
    errors: dict[str, tuple[float, float]] = {}
    for path, leaf in baseline.items():
        if path in lacking:
            continue
        actual_leaf = actual[path]
        if leaf.tensor is None or actual_leaf.tensor is None:
            are_literals = leaf.tensor is None and actual_leaf.tensor is None
            same = leaf == actual_leaf
            same = same or (not (returned and are_literals) and _same_number(leaf, actual_leaf, before, after))
            same = same or _same_device(leaf, actual_leaf, path)
            errors[path] = (0.0 if same else math.inf), 0.0
        else:
            old, new = before[leaf.tensor], after[actual_leaf.tensor]
            source = sources.get(actual_leaf.tensor, Source())
            allowed, atol = allowed_for(new, source, tolerances, old.noise)
            forgiven = 0.0
            default = tolerances.scale * tolerances.default(coarser(source.dtype, new.dtype))
            if scale is not None and not is_exact(new.dtype):
                excused = source.excused
                # what is computed from a negligible result may be of any size: it is forgiven as little as any other
                if excused and actual_leaf.tensor not in negligible:
                    excused = min(excused, min(3 * allowed, _EXCUSED * default) * min(rms(old), rms(new)))
                rounding = forgiven_rounding(new, scale, 3 * min(allowed, default), cancels=cancels)
                forgiven = atol + max(rounding, excused)
            errors[path] = difference(old, new, atol=forgiven, allowed=allowed), allowed
    return errors | dict.fromkeys(lacking, (math.inf, 0.0))  # last: another dtype of the results says more


def _same_device(baseline: Leaf, actual: Leaf, path: str) -> bool:
    """Whether two literals differ in nothing but the devices that they name."""
    if baseline.literal is None or actual.literal is None:
        return False
    return same_but_for_devices(baseline.literal, actual.literal, path)


def _same_number(
    baseline: Leaf, actual: Leaf, before: Mapping[str, TensorRecord], after: Mapping[str, TensorRecord]
) -> bool:
    """Whether 1 became 1.0, or 0.5 became a default: integers and defaults are literals, floats are tensors."""
    number = _number(baseline, before)
    return number is not None and number == _number(actual, after)


def _number(leaf: Leaf, table: Mapping[str, TensorRecord]) -> float | None:
    if leaf.tensor is None:
        text = str(leaf.literal)
        for kind in (int, float):  # an integer may have more digits than a float holds
            with contextlib.suppress(ValueError):
                if text == repr(number := kind(text)):  # "007" and "1_0" are texts
                    return number
        return None
    record = table[leaf.tensor]
    is_number = (record.dtype, record.shape) == ("float64", ()) and record.sketch.size and not record.value_fingerprints
    return float(record.sketch[0]) if is_number else None


def worst(errors: Mapping[str, tuple[float, float]]) -> tuple[float, float, str]:
    """(error, tolerance, path) of the leaf with the largest error for its tolerance, zero if there is none."""

    def excess(path: str) -> float:
        error, allowed = errors[path]
        return error / allowed if allowed else (math.inf if error else 0.0)

    if not errors:
        return 0.0, 0.0, ""
    path = max(errors, key=excess)
    return (*errors[path], path)


def forgiven_rounding(record: TensorRecord, scale: float, most: float, *, cancels: bool) -> float:
    """How much of a difference may be rounding of inputs of size `scale`: all of a result that is no larger than that.

    For a larger result, or one that never `cancels`, at most a part of it, as a relative difference.
    """
    rounding = ROUNDING * scale
    if cancels and is_mere_rounding(record, scale):
        return 4 * rounding
    return min(rounding, most * rms(record))


def mismatch(
    baseline: Leaf | None, actual: Leaf | None, before: Mapping[str, TensorRecord], after: Mapping[str, TensorRecord]
) -> tuple[str, str]:
    """Describe two leaves that cannot be subtracted, in two short texts that differ."""
    texts = _description(baseline, before), _description(actual, after)
    if texts[0] != texts[1]:
        return texts
    if baseline is None or actual is None or baseline.tensor is None or actual.tensor is None:
        return texts
    return _contents(before[baseline.tensor], after[actual.tensor])


def _description(leaf: Leaf | None, table: Mapping[str, TensorRecord]) -> str:
    if leaf is None:
        return "absent"
    if leaf.tensor is None:
        return str(leaf.literal)
    return table[leaf.tensor].dtype_and_shape


def _contents(baseline: TensorRecord, actual: TensorRecord) -> tuple[str, str]:
    """What two tensors of one shape hold: how many NaN, infinities and giants, and how large the other values are."""
    sizes = apart(rms(baseline), rms(actual))
    texts = []
    for record, size in zip((baseline, actual), sizes, strict=True):
        counts = {
            kind: f"{count} of {record.elements} values are" for kind, (count, _) in record.value_fingerprints.items()
        }
        for kind in (INTEGERS, COMPONENTS):
            counts.pop(kind, None)
        large = counts.pop(LARGE_INTEGERS, None)
        exceptional = [f"{count} {_KINDS.get(kind, f'about {kind}')}" for kind, count in counts.items()]
        rest = f"rms {size}" if rms(record) else "zero"
        rest = f"the others {rest}" if exceptional else rest
        texts.append(", ".join([*exceptional, rest, *([f"{large} at least 2**53 in magnitude"] if large else [])]))
    if texts[0] != texts[1]:
        return texts[0], texts[1]
    before, after = baseline.value_fingerprints, actual.value_fingerprints
    if before.get(COMPONENTS) != after.get(COMPONENTS):
        return texts[0], f"{texts[1]}, in components of other shapes"
    is_in_digits = any(before.get(kind) != after.get(kind) for kind in (INTEGERS, LARGE_INTEGERS))
    return texts[0], f"{texts[1]}, {'with other digits' if is_in_digits else 'in other places'}"
