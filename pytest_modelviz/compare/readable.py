"""What a baseline says to people agrees with what is compared of it.

A reviewer reads the text of a baseline, and the comparison its arrays: if they contradict each other, nobody has
recorded that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.trace import TensorRecord

_DIGITS = 1e-2  # of a number of which three are told
_WIDTH = 61  # of the narrowest sketch
_PARTS = 8.0  # root of the mean size of a nested tensor's parts, of which there may be as many as numbers elsewhere
_FACTOR = 2.0  # a sketch of 61 numbers gives a root mean square within a tenth or two
_NUMBER = r"-?(?:\d[\d.e+-]*|nan|inf)"
_NUMERAL = r"-?\d+(?:\.\d*)?(?:e[+-]\d+)?(?![\w.])"
_IN_TEXT = re.compile(rf"(?<= mean )({_NUMERAL}) rms ({_NUMERAL})")
_STATISTICS = re.compile(rf" mean ({_NUMBER}) rms ({_NUMBER})")


def require_rows(stored: Any, expected: Mapping[str, Any], what: str) -> None:
    """Compare what a baseline says with what follows from its arrays, row by row.

    Args:
        stored: a table out of the baseline's facts.
        expected: the same, made from the baseline's arrays.
        what: what the rows are about, for the message.

    Raises:
        UnreadableBaselineError: it names the first row that differs.

    """
    if not isinstance(stored, Mapping):
        raise UnreadableBaselineError(f"it does not list its {what}")
    for name in (*expected, *stored):
        if name not in stored or name not in expected or not _same(stored[name], expected[name]):
            raise contradiction(f"{what} {str(name)[:80]!r}")


def contradiction(what: str) -> UnreadableBaselineError:
    return UnreadableBaselineError(
        f"what its text says of {what} is not what its arrays hold: one of them was edited. Restore both from version "
        f"control, or record it anew"
    )


def is_rms_of(record: TensorRecord, text: Any, *, measured: bool = False) -> bool:
    """Whether a root mean square that is told is that of a sketched tensor; where the sketch cannot say, it may be.

    What is told of activations was taken from the sketch, what is told of kernels was `measured` on all of them.
    """
    sketch = record.sketches[0].astype(np.float64)
    if not sketch.size or not record.numel or sketch.size > record.numel or record.dtype.startswith("complex"):
        return True
    if (measured and record.places) or (len(record.shape) == 1 and sketch.size < min(record.numel, _WIDTH)):
        return True  # how many numbers there are is not known: of nested tensors the shape counts the parts
    with np.errstate(over="ignore"):
        estimate = float(np.linalg.norm(sketch)) / math.sqrt(record.numel)
    try:
        rms = float(text)
    except (TypeError, ValueError):
        return False
    if not (math.isfinite(rms) and math.isfinite(estimate)):
        return bool(record.places) or not math.isfinite(estimate)  # beyond what numbers hold
    if measured and sketch.size < record.numel:
        return rms >= estimate / _FACTOR  # numbers may cancel out in a sketch
    least = estimate / _PARTS if len(record.shape) == 1 and record.numel > _WIDTH else estimate
    return least * (1 - _DIGITS) <= rms <= estimate * (1 + _DIGITS)


def is_mean_of(record: TensorRecord, text: Any) -> bool:
    """The same of a mean; only where the sketch is the tensor itself it says what that is."""
    sketch = record.sketches[0].astype(np.float64)
    if not sketch.size or sketch.size != record.numel or record.places or record.dtype.startswith("complex"):
        return True
    try:
        mean = float(text)
    except (TypeError, ValueError):
        return False
    if not math.isfinite(mean):
        return True  # the sum of the lowest numbers of a mask is beyond single precision
    return abs(mean - float(sketch.mean())) <= _DIGITS * float(np.abs(sketch).max())


def agrees(text: str, described: Iterable[tuple[Sequence[str], TensorRecord | None]]) -> bool:
    """Whether a text is made of these descriptions, "; " between them, each tensor's with its mean and rms.

    Args:
        text: a line of a baseline.
        described: what may be said of each part and, of a tensor that is described here, its record.

    """
    at = 0
    for number, (parts, record) in enumerate(described):
        if number and not text.startswith("; ", at):
            return False
        at += 2 if number else 0
        part = next((part for part in parts if text.startswith(part, at)), None)
        if part is None:
            return False
        at += len(part)
        if record is not None and record.sketch.size:
            found = _STATISTICS.match(text, at)
            if found is None:
                return False
            at = found.end()
            if not (is_mean_of(record, found[1]) and is_rms_of(record, found[2])):
                return False
    return at == len(text)


def _same(stored: Any, expected: Any) -> bool:
    """Equal, whether they have been through JSON or not."""
    if isinstance(expected, Mapping):
        return (
            isinstance(stored, Mapping)
            and stored.keys() == expected.keys()
            and all(_same(stored[key], item) for key, item in expected.items())
        )
    if isinstance(expected, (list, tuple)):
        return isinstance(stored, (list, tuple)) and len(stored) == len(expected) and all(map(_same, stored, expected))
    return type(stored) is type(expected) and bool(stored == expected)


def is_same_but_for_rounding(before: Any, after: Any) -> bool:
    """Whether two facts say the same, but for the last of the few digits in which people are told numbers."""
    if isinstance(before, str) and isinstance(after, str):
        told = _IN_TEXT.findall(before), _IN_TEXT.findall(after)
        return before == after or (
            _IN_TEXT.sub("", before) == _IN_TEXT.sub("", after) and all(map(_same_moments, *told))
        )
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        left = after.keys() - ({"mean", "rms"} if _has_moments(before) and _has_moments(after) else set())
        return (
            before.keys() == after.keys()
            and all(is_same_but_for_rounding(before[key], after[key]) for key in left)
            and (left == after.keys() or _same_moments((before["mean"], before["rms"]), (after["mean"], after["rms"])))
        )
    if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        return len(before) == len(after) and all(map(is_same_but_for_rounding, before, after))
    if isinstance(before, float) or isinstance(after, float):
        numbers = isinstance(before, (int, float)) and isinstance(after, (int, float))
        return numbers and _close(float(before), float(after))
    return type(before) is type(after) and bool(before == after)


def _has_moments(row: Mapping[str, Any]) -> bool:
    return all(isinstance(row.get(key), (int, float)) for key in ("mean", "rms"))


def _same_moments(before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Mean and root mean square: a mean that cancels out has no digits beyond those of what cancels."""
    (mean, rms), (other, size) = map(float, before), map(float, after)
    return _close(rms, size) and abs(mean - other) <= _DIGITS * abs(size) < math.inf


def _close(before: float, after: float) -> bool:
    return before == after or abs(before - after) <= _DIGITS * abs(after) < math.inf
