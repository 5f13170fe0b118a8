"""What a run has come to: the results of all checks, the orphans, what was lost; written and summed up at its end.

Knows no pytest. Everything here comes from plain data that any process of the run can have sent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.check_result import CheckResult, Status, totals_of
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.reports.run_events import has_events, write_run_events
from pytest_modelviz.reports.terminal_summary import TerminalSummary, summary_lines
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.storage.git import ignored_warning, path_in_repository
from pytest_modelviz.storage.git_revision import Revision, revision_of
from pytest_modelviz.storage.names import Location, display_path
from pytest_modelviz.text.printable import quoted

if TYPE_CHECKING:
    from pytest_modelviz.run.github import GitHubReport

# Of a test that ran several times over, the worst result counts. Where several are as bad, the last.
_WORST_LAST = (
    Status.NOT_COMPARED,
    Status.MATCH,
    Status.RECORDED,
    Status.UNSTABLE,
    Status.UNREADABLE,
    Status.MISSING,
    Status.DRIFT,
)


class RunSummary:
    """The results of a run, by test, attempt and check, and what is to be said about the run as a whole.

    A test that is run again because it failed is one attempt, of which the last run counts; a test that was collected
    several times is several. `workers` counts the processes, `lost` names those that died.
    """

    def __init__(self, run_id: str, settings: Settings) -> None:
        self._run_id, self._settings = run_id, settings
        self._folder = settings.results_folder()
        self._results: dict[str, dict[str, dict[str, CheckResult]]] = {}
        self._files: dict[str, list[str]] | None = None
        self._sources: set[str] = set()
        self._run: set[str] = set()
        self._passed: set[str] = set()
        self._not_made: list[tuple[str, str]] = []
        self._orphans: list[OrphanRecord] = []
        self._errors: list[str] = []
        self._judged_files: list[str] = []
        self._totals: dict[str, int] | None = None
        self._written = False
        self._abandoned = False
        self.workers = 1
        self.lost: list[str] = []
        self.failures: list[str] = []

    def begin(self) -> None:
        """Leave a mark in the results folder until there are results: a run may die without a word."""
        if self._settings.mode is not Mode.OFF:
            with contextlib.suppress(ModelvizError):  # a folder that cannot be written is reported at the end
                self._folder.begin(self._run_id)

    @functools.cached_property
    def event_folder(self) -> str:
        """The name of the folder for this run's event files, which is made when it is first asked for."""
        if self._settings.mode is Mode.OFF:
            return self._run_id
        try:
            self._folder.prepare()
        except ModelvizError:  # reported when something is to be written
            return self._run_id
        return self._folder.event_folders.claim(self._run_id, self._revision)

    @functools.cached_property
    def _revision(self) -> Revision | None:
        """What was checked out before the run recorded anything."""
        return revision_of(self._settings.rootdir)

    def start_test(self, test: str, attempt: str) -> None:
        """An attempt at a test begins, perhaps once more: of the results that it had, only what was recorded counts."""
        earlier = self._results.get(test, {}).pop(attempt, {})
        recorded = [result for result in earlier.values() if result.status is Status.RECORDED]
        self.add_results(test, attempt, recorded)
        self._run.add(test)
        self._passed.discard(test)

    def pass_test(self, test: str) -> None:
        """A test has passed: the checks that it is to make are made."""
        self._passed.add(test)

    def add_results(self, test: str, attempt: str, results: Iterable[CheckResult]) -> None:
        """Keep the results of a test's checks. What matches a baseline that was recorded just before, was recorded."""
        for result in results:
            known = self._results.setdefault(test, {}).setdefault(attempt, {})
            earlier = known.get(result.name)
            is_recorded = earlier is not None and earlier.status is Status.RECORDED
            if not (is_recorded and result.status is Status.MATCH):
                known[result.name] = result

    def add_collection(self, files: Mapping[str, list[str]], sources: Iterable[str]) -> None:
        """A process has collected these test files whole, and loaded these modules of the project for it."""
        self._sources.update(sources)
        known = files if self._files is None else self._files
        self._files = {file: sorted({*ids, *known[file]}) for file, ids in files.items() if file in known}

    @property
    def results(self) -> list[CheckResult]:
        """All results, by test id; those of one test in the order in which they were made."""
        worst: list[CheckResult] = []
        for attempts in self._results.values():
            checks: dict[str, CheckResult] = {}
            for result in (result for attempt in attempts.values() for result in attempt.values()):
                known = checks.get(result.name)
                if known is None or _WORST_LAST.index(result.status) >= _WORST_LAST.index(known.status):
                    checks[result.name] = result
            worst += checks.values()
        return sorted(worst, key=lambda result: result.nodeid)

    def add_error(self, trouble: str) -> None:
        """Say at the end what went wrong beside the checks, if anything did."""
        if trouble and trouble not in self._errors:
            self._errors.append(trouble)

    def fail(self, trouble: str) -> None:
        """The run as a whole has failed, whatever its tests did."""
        self.add_error(trouble)
        self.failures.append(trouble)

    def abandon(self, trouble: str) -> None:
        """The results are not whole: none are written, and the run is left as one that did not end."""
        self.fail(f"{trouble}: no results of this run were written")
        self._abandoned = True

    @property
    def has_failed(self) -> bool:
        """Whether the run as a whole has failed, as is known once it is written."""
        return bool(self.failures or (self._orphans and self._settings.orphans == "fail"))

    def write(self, *, ended: bool, review: Callable[[], str] = str) -> None:
        """Write what is to be kept of the run.

        `ended` says whether all tests were run: otherwise orphans cannot be told from baselines in use. `review` gives
        the options that the command `modelviz` needs to find the run.
        """
        if not self._abandoned:
            self._write_results(ended=ended, review=review)
        if "event_folder" in vars(self):
            self._folder.event_folders.release(self.event_folder)

    def _write_results(self, *, ended: bool, review: Callable[[], str]) -> None:
        compares = self._settings.mode is not Mode.OFF
        self._require_comparisons()
        if compares or self._results:
            if ended and not self.lost:
                try:
                    self._judge_orphans()
                except ModelvizError as error:  # the baselines cannot be listed: the results stand all the same
                    self._errors.append(str(error))
            try:
                self._write(review)
            except ModelvizError as error:
                self._errors.append(str(error))
            self._warn_of_git()
        self._refuse_rival_recordings()

    def _write(self, review: Callable[[], str]) -> None:
        """A run that has compared nothing leaves what the last one found to be decided, and adds orphans to it."""
        results = self.results
        self._totals = totals_of(results)
        if not _has_compared(results) and self._folder.has_compared():
            if self._judged_files:
                self._folder.replace_orphans(self._orphans, self._judged_files)
            self._folder.marks.remove(self._run_id)
            if not self._judged_files:
                return
        else:
            self._folder.forget_others(
                [Location.of(result.nodeid, result.name, result.variant) for result in results if result.candidate],
                self._run_id,
            )
            failed = {
                Location.of(result.nodeid, result.name, result.variant).path for result in results if result.details
            }
            self._folder.details.forget_others(failed)
            facts = self._facts(results)
            if has_events(results):
                facts = dataclasses.replace(facts, tensorboard=self.event_folder)
            result = RunResult(facts, tuple(results), tuple(self._judged_files), tuple(self._orphans))
            self._folder.write(result)
            self._written = True
            self._folder.marks.clear()
            self._write_events(result, review())
        if self._settings.html:
            from pytest_modelviz.reports.html import write_report
            from pytest_modelviz.reports.report_page import Wording

            given = review()
            wording = Wording(options=lambda result: f"--run {quoted(result.run.id)} {given}".strip())
            write_report(self._folder, wording=wording)

    def _write_events(self, result: RunResult, review: str) -> None:
        """The results stand where this cannot be written."""
        if result.run.tensorboard is None:
            return
        try:
            write_run_events(self._folder, result, review)
        except ModelvizError as error:
            self.add_error(str(error))

    def _facts(self, results: Sequence[CheckResult]) -> RunFacts:
        revision = self._revision
        devices = {device for check in results for device in check.device.split(",")}
        return RunFacts(
            id=self._run_id,
            torch=importlib.metadata.version("torch"),
            python=platform.python_version(),
            platform=f"{platform.system()}-{platform.machine()}".lower(),
            device=",".join(sorted(devices)) or "cpu",
            workers=self.workers,
            lost_workers=tuple(self.lost),
            project=path_in_repository(self._settings.rootdir),
            commit=None if revision is None else revision.commit,
            branch=None if revision is None else revision.branch,
            dirty=None if revision is None else revision.dirty,
        )

    def _refuse_rival_recordings(self) -> None:
        """A test that was run several times over and gave something else each time has no baseline."""
        for attempts in self._results.values():
            digests: dict[tuple[str, str | None], dict[str | None, str]] = {}
            for result in (result for attempt in attempts.values() for result in attempt.values()):
                if result.status in (Status.RECORDED, Status.MATCH):
                    baselines = digests.setdefault((result.name, result.variant), {})
                    baselines[result.baseline_sha256] = result.nodeid
            for (name, _), baselines in digests.items():
                if len(baselines) > 1:
                    self.fail(
                        f"{next(iter(baselines.values()))} was run more than once, and its {name} was not the same "
                        f"each time: only the last recording is kept, also in place of a baseline that it matched. "
                        f"Restore that from version control, make the test repeatable, and record it anew"
                    )

    def _require_comparisons(self) -> None:
        """With --modelviz-require, a run that compared nothing has failed."""
        unmet = (Status.NOT_COMPARED, Status.MISSING, Status.UNREADABLE)  # a test that may fail hides these
        if self._settings.require and all(result.status in unmet for result in self.results):
            hint = "" if self._settings.mode is not Mode.OFF else " (--modelviz was not given)"
            self.fail(f"this run compared nothing{hint}, which --modelviz-require forbids")

    def _judge_orphans(self) -> None:
        if self._settings.mode is Mode.OFF or self._settings.orphans == "ignore" or not self._files:
            return
        from pytest_modelviz.storage.orphans import digests, find_not_made, find_orphans, suggest_renames
        from pytest_modelviz.storage.store import Store

        self._judged_files = sorted(self._files)
        store = Store(self._settings.baseline_dir)
        results = self.results
        self._not_made = find_not_made(store, self._passed, results, self._settings.variant)
        alive = self._run | {result.nodeid for result in results}  # also what was never collected
        orphans = find_orphans(store, self._files, self._settings.rootdir)
        orphans = [orphan for orphan in orphans if orphan.nodeid not in alive]
        self._orphans = orphans
        if not orphans:
            return
        candidates = Store(self._folder.candidates, kind="candidate")
        new = [
            (
                candidates if result.candidate else store,
                Location.of(result.nodeid, result.name, result.variant).path,
            )
            for result in results
            if result.status in (Status.MISSING, Status.RECORDED)
        ]
        sources = digests(self._settings.rootdir, self._sources)
        self._orphans = [
            dataclasses.replace(orphan, sources=sources, baseline=display_path(orphan.baseline, self._settings.rootdir))
            for orphan in suggest_renames(orphans, store, new)
        ]

    def _warn_of_git(self) -> None:
        """Where git ignores what was recorded."""
        root = self._settings.rootdir
        written = [root / result.baseline for result in self.results if result.status is Status.RECORDED]
        if written:
            self.add_error(ignored_warning(self._settings.baseline_dir, written, root))

    def github(self, here: Path, review: str) -> GitHubReport | None:
        """What there is to say on GitHub Actions, if anything; the arguments are those of `lines`."""
        from pytest_modelviz.run.github import GitHubJob, GitHubReport

        results = self.results
        failed = [result for result in results if result.status.fails and not result.expected_failure]
        job = GitHubJob.from_environment(os.environ)
        if job is None or not failed or not self._written or self._settings.github == "off":
            return None
        return GitHubReport(job, self._facts(results), failed, review, self._results_dir(here))

    def _results_dir(self, here: Path) -> str:
        folder = self._settings.results_dir
        return (folder.relative_to(here) if folder.is_relative_to(here) else folder).as_posix()

    def lines(self, here: Path, review: str) -> list[tuple[str, bool]]:
        """What the terminal says at the end, as (line, whether it is an error); paths as seen from `here`.

        `review` are the options that the command `modelviz` needs there.
        """
        errors = [(error, True) for error in self._errors]
        if self._totals is None:
            return errors
        summary = TerminalSummary(
            totals=self._totals,
            results=self.results,
            orphans=self._orphans,
            not_made=self._not_made,
            lost=self.lost,
            folder=self._results_dir(here),
            run_id=self._run_id,
            review=review,
            has_report=self._folder.report.exists(),
            written=self._written,
            compares=self._settings.mode is not Mode.OFF,
            orphans_fail=self._settings.orphans == "fail",
        )
        return errors + summary_lines(summary)


def _has_compared(results: Sequence[CheckResult]) -> bool:
    return any(result.status is not Status.NOT_COMPARED for result in results)
