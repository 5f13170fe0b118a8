"""Numbers as facts hold them, for people. Knows no torch."""

from __future__ import annotations

import math


def rounded(number: float, digits: int = 4) -> float | str:
    """Few digits are for people; what JSON has no number for is a word."""
    return float(f"{number:.{digits}g}") if math.isfinite(number) else str(number)
