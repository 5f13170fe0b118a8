"""The results of a run, reviewed: what can be accepted, rejected or pruned, and doing so. No torch, no pytest.

Nothing in a results folder is trusted, it may come from anybody's pull request: where a baseline belongs follows from
the test's id and the check's name alone, and a candidate must be whole and be of that check.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_modelviz.cli.selection import KnownTests, matching
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.run.project import path_in_repository
from pytest_modelviz.storage.acceptance import candidate_files, require_test_file
from pytest_modelviz.storage.formats import text_sha256
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.orphans import (
    Row,
    file_digest,
    judged_together,
    key_of,
    location_of,
    orphan_row,
    suggest_renames,
)
from pytest_modelviz.storage.pruning import (
    keep_copy,
    may_have_parameters_back,
    newer_file,
    reason_of_data,
    reason_to_stay,
)
from pytest_modelviz.storage.results import Candidate, ResultsFolder
from pytest_modelviz.storage.store import ChangedMeanwhileError, Store

_CHANGED = "its baseline has changed since it was compared: run pytest --modelviz again"
_ACCEPTABLE = ("drift", "missing")
_REJECTED, _ACCEPTED, _REPLACED, _WAITING = "rejected", "accepted", "replaced", "waiting"
_FOREIGN = "foreign"


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
class Run:
    """The results of one run, and the folder that they lie in."""

    folder: ResultsFolder
    document: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.document["run"]["id"])

    @property
    def checks(self) -> list[dict[str, Any]]:
        return list(self.document["checks"])

    @property
    def candidates(self) -> Store:
        return Store(self.folder.candidates, kind="candidate", option="--from")

    def holds(self, check: dict[str, Any]) -> bool:
        """Whether what this run has captured of a check is still there."""
        digest = self.candidates.digest(self.folder.location(check))
        return digest is not None and check.get("candidate_sha256") in (None, digest)


@dataclass(frozen=True)
class Waiting:
    """A check for which something can be accepted, and the run that made it.

    `state` is `waiting`, `accepted` (its baseline is what was captured), `rejected` (nothing is kept any more),
    `replaced` (what is kept is another run's), `foreign` (the run is another project's), or the status of a check for
    which nothing can be accepted.
    """

    run: Run
    check: dict[str, Any]
    location: Location
    state: str

    @property
    def nodeid(self) -> str:
        return str(self.check["nodeid"])


@dataclass
class Review:
    """The results of one or several runs beside the baselines that they were compared with.

    `folders` hold the results: of the last run, or of the shards of one. `home` is the project's own results folder,
    which may be another: what is removed is kept there. `rootdir` is the project's folder, `place` where its baselines
    are, `named` says that the user named that place, `configured` that somebody did. Where runs are `wanted`, the
    results of others do not count.
    """

    folders: Sequence[ResultsFolder]
    home: ResultsFolder
    rootdir: Path
    place: str | Path
    named: bool = False
    configured: bool = True
    wanted: Sequence[str] = ()
    runs: list[Run] = field(init=False)
    _found: list[Run] = field(init=False, repr=False)
    _project: str | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for folder in self.folders:
            folder.refuse_links()
            if isinstance(self.place, Path) and _overlap(folder.root.resolve(), self.place.resolve()):
                raise ModelvizError(f"the results in {folder.root} lie among the baselines in {self.place}")
        self._found = [Run(folder, document) for folder in self.folders for document in folder.documents()]
        found = self._found
        for run_id in self.wanted:
            if all(run.id != run_id for run in found):
                known = ", ".join(dict.fromkeys(run.id for run in found))
                places = ", ".join(str(folder.root) for folder in self.folders)
                raise ModelvizError(
                    f"the results in {places} are of run {known}, not of run {run_id}: "
                    f"name the folder that holds those with --from"
                )
        self.runs = [run for run in found if not self.wanted or run.id in self.wanted]
        self.baselines = Store(self.place, configured=self.configured)
        self._project = path_in_repository(self.rootdir)

    @property
    def known(self) -> KnownTests:
        """The ids of all tests that the runs tell of, those that are not wanted too, and of all that are stored."""
        checks = [check for run in self._found for check in run.checks]
        orphans = [row for run in self._found for row in run.document.get("orphans", ())]
        reported = {row["nodeid"] for row in (*checks, *orphans)}
        reported |= {check["former_nodeid"] for check in checks if check.get("former_nodeid")}
        stores = [self.baselines, *(Store(folder.candidates, kind="candidate") for folder in self.folders)]
        return KnownTests(reported, stores)

    @property
    def unfinished(self) -> list[str]:
        """The ids of runs that have begun and of which there are no results."""
        documents = [run.document for run in self._found]
        return sorted({run_id for folder in self.folders for run_id in folder.unfinished(documents)})

    @property
    def checks(self) -> list[tuple[Run, dict[str, Any]]]:
        """All checks by test id, each with the run that made it; what a run has made in several folders, once.

        Of several folders the first that holds what was captured, which in another may have been overwritten.
        """
        found: dict[tuple[str, str, str], tuple[Run, dict[str, Any]]] = {}
        for run in self.runs:
            for check in run.checks:
                known = found.setdefault((run.id, check["nodeid"], check["name"]), (run, check))
                if known[0] is not run and not known[0].holds(known[1]) and run.holds(check):
                    found[run.id, check["nodeid"], check["name"]] = (run, check)
        return sorted(found.values(), key=lambda pair: str(pair[1]["nodeid"]))

    def foreign_project(self, run: Run) -> str | None:
        """The folder within the repository of the project that a run is of, where that is not this project's."""
        theirs = run.document["run"].get("project")
        return None if theirs is None or self._project is None or theirs == self._project else str(theirs)

    @property
    def _own_runs(self) -> list[Run]:
        return [run for run in self.runs if self.foreign_project(run) is None]

    def waiting(self) -> list[Waiting]:
        """All checks that have kept a candidate, and what has become of it."""
        rows = [(run, check, run.folder.location(check)) for run, check in self.checks if check["candidate"]]
        return [Waiting(run, check, location, self._state(run, check, location)) for run, check, location in rows]

    def chosen(self, patterns: Sequence[str]) -> list[Waiting]:
        """Those of them whose test ids match; raises ModelvizError for a pattern that matches none."""
        what = "no test that drifted or had no baseline"
        return matching(self.waiting(), patterns, lambda one: one.nodeid, self.known, what)

    def unnamed(self) -> list[Candidate]:
        """Candidates that no results tell of: their run was broken off, or its results were overwritten."""
        found: list[Candidate] = []
        for folder in {one.root: one for one in self.folders}.values():
            checks = [check for run in self._found if run.folder == folder for check in run.checks]
            named = {folder.location(check).path for check in checks if check["candidate"]}
            found += [one for one in folder.stored_candidates() if one.location.path not in named]
        return found

    def _state(self, run: Run, check: dict[str, Any], location: Location) -> str:
        if self.foreign_project(run) is not None:
            return _FOREIGN
        if check["status"] not in _ACCEPTABLE:
            return str(check["status"])
        candidate = run.candidates.digest(location)
        if candidate is None:
            return _REJECTED
        if check.get("candidate_sha256") not in (None, candidate):
            return _REPLACED
        return _ACCEPTED if candidate == self.baselines.digest(location) else _WAITING

    def _rivals(self, chosen: Sequence[Waiting]) -> dict[PurePosixPath, list[Waiting]]:
        """Where several runs have captured one check differently: the baseline's path -> a check of each capture.

        Of folders that were copied over each other only one of the captures is left, and it is no better for that.
        """
        found: dict[PurePosixPath, dict[str | None, Waiting]] = {}
        for one in chosen:
            if one.state in (_WAITING, _REPLACED):
                captured = one.check.get("candidate_sha256") or one.run.candidates.digest(one.location)
                found.setdefault(one.location.path, {}).setdefault(captured, one)
        return {path: list(captures.values()) for path, captures in found.items() if len(captures) > 1}

    def accept_all(self, chosen: Sequence[Waiting], *, named: bool = False) -> list[Decision]:
        """Accept each; of a check that several runs have captured otherwise, none: which is meant is not guessed.

        Beside own results those of other projects are left alone, and refused where only they are `named`.
        """
        rivals = self._rivals(chosen)
        leaves_foreign = bool(self._own_runs) and not (named and all(one.state == _FOREIGN for one in chosen))
        decisions = []
        for one in chosen:
            rows = rivals.get(one.location.path)
            if one.state == _FOREIGN and leaves_foreign:
                decisions.append(self._left(one))
            elif rows is None or one.state not in (_WAITING, _REPLACED):
                decisions.append(self.accept(one))
            else:
                path = self.baselines.display_path(one.location)
                decisions.append(Decision(one.nodeid, one.check["name"], "refused", _rivalry(rows), path))
        return decisions

    def _left(self, one: Waiting) -> Decision:
        reason = f"it is of the project in {self.foreign_project(one.run)!r}: --rootdir chooses that one"
        return Decision(one.nodeid, one.check["name"], "left", reason, one.run.candidates.display_path(one.location))

    def accept(self, one: Waiting) -> Decision:
        """Make a candidate the baseline, unless that has changed since it was compared."""
        check, location = one.check, one.location

        def decided(done: str, reason: str = "") -> Decision:
            return Decision(check["nodeid"], check["name"], done, reason, self.baselines.display_path(location))

        if check["status"] not in _ACCEPTABLE:
            return decided(
                "refused",
                f"its baseline is {check['status']}; pytest --modelviz-update-all replaces such a one (and records "
                f"all checks of the tests that it runs)",
            )
        try:
            if one.state == _REPLACED:
                return decided("refused", "what is kept of it was captured by another run: run pytest --modelviz again")
            self._require_project(one.run, check, location)
            files = candidate_files(one.run.candidates, location, nodeid=check["nodeid"], name=check["name"])
            if self._is_accepted(one):
                self.baselines.load(location, nodeid=check["nodeid"], name=check["name"])
                if self.baselines.is_complete(location, files):
                    return decided("already accepted")
            # an accept that was cut off after the JSON file was replaced is finished
            expected = text_sha256(files.text) if self._is_accepted(one) else self._expected(check, location)
            self.baselines.replace_if_unchanged(location, files, expected_digest=expected)
        except ChangedMeanwhileError:
            if self._is_accepted(one):
                return decided("already accepted")  # by somebody else at the same time
            return decided("refused", _CHANGED)
        except UnreadableBaselineError as error:
            return decided("refused", f"its baseline cannot be read: {error}")
        except ModelvizError as error:
            return decided("refused", str(error))
        return decided("accepted")

    def _is_accepted(self, one: Waiting) -> bool:
        """Whether its baseline is what was captured: accepted before, or another shard has captured the same."""
        return one.run.candidates.digest(one.location) == self.baselines.digest(one.location)

    def _require_project(self, run: Run, check: dict[str, Any], location: Location) -> None:
        """The results must be of this project, and the baselines where they were, or where the user says they are."""
        theirs = self.foreign_project(run)
        if theirs is not None:
            raise ModelvizError(
                f"run {run.id} is of the project in {theirs!r}, not of the one in {self._project!r} (folders of the "
                f"repository): name that one with --rootdir"
            )
        require_test_file(check["nodeid"], self.rootdir, self._folders_of_ours())
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
        """A variant without a baseline of its own was compared with the common one, or a test with a former id's."""
        compared = check["baseline"].replace("\\", "/")
        former = check.get("former_nodeid")
        others = [] if former is None else [Location.of(former, check["name"], location.variant)]
        for other in (location, *(one for own in others for one in (own, own.common))):
            if compared.endswith(tuple(f"{path}.json" for path in other.paths)):
                return other
        return location.common

    def _expected(self, check: dict[str, Any], location: Location) -> str | None:
        """The digest that the baseline to be replaced must have; None where there must be none."""
        digest: str | None = check["baseline_sha256"]
        common = self._compared_with(check, location)
        if common == location:
            return digest
        if self.baselines.digest(common) != digest:
            raise ChangedMeanwhileError(self.baselines.display_path(common))
        return None

    def reject(self, one: Waiting) -> Decision:
        """Forget a candidate; the baseline stays as it is."""
        location = one.location
        path = one.run.candidates.display_path(location)
        if one.state == _REJECTED:
            return Decision(one.nodeid, one.check["name"], "already rejected", path=path)
        if one.state == _FOREIGN:
            return self._left(one)
        try:
            one.run.candidates.discard(location)
        except ModelvizError as error:
            return Decision(one.nodeid, one.check["name"], "refused", str(error), path)
        return Decision(one.nodeid, one.check["name"], "rejected", path=path)

    def orphans(self) -> list[Row]:
        """Baselines of which the runs say that their test is gone, and that are still there."""
        return [row for row in self._judged() if self.baselines.digest(location_of(row)) is not None]

    def _judged(self) -> list[Row]:
        return judged_together([run.document for run in self._own_runs])

    def without_file(self) -> list[Row]:
        """Baselines whose test file does not exist any more. No run can say so: it collects what is there."""
        told = {key_of(row) for row in self._judged()}
        former = {check.get("former_nodeid") for _, check in self.checks}  # their tests have another id now
        rows = []
        for stem in self.baselines.stems():
            document = self.baselines.ids(stem)
            if document is None or document["nodeid"] in former:
                continue
            if self.baselines.where(location_of(document)).path != stem:
                continue
            if file_digest(self.rootdir, document["nodeid"]) is None:
                row = orphan_row(self.baselines, document, None)
                if key_of(row) not in told:
                    rows.append(row)
        missing = [
            (one.run.candidates, one.location.path) for one in self.waiting() if one.check["status"] == "missing"
        ]
        suggest_renames(rows, self.baselines, missing)
        return rows

    def prune(self, row: Row, *, named: bool = False, dry_run: bool = False) -> Decision:
        """Remove an orphan and keep a copy of it in the results folder.

        One that was `named` by its whole id is removed also where its parameters may be back.
        """
        location = location_of(row)
        path = self.baselines.display_path(location)

        def decided(done: str, reason: str = "") -> Decision:
            return Decision(row["nodeid"], row["name"], done, reason, path)

        reason = reason_to_stay(row, self.rootdir)
        if not reason and not named and may_have_parameters_back(row, self.rootdir) and self._newer_file:
            reason = reason_of_data(self._newer_file)
        if reason:
            return decided("refused", reason)
        if dry_run:
            return decided("would be removed")
        try:
            files = self.baselines.files(location, nodeid=row["nodeid"], name=row["name"])
            if files is None or text_sha256(files.text) != row["baseline_sha256"]:
                raise ChangedMeanwhileError(path)
            self.home.prepare()
            keep_copy(Store(self.home.pruned, kind="copy", option="--modelviz-results-dir"), location, files)
            self.baselines.remove(location, expected_digest=row["baseline_sha256"])
        except ChangedMeanwhileError:
            return decided("refused", "it has changed since: run pytest --modelviz again")
        except (ModelvizError, UnreadableBaselineError) as error:
            return decided("refused", str(error))
        return decided("removed")

    @functools.cached_property
    def _newer_file(self) -> Path | None:
        """A file of the project that is newer than the first of the results that judge orphans here."""
        folders = {run.folder.root: run.folder for run in self._own_runs}.values()
        judged = min((folder.written_at() for folder in folders), default=0.0)
        return newer_file(self.rootdir, judged, self._folders_of_ours())

    def _folders_of_ours(self) -> list[Path]:
        places = [self.place] if isinstance(self.place, Path) else []
        return [self.home.root, *(folder.root for folder in self.folders), *places]


def _rivalry(rows: Sequence[Waiting]) -> str:
    """Why none of several captures of one check is accepted, and how to choose one."""
    told = f"runs {' and '.join(one.run.id for one in rows)} have captured it differently"
    present = [one.run.id for one in rows if one.state == _WAITING]
    if len(present) == len(rows):
        return f"{told}: choose one with --run"
    where = "name each run's own folder with --from"
    if not present:
        return f"{told}, and nothing of that is here: {where}"
    return f"{told}, and only what {present[0]} has captured is here: take that with --run, or {where}"


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
