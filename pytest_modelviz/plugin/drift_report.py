"""How a test that failed by drifts is reported: in colour, with a short line for the summary, each change told once."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

import pytest
from _pytest._code.code import ReprFileLocation, TerminalRepr  # as every report of pytest's has them
from _pytest._io import TerminalWriter

from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.group import group_name
from pytest_modelviz.reports.groups import repeated, unreported_weights
from pytest_modelviz.reports.short import WIDTH, short_line


class DriftRepr(TerminalRepr):
    """The text of a failed test, with what pytest's summary and JUnit's files read of a crash."""

    def __init__(self, text: str, short: str, location: tuple[str, int]) -> None:
        self._text = text
        self.reprcrash = ReprFileLocation(*location, short)

    def toterminal(self, tw: TerminalWriter) -> None:
        for line in self._text.splitlines():
            is_heading = bool(line) and not line.startswith(" ")
            tw.line(line, red=is_heading, bold=is_heading)


class ReportedDrifts:
    """The drifts of a run that have been reported, by what they have in common."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._first: dict[str, CheckResult] = {}
        self._sections: dict[str, list[tuple[str, str]]] = {}  # what the first test of a group has printed
        self._folded = 0

    @property
    def _terminal(self) -> pytest.TerminalReporter | None:
        """None after `-p no:terminal`."""
        return self._config.pluginmanager.get_plugin("terminalreporter")

    def rewrite(self, report: pytest.TestReport, results: Sequence[CheckResult]) -> None:
        """Say a drift whose group has been reported already in one line, unless pytest is verbose.

        A report that says anything else, as of a test with an error of its own, is left alone.
        """
        failed = [result for result in results if result.status.fails]
        texts = [result.message for result in failed]
        if not failed or not report.failed or str(report.longrepr).strip() != "\n\n".join(texts).strip():
            return
        if self._config.get_verbosity() <= 0:
            self._fold(report, failed)
            texts = [self._text(result) for result in failed]
        file, line = next((result.location for result in failed if result.location), (report.location[0], 0))
        report.longrepr = DriftRepr(_joined(texts), short_line(failed, self._room(report)), (file, line))

    def _room(self, report: pytest.TestReport) -> int:
        """The columns for a short line. pytest cuts the lines of its summary, unless it runs on a CI server."""
        terminal = self._terminal
        if terminal is None or is_on_ci():
            return WIDTH
        return min(WIDTH, terminal._tw.fullwidth - len(f"FAILED {report.nodeid} - "))

    def _fold(self, report: pytest.TestReport, failed: Sequence[CheckResult]) -> None:
        """Leave a test out of pytest's FAILURES that has nothing of its own to say there: its summary names it.

        All its drifts were reported with other tests, no other weights differ, and nothing else was printed than with
        the first of these.
        """
        names = [group_name(result) for result in failed]
        first = [self._first.get(name or "") for name in names]
        if any(before and unreported_weights(result, before) for result, before in zip(failed, first, strict=True)):
            return
        known = [self._sections.get(name or "") for name in names]
        for name in filter(None, names):
            self._sections.setdefault(name, report.sections)
        terminal = self._terminal
        is_listed = terminal is not None and terminal.hasopt("f") and self._config.option.tbstyle != "line"
        if is_listed and report.when == "call" and all(sections == report.sections for sections in known):
            report._pdbshown = True  # type: ignore[attr-defined]  # pytest's mark of a failure that was shown already
            self._folded += 1

    def folded_lines(self) -> list[str]:
        """For the end of the run: how many tests have failed without a report of their own."""
        if not self._folded:
            return []
        tests = "1 failed test is" if self._folded == 1 else f"{self._folded} failed tests are"
        return [f"{tests} not reported above: another test's report names the same change (-v reports each)"]

    def _text(self, result: CheckResult) -> str:
        name = group_name(result)
        reported = None if name is None else self._first.setdefault(name, result)
        if name is None or reported is None or reported is result:
            return result.message
        if reported.output is None and result.output is not None:
            self._first[name] = result  # which says more
        return repeated(result, reported)


def is_on_ci() -> bool:
    """As pytest knows it."""
    return bool(os.environ.get("CI") or os.environ.get("BUILD_NUMBER"))


def _joined(texts: Sequence[str]) -> str:
    """Reports of several lines with a line between them, and those of a single line close together."""
    joined = texts[0]
    for before, text in itertools.pairwise(texts):
        joined += ("\n" if "\n" not in text and "\n" not in before else "\n\n") + text
    return joined
