"""Numbers as they stand in files for people."""

from __future__ import annotations

import math


def rounded(number: float) -> float | str:
    """Four digits are for people; what JSON has no number for is a word."""
    return float(f"{number:.4g}") if math.isfinite(number) else str(number)
