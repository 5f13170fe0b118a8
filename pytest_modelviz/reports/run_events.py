"""What TensorBoard shows of a run as a whole: a summary that sorts first, and its errors beside those of earlier runs.

Written once, by the process that writes the results. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.run_result import RunResult
from pytest_modelviz.reports.event_file import event_file
from pytest_modelviz.reports.run_markdown import run_markdown
from pytest_modelviz.storage.results import ResultsFolder

SUMMARY = "!summary"  # sorts before the names of tests
_DRIFTED = "!checks/drifted"
_MULTIPLE = "error (1 = allowed)"  # errors of all sizes in one table, whose numbers are rounded
_WITHOUT_EVENTS = (Status.NOT_COMPARED, Status.RECORDED)


def has_events(results: Sequence[CheckResult]) -> bool:
    """Whether there is anything to show of a run: a check that was compared, or was to be."""
    return any(result.status not in _WITHOUT_EVENTS for result in results)


def write_run_events(folder: ResultsFolder, result: RunResult, review: str) -> None:
    """Write the summary of a run and its step of the trend, and remove the event files of old runs.

    `review` are the options that the command `modelviz` needs to find the run. Raises ModelvizError.
    """
    folder.prepare()
    events = folder.event_folders
    numbers = trend_scalars(result.checks)
    try:
        with events.next_step() as step:
            text = {SUMMARY: run_markdown(result, review, step)}
            if result.run.tensorboard is not None:
                folder.put(events.run_file(result.run.tensorboard), event_file(step, texts=text))
            folder.put(events.trend_file(step), event_file(step, scalars=numbers, texts=text))
    except OSError as error:
        raise ModelvizError(f"the trend of errors over runs could not be written: {error.strerror or error}") from error
    if result.run.tensorboard is not None:
        events.prune(result.run.tensorboard)


def trend_scalars(results: Sequence[CheckResult]) -> dict[str, float]:
    """What is drawn over runs, by tag: an error only where it is a finite multiple of what is allowed."""
    numbers: dict[str, float | None] = {_DRIFTED: float(sum(result.status is Status.DRIFT for result in results))}
    for result in results:
        if result.status not in (Status.MATCH, Status.DRIFT):
            continue
        variant = f"@{result.variant}" if result.variant else ""
        check = f"{result.nodeid}/{result.name}{variant}"
        numbers[f"{_MULTIPLE}/{check}"] = _multiple(result.error, result.tolerance)
        numbers[f"layers drifted/{check}"] = float(result.layers.drifted)
        if result.output is not None:
            numbers[f"output {_MULTIPLE}/{check}"] = _multiple(result.output.error, result.output.tolerance)
    return {tag: number for tag, number in numbers.items() if number is not None}


def _multiple(error: float | None, allowed: float | None) -> float | None:
    if error == 0.0:
        return 0.0
    multiple = error / allowed if error is not None and allowed else math.nan
    return multiple if math.isfinite(multiple) else None
