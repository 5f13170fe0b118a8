"""Configuration texts compared: the last digits of numbers that were computed may differ."""

import math
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from pytest_modelviz.compare.bracketed import in_one_order

Predicate = Callable[[Any, Any], bool]

# A calibrated scale, or any other number that was computed in single precision, differs between processors as
# activations do: by up to 3e-6 in ResNets and MobileNets of int8, where activations differ by up to 7e-6.
_RTOL = 5e-5
_COMPUTED_DIGITS = 7  # nobody writes so many by hand
_ROUND_RTOL = 5e-7  # of a number with fewer, such as a decay of 0.9999: it may be computed and happen to be round
_NUMBER = re.compile(r"(?<![\w.])([+-]?\d+(?:\.\d*)?(?:e[+-]\d+)?)(?![\w.])")  # every second piece of a split text


def same_text(before: str, after: str) -> bool:
    """Whether two texts differ in nothing but the last digits of computed numbers.

    Only the actual text, `after`, says whether a number was computed and how far the baseline's may be off.
    """
    if before == after:
        return True
    old, new = _NUMBER.split(before), _NUMBER.split(after)
    return old[::2] == new[::2] and same_numbers(old[1::2], new[1::2])


def same_setting(before: str, after: str) -> bool:
    """The same of a module's setting, where a list of texts may have been a set, which has no order."""
    return same_text(before, after) or same_text(in_one_order(before), in_one_order(after))


def same_numbers(before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether numbers in text form are the same but for the last digits of those that were computed."""
    return len(before) == len(after) and all(map(_close, before, after))


def without_numbers(value: Any, numbers: list[str]) -> Hashable:
    """A key that all nested lists and mappings share that differ in nothing but the numbers in their texts.

    Two values are the `same` where their keys are equal and so are the numbers, which are appended to `numbers`.
    """
    if isinstance(value, str):
        pieces = _NUMBER.split(value)
        numbers += pieces[1::2]
        return tuple(pieces[::2])
    if isinstance(value, Mapping):
        return dict, *((key, without_numbers(value[key], numbers)) for key in sorted(value))
    if isinstance(value, (list, tuple)):
        return list, *(without_numbers(item, numbers) for item in value)
    return value  # type: ignore[no-any-return]  # whatever else JSON holds


def _close(before: str, after: str) -> bool:
    if before == after:
        return True
    if after.lstrip("+-").isdecimal():
        return False  # it was counted
    old, new = float(before), float(after)
    allowed = _RTOL if _digits(after) >= _COMPUTED_DIGITS and not new.is_integer() else _ROUND_RTOL
    return abs(old - new) <= allowed * abs(new) < math.inf


def _digits(number: str) -> int:
    """How many significant digits a number has."""
    return len(number.lstrip("+-").partition("e")[0].replace(".", "").lstrip("0"))


def same(before: Any, after: Any) -> bool:
    """The same of texts in nested lists and mappings."""
    return same_nested(before, after, _same_item)


def same_nested(before: Any, after: Any, is_same: Predicate, is_same_nested: Predicate | None = None) -> bool:
    """Whether nested lists and mappings have equal keys and lengths, and all else in them `is_same`.

    `is_same_nested` compares what is in them, if that is not done as here.
    """
    within = is_same_nested or (lambda old, new: same_nested(old, new, is_same))
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return before.keys() == after.keys() and all(within(item, after[key]) for key, item in before.items())
    if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        return len(before) == len(after) and all(map(within, before, after))
    return is_same(before, after)


def _same_item(before: Any, after: Any) -> bool:
    return same_text(before, after) if isinstance(before, str) and isinstance(after, str) else bool(before == after)
