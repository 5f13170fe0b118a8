"""Typed access to the facts of a capture: those of a baseline may hold anything.

A value of another type raises UnreadableBaselineError.
"""

import math
from collections.abc import Mapping, Sequence

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.text.strict_json import JsonObject, JsonValue


def rows(facts: JsonObject, key: str) -> dict[str, JsonObject]:
    """A table with a row for each name."""
    table = facts.get(key)
    if not isinstance(table, Mapping):
        raise UnreadableBaselineError(f"it does not list {key}")
    table_rows = {name: row for name, row in table.items() if isinstance(row, Mapping)}
    if len(table_rows) != len(table):
        raise UnreadableBaselineError(f"it does not list {key}")
    return table_rows


def items(facts: JsonObject, key: str) -> Sequence[JsonValue]:
    """A list."""
    values = facts.get(key)
    if not isinstance(values, (list, tuple)):
        raise UnreadableBaselineError(f"it does not list {key}")
    return values


def number(value: JsonValue) -> float:
    """A number; NaN for what is none, or an integer that no float holds."""
    try:
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.nan
