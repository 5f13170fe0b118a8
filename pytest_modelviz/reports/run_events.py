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
_ALLOWED = "allowed"  # the series with the tolerances
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
    errors, allowed = trend_scalars(result.checks)
    try:
        with events.next_step() as step:
            text = {SUMMARY: run_markdown(result, review, step)}
            if result.run.tensorboard is not None:
                folder.put(events.run_file(result.run.tensorboard), event_file(step, texts=text))
            folder.put(events.trend_file(step), event_file(step, scalars=errors, texts=text))
            folder.put(events.trend_file(step, _ALLOWED), event_file(step, scalars=allowed))
    except OSError as error:
        raise ModelvizError(f"the trend of errors over runs could not be written: {error.strerror or error}") from error
    events.prune()


def trend_scalars(results: Sequence[CheckResult]) -> tuple[dict[str, float], dict[str, float]]:
    """What is drawn over runs, by tag: the numbers of a run, and those that were allowed. NaN is no finite number."""
    actual = {_DRIFTED: float(sum(result.status is Status.DRIFT for result in results))}
    allowed: dict[str, float] = {}
    for result in results:
        if result.status not in (Status.MATCH, Status.DRIFT):
            continue
        variant = f"@{result.variant}" if result.variant else ""
        check = f"{result.nodeid}/{result.name}{variant}"
        actual[f"errors/{check}"] = math.nan if result.error is None else result.error
        actual[f"layers drifted/{check}"] = float(result.layers.drifted)
        if result.tolerance is not None:
            allowed[f"errors/{check}"] = result.tolerance
        if result.output is not None:
            actual[f"output errors/{check}"] = _finite(result.output.error)
            allowed[f"output errors/{check}"] = result.output.tolerance
    return actual, allowed


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan
