"""The results of one or several runs beside the baselines that they were compared with, and what has become of them.

Nothing in a results folder is trusted, it may come from anybody's pull request: where a baseline belongs follows from
the test's id and the check's name alone.
"""

import enum
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.run_result import RunResult
from pytest_modelviz.review.selection import Choice, matching
from pytest_modelviz.storage.git import path_in_repository
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store
from pytest_modelviz.text.printable import quoted


class State(str, enum.Enum):
    """What has become of what was captured of a check."""

    WAITING = "waiting"
    ACCEPTED = "accepted"  # its baseline is what was captured
    REJECTED = "rejected"
    GONE = "gone"  # nothing is left of it, though it was not rejected
    REPLACED = "replaced"  # what is left is another run's
    FOREIGN = "foreign"  # the run is another project's

    __str__ = str.__str__


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
class ReviewedRun:
    """The results of one run, and the folder that holds them."""

    folder: ResultsFolder
    result: RunResult

    @property
    def id(self) -> str:
        return self.result.run.id

    @property
    def label(self) -> str:
        """Its id, quoted for a sentence or a command: the results are untrusted."""
        return quoted(self.id)

    @property
    def candidates(self) -> Store:
        return self.folder.stored_candidates

    def holds(self, check: CheckResult) -> bool:
        """Whether what this run has captured of a check is still there."""
        digest = self.candidates.digest(self.folder.location(check))
        return digest is not None and check.candidate_sha256 in (None, digest)


@dataclass(frozen=True)
class ReviewedCheck:
    """A check that has kept what it captured, and the run that made it.

    `digest` is that of the candidate that is there, None where there is none: another run may replace it meanwhile.
    `state` is the check's status where that cannot be accepted; `superseded_by` is the run whose capture is left in
    place of this one, where that is known.
    """

    run: ReviewedRun
    check: CheckResult
    location: Location
    digest: str | None
    state: State | Status
    superseded_by: str = ""

    @property
    def fate(self) -> str:
        """What has become of it since its run, in words; empty while it waits."""
        if self.superseded_by:
            return f"superseded by run {self.superseded_by}"
        is_over = self.state in (State.ACCEPTED, State.REJECTED, State.GONE, State.REPLACED)
        return f"{self.state} since" if is_over else ""

    @property
    def nodeid(self) -> str:
        return self.check.nodeid


@dataclass
class Review:
    """What there is to decide.

    `folders` hold the results: of the last run, or of the shards of one. `home` is the project's own results folder,
    which may be another: what is removed is kept there. `sources` are the folders that were named in order to find the
    results, and may hold more that is not the project's. `rootdir` is the project's folder, `baseline_dir` where its
    baselines are, `named` says that the user named that folder, `configured` that somebody did. Where runs are
    `wanted`, the results of others do not count.
    """

    folders: Sequence[ResultsFolder]
    home: ResultsFolder
    rootdir: Path
    baseline_dir: str | Path
    named: bool = False
    configured: bool = True
    wanted: Sequence[str] = ()
    sources: Sequence[Path] = ()
    runs: list[ReviewedRun] = field(init=False)
    project: str | None = field(init=False)
    _all_runs: list[ReviewedRun] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for folder in self.folders:
            folder.refuse_links()
            if isinstance(self.baseline_dir, Path) and _overlap(folder.root.resolve(), self.baseline_dir.resolve()):
                raise ModelvizError(f"the results in {folder.root} lie among the baselines in {self.baseline_dir}")
        runs = self._all_runs = [ReviewedRun(folder, result) for folder in self.folders for result in folder.all_runs()]
        for run_id in self.wanted:
            if all(run.id != run_id for run in runs):
                known = ", ".join(dict.fromkeys(run.label for run in runs))
                folders = ", ".join(str(folder.root) for folder in self.folders)
                raise ModelvizError(
                    f"the results in {folders} are of run {known}, not of run {run_id}: "
                    f"name the folder that holds those with --from"
                )
        self.runs = [run for run in runs if not self.wanted or run.id in self.wanted]
        self.baselines = Store(self.baseline_dir, configured=self.configured)
        self.project = path_in_repository(self.rootdir)

    def knows(self, nodeid: str) -> bool:
        """Whether the runs tell of this test, those that are not wanted too, or anything of it is stored."""
        stores = [self.baselines, *(folder.stored_candidates for folder in self.folders)]
        return "::" in nodeid and (nodeid in self._reported or any(store.holds_test(nodeid) for store in stores))

    @functools.cached_property
    def _reported(self) -> set[str | None]:
        results = [run.result for run in self._all_runs]
        checks = [check for result in results for check in result.checks]
        ids = [check.nodeid for check in checks] + [orphan.nodeid for result in results for orphan in result.orphans]
        return {*ids, *(check.former_nodeid for check in checks)}

    def require_captures(self) -> None:
        """Raises ModelvizError for results of `modelviz diff`: what it compares is committed."""
        diffs = [run for run in self.runs if run.result.run.revisions]
        if diffs:
            raise ModelvizError(
                f"the results in {diffs[0].folder.root} are of a diff of baselines, not of a run: there is nothing to "
                f"accept or reject"
            )

    @property
    def unfinished(self) -> list[str]:
        """The ids of runs that have begun and of which there are no results."""
        results = [run.result for run in self._all_runs]
        return sorted({run_id for folder in self.folders for run_id in folder.unfinished(results)})

    @property
    def has_lost_workers(self) -> bool:
        """Whether processes of the chosen runs died: what they were about to check has no result."""
        return any(run.result.run.lost_workers for run in self.runs)

    @property
    def checks(self) -> list[tuple[ReviewedRun, CheckResult]]:
        """All checks by test id, each with the run that made it; what a run has made in several folders, once.

        Of several folders the first that holds what was captured, which in another may have been overwritten.
        """
        chosen: dict[tuple[str, str, str], tuple[ReviewedRun, CheckResult]] = {}
        for run in self.runs:
            for check in run.result.checks:
                known = chosen.setdefault((run.id, check.nodeid, check.name), (run, check))
                if known[0] is not run and not known[0].holds(known[1]) and run.holds(check):
                    chosen[run.id, check.nodeid, check.name] = (run, check)
        return sorted(chosen.values(), key=lambda pair: pair[1].nodeid)

    def foreign_project(self, run: ReviewedRun) -> str | None:
        """The folder within the repository of the project that a run is of, where that is not this project's."""
        theirs = run.result.run.project
        return None if theirs is None or self.project is None or theirs == self.project else theirs

    @property
    def own_runs(self) -> list[ReviewedRun]:
        """The runs that are not another project's."""
        return [run for run in self.runs if self.foreign_project(run) is None]

    def captured(self) -> list[ReviewedCheck]:
        """All checks that have kept what they captured, and what has become of it."""
        rows = [(run, check, run.folder.location(check)) for run, check in self.checks if check.candidate]
        holders = {(location.path, check.candidate_sha256): run.label for run, check, location in rows}
        captured = []
        for run, check, location in rows:
            digest = run.candidates.digest(location)
            note = run.folder.discarded.read(location.path, check.candidate_sha256) if digest is None else ""
            state = self._state(run, check, location, digest, is_rejected=note == "rejected")
            superseded_by = note.removeprefix("superseded ") if state is State.GONE else ""
            if state is State.REPLACED:
                superseded_by = holders.get((location.path, digest), "")
            captured.append(ReviewedCheck(run, check, location, digest, state, superseded_by))
        return captured

    def fates(self) -> dict[tuple[str, str, str], str]:
        """What has become of them in words, by run, test and check."""
        return {(item.run.id, item.nodeid, item.check.name): item.fate for item in self.captured()}

    def chosen(self, choice: Choice) -> list[ReviewedCheck]:
        """Those of them that are meant; raises ModelvizError for a pattern or a name that matches none."""
        nothing = "no test that drifted or had no baseline"
        items = matching(self.captured(), choice.patterns, lambda item: item.nodeid, self.knows, nothing)
        return choice.narrowed(items, lambda item: item.check)

    def unnamed(self) -> list[Decision]:
        """Candidates that no results tell of: their run was broken off, or its results were overwritten."""
        decisions = []
        for folder in {folder.root: folder for folder in self.folders}.values():
            checks = [check for run in self._all_runs if run.folder == folder for check in run.result.checks]
            named = {folder.location(check).path for check in checks if check.candidate}
            for location, document in folder.stored_candidates.documents():
                if location.path not in named:
                    reason = "no results here tell of this candidate"
                    decisions.append(Decision(document["nodeid"], document["name"], "left", reason))
        return decisions

    def _state(
        self, run: ReviewedRun, check: CheckResult, location: Location, candidate: str | None, *, is_rejected: bool
    ) -> State | Status:
        if self.foreign_project(run) is not None:
            return State.FOREIGN
        if not check.status.is_acceptable:
            return check.status
        captured = check.candidate_sha256 or candidate
        if captured is not None and captured == self.baselines.digest(location):
            return State.ACCEPTED
        if candidate is None:
            return State.REJECTED if is_rejected else State.GONE
        return State.WAITING if candidate == captured else State.REPLACED

    def own_folders(self) -> list[Path]:
        """The folders that hold results, what came with these, or baselines: no tests and none of their data."""
        baselines = [self.baseline_dir] if isinstance(self.baseline_dir, Path) else []
        return [self.home.root, *(folder.root for folder in self.folders), *self.sources, *baselines]


def _overlap(folder: Path, other: Path) -> bool:
    return folder.is_relative_to(other) or other.is_relative_to(folder)
