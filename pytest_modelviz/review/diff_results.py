"""The results of `modelviz diff`, written like a run's, into a folder of their own in the results folder."""

from collections.abc import Iterable
from dataclasses import replace

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.run_result import RunResult
from pytest_modelviz.review.baseline_changes import BaselineChange
from pytest_modelviz.run.facts import facts_of, new_run_id
from pytest_modelviz.storage.local_folder import LocalFolder
from pytest_modelviz.storage.results import ResultsFolder

_NO_TORCH = "not used"


def write_changes(
    home: ResultsFolder, changes: Iterable[BaselineChange], *, revisions: tuple[str, str], project: str | None
) -> list[BaselineChange]:
    """Write results, pictures and report in place of the last diff's; returns the changes, without their pictures.

    `home` is the results folder of the project. Raises ModelvizError where it cannot be written.
    """
    home.refuse_others()
    home.prepare()
    folder = home.diff
    run_id = new_run_id()
    _clear(folder, run_id)
    written = [_with_pictures_kept(folder, change) for change in changes]
    results = tuple(change.result for change in written)
    facts = replace(facts_of(run_id, results, _NO_TORCH), project=project, revisions=revisions)
    folder.write(RunResult(facts, results))
    from pytest_modelviz.reports.html import write_report

    write_report(folder)
    return written


def _clear(folder: ResultsFolder, run_id: str) -> None:
    folder.prepare()
    folder.forget_others((), run_id)
    pictures = LocalFolder(folder.pictures)
    try:
        for name in pictures.find(".png"):
            pictures.delete(name)
    except OSError as error:
        raise ModelvizError(f"cannot remove the pictures in {folder.pictures}: {error.strerror or error}") from error


def _with_pictures_kept(folder: ResultsFolder, change: BaselineChange) -> BaselineChange:
    """The change without its pictures, which are in files now."""
    result = change.result
    try:
        if change.pictures:
            folder.keep_pictures(folder.location(result).path, change.pictures)
    except ModelvizError as error:
        message = f"{result.message}\n  note      its pictures could not be kept: {error}"
        result = replace(result, message=message)
    return replace(change, result=result, pictures={})
