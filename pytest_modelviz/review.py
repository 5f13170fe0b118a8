"""The results of a run, reviewed: what can be accepted, rejected or pruned, and doing so. No torch, no pytest.

Nothing in a results folder is trusted, it may come from anybody's pull request: where a baseline belongs follows from
the test's id and the check's name alone, and a candidate must be whole and be of that check.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pytest_modelviz.baselines.formats import text_sha256
from pytest_modelviz.baselines.names import Location
from pytest_modelviz.baselines.store import ChangedMeanwhileError, Files, Store
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.orphans import Row, file_digest, location_of, orphan_row, suggest_renames
from pytest_modelviz.reports.results import ResultsFolder

_CHANGED = "its baseline has changed since it was compared: run pytest --modelviz again"
_ACCEPTABLE = ("drift", "missing")
_REJECTED, _ACCEPTED, _WAITING = "rejected", "accepted", "waiting"

Item = TypeVar("Item")


@dataclass(frozen=True)
class Decision:
    """What was done about one check or orphan: a word such as `accepted`, or `refused` with the reason."""

    nodeid: str
    name: str
    done: str
    reason: str = ""
    path: str = ""

    @property
    def refused(self) -> bool:
        return self.done == "refused"


@dataclass(frozen=True)
class Waiting:
    """A check for which something can be accepted.

    `state` is `waiting`, `accepted` (its baseline is what was captured), `rejected` (nothing is kept any more), or the
    status of a check for which nothing can be accepted.
    """

    check: dict[str, Any]
    location: Location
    state: str

    @property
    def nodeid(self) -> str:
        return str(self.check["nodeid"])


def matching(
    items: Iterable[Item], patterns: Sequence[str], nodeid: Callable[[Item], str], known: Collection[str], what: str
) -> list[Item]:
    """The items whose test id is a pattern or matches it as a shell glob; all of them if there are no patterns.

    A pattern that is one of the `known` test ids means that test alone. Raises ModelvizError for a pattern that matches
    nothing.
    """
    items = list(items)
    if not patterns:
        return items
    ids = {nodeid(item) for item in items}
    for pattern in patterns:
        if not any(_matches(one, pattern, known) for one in ids):
            raise ModelvizError(f"{what} matches {pattern!r}{_hint(pattern, sorted(ids))}")
    return [item for item in items if any(_matches(nodeid(item), pattern, known) for pattern in patterns)]


def _matches(nodeid: str, pattern: str, ids: Collection[str]) -> bool:
    """A whole test id matches itself alone, whatever it would match as a glob."""
    return nodeid == pattern if pattern in ids else fnmatch.fnmatchcase(nodeid, pattern)


def _hint(pattern: str, ids: Sequence[str]) -> str:
    """What may have been meant."""
    escaped = pattern.replace("[", "[[]")
    meant = next((p for p in (f"{escaped}::*", escaped, f"*{escaped}*") if _any(ids, p)), None)
    return "" if meant is None else f"; did you mean {meant!r}?"


def _any(ids: Sequence[str], pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(nodeid, pattern) for nodeid in ids)


@dataclass
class Review:
    """A results folder beside the baselines that it was compared with.

    `home` is the project's own results folder, which may be another: what is removed is kept there. `rootdir` is the
    project's folder, `place` where its baselines are, `named` says that the user named that place.
    """

    results: ResultsFolder
    home: ResultsFolder
    rootdir: Path
    place: str | Path
    named: bool = False
    document: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.results.refuse_links()
        if isinstance(self.place, Path) and _overlap(self.results.root.resolve(), self.place.resolve()):
            raise ModelvizError(f"the results in {self.results.root} lie among the baselines in {self.place}")
        self.document = self.results.read()
        self.baselines = Store(self.place)
        self.candidates = Store(self.results.candidates, what="candidate", option="--from")

    @property
    def known(self) -> set[str]:
        """The ids of all tests that the run tells of."""
        return {row["nodeid"] for part in ("checks", "orphans") for row in self.document.get(part, ())}

    def waiting(self) -> list[Waiting]:
        """All checks of the run that have kept a candidate, and what has become of it."""
        rows = [(check, self.results.location(check)) for check in self.document["checks"] if check["candidate"]]
        return [Waiting(check, location, self._state(check, location)) for check, location in rows]

    def chosen(self, patterns: Sequence[str]) -> list[Waiting]:
        """Those of them whose test ids match; raises ModelvizError for a pattern that matches none."""
        what = "no test that drifted or had no baseline"
        return matching(self.waiting(), patterns, lambda one: one.nodeid, self.known, what)

    def _state(self, check: dict[str, Any], location: Location) -> str:
        if check["status"] not in _ACCEPTABLE:
            return str(check["status"])
        candidate = self.candidates.digest(location)
        if candidate is None:
            return _REJECTED
        return _ACCEPTED if candidate == self.baselines.digest(location) else _WAITING

    def accept(self, one: Waiting) -> Decision:
        """Make a candidate the baseline, unless that has changed since it was compared."""
        check, location = one.check, one.location

        def decided(done: str, reason: str = "") -> Decision:
            return Decision(check["nodeid"], check["name"], done, reason, self.baselines.shown(location))

        if check["status"] not in _ACCEPTABLE:
            return decided(
                "refused", f"its baseline is {check['status']}; pytest --modelviz-update-all replaces such a one"
            )
        try:
            if one.state == _ACCEPTED:
                self.baselines.load(location, nodeid=check["nodeid"], name=check["name"])
                return decided("already accepted")
            self._require_project(check, location)
            files = self._candidate(check, location)
            self.baselines.put_instead(location, files, of=self._expected(check, location))
        except ChangedMeanwhileError:
            return decided("refused", _CHANGED)
        except UnreadableBaselineError as error:
            return decided("refused", f"its baseline cannot be read: {error}")
        except ModelvizError as error:
            return decided("refused", str(error))
        return decided("accepted")

    def _require_project(self, check: dict[str, Any], location: Location) -> None:
        """The results must be of this project, and the baselines where they were, or where the user says they are."""
        if file_digest(self.rootdir, check["nodeid"]) is None:
            file = check["nodeid"].partition("::")[0]
            raise ModelvizError(f"there is no {file} in {self.rootdir}: name the project's folder with --rootdir")
        places = [self._shown(self.baselines.at(path)) for path in self._compared_with(check, location).paths]
        if not self.named and check["baseline"] not in places:
            raise ModelvizError(
                f"it was compared with {check['baseline']}, not with {places[0]}: name the folder with --baseline-dir"
            )

    def _shown(self, path: str) -> str:
        """A path as it stands in results.json: relative to the project where it lies inside; a URL as it is."""
        inside = "://" not in path and Path(path).is_relative_to(self.rootdir)
        return Path(path).relative_to(self.rootdir).as_posix() if inside else path

    def _compared_with(self, check: dict[str, Any], location: Location) -> Location:
        """A variant without a baseline of its own was compared with the common one."""
        own = check["baseline"].replace("\\", "/").endswith(tuple(f"{path}.json" for path in location.paths))
        return location if own else location.common

    def _expected(self, check: dict[str, Any], location: Location) -> str | None:
        """The digest that the baseline to be replaced must have; None where there must be none."""
        digest: str | None = check["baseline_sha256"]
        common = self._compared_with(check, location)
        if common == location:
            return digest
        if self.baselines.digest(common) != digest:
            raise ChangedMeanwhileError(self.baselines.shown(common))
        return None

    def _candidate(self, check: dict[str, Any], location: Location) -> Files:
        try:
            files = self.candidates.files(location, nodeid=check["nodeid"], name=check["name"])
        except UnreadableBaselineError as error:
            raise ModelvizError(f"the candidate {self.candidates.shown(location)} cannot be read: {error}") from error
        if files is None:
            raise ModelvizError("nothing is kept of what was captured: it was rejected, or its file is gone")
        return files

    def reject(self, one: Waiting) -> Decision:
        """Forget a candidate; the baseline stays as it is."""
        location = one.location
        path = self.candidates.shown(location)
        if one.state == _REJECTED:
            return Decision(one.nodeid, one.check["name"], "already rejected", path=path)
        try:
            self.candidates.discard(location)
        except ModelvizError as error:
            return Decision(one.nodeid, one.check["name"], "refused", str(error), path)
        return Decision(one.nodeid, one.check["name"], "rejected", path=path)

    def orphans(self) -> list[Row]:
        """Baselines of which the run says that their test is gone, and that are still there."""
        rows = self.document.get("orphans", ())
        return [row for row in rows if self.baselines.digest(location_of(row)) is not None]

    def without_file(self) -> list[Row]:
        """Baselines whose test file does not exist any more. No run can say so: it collects what is there."""
        told = {(row["nodeid"], row["name"], row["variant"]) for row in self.document.get("orphans", ())}
        rows = []
        for stem in self.baselines.stems():
            document = self.baselines.ids(stem)
            if document is None or self.baselines.where(location_of(document)).path != stem:
                continue
            location = location_of(document)
            if file_digest(self.rootdir, document["nodeid"]) is None:
                key = (document["nodeid"], document["name"], location.variant)
                if key not in told:
                    rows.append(orphan_row(self.baselines, document, None))
        missing = [one.location.path for one in self.waiting() if one.check["status"] == "missing"]
        suggest_renames(rows, self.baselines, [(self.candidates, path) for path in missing])
        return rows

    def prune(self, row: Row, *, dry_run: bool = False) -> Decision:
        """Remove an orphan and keep a copy of it in the results folder."""
        location = location_of(row)
        path = self.baselines.shown(location)

        def decided(done: str, reason: str = "") -> Decision:
            return Decision(row["nodeid"], row["name"], done, reason, path)

        if file_digest(self.rootdir, row["nodeid"]) != row["test_file_sha256"]:
            return decided("refused", "its test file has changed since: run pytest --modelviz again")
        changed = [name for name, digest in row["sources"].items() if file_digest(self.rootdir, str(name)) != digest]
        if changed:
            return decided("refused", f"{changed[0]} has changed since: run pytest --modelviz again")
        if dry_run:
            return decided("would be removed")
        kept = Store(self.home.pruned, what="copy", option="--modelviz-results-dir")
        try:
            files = self.baselines.files(location, nodeid=row["nodeid"], name=row["name"])
            if files is None or text_sha256(files.text) != row["baseline_sha256"]:
                raise ChangedMeanwhileError(path)
            self.home.prepare()
            kept.put(location, files)
            self.baselines.remove(location, only=row["baseline_sha256"])
        except ChangedMeanwhileError:
            return decided("refused", "it has changed since: run pytest --modelviz again")
        except (ModelvizError, UnreadableBaselineError) as error:
            return decided("refused", str(error))
        return decided("removed")


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
