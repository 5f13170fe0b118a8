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
from pytest_modelviz.reports.groups import repeated
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

    def __init__(self) -> None:
        self._first: dict[str, CheckResult] = {}

    def rewrite(self, report: pytest.TestReport, results: Sequence[CheckResult], *, whole: bool, columns: int) -> None:
        """Say a drift whose group has been reported already in one line, unless the `whole` is wanted.

        pytest cuts the lines of its summary at so many `columns`, unless it runs on a CI server.
        A report that says anything else, as of a test with an error of its own, is left alone.
        """
        failed = [result for result in results if result.status.fails]
        texts = [result.message for result in failed]
        if not failed or not report.failed or str(report.longrepr).strip() != "\n\n".join(texts).strip():
            return
        if not whole:
            texts = [self._text(result) for result in failed]
        file, line = next((result.location for result in failed if result.location), (report.location[0], 0))
        room = columns - len(f"FAILED {report.nodeid} - ")
        short = short_line(failed, WIDTH if _is_on_ci() else min(room, WIDTH))
        report.longrepr = DriftRepr(_joined(texts), short, (file, line))

    def _text(self, result: CheckResult) -> str:
        name = group_name(result)
        reported = None if name is None else self._first.setdefault(name, result)
        if name is None or reported is None or reported is result:
            return result.message
        if reported.output is None and result.output is not None:
            self._first[name] = result  # which says more
        return repeated(result, reported)


def _is_on_ci() -> bool:
    """As pytest knows it."""
    return bool(os.environ.get("CI") or os.environ.get("BUILD_NUMBER"))


def _joined(texts: Sequence[str]) -> str:
    """Reports of several lines with a line between them, and those of a single line close together."""
    joined = texts[0]
    for before, text in itertools.pairwise(texts):
        joined += ("\n" if "\n" not in text and "\n" not in before else "\n\n") + text
    return joined
