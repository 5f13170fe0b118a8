"""pytest's door: options, markers, hooks. With `fixtures` the only module that knows pytest; imports nothing heavy."""

from __future__ import annotations

import collections
import datetime
import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.fixtures import (
    CHECKS,
    RUN,
    TestChecks,
    _modelviz_checks,
    cam_map,
    feature_maps,
    model_summary,
)
from pytest_modelviz.reports.results import ResultsFolder, run_facts
from pytest_modelviz.reports.terminal import summary_lines
from pytest_modelviz.settings import OPTIONS, InvalidSettingError, Mode, Settings, read_settings

if TYPE_CHECKING:
    from pytest_modelviz.session import Session

__all__ = ["_modelviz_checks", "cam_map", "feature_maps", "model_summary"]  # fixtures, found here by pytest

_ENTRIES = "modelviz_checks"  # the attribute of a report that carries the entries to the controlling process
_TYPED_INI = pytest.version_tuple >= (8, 4)  # before, pytest had no numbers in ini files


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("modelviz", "model visual regression testing")
    for option in OPTIONS:
        kind: Any = option.ini_type if _TYPED_INI or option.ini_type != "float" else "string"
        parser.addini(option.ini, option.help, type=kind, default=None)
        if option.is_flag:
            group.addoption(option.name, action="store_true", default=None, help=option.help)
        else:
            group.addoption(option.name, default=None, metavar=option.metavar, help=option.help)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "modelviz(rtol=, atol=, compare=True): tolerances of the model checks of a test, or compare=False for none",
    )
    command_line = {option.name: config.getoption(option.name) for option in OPTIONS}
    try:
        ini = {option.name: _ini(config, option.ini) for option in OPTIONS}
        settings = read_settings(command_line, ini, config.rootpath)
    except InvalidSettingError as error:
        raise pytest.UsageError(f"modelviz: {error}") from None
    run = ModelvizRun(config, settings)
    config.stash[RUN] = run
    config.pluginmanager.register(run, "modelviz-run")


def _ini(config: pytest.Config, key: str) -> Any:
    try:
        return config.getini(key)
    except (TypeError, ValueError, pytest.UsageError) as error:
        raise InvalidSettingError(f"{key} in the configuration file: {error}") from None


class ModelvizRun:
    """The run: hands checks to the session, collects what every process reports, writes the results at the end."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.settings = settings
        self._config = config
        self._worker = getattr(config, "workerinput", None)
        now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S.%f")
        self.run_id: str = self._worker["modelviz_run_id"] if self._worker else f"{now}_{os.getpid()}"
        self._session: Session | None = None
        self._open: TestChecks | None = None
        self._entries: dict[tuple[str, str], dict[str, Any]] = {}
        self._ambiguous: set[str] = set()
        self._totals: dict[str, int] | None = None
        self._error: str | None = None
        self._workers = 1

    def session(self) -> Session:
        """Made when the first check runs: this is where torch, numpy and pillow come in.

        No property: pytest reads those when it looks for fixtures.
        """
        if self._session is None:
            from pytest_modelviz.session import Session

            self._session = Session(self.run_id, self._worker["workerid"] if self._worker else "main")
        return self._session

    def title(self, nodeid: str) -> str:
        """How a test is called in TensorBoard: without its file, unless another file has a test of that name."""
        test = nodeid.partition("::")[2]
        return nodeid if not test or test in self._ambiguous else test

    def opened(self, checks: TestChecks) -> None:
        """A test has begun to make checks."""
        self._open = checks

    def _reports(self) -> bool:
        """Whether this process tells of the run: workers do not, nor does a run that only collects."""
        return not self._worker and not self._config.getoption("collectonly", False)

    def pytest_sessionstart(self) -> None:
        if self._reports() and self.settings.mode is not Mode.OFF:
            ResultsFolder(self.settings.results_dir).clear()

    @pytest.hookimpl(tryfirst=True)  # before tests are deselected: a title must not depend on -k
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        counts = collections.Counter(item.nodeid.partition("::")[2] for item in items)
        self._ambiguous = {name for name, count in counts.items() if count > 1}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Report all drifts of a test when its body ends; an error of the body itself goes first.

        A test that skips itself after a drift fails: a skip is no error, and it would hide the drift.
        """
        try:
            result = yield
        except pytest.skip.Exception:
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
            pytest.fail(message, pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        checks = item.stash.get(CHECKS, None)
        if checks is not None and checks.unreported:
            setattr(report, _ENTRIES, checks.unreported)
            checks.unreported = []
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._take(getattr(report, _ENTRIES, ()))

    def _take(self, entries: Any) -> None:
        self._entries.update({(entry["nodeid"], entry["name"]): entry for entry in entries})

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["modelviz_run_id"] = self.run_id
        self._workers = max(self._workers, len(node.config.getoption("tx", None) or ()))

    def pytest_sessionfinish(self) -> None:
        if self._session is not None:
            self._session.close()
        if self._open is not None:
            self._take(self._open.unreported)  # of a test that was broken off
        if self._reports() and (self._entries or self.settings.mode is not Mode.OFF):
            entries = list(self._entries.values())
            try:
                facts = run_facts(self.run_id, self._workers, entries)
                self._totals = ResultsFolder(self.settings.results_dir).write(facts, entries)
            except ModelvizError as error:
                self._error = str(error)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._error is not None:
            terminalreporter.section("modelviz")
            terminalreporter.write_line(self._error, red=True)
        elif self._totals is not None:
            results = self.settings.results_dir
            here = self._config.invocation_params.dir
            shown = results.relative_to(here) if results.is_relative_to(here) else results
            pictures = any(entry["tensorboard_tags"] for entry in self._entries.values())
            folder = str(shown / "tensorboard") if pictures else None
            compared = self.settings.mode is not Mode.OFF
            entries = list(self._entries.values())
            lines = summary_lines(self._totals, str(shown / "results.json"), folder, compared=compared, entries=entries)
            if lines:
                terminalreporter.section("modelviz")
            for line in lines:
                terminalreporter.write_line(line)


def _pending(item: pytest.Item) -> str:
    checks = item.stash.get(CHECKS, None)
    return "" if checks is None else checks.take_failures()
