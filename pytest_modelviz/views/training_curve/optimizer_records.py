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

    def to_json(self) -> JsonObject:
        return {"options": dict(self.options), "parameters": list(self.parameters)}

    @classmethod
    def from_json(cls, stored: JsonValue) -> ParameterGroup:
        parameters = _member(stored, "parameters", list)
        if not all(isinstance(name, str) for name in parameters):
            raise UnreadableBaselineError("its optimizer facts are damaged: parameters")
        return cls(_options(_member(stored, "options", dict)), tuple(parameters))


@dataclass(frozen=True)
class SchedulerRecord:
    """A scheduler: its class and its options; those of the schedulers that it is made of are nested in them."""

    class_name: str
    options: Options

    def to_json(self) -> JsonObject:
        return {"class": self.class_name, "options": dict(self.options)}

    @classmethod
    def from_json(cls, stored: JsonValue) -> SchedulerRecord:
        return cls(_member(stored, "class", str), _options(_member(stored, "options", dict)))


@dataclass(frozen=True)
class OptimizerRecord:
    """An optimiser before the first step, under the name that the caller gave it ("" for one alone).

    `schedules` are the options that changed while it trained: "0.lr" (that of group 0) maps each step from which on a
    value held to that value; a step's value is the one that it began with.
    """

    name: str
    class_name: str
    options: Options
    groups: tuple[ParameterGroup, ...]
    schedulers: tuple[SchedulerRecord, ...] = ()
    schedules: Mapping[str, Mapping[int, Option]] = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """What `from_json` takes; keys are texts."""
        return {
            "name": self.name,
            "class": self.class_name,
            "options": dict(self.options),
            "groups": [group.to_json() for group in self.groups],
            "schedulers": [scheduler.to_json() for scheduler in self.schedulers],
            "schedules": {
                key: {str(step): value for step, value in values.items()} for key, values in self.schedules.items()
            },
        }

    @classmethod
    def from_json(cls, stored: JsonValue) -> OptimizerRecord:
        """Raises UnreadableBaselineError for what `to_json` never makes."""
        schedules = {}
        for key, values in _member(stored, "schedules", dict).items():
            if not isinstance(values, dict) or not all(map(_is_step, values)):
                raise UnreadableBaselineError("its optimizer facts are damaged: schedules")
            schedules[key] = {int(step): value for step, value in _options(values).items()}
        return cls(
            _member(stored, "name", str),
            _member(stored, "class", str),
            _options(_member(stored, "options", dict)),
            tuple(ParameterGroup.from_json(group) for group in _member(stored, "groups", list)),
            tuple(SchedulerRecord.from_json(scheduler) for scheduler in _member(stored, "schedulers", list)),
            schedules,
        )


def optimizers_from_json(stored: JsonValue) -> tuple[OptimizerRecord, ...] | None:
    """The optimisers of a stored training; None where none was given. Raises UnreadableBaselineError."""
    if stored is None:
        return None
    if not isinstance(stored, list):
        raise UnreadableBaselineError("its optimizer facts are damaged")
    return tuple(OptimizerRecord.from_json(optimizer) for optimizer in stored)


def _member(stored: JsonValue, key: str, kind: type[T]) -> T:
    value = stored.get(key) if isinstance(stored, Mapping) else None
    if not isinstance(value, kind):
        raise UnreadableBaselineError(f"its optimizer facts are damaged: {key}")
    return value


def _is_step(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_STEPS)) and text == str(int(text))


def _options(stored: JsonObject) -> Options:
    for value in stored.values():
        if isinstance(value, float) and not math.isfinite(value):
            raise UnreadableBaselineError("its optimizer facts are damaged: options")
    return stored
