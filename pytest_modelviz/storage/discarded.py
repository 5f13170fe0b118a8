"""Notes in the results folder on candidates that are gone: which was rejected, and which a later run has superseded."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.storage.local_folder import LocalFolder

_NOTE = re.compile(rb"(?P<digest>\w+) (?P<note>rejected|superseded [\w.-]{1,100})\n", re.ASCII)
_MOST_BYTES = 1024


@dataclass(frozen=True)
class DiscardNotes:
    """The notes below `root`, each at the location of its check."""

    root: Path

    def write(self, path: PurePosixPath, digest: str | None, note: str) -> None:
        """Note why the candidate with this digest is gone: `rejected`, or `superseded` and the run."""
        with contextlib.suppress(OSError):
            LocalFolder(self.root).write(f"{path}.txt", f"{digest} {note}\n".encode())

    def read(self, path: PurePosixPath, digest: str | None) -> str:
        """The note on the candidate with this digest; empty where there is none."""
        try:
            text = LocalFolder(self.root).read(f"{path}.txt", _MOST_BYTES)
        except (FileNotFoundError, UnreadableBaselineError):
            return ""
        note = _NOTE.fullmatch(text)
        return note["note"].decode() if note and digest in (None, note["digest"].decode()) else ""

    def forget_others(self, current: Collection[PurePosixPath]) -> None:
        """Remove all notes but those on these checks."""
        forget_other_files(self.root, ".txt", current)


def forget_other_files(root: Path, ending: str, current: Collection[PurePosixPath]) -> None:
    """Remove the files of checks that are not `current` from a folder that holds one for each check."""
    folder = LocalFolder(root)
    for name in folder.find(ending):
        if PurePosixPath(name.removesuffix(ending)) not in current:
            with contextlib.suppress(OSError):
                folder.delete(name)
