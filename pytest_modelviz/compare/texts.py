"""Whether two texts of a configuration say the same: numbers that were computed have a few digits of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# A scale that was calibrated, or any other number that was computed in single precision, differs between processors as
# its model's activations do: by up to 3e-6 in ResNets and MobileNets of int8, and activations part by up to 7e-6.
_RTOL = 5e-5
_COMPUTED = 7  # so many digits nobody writes by hand: shorter numbers, such as a decay of 0.9999, are equal or not
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d*)?(?:e[+-]\d+)?(?![\w.])")


def same_text(one: str, two: str) -> bool:
    """Whether two texts differ in nothing but the last digits of numbers that were computed."""
    if one == two:
        return True
    if _NUMBER.split(one) != _NUMBER.split(two):
        return False
    return all(map(_close, _NUMBER.findall(one), _NUMBER.findall(two)))


def _close(one: str, two: str) -> bool:
    if one == two:
        return True
    first, second = float(one), float(two)
    if max(_digits(one), _digits(two)) < _COMPUTED or (first.is_integer() and second.is_integer()):
        return False
    return abs(first - second) <= _RTOL * max(abs(first), abs(second))


def _digits(number: str) -> int:
    """How many digits of a number mean something."""
    return len(number.lstrip("+-").partition("e")[0].replace(".", "").lstrip("0"))


def same(one: Any, two: Any) -> bool:
    """The same of texts in nested lists and mappings."""
    if isinstance(one, str) and isinstance(two, str):
        return same_text(one, two)
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(same(item, two[key]) for key, item in one.items())
    if isinstance(one, (list, tuple)) and isinstance(two, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)
