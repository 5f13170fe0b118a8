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
from pytest_modelviz.trace import TensorRecord

_ESTIMATE = (
    2.0  # a sketch of 61 numbers gives the root mean square within a tenth or two, one of 251 within a twentieth
)
_NUMBER = r"-?(?:\d[\d.e+-]*|nan|inf)"
_STATISTICS = re.compile(rf" mean {_NUMBER} rms ({_NUMBER})")


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


def is_rms_of(record: TensorRecord, text: str | float) -> bool:
    """Whether a root mean square that is told can be that of a sketched tensor; where the sketch cannot say, it can."""
    sketch = record.sketches[0].astype(np.float64)
    if not sketch.size or not record.numel or sketch.size > record.numel or record.dtype.startswith("complex"):
        return True
    with np.errstate(over="ignore"):
        estimate = float(np.linalg.norm(sketch)) / math.sqrt(record.numel)
    try:
        rms = float(text)
    except (TypeError, ValueError):
        return False
    if not (math.isfinite(rms) and math.isfinite(estimate)):
        return True  # beyond what numbers hold; where the others are is compared
    return estimate / _ESTIMATE <= rms <= estimate * _ESTIMATE


def agrees(text: str, described: Iterable[tuple[Sequence[str], TensorRecord | None]]) -> bool:
    """Whether a text is made of these descriptions, "; " between them, each tensor's with its mean and rms or without.

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
        found = _STATISTICS.match(text, at) if record is not None else None
        if record is not None and found is not None:
            at = found.end()
            if not is_rms_of(record, found[1]):
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
