"""Optimisers and their schedulers as plain data: classes, options, and which parameters each group holds.

The recorder makes it, a capture holds it as JSON, and two of them are compared. It holds no tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.text.strict_json import JsonObject, JsonValue
from pytest_modelviz.views.training_curve.records import MOST_STEPS

Option: TypeAlias = JsonValue
Options: TypeAlias = Mapping[str, Option]

T = TypeVar("T")


@dataclass(frozen=True)
class ParameterGroup:
    """One group: its options, and its parameters' names, or what they are where the model does not name them."""

    options: Options
    parameters: tuple[str, ...]

    @classmethod
    def from_json(cls, stored: JsonValue) -> ParameterGroup:
        parameters = _member(stored, "parameters", list)
        if not all(isinstance(name, str) for name in parameters):
            raise _damage("parameters")
        return cls(_options(stored), tuple(parameters))


@dataclass(frozen=True)
class SchedulerRecord:
    """A scheduler: its class and its options; those of the schedulers that it is made of are nested in them.

    `defaults` are those of torch that turn an option off.
    """

    class_name: str
    options: Options
    defaults: Options = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: JsonValue) -> SchedulerRecord:
        return cls(_member(stored, "class", str), _options(stored), _defaults(stored))


@dataclass(frozen=True)
class OptimizerRecord:
    """An optimiser before the first step, under the name that the caller gave it ("" for one alone).

    `schedules` are the options that changed while it trained: "0.lr" (that of group 0) maps each step from which on a
    value held to that value; a step's value is the one that it began with. `defaults` are those of torch that turn an
    option off.
    """

    name: str
    class_name: str
    options: Options
    groups: tuple[ParameterGroup, ...]
    schedulers: tuple[SchedulerRecord, ...] = ()
    schedules: Mapping[str, Mapping[int, Option]] = field(default_factory=dict)
    defaults: Options = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """What `from_json` takes; keys are texts."""
        groups: list[JsonValue] = [
            {"options": group.options, "parameters": list(group.parameters)} for group in self.groups
        ]
        return {
            "name": self.name,
            "class": self.class_name,
            "options": self.options,
            "groups": groups,
            "defaults": self.defaults,
            "schedulers": [
                {"class": each.class_name, "options": each.options, "defaults": each.defaults}
                for each in self.schedulers
            ],
            "schedules": {
                key: {str(step): value for step, value in values.items()} for key, values in self.schedules.items()
            },
        }

    @classmethod
    def from_json(cls, stored: JsonValue) -> OptimizerRecord:
        """Raises UnreadableBaselineError for what `to_json` never makes."""
        stored_schedules = _member(stored, "schedules", dict)
        schedules = {key: _options(stored_schedules, key, "schedules") for key in stored_schedules}
        if not all(_is_step(step) for values in schedules.values() for step in values):
            raise _damage("schedules")
        return cls(
            _member(stored, "name", str),
            _member(stored, "class", str),
            _options(stored),
            tuple(map(ParameterGroup.from_json, _member(stored, "groups", list))),
            tuple(map(SchedulerRecord.from_json, _member(stored, "schedulers", list))),
            {key: {int(step): value for step, value in values.items()} for key, values in schedules.items()},
            _defaults(stored),
        )


def optimizers_from_json(stored: JsonValue) -> tuple[OptimizerRecord, ...] | None:
    """The optimisers of a stored training; None where none was given. Raises UnreadableBaselineError."""
    if stored is None:
        return None
    if not isinstance(stored, list):
        raise UnreadableBaselineError("its optimizer facts are damaged")
    return tuple(map(OptimizerRecord.from_json, stored))


def _damage(key: str) -> UnreadableBaselineError:
    return UnreadableBaselineError(f"its optimizer facts are damaged: {key}")


def _member(stored: JsonValue, key: str, kind: type[T], known_as: str = "") -> T:
    value = stored.get(key) if isinstance(stored, Mapping) else None
    if not isinstance(value, kind):
        raise _damage(known_as or key)
    return value


def _options(stored: JsonValue, key: str = "options", known_as: str = "") -> Options:
    options: JsonObject = _member(stored, key, dict, known_as)
    if any(isinstance(value, float) and not math.isfinite(value) for value in options.values()):
        raise _damage("options")
    return options


def _defaults(stored: JsonValue) -> Options:
    """Earlier versions did not record them."""
    return _options(stored, "defaults") if isinstance(stored, Mapping) and "defaults" in stored else {}


def _is_step(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_STEPS)) and text == str(int(text))
