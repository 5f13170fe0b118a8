"""Numbers as they stand in files and over pictures, for people."""

from __future__ import annotations

import math

from pytest_modelviz.verdict import Verdict


def rounded(number: float, digits: int = 4) -> float | str:
    """Few digits are for people; what JSON has no number for is a word."""
    return float(f"{number:.{digits}g}") if math.isfinite(number) else str(number)


def told(verdict: Verdict | None) -> str:
    """The error that follows a picture's headline; nothing without a verdict."""
    return "" if verdict is None else f"   error {verdict.error:.2g}, allowed {verdict.tolerance:.2g}"
