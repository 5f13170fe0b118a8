"""What a run has come to: the results of all checks, the orphans, what was lost; written and summed up at its end.

Knows no pytest. Everything here comes from plain data that any process of the run can have sent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.check_result import CheckResult, Status, totals_of
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.reports.run_events import has_events, write_run_events
from pytest_modelviz.reports.terminal_summary import TerminalSummary, summary_lines
from pytest_modelviz.run.attempts import Attempts
from pytest_modelviz.run.facts import facts_of
from pytest_modelviz.run.orphan_judge import Judgement, OrphanJudge
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.storage.git import ignored_warning, path_in_repository
from pytest_modelviz.storage.git_revision import Revision, revision_of
from pytest_modelviz.storage.names import Location, display_path
from pytest_modelviz.text.printable import quoted

_LONGEST_REASON = 200  # letters of an error


class RunSummary:
    """The results of a run, and what is to be said about the run as a whole.

    `workers` counts the processes, `lost` names those that died.
    """

    def __init__(self, run_id: str, settings: Settings) -> None:
        self._run_id, self._settings = run_id, settings
        self._folder = settings.results_folder()
        self._attempts, self._judge = Attempts(), OrphanJudge()
        self._judgement = Judgement()
        self._errors: list[str] = []
        self._totals: dict[str, int] | None = None
        self._written = False
        self._abandoned = False
        self._download = ""
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
        """An attempt at a test begins, perhaps once more."""
        self._attempts.start(test, attempt)
        self._judge.start_test(test)

    def pass_test(self, test: str) -> None:
        """A test has passed: the checks that it is to make are made."""
        self._judge.pass_test(test)

    def add_results(self, test: str, attempt: str, results: Iterable[CheckResult]) -> None:
        """Keep the results of a test's checks."""
        self._attempts.add(test, attempt, results)

    def add_collection(self, files: Mapping[str, list[str]], sources: Iterable[str]) -> None:
        """A process has collected these test files whole, and loaded these modules of the project for it."""
        self._judge.add_collection(files, sources)

    @property
    def results(self) -> list[CheckResult]:
        """A result for each check, by test id."""
        return self._attempts.results

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
        return bool(self.failures or (self._judgement.orphans and self._settings.orphans == "fail"))

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
        if compares or self.results:
            if ended and compares and not self.lost:
                try:
                    self._judgement = self._judge.judge(self._settings, self.results)
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
            if self._judgement.files:
                self._folder.replace_orphans(self._judgement.orphans, self._judgement.files)
            self._folder.marks.remove(self._run_id)
            if not self._judgement.files:
                return
        else:
            self._folder.forget_others([_location(each) for each in results if each.candidate], self._run_id)
            self._folder.details.forget_others({_location(each).path for each in results if each.details})
            facts = self._facts(results)
            if has_events(results):
                facts = dataclasses.replace(facts, tensorboard=self.event_folder)
            result = RunResult(facts, tuple(results), self._judgement.files, self._judgement.orphans)
            self._folder.write(result)
            self._written = True
            self._folder.marks.clear()
            if facts.tensorboard is not None:
                self._report("the event files", lambda: write_run_events(self._folder, result, review()))
        has_content = results or self._judgement.orphans or self._folder.report.exists()  # else it would say nothing
        if self._settings.html and has_content:
            from pytest_modelviz.reports.html import write_report
            from pytest_modelviz.reports.report_page import Wording

            given = review()
            wording = Wording(options=lambda result: f"--run {quoted(result.run.id)} {given}".strip())
            self._report("report.html", lambda: write_report(self._folder, wording=wording))

    def _report(self, name: str, make: Callable[[], object]) -> None:
        """Make one of the reports: results and the other reports stand where it cannot be made.

        What is reported may come from a baseline that anybody has written.
        """
        try:
            make()
        except ModelvizError as error:
            self.add_error(str(error))
        except Exception as error:
            reason = " ".join(str(error).split())[:_LONGEST_REASON]
            self.add_error(f"{name} could not be made ({type(error).__name__}: {reason})")

    def _facts(self, results: Sequence[CheckResult]) -> RunFacts:
        return dataclasses.replace(
            facts_of(self._run_id, results, importlib.metadata.version("torch")),
            workers=self.workers,
            lost_workers=tuple(self.lost),
            project=path_in_repository(self._settings.rootdir),
            **({} if self._revision is None else self._revision._asdict()),
        )

    def _refuse_rival_recordings(self) -> None:
        """A test that was run several times over and gave something else each time has no baseline."""
        for nodeid, name in self._attempts.rival_recordings():
            self.fail(
                f"{nodeid} was run more than once, and its {name} was not the same each time: only the last recording "
                f"is kept, also in place of a baseline that it matched. Restore that from version control, make the "
                f"test repeatable, and record it anew"
            )

    def _require_comparisons(self) -> None:
        """With --modelviz-require, a run that compared nothing has failed."""
        unmet = (Status.NOT_COMPARED, Status.MISSING, Status.UNREADABLE)  # a test that may fail hides these
        if self._settings.require and all(result.status in unmet for result in self.results):
            hint = "" if self._settings.mode is not Mode.OFF else " (--modelviz was not given)"
            self.fail(f"this run compared nothing{hint}, which --modelviz-require forbids")

    def _warn_of_git(self) -> None:
        """Where git ignores what was recorded."""
        root = self._settings.rootdir
        written = [root / result.baseline for result in self.results if result.status is Status.RECORDED]
        if written:
            self.add_error(ignored_warning(self._settings.baseline_dir, written, root))

    def report_to_github(self, here: Path, review: str) -> list[str]:
        """On GitHub Actions, write the summary of the step; returns annotations for the output, if there are any.

        The arguments are those of `lines`.
        """
        from pytest_modelviz.reports.github import annotation_lines
        from pytest_modelviz.reports.markdown import MarkdownSummary, noted_line
        from pytest_modelviz.run.github import GitHubJob

        job = GitHubJob.from_environment(os.environ, self._settings.github)
        results = self.results
        failed = [result for result in results if result.status.fails and not result.expected_failure]
        if job is None or not failed or not self._written:
            return []
        self._download = job.download
        facts, options = self._facts(results), f"--run {quoted(self._run_id)} {review}"
        summary = MarkdownSummary(
            runs=[facts],
            checks=failed,
            show_command=f"modelviz show {options}",
            options=lambda group: options,
            notes=[*noted_line(results), job.note(display_path(self._settings.results_dir, here))],
        )
        self._report("the summary of the step", lambda: self.add_error(job.write_summary(summary)))
        annotations: list[str] = []
        self._report("annotations", lambda: annotations.extend(annotation_lines(failed, facts.project)))
        return annotations

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
            orphans=self._judgement.orphans,
            not_made=self._judgement.not_made,
            without_file=self._judgement.without_file,
            lost=self.lost,
            folder=display_path(self._settings.results_dir, here),
            run_id=self._run_id,
            review=review,
            has_report=self._folder.report.exists(),
            written=self._written,
            compares=self._settings.mode is not Mode.OFF,
            orphans_fail=self._settings.orphans == "fail",
        )
        where = "the commands above are for a machine where the artifacts of this run were downloaded"
        download = [(f"{where}: {self._download}", False)] if self._download else []
        return [*errors, *summary_lines(summary), *download]


def _has_compared(results: Sequence[CheckResult]) -> bool:
    return any(result.status is not Status.NOT_COMPARED for result in results)


def _location(result: CheckResult) -> Location:
    return Location.of(result.nodeid, result.name, result.variant)
