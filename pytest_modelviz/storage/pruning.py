"""Removing the baselines of tests that are gone: what speaks against it, and the copy that stays.

A parameter may come from anywhere, such as a file of data: where the test's function still stands in its file, a newer
file may have brought the test back. No torch, no pytest.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection
from pathlib import Path

from pytest_modelviz.storage.baseline_files import Files
from pytest_modelviz.storage.definitions import is_defined
from pytest_modelviz.storage.formats import text_sha256
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.orphans import Row, file_digest
from pytest_modelviz.storage.store import Store

_AGAIN = "run pytest --modelviz again"
_HIDES_ITSELF = b"*"  # the first line of the .gitignore of results, caches and environments
_NO_DATA = ("__pycache__", "node_modules", "site-packages")


def reason_to_stay(row: Row, rootdir: Path) -> str:
    """Why an orphan may have its test again since it was judged, by the code; empty where nothing says so."""
    if file_digest(rootdir, row["nodeid"]) != row["test_file_sha256"]:
        return f"its test file has changed since: {_AGAIN}"
    changed = [name for name, digest in row["sources"].items() if file_digest(rootdir, str(name)) != digest]
    return f"{changed[0]} has changed since: {_AGAIN}" if changed else ""


def may_have_parameters_back(row: Row, rootdir: Path) -> bool:
    """Whether an orphan differs from a test that is there in nothing but its parameters, as far as code says."""
    return "[" in row["nodeid"] and is_defined(rootdir, row["nodeid"]) is not False


def reason_of_data(newer: Path) -> str:
    """Why an orphan stays whose parameters may be back, where a file is newer than the results."""
    return (
        f"its function is still there, and its parameters may come from a file that is newer than the results, such "
        f"as {newer}: {_AGAIN}, or name the whole test id"
    )


def newer_file(root: Path, since: float, excluded: Collection[Path]) -> Path | None:
    """A file below a folder that was changed, or came, after a moment (in seconds since the epoch), relative to it.

    Not looked into are `excluded` folders, and those that hide themselves from git, which hold no data of tests.
    """
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = [name for name in folders if not _holds_no_data(here / name, excluded)]
        for name in names:
            path = here / name
            if not name.startswith(".") and not path.is_symlink() and path.is_file():
                status = path.stat()
                if max(status.st_mtime, status.st_ctime) > since:  # a file that was moved here keeps the former
                    return path.relative_to(root)
    return None


def _holds_no_data(folder: Path, excluded: Collection[Path]) -> bool:
    if folder.name.startswith(".") or folder.name in _NO_DATA or folder in excluded:
        return True
    try:
        return (folder / ".gitignore").read_bytes()[:100].split() == [_HIDES_ITSELF]
    except OSError:
        return False


def keep_copy(copies: Store, location: Location, files: Files) -> None:
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
