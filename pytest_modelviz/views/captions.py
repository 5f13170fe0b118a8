"""Labels and headlines of pictures, for people. Knows no torch."""

import math

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.facts import items
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.side_by_side import apart

INPUT_LABEL = "(input)"  # no layer can be called that


def error_caption(error: float, tolerance: float) -> str:
    """The error that follows a picture's headline: two numbers that never read the same where they differ."""
    size, allowed = apart(error, tolerance, 2)
    return f"   error {size}, allowed {allowed}"


def verdict_caption(verdict: Verdict | None) -> str:
    """The error of a whole check that follows a picture's headline; nothing without a verdict."""
    return "" if verdict is None else error_caption(verdict.error, verdict.tolerance)


def target_caption(capture: Capture) -> str:
    """The classes that an explanation is of."""
    return ", ".join(map(str, items({"targets": [], **capture.facts}, "targets"))) or "function"


def rounded(number: float, digits: int = 4) -> float | str:
    """Few digits are for people; what JSON has no number for is a word."""
    return float(f"{number:.{digits}g}") if math.isfinite(number) else str(number)
