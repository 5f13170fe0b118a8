"""The result of one check: its status, and everything that results.json holds about it.

Knows neither how a check is made nor how its result is displayed.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pytest_modelviz.records.effect import OutputEffect
from pytest_modelviz.records.json_values import (
    nullable,
    nullable_number,
    optional,
    optional_number,
    plain_number,
    plain_record,
    required,
    texts,
)
from pytest_modelviz.records.verdict import Cause, Divergence, Verdict
from pytest_modelviz.text.strict_json import JsonObject, JsonValue


class Status(str, enum.Enum):
    """The outcome of a check."""

    MATCH = "match"
    DRIFT = "drift"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    UNSTABLE = "unstable"
    RECORDED = "recorded"
    NOT_COMPARED = "not_compared"

    __str__ = str.__str__

    @property
    def fails(self) -> bool:
        """Whether a test with such a check fails."""
        return self not in (Status.MATCH, Status.RECORDED, Status.NOT_COMPARED)

    @property
    def is_acceptable(self) -> bool:
        """Whether a person may accept the capture as the new baseline."""
        return self in (Status.DRIFT, Status.MISSING)


@dataclass(frozen=True)
class LayerCounts:
    """How many layers were compared, and how many of them drifted."""

    compared: int = 0
    drifted: int = 0


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of one check of one test.

    `error` and `tolerance` are relative, and None where there is no such number. `baseline` and `candidate` are paths
    as people write them, the latter None where nothing was stored. `accept_command` is the command in the message.
    `former_nodeid` is the id that the baseline was recorded under, if that is not the check's. `expected_failure` says
    that the check has failed in a test that is expected to fail (xfail). `output` says what the drift does to the
    model's output, None where that is not known; `location` is the file and line of the call that made the check,
    `details` the file with all that was found out. `compared_with` is the path of the newer baseline in results of
    `modelviz diff`, which compares two, and None in those of a run. `variant` and `device`
    are for the run itself: results.json leaves them out.
    """

    nodeid: str
    view: str
    name: str
    variant: str | None = None
    status: Status
    seconds: float = 0.0
    message: str = ""
    layers: LayerCounts = LayerCounts()
    error: float | None = None
    tolerance: float | None = None
    first_divergence: Divergence | None = None
    cause: Cause | None = None
    environment_changes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    output: OutputEffect | None = None
    location: tuple[str, int] | None = None
    details: str | None = None
    device: str = "cpu"
    baseline: str
    candidate: str | None = None
    candidate_sha256: str | None = None
    baseline_sha256: str | None = None
    tensorboard_tags: tuple[str, ...] = ()
    accept_command: str | None = None
    former_nodeid: str | None = None
    expected_failure: bool = False
    compared_with: str | None = None

    @property
    def has_notes(self) -> bool:
        """Whether it matched, and its message has notes: on what was not compared, or differs all the same."""
        return self.status is Status.MATCH and "\n  note      " in self.message

    def with_verdict(self, verdict: Verdict) -> CheckResult:
        """The result with the outcome of a comparison."""
        return replace(
            self,
            layers=LayerCounts(verdict.compared, verdict.drifted),
            error=plain_number(verdict.error),
            tolerance=plain_number(verdict.tolerance),
            first_divergence=verdict.first,
            cause=None if verdict.cause is None else Cause(verdict.cause),
            environment_changes=verdict.environment_changes,
            output=verdict.output,
        )

    def to_json(self) -> dict[str, JsonValue]:
        """The result as a JSON object, its keys in the order of the fields."""
        document = plain_record(self)
        if self.first_divergence is not None:
            document["first_divergence"] = plain_record(self.first_divergence, class_name="class")
        command, former = document.pop("accept_command"), document.pop("former_nodeid")
        document["commands"] = {} if command is None else {"accept": command}
        if former is not None:
            document["former_nodeid"] = former
        if not self.expected_failure:
            del document["expected_failure"]
        if self.compared_with is None:
            del document["compared_with"]
        return document

    @classmethod
    def from_json(cls, document: JsonObject) -> CheckResult:
        """The result that `to_json` of any version wrote; raises ValueError for what cannot be understood."""
        layers, first = optional(document, "layers", dict) or {}, nullable(document, "first_divergence", dict)
        cause, command = nullable(document, "cause", str), (optional(document, "commands", dict) or {}).get("accept")
        changes = optional(document, "environment_changes", dict) or {}
        output = optional(document, "output", dict)
        return cls(
            nodeid=required(document, "nodeid", str),
            view=required(document, "view", str),
            name=required(document, "name", str),
            status=Status(required(document, "status", str)),
            baseline=required(document, "baseline", str),
            variant=optional(document, "variant", str),
            seconds=optional_number(document, "seconds") or 0.0,
            message=required(document, "message", str),
            layers=LayerCounts(optional(layers, "compared", int) or 0, optional(layers, "drifted", int) or 0),
            error=nullable_number(document, "error"),
            tolerance=nullable_number(document, "tolerance"),
            first_divergence=None if first is None else _divergence(first),
            cause=None if cause is None else Cause(cause),
            environment_changes={key: _pair(texts(changes, key)) for key in changes},
            output=None if output is None else OutputEffect.from_json(output),
            location=_location(optional(document, "location", list)),
            details=optional(document, "details", str),
            device=optional(document, "device", str) or "cpu",
            candidate=nullable(document, "candidate", str),
            candidate_sha256=optional(document, "candidate_sha256", str),
            baseline_sha256=nullable(document, "baseline_sha256", str),
            tensorboard_tags=texts(document, "tensorboard_tags"),
            accept_command=command if isinstance(command, str) else None,
            former_nodeid=optional(document, "former_nodeid", str),
            expected_failure=optional(document, "expected_failure", bool) or False,
            compared_with=optional(document, "compared_with", str),
        )


def totals_of(results: Iterable[CheckResult]) -> dict[str, int]:
    """How many checks have each status."""
    counts = dict.fromkeys((status.value for status in Status), 0)
    for result in results:
        counts[result.status.value] += 1
    return counts


def _divergence(first: JsonObject) -> Divergence:
    error, tolerance = optional_number(first, "error"), optional_number(first, "tolerance")
    return Divergence(
        required(first, "layer", str),
        optional(first, "class", str) or "",
        optional(first, "call", int) or 0,
        math.inf if error is None else error,
        math.inf if tolerance is None else tolerance,
    )


def _location(value: list[JsonValue] | None) -> tuple[str, int] | None:
    if value is None:
        return None
    file, line = value
    if not isinstance(file, str) or not isinstance(line, int) or isinstance(line, bool):
        raise ValueError("its 'location' is no file and line")
    return file, line


def _pair(values: tuple[str, ...]) -> tuple[str, str]:
    before, after = values
    return before, after
