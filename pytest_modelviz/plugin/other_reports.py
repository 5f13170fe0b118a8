"""What reports of other tools are told about a test's checks: JUnit files get properties, pytest-html pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.reports.junit import properties, property_names
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.text.printable import printable

_MOST_PICTURES = 4  # of a check
_MOST_PICTURE_BYTES = 4 * 2**20


def add_properties(item: pytest.Item, report: pytest.TestReport, results: Iterable[CheckResult]) -> None:
    """Add the properties of checks to this report of their test, and to those that follow.

    JUnit files take them from the last. Where a test is run again, they take the place of the earlier ones.
    """
    for result in results:
        names = property_names(result)
        for target in (item.user_properties, report.user_properties):
            target[:] = [*(pair for pair in target if pair[0] not in names), *properties(result)]


def add_pictures(
    config: pytest.Config, report: pytest.TestReport, results: Sequence[CheckResult], folder: ResultsFolder
) -> None:
    """Add the pictures of checks that did not match to pytest-html's report, where one is made."""
    plugin: Any = config.pluginmanager.getplugin("html")
    if not hasattr(plugin, "extras") or not config.getoption("htmlpath", None):
        return
    pictures = [
        plugin.extras.png(base64.b64encode(data).decode("ascii"), name=printable(f"{result.name}, {path.stem}"))
        for result in results
        if result.status.fails
        for path in folder.pictures_of(result)[:_MOST_PICTURES]
        if (data := _bytes(path, folder))
    ]
    if pictures:
        report.extras = [*getattr(report, "extras", []), *pictures]  # type: ignore[attr-defined]  # pytest-html's


def _bytes(path: Path, folder: ResultsFolder) -> bytes:
    """A picture; nothing where it is too large, or gone."""
    try:
        return folder.picture_bytes(path, _MOST_PICTURE_BYTES)
    except (OSError, UnreadableBaselineError):
        return b""
