"""Removing the baselines of tests that are gone: what speaks against it, and the copy that stays.

A parameter may come from anywhere, such as a file of data: where the test's function still stands in its file, a newer
file may have brought the test back. No torch, no pytest.
"""

import functools
import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.review.review import Decision, Review
from pytest_modelviz.storage.baseline_files import Files
from pytest_modelviz.storage.definitions import is_defined
from pytest_modelviz.storage.files import HIDES_ALL, files_below, words_of_gitignore
from pytest_modelviz.storage.formats import text_sha256
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.orphans import file_digest
from pytest_modelviz.storage.store import ChangedMeanwhileError, Store

_AGAIN = "run pytest --modelviz again"
_NO_DATA = ("__pycache__", "node_modules", "site-packages")


def prune_all(
    review: Review, orphans: Sequence[OrphanRecord], *, named: Collection[str] = (), dry_run: bool = False
) -> list[Decision]:
    """Remove orphans, and keep a copy of each in the results folder.

    One that was `named` by its whole test id is removed also where its parameters may be back.
    """
    newer = functools.cache(lambda: _newer_than_results(review))
    elsewhere = {check.nodeid: run for run, check in review.checks if run.folder.root != review.home.root}

    def reason(orphan: OrphanRecord) -> str:
        run = elsewhere.get(orphan.nodeid)
        if orphan.test_file_sha256 is None and run is not None:
            return (
                f"run {run.label} has checked this test, whose file is not in {review.rootdir}: name the project's "
                f"folder with --rootdir or, if the file is gone since, leave --from out"
            )
        stays = _reason_to_stay(orphan, review.rootdir)
        return stays or ("" if orphan.nodeid in named else _reason_to_name_it(orphan, review.rootdir, newer))

    return [_prune(review, orphan, reason(orphan), dry_run=dry_run) for orphan in orphans]


def _newer_than_results(review: Review) -> Path | None:
    """A file of the project that is newer than the first of the results that judge orphans here."""
    folders = {run.folder.root: run.folder for run in review.own_runs}.values()
    judged = min((folder.written_at() for folder in folders), default=0.0)
    return _newer_file(review.rootdir, judged, review.own_folders())


def _prune(review: Review, orphan: OrphanRecord, reason: str, *, dry_run: bool) -> Decision:
    """Remove one, unless there is a reason to leave it."""
    location, baselines = Location.of(*orphan.key), review.baselines
    path = baselines.display_path(location)
    decided = functools.partial(Decision, orphan.nodeid, orphan.name, path=path)
    if reason:
        return decided("refused", reason)
    if dry_run:
        return decided("would be removed")
    try:
        files = baselines.files(location, nodeid=orphan.nodeid, name=orphan.name)
        if files is None or text_sha256(files.text) != orphan.baseline_sha256:
            raise ChangedMeanwhileError(path)
        if baselines.has_linked_picture(location):
            files = replace(files, picture=None)  # the copy gets no picture of somebody else's
        review.home.prepare()
        _keep_copy(Store(review.home.pruned, kind="copy", option="--modelviz-results-dir"), location, files)
        baselines.remove(location, expected_digest=text_sha256(files.text))
    except ChangedMeanwhileError:
        return decided("refused", f"it has changed since: {_AGAIN}")
    except (ModelvizError, UnreadableBaselineError) as error:
        return decided("refused", str(error))
    return decided("removed")


def _reason_to_stay(orphan: OrphanRecord, rootdir: Path) -> str:
    """Why an orphan may have its test again since it was judged, by the code; empty where nothing says so."""
    if file_digest(rootdir, orphan.nodeid) != orphan.test_file_sha256:
        return f"its test file has changed since: {_AGAIN}"
    changed = [name for name, digest in orphan.sources.items() if file_digest(rootdir, name) != digest]
    return f"{changed[0]} has changed since: {_AGAIN}" if changed else ""


def _reason_to_name_it(orphan: OrphanRecord, rootdir: Path, newer: Callable[[], Path | None]) -> str:
    """Why an orphan stays that was not named, where its test's function may still be there; else empty."""
    is_there = is_defined(rootdir, orphan.nodeid)
    if not (orphan.function_was_collected and "[" in orphan.nodeid and is_there is not False):
        hidden = "its function is still in its file, where a run with other options may find it: name its test id"
        return hidden if is_there else ""
    file = newer()  # all that is gone are parameters
    if file is None:
        return ""
    return (
        f"its function is still there, and its parameters may come from a file that is newer than the results, such "
        f"as {file}: {_AGAIN}, or name the whole test id"
    )


def _newer_file(root: Path, since: float, excluded: Collection[Path]) -> Path | None:
    """A file below a folder that was changed, or came, after a moment (in seconds since the epoch), relative to it.

    Not looked into are `excluded` folders, and those that hide themselves from git, which hold no data of tests.
    """
    for path in files_below(root, lambda folder: not _holds_no_data(folder, excluded)):
        if not path.name.startswith(".") and not path.is_symlink() and path.is_file():
            status = path.stat()
            if max(status.st_mtime, status.st_ctime) > since:  # a file that was moved here keeps the former
                return path.relative_to(root)
    return None


def _holds_no_data(folder: Path, excluded: Collection[Path]) -> bool:
    if folder.name.startswith(".") or folder.name in _NO_DATA or folder in excluded:
        return True
    return words_of_gitignore(folder) == [HIDES_ALL]


def _keep_copy(copies: Store, location: Location, files: Files) -> None:
    """Keep the files of a baseline beside earlier copies of it that say something else: `test_a`, `test_a@2`.

    Raises ModelvizError.
    """
    digest = text_sha256(files.text)
    for number in itertools.count(1):
        beside = location.folder.with_name(f"{location.folder.name}@{number}")
        copy = location if number == 1 else Location(beside, location.stem, location.variant)
        if copies.digest(copy) in (None, digest):
            copies.put(copy, files)
            return
