"""Whether the text of a baseline agrees with its arrays.

A reviewer reads the text, and the comparison reads the arrays: if they contradict each other, one of them was edited.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pytest_modelviz.compare.texts import same_nested
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.norms import norm
from pytest_modelviz.records.tensors import NATIVE_WIDTH, WIDEST_SKETCH, TensorRecord

_TEXT_ERROR = 1e-2  # relative error of a number that is written with three digits
_UNSCALED = 1e150  # earlier versions wrote "inf" for what is larger, and 0 for what is smaller than its reciprocal
_NUMBER = r"-?(?:\d[\d.e+-]*|nan|inf)"
_NUMERAL = r"-?\d+(?:\.\d*)?(?:e[+-]\d+)?(?![\w.])"
_IN_TEXT = re.compile(rf"(?: mean ({_NUMERAL}))? rms ({_NUMERAL})")
_STATISTICS = re.compile(rf"(?: mean ({_NUMBER}))? rms ({_NUMBER})")


def require_rows(stored: Any, expected: Mapping[str, Any], subject: str) -> None:
    """Require that what a baseline says is what its arrays hold, row by row.

    Args:
        stored: a table out of the baseline's facts.
        expected: the same, made from the baseline's arrays.
        subject: what the rows are about, for the message.

    Raises:
        UnreadableBaselineError: a row differs; the message names the first.

    """
    if not isinstance(stored, Mapping):
        raise UnreadableBaselineError(f"it does not list its {subject}")
    for name in (*expected, *stored):
        if name not in stored or name not in expected or not same_nested(stored[name], expected[name], _same_value):
            raise contradiction(f"{subject} {str(name)[:80]!r}")


def contradiction(subject: str) -> UnreadableBaselineError:
    return UnreadableBaselineError(
        f"its text and its arrays disagree about {subject}: one of them was edited. Restore both from "
        f"version control, or record it anew"
    )


def is_rms_of(record: TensorRecord, text: Any) -> bool:
    """Whether `text` can be the root mean square of a sketched tensor, estimated from its sketch."""
    count = _value_count(record)
    if not count:
        return True
    estimate = norm(record.sketch) / math.sqrt(count)
    try:
        rms = float(text)
    except (TypeError, ValueError):
        return False
    if not (math.isfinite(rms) and math.isfinite(estimate)):
        return bool(record.value_fingerprints) or not estimate < _UNSCALED  # beyond what numbers hold
    if rms == 0.0 and estimate < 1 / _UNSCALED:
        return True
    return abs(rms - estimate) <= _TEXT_ERROR * estimate


def is_mean_of(record: TensorRecord, text: Any) -> bool:
    """Whether `text` can be the mean of a sketched tensor, which is known only if the sketch holds all values.

    That of others need not be stated (None): a comparison does not take it.
    """
    sketch = record.sketch.astype(np.float64)
    if not sketch.size or sketch.size != _value_count(record):
        return True
    try:
        mean = float(text)
    except (TypeError, ValueError):
        return False
    if not math.isfinite(mean):
        return True  # the sum of the lowest numbers of a mask is beyond single precision
    return abs(mean - float(sketch.mean())) <= _TEXT_ERROR * float(np.abs(sketch).max())


def _value_count(record: TensorRecord) -> int:
    """How many numbers a tensor has: as many as its sketch, unless that is as wide as sketches of more are."""
    return record.numbers if record.sketch.size in (WIDEST_SKETCH, NATIVE_WIDTH) else record.sketch.size


def agrees(text: str, described: Iterable[tuple[Sequence[str], TensorRecord | None]]) -> bool:
    """Whether a text consists of these descriptions, separated by "; ", each tensor's with its mean and rms.

    Args:
        text: a line of a baseline.
        described: for each description its possible wordings and, if it describes a tensor, the tensor's record.

    """
    position = 0
    for number, (wordings, record) in enumerate(described):
        if number and not text.startswith("; ", position):
            return False
        position += 2 if number else 0
        wording = next((wording for wording in wordings if text.startswith(wording, position)), None)
        if wording is None:
            return False
        position += len(wording)
        if record is not None and record.sketch.size:
            match = _STATISTICS.match(text, position)
            if match is None:
                return False
            position = match.end()
            if not (is_mean_of(record, match[1]) and is_rms_of(record, match[2])):
                return False
    return position == len(text)


def is_same_but_for_rounding(before: Any, after: Any) -> bool:
    """Whether two facts are equal except for the last of the few digits that numbers are written with."""
    if isinstance(before, Mapping) and isinstance(after, Mapping) and _has_moments(before) and _has_moments(after):
        moments = [(row["mean"], row["rms"]) for row in (before, after)]
        before, after = ({**row, "mean": None, "rms": None} for row in (before, after))
        return _same_moments(*moments) and is_same_but_for_rounding(before, after)
    return same_nested(before, after, _same_but_for_rounding, is_same_but_for_rounding)


def _same_but_for_rounding(before: Any, after: Any) -> bool:
    if isinstance(before, str) and isinstance(after, str):
        moments = _IN_TEXT.findall(before), _IN_TEXT.findall(after)
        return before == after or (
            _IN_TEXT.sub("", before) == _IN_TEXT.sub("", after) and all(map(_same_moments, *moments))
        )
    if isinstance(before, float) or isinstance(after, float):
        numbers = isinstance(before, (int, float)) and isinstance(after, (int, float))
        return numbers and _close(float(before), float(after))
    return _same_value(before, after)


def _same_value(before: Any, after: Any) -> bool:
    return type(before) is type(after) and bool(before == after)


def _has_moments(row: Mapping[str, Any]) -> bool:
    return all(isinstance(row.get(key), (int, float)) for key in ("mean", "rms"))


def _same_moments(before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Whether mean and root mean square agree: a mean of values that cancel is only as exact as these are."""
    if "" in (before[0], after[0]):  # not stated
        return bool(before[0] == after[0]) and _close(float(before[1]), float(after[1]))
    (old_mean, old_rms), (mean, rms) = map(float, before), map(float, after)
    return _close(old_rms, rms) and abs(old_mean - mean) <= _TEXT_ERROR * abs(rms) < math.inf


def _close(before: float, after: float) -> bool:
    return before == after or abs(before - after) <= _TEXT_ERROR * abs(after) < math.inf
