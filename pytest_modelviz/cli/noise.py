"""The noise of baselines, for `modelviz show --verbose`. Whoever wrote a baseline has chosen the names in it."""

from typing import Any

from pytest_modelviz.cli.stored_report import without_commands
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.review.review import Review, ReviewedRun


def noise_report(review: Review, run: ReviewedRun, check: CheckResult) -> list[str]:
    """Printable lines on the noise in a check's baseline, or on why it is not known; none where it holds none."""
    from pytest_modelviz.reports.noise import no_noise_line, noise_lines
    from pytest_modelviz.review.noise import baseline_noise

    try:
        summary = baseline_noise(review, run, check)
    except ModelvizError as error:
        lines = [no_noise_line(str(error))]
    else:
        lines = [] if summary is None else noise_lines(summary)
    return without_commands(lines)


def noise_json(review: Review, run: ReviewedRun, check: CheckResult) -> list[dict[str, Any]]:
    """The same for programs: one object, or none."""
    from pytest_modelviz.review.noise import baseline_noise

    ids = {"nodeid": check.nodeid, "name": check.name, **({"run": run.id} if len(review.runs) > 1 else {})}
    try:
        summary = baseline_noise(review, run, check)
    except ModelvizError as error:
        return [{**ids, "error": str(error)}]
    return [] if summary is None else [{**ids, **summary.to_json()}]
