"""The hooks of one run of pytest, from its start to its summary. Imports nothing heavy before the first check.

`start` has the hooks that a run needs before it starts.
"""

from __future__ import annotations

import os
import unittest
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.plugin.checks import CHECKS, ForkedChecks, ItemChecks
from pytest_modelviz.plugin.collection import CollectionRecorder, sources
from pytest_modelviz.plugin.data_folders import named_paths
from pytest_modelviz.plugin.drift_report import ReportedDrifts
from pytest_modelviz.plugin.identity import CollectedTests, identity, relative_file
from pytest_modelviz.plugin.other_reports import add_pictures, add_properties
from pytest_modelviz.plugin.progress import Progress, progress
from pytest_modelviz.plugin.start import RESULTS
from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.run.facts import new_run_id
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.run.summary import RunSummary
from pytest_modelviz.text.printable import printable

if TYPE_CHECKING:
    from pytest_modelviz.run.session import Session

# Attributes that a report carries to the controlling process beside the results: the test's id, and which of several
# runs of the test it is of.
_TEST, _ATTEMPT = "modelviz_test", "modelviz_attempt"
_ENDED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
_PASSED = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
_FAILURE = pytest.StashKey[str]()  # what a test has failed with, in case that something else takes its place


class ModelvizPlugin:
    """The run: hands checks to the session, collects what every process reports, writes the results at the end.

    `items` are the tests, once they are collected.
    """

    def __init__(self, config: pytest.Config, settings: Settings, items: Sequence[pytest.Item]) -> None:
        self.settings = settings
        self._config = config
        self._worker = getattr(config, "workerinput", None)
        self._process: str = self._worker["workerid"] if self._worker else "main"
        self.run_id: str = self._worker["modelviz_run_id"] if self._worker else new_run_id()
        self._session: Session | None = None
        self._open: ItemChecks | None = None
        self._summary = RunSummary(self.run_id, settings)
        self._reported = ReportedDrifts(config)
        self._collected = CollectionRecorder()
        self._items = items
        self._tests: CollectedTests | None = None
        self._review: str | None = None
        self._annotations: list[str] = []
        self.forks = ForkedChecks()
        self.progress = Progress(None, int)

    def session(self) -> Session:
        """Made when the first check runs: this is where torch, numpy and pillow come in.

        No property: pytest reads those when it looks for fixtures.
        """
        if self._session is None:
            from pytest_modelviz.run.session import Session

            folder = self._worker["modelviz_event_folder"] if self._worker else self._summary.event_folder
            workers = int(self._worker["workercount"]) if self._worker else 1
            self._session = Session(self.run_id, self._process, folder, workers)
        return self._session

    def tests(self) -> CollectedTests:
        """What the tests of this run are called."""
        if self._tests is None:
            whole = not any("::" in argument for argument in self._config.args)
            self._tests = CollectedTests(self._items, whole=whole)
        return self._tests

    def arguments(self) -> list[Path]:
        """The files and folders that pytest was given, and where it was started."""
        return [self._config.invocation_params.dir, *named_paths(self._config, self._config.args)]

    def review(self) -> str:
        """The options with which the command `modelviz`, where it will be started, finds what this run has written."""
        if self._review is None:
            from pytest_modelviz.run.github import DOWNLOADED, GitHubJob
            from pytest_modelviz.run.project import review_options

            job = GitHubJob.from_environment(os.environ, self.settings.github)
            downloaded = None if job is None else DOWNLOADED
            self._review = review_options(self.settings, self._config.invocation_params.dir, downloaded)
        return self._review

    def opened(self, checks: ItemChecks) -> None:
        """A test has begun to make checks."""
        if self._open is None:
            self.progress = progress(self._config)
        self._open = checks
        self.forks.prepare()

    def fail(self, trouble: str) -> None:
        """Let the run fail for a reason that no test can report any more, and give it at the end."""
        self._summary.fail(trouble)

    def _reports(self) -> bool:
        """Whether this process reports on the run: workers do not, nor does a run that only collects."""
        return not self._worker and not self._config.getoption("collectonly")

    def pytest_sessionstart(self) -> None:
        if self.settings.mode is not Mode.OFF:
            self._config.pluginmanager.register(self._collected, "modelviz-collected")
            if self._reports():
                folder = self.settings.results_folder()
                try:
                    folder.refuse_links()
                    folder.refuse_others()
                except ModelvizError as error:
                    raise pytest.UsageError(f"modelviz: {printable(str(error))}") from None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """From here on pytest ends every session that it can end."""
        if self._reports():
            self._summary.begin()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Report all drifts of a test when its body ends; an error of the body itself goes first.

        A test that skips itself after a drift fails: a skip is no error, and it would hide the drift.
        """
        try:
            result = yield
        except (pytest.skip.Exception, unittest.SkipTest):
            self._fail(item)
            raise
        except BaseException:
            message = _pending(item)
            if message:
                item.add_report_section("call", "modelviz", message)
            raise
        self._fail(item)
        return result

    def _fail(self, item: pytest.Item) -> None:
        message = _pending(item)
        if message:
            item.stash[_FAILURE] = message
            pytest.fail(message, pytrace=False)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        message = item.stash.get(_FAILURE, "") if report.when == "call" else ""
        if message and report.skipped and not hasattr(report, "wasxfail"):
            report.outcome, report.longrepr = "failed", message  # of a TestCase that skipped itself
        elif message and message not in report.longreprtext:
            report.sections.append(("Captured modelviz call", message))  # of a TestCase with an error of its own
        checks = item.stash.get(CHECKS, None)
        setattr(report, _TEST, identity(item))
        setattr(report, _ATTEMPT, self._attempt(item))
        if checks is not None and checks.unreported:
            is_expected = report.skipped and hasattr(report, "wasxfail")
            results = [replace(each, expected_failure=is_expected and each.status.fails) for each in checks.unreported]
            setattr(report, RESULTS, [result.to_json() for result in results])
            add_properties(item, report, results)
            add_pictures(item.config, report, results, self.settings.results_folder())
            checks.unreported = []
        return report

    def _attempt(self, item: pytest.Item) -> str:
        """The same where a failed test is run again, another one where it was collected several times over."""
        return f"{self._process} {id(item)}"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test, attempt = getattr(report, _TEST, report.nodeid), getattr(report, _ATTEMPT, "")
        if report.when == "setup":
            self._summary.start_test(test, attempt)
        elif report.when == "call" and report.passed:
            self._summary.pass_test(test)
        try:
            results = [CheckResult.from_json(result) for result in getattr(report, RESULTS, ())]
            self._summary.add_results(test, attempt, results)
            if results and self._reports():
                self._reported.rewrite(report, results)
        except (ValueError, TypeError, AttributeError) as error:  # raised here, it would be an INTERNALERROR
            self._summary.abandon(f"the outcome of the checks of {test} cannot be read ({error})")

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["modelviz_run_id"] = self.run_id
        node.workerinput["modelviz_event_folder"] = self._summary.event_folder
        self._summary.workers = max(self._summary.workers, len(node.config.getoption("tx", None) or ()))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        output = getattr(node, "workeroutput", {})
        self._summary.add_error(output.get("modelviz_trouble", ""))
        for failure in output.get("modelviz_failures", ()):
            self._summary.fail(failure)
        if error:
            self._summary.lost.append(str(node.gateway.id))
        elif "modelviz_collected" in output:
            self._summary.add_collection(*output["modelviz_collected"])

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int | pytest.ExitCode) -> None:
        self.progress.close()
        forked = self.forks.nodeid()
        if forked:
            self._summary.fail(f"a check of {forked} was made in a forked process, and its result is lost")
        trouble = ""
        try:
            if self._session is not None:
                self._session.close()
        except ModelvizError as error:
            trouble = str(error)
        if self._open is not None:
            attempt = self._attempt(self._open.item)
            # of a test that was broken off
            self._summary.add_results(self._open.nodeid, attempt, self._open.unreported)
        compares = self.settings.mode is not Mode.OFF
        if self._worker:
            output: dict[str, object] = self._config.workeroutput  # type: ignore[attr-defined]  # xdist's
            output.update(modelviz_trouble=trouble, modelviz_failures=self._summary.failures)
            if compares:
                output["modelviz_collected"] = self._collection()
        elif self._reports():
            if compares and exitstatus == pytest.ExitCode.INTERNAL_ERROR:
                self._summary.abandon("pytest ended this run with an INTERNALERROR")
            self._summary.add_error(trouble)
            if compares and not self._config.pluginmanager.hasplugin("dsession"):  # else the workers collect
                self._summary.add_collection(*self._collection())
            ended = exitstatus in _ENDED and not (session.shouldstop or session.shouldfail)
            self._summary.write(ended=ended, review=self.review)
            here = self._config.invocation_params.dir
            self._annotations = self._summary.report_to_github(here, self.review())
            if self._summary.has_failed and exitstatus in _PASSED:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _collection(self) -> tuple[dict[str, list[str]], list[str]]:
        """The tests of the files that were collected whole, and the files on which their ids depend."""
        configuration = self._config.inipath
        files = [] if configuration is None else [relative_file(configuration, self.settings.rootdir)]
        return self._collected.files(self._config), [*sources(self.settings.rootdir), *files]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        here = self._config.invocation_params.dir
        lines = self._summary.lines(here, self.review()) if self._reports() else []
        if lines:
            terminalreporter.ensure_newline()  # else an empty line follows the title
            terminalreporter.section("modelviz")
        lines = [*((line, True) for line in self._reported.folded_lines()), *lines]
        for line, is_error in lines:
            terminalreporter.write_line(printable(line), red=is_error)
        for line in self._annotations:
            terminalreporter.write_line(line)  # a workflow command, whose fields are escaped


def _pending(item: pytest.Item) -> str:
    checks = item.stash.get(CHECKS, None)
    return "" if checks is None else checks.take_failures()
