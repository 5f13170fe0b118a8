"""The results of one run, as results.json holds them."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_modelviz.records.check_result import CheckResult, totals_of
from pytest_modelviz.records.json_values import objects, optional, plain_record, required, texts
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.text.strict_json import JsonObject, JsonValue

SCHEMA = 1
_FOR_THE_RUN = ("device", "variant")  # of a check's result: the run has the one, the candidate says the other


@dataclass(frozen=True)
class RunFacts:
    """The circumstances of a run.

    `workers` counts its processes, `lost_workers` names those that died. `project` is the folder within the repository
    of the project that it belongs to, None where there is no repository. `commit`, `branch` and `dirty` say what is
    checked out there, and whether tracked files differ from it. `revisions` are the two that `modelviz diff` has
    compared, as people call them; a run has none. `tensorboard` names the folder of its event files, None where there
    are none.
    """

    id: str
    torch: str
    python: str
    platform: str
    device: str
    workers: int
    lost_workers: tuple[str, ...] = ()
    project: str | None = None
    commit: str | None = None
    branch: str | None = None
    dirty: bool | None = None
    revisions: tuple[str, ...] = ()
    tensorboard: str | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """The facts as a JSON object, without those that say nothing."""
        return {key: value for key, value in plain_record(self).items() if value not in (None, [])}

    @classmethod
    def from_json(cls, document: JsonObject) -> RunFacts:
        """What `to_json` of any version wrote; raises ValueError for what cannot be understood."""
        return cls(
            id=required(document, "id", str),
            torch=required(document, "torch", str),
            python=required(document, "python", str),
            platform=required(document, "platform", str),
            device=required(document, "device", str),
            workers=required(document, "workers", int),
            lost_workers=texts(document, "lost_workers"),
            project=optional(document, "project", str),
            commit=optional(document, "commit", str),
            branch=optional(document, "branch", str),
            dirty=optional(document, "dirty", bool),
            revisions=texts(document, "revisions"),
            tensorboard=optional(document, "tensorboard", str),
        )


@dataclass(frozen=True)
class RunResult:
    """A run and the results of its checks.

    `judged_files` are the test files of which it can say what tests they hold, `orphans` the baselines of other tests.
    """

    run: RunFacts
    checks: tuple[CheckResult, ...]
    judged_files: tuple[str, ...] = ()
    orphans: tuple[OrphanRecord, ...] = ()

    def to_json(self) -> dict[str, JsonValue]:
        """The document of results.json."""
        return {
            "schema": SCHEMA,
            "run": self.run.to_json(),
            "totals": totals_of(self.checks),
            "checks": [published_json(check) for check in self.checks],
            **({"judged_files": list(self.judged_files)} if self.judged_files else {}),
            **({"orphans": [orphan.to_json() for orphan in self.orphans]} if self.orphans else {}),
        }

    @classmethod
    def from_json(cls, document: JsonObject) -> RunResult:
        """What `to_json` of any version wrote; raises ValueError for what cannot be understood."""
        totals = required(document, "totals", dict)
        for status in totals:
            required(totals, status, int)
        required(document, "checks", list)
        return cls(
            run=RunFacts.from_json(required(document, "run", dict)),
            checks=tuple(CheckResult.from_json(row) for row in objects(document, "checks")),
            judged_files=texts(document, "judged_files"),
            orphans=tuple(OrphanRecord.from_json(row) for row in objects(document, "orphans")),
        )


def published_json(check: CheckResult) -> dict[str, JsonValue]:
    """A check as results.json holds it."""
    return {key: value for key, value in check.to_json().items() if key not in _FOR_THE_RUN}
