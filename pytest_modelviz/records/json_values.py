"""Records as JSON values, and typed access to the values of a JSON document, which may hold anything.

A value of another type raises ValueError. Keys that are not asked for are ignored: later versions may add some.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import numbers
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from pytest_modelviz.text.strict_json import JsonObject, JsonValue

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


def required(document: JsonObject, key: str, kind: type[T]) -> T:
    """The value of a key that must be there."""
    value = document.get(key)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"its {key!r} is not of the type {kind.__name__}")
    return value


def optional(document: JsonObject, key: str, kind: type[T]) -> T | None:
    """The value of a key that may be null, or may not be there at all."""
    return None if document.get(key) is None else required(document, key, kind)


def nullable(document: JsonObject, key: str, kind: type[T]) -> T | None:
    """The value of a key that must be there and may be null."""
    if key not in document:
        raise ValueError(f"it has no {key!r}")
    return optional(document, key, kind)


def optional_number(document: JsonObject, key: str) -> float | None:
    """A number that may be null, as what was infinite is, or may not be there at all."""
    value = document.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        raise ValueError(f"its {key!r} is no number")
    return value


def nullable_number(document: JsonObject, key: str) -> float | None:
    """A number that must be there and may be null."""
    if key not in document:
        raise ValueError(f"it has no {key!r}")
    return optional_number(document, key)


def texts(document: JsonObject, key: str) -> tuple[str, ...]:
    """A list of texts, empty where it is not there."""
    values = optional(document, key, list) or []
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"its {key!r} is no list of texts")
    return tuple(values)


def objects(document: JsonObject, key: str) -> list[dict[str, JsonValue]]:
    """A list of objects, empty where it is not there."""
    values = optional(document, key, list) or []
    if not all(isinstance(value, dict) for value in values):
        raise ValueError(f"its {key!r} is no list of objects")
    return values


def plain_record(record: DataclassInstance, **keys: str) -> dict[str, JsonValue]:
    """A dataclass as JSON can hold it, an object of its fields; `keys` are those with other names than fields."""
    names = [field.name for field in dataclasses.fields(record)]
    return {keys.get(name, name): plain(getattr(record, name)) for name in names}


def plain(value: object) -> JsonValue:
    """A record as JSON can hold it: dataclasses as objects of their fields, members of enumerations as their values."""
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain_record(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, numbers.Integral):  # of numpy, as of its floats that are none of Python's
        return int(value)
    if isinstance(value, numbers.Real):
        return plain_number(float(value))
    raise TypeError(f"a {type(value).__name__} is nothing that JSON holds")


def plain_number(value: float) -> float | None:
    """A number as JSON can hold it: None stands for what is infinite or not a number."""
    return float(value) if math.isfinite(value) else None  # a float of numpy's would warn where it is divided
