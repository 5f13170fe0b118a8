"""`modelviz tensorboard` and `modelviz report`: the pictures of drifts, in TensorBoard and in one file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import click

from pytest_modelviz.cli.options import ReviewOptions, review_options
from pytest_modelviz.cli.output import from_here, print_line, warn_of_unfinished
from pytest_modelviz.cli.stored_report import stored_report
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.run_result import RunResult
from pytest_modelviz.review.review import ReviewedRun
from pytest_modelviz.storage.results import ResultsFolder


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[TENSORBOARD OPTIONS]...")
@review_options
def tensorboard(options: ReviewOptions, arguments: Sequence[str]) -> None:
    """Open the pictures of drifts and the errors of all runs in TensorBoard."""
    folders = [folder.tensorboard for folder in options.folders()]
    found = [folder for folder in folders if folder.is_dir()]
    if not found:
        raise ModelvizError(f"there are no event files in {folders[0]}: run pytest --modelviz first")
    several = ",".join(f"{folder.parent.name or at}:{folder}" for at, folder in enumerate(found))
    logs = ["--logdir", str(found[0])] if len(found) == 1 else ["--logdir_spec", several]
    command = [sys.executable, "-m", "tensorboard.main", *logs, *arguments]
    try:
        raise click.exceptions.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603  # the user's own
    except KeyboardInterrupt:  # how TensorBoard is ended
        raise click.exceptions.Exit(0) from None


@click.command()
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@review_options
def report(options: ReviewOptions, opens: bool) -> None:
    """Write report.html anew: one file with all that did not match, pictures included."""
    from pytest_modelviz.reports.html import write_report

    review = options.review()
    warn_of_unfinished(review)
    fates = {(item.run.id, item.nodeid, item.check.name): item.fate for item in review.captured()}
    for folder in options.folders():

        def message(result: RunResult, check: CheckResult, folder: ResultsFolder = folder) -> str:
            return stored_report(check, ReviewedRun(folder, result), options)

        path = write_report(folder, fates, message)
        print_line(str(from_here(path)))
        if opens:
            click.launch(str(path))
