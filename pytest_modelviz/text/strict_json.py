"""JSON out of untrusted files: whatever its readers cannot rely on is refused here.

No name stands twice, so that a reader and a reviewer see the same value. Every number fits into a float, and nothing is
nested so deeply that Python gives up on it. How many values there are is bounded by a look at the bytes, before any of
them takes memory: `[]` is two bytes in a file, and a hundred once it is read.
"""

import collections
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

# What JSON holds. Sequences and mappings rather than lists and dicts: a dict[str, str] is an object of JSON, too.
JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
JsonObject: TypeAlias = Mapping[str, JsonValue]

MOST_VALUES = 3_000_000  # a summary of a hundred thousand modules has two million
_MOST_DEPTH = 64
_CONTAINERS = (dict, list)  # as the parser makes them
_MOST_DIGITS = 300  # of an integer: with more it does not fit into a float, and with 4,301 into no int of Python's


class TooManyValuesError(ValueError):
    """There are more values than the reader has room for."""


def parse_json(data: bytes | str, *, most_values: int = MOST_VALUES) -> Any:
    """Parse JSON strictly.

    Args:
        data: The text; bytes are UTF-8.
        most_values: How many values there may be, at most.

    Raises:
        TooManyValuesError: There are more values; none of them was read.
        ValueError: It is no JSON, or uses what JSON allows and its readers do not.
        RecursionError: It is nested more deeply than the parser can follow.

    """
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    count = count_values(data)
    if count > most_values:
        raise TooManyValuesError(f"it has up to {count} values, more than the {most_values} that are read")
    value = json.loads(
        data.decode("utf-8"),
        object_pairs_hook=_unique,
        parse_constant=_refuse_constant,
        parse_float=_finite,
        parse_int=_integer,
    )
    _require_depth(value)
    return value


def count_values(data: bytes) -> int:
    """An upper bound of the number of values in some JSON; brackets and commas in texts count as well."""
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        counts = collections.Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"the name {twice[:80]!r} stands twice in one object")
    return made


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"the number {text[:40]}... has {len(text)} digits")
    return int(text)


def _require_depth(value: Any) -> None:
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(_MOST_DEPTH + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in _CONTAINERS
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {_MOST_DEPTH} levels deep")
