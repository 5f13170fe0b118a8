"""Numbers as they stand in files and over pictures, for people."""

from __future__ import annotations

import math

from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.side_by_side import apart


def rounded(number: float, digits: int = 4) -> float | str:
    """Few digits are for people; what JSON has no number for is a word."""
    return float(f"{number:.{digits}g}") if math.isfinite(number) else str(number)


def told(verdict: Verdict | None) -> str:
    """The error that follows a picture's headline; nothing without a verdict."""
    return "" if verdict is None else error_text(verdict.error, verdict.tolerance)


def error_text(error: float, tolerance: float) -> str:
    """What is said over a picture: two numbers that never read the same where they differ."""
    size, allowed = apart(error, tolerance, 2)
    return f"   error {size}, allowed {allowed}"
