"""What report.html shows of a check without trouble: what was compared, and its baseline's picture beside the report.

The picture is linked to, not held: a page of thousands of checks that passed stays small.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.side_by_side import apart


@dataclass(frozen=True)
class QuietCheck:
    """A check that matched, was recorded or was not compared.

    `message` is what its run said of it, `baseline` a path for people, `picture` a link that is relative to the report
    and empty where there is no such file.
    """

    check: CheckResult
    message: str
    baseline: str
    picture: str

    @property
    def compared(self) -> str:
        """How much was compared, and how far the worst of it was off; empty where nothing was."""
        check = self.check
        if check.status is not Status.MATCH:
            return ""
        layers = counted(check.layers.compared, "layer")
        if check.error is None or not check.tolerance:
            return f"{layers}, all equal"
        size, allowed = apart(check.error, check.tolerance, 2)
        return f"{layers}, largest error {size}, allowed {allowed} ({100 * check.error / check.tolerance:.0f} % of it)"


def picture_link(results: ResultsFolder, check: CheckResult) -> str:
    """The link from the report to the picture of a check's baseline; empty where that is not found.

    The path of a baseline is relative to the project, which is a folder that the results lie in.
    """
    path = PurePosixPath(check.baseline)
    if check.status is Status.NOT_COMPARED or path.suffix != ".json" or path.is_absolute() or ".." in path.parts:
        return ""
    home = results.root.absolute()  # not where a link leads to
    for folder in home.parents:
        picture = folder / path.with_suffix(".png")
        try:
            if picture.is_file():
                return quote(os.path.relpath(picture, home).replace(os.sep, "/"))
        except (OSError, ValueError):  # a name that no file can have, or another drive
            return ""
    return ""
