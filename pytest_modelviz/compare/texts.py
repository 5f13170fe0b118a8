"""Whether two texts of a configuration say the same: numbers that were computed have a few digits of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# A scale that was calibrated, or any other number that was computed in single precision, differs in its seventh digit
# between processors, and a little more where many were added up. What people write down differs by far more.
_RTOL = 1e-5
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d*)?(?:e[+-]\d+)?(?![\w.])")


def same_text(one: str, two: str) -> bool:
    """Whether two texts differ in nothing but the last digits of numbers.

    Whole numbers are equal or not: sizes, counts, and what somebody wrote as `10000.0`.
    """
    if one == two:
        return True
    if _NUMBER.split(one) != _NUMBER.split(two):
        return False
    return all(map(_close, _NUMBER.findall(one), _NUMBER.findall(two)))


def _close(one: str, two: str) -> bool:
    if one == two:
        return True
    first, second = float(one), float(two)
    if first.is_integer() and second.is_integer():
        return False
    return abs(first - second) <= _RTOL * max(abs(first), abs(second))


def same(one: Any, two: Any) -> bool:
    """The same of texts in nested lists and mappings."""
    if isinstance(one, str) and isinstance(two, str):
        return same_text(one, two)
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(same(item, two[key]) for key, item in one.items())
    if (
        isinstance(one, Sequence)
        and isinstance(two, Sequence)
        and not isinstance(one, str)
        and not isinstance(two, str)
    ):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)
