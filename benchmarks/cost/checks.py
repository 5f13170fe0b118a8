"""Checks as a run of the plugin makes them, in a folder of their own: recorded, and compared with that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.cost.models import Subject
from pytest_modelviz.pictures.composite import sheet
from pytest_modelviz.pictures.exhibits import pictures_of
from pytest_modelviz.pictures.files import png_bytes
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.run.check import Check
from pytest_modelviz.run.checked_view import CheckedView
from pytest_modelviz.run.evaluation import CheckEvaluator
from pytest_modelviz.run.session import Session
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.views.base import View

_NODEID = "test_cost.py::test_model"


class Captured(NamedTuple):
    """A view and its capture."""

    view: View
    capture: Capture


class Project:
    """A folder with baselines."""

    def __init__(self, folder: Path) -> None:
        self._settings = Settings(Mode.COMPARE, folder, folder / "baselines", folder / ".modelviz")

    def record(self, view: View) -> None:
        """Record a view, as `--modelviz-update` does."""
        _, result = Session("record").check(self._check(view, Mode.UPDATE))
        if result.status not in (Status.RECORDED, Status.MATCH):
            raise RuntimeError(f"{view.view} could not be recorded: {result.message}")

    def compare(self, captured: Captured) -> CheckResult:
        """All that follows a capture under `--modelviz`, from reading the files of its baseline on.

        Raises RuntimeError unless they match: nothing else is to be timed.
        """
        view, capture = captured
        result = CheckEvaluator(Session("compare"), self._check(view, Mode.COMPARE), capture).result()
        if result.status is not Status.MATCH:
            raise RuntimeError(f"{view.view} was to match: {result.message}")
        return result

    def check(self, make: Callable[[Subject], View], subject: Subject) -> CheckResult:
        """A whole check: a view made anew, its capture, and the comparison."""
        return self.compare(captured(make, subject))

    def size(self, view: View) -> int:
        """Bytes of a view's baseline: the text, what is compared, and the picture."""
        return sum(path.stat().st_size for path in self._settings.rootdir.glob(f"baselines/**/{view.view}.*"))

    def _check(self, view: View, mode: Mode) -> Check:
        settings = replace(self._settings, mode=mode)
        return Check(_NODEID, "test_model", _NODEID, view.view, CheckedView(view), settings)


def captured(make: Callable[[Subject], View], subject: Subject) -> Captured:
    """A view made anew and its capture, of which nothing has been computed later than the capture itself."""
    view = make(subject)
    return Captured(view, view.capture())


def picture(captured: Captured) -> bytes | None:
    """The picture of a capture as a PNG, as it is made when recording; None where it has none."""
    view, capture = captured
    image = sheet(pictures_of(view.picture(capture)))
    return None if image is None else png_bytes(image)
