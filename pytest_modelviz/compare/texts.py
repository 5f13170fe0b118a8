"""Whether two texts of a configuration say the same: numbers that were computed have a few digits of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pytest_modelviz.compare.volatile import in_one_order

# A scale that was calibrated, or any other number that was computed in single precision, differs between processors as
# its model's activations do: by up to 3e-6 in ResNets and MobileNets of int8, and activations part by up to 7e-6.
_RTOL = 5e-5
_COMPUTED = 7  # so many digits nobody writes by hand: shorter numbers, such as a decay of 0.9999, are equal or not
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d*)?(?:e[+-]\d+)?(?![\w.])")


def same_text(before: str, after: str) -> bool:
    """Whether two texts differ in nothing but the last digits of numbers that were computed."""
    if before == after:
        return True
    if _NUMBER.split(before) != _NUMBER.split(after):
        return False
    return all(map(_close, _NUMBER.findall(before), _NUMBER.findall(after)))


def same_setting(before: str, after: str) -> bool:
    """The same of a module's configuration, where a list of texts may have been a set, which has no order."""
    return same_text(before, after) or same_text(in_one_order(before), in_one_order(after))


def _close(before: str, after: str) -> bool:
    if before == after:
        return True
    first, second = float(before), float(after)
    if max(_digits(before), _digits(after)) < _COMPUTED or (first.is_integer() and second.is_integer()):
        return False
    return abs(first - second) <= _RTOL * max(abs(first), abs(second))


def _digits(number: str) -> int:
    """How many digits of a number mean something."""
    return len(number.lstrip("+-").partition("e")[0].replace(".", "").lstrip("0"))


def same(before: Any, after: Any) -> bool:
    """The same of texts in nested lists and mappings."""
    if isinstance(before, str) and isinstance(after, str):
        return same_text(before, after)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return before.keys() == after.keys() and all(same(item, after[key]) for key, item in before.items())
    if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        return len(before) == len(after) and all(map(same, before, after))
    return bool(before == after)
