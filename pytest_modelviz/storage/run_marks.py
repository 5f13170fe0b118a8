"""Marks in the results folder: a run sets one when it begins and removes it when its results are written.

A run that dies on its way (killed, crashed, `os._exit`) leaves its mark, however green its exit code is. No torch.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_modelviz.storage.local_folder import LocalFolder
from pytest_modelviz.storage.names import safe

_MOST_NAMED = 3


@dataclass(frozen=True)
class RunMarks:
    """The marks of runs, a file each, in a folder of their own."""

    root: Path

    def set(self, run_id: str) -> None:
        """Note that a run has begun. Where nothing can be written, the run says so at its end."""
        with contextlib.suppress(OSError):
            LocalFolder(self.root).write(safe(run_id), f"run {run_id} has begun\n".encode())

    def remove(self, run_id: str) -> None:
        """Note that a run has ended."""
        self._remove([safe(run_id)])

    def clear(self) -> None:
        """Forget all runs: there are results of a later one."""
        self._remove(self.names())

    def names(self) -> list[str]:
        """The runs that have begun and not ended, by their ids as file names have them, the first one first."""
        if self.root.is_symlink() or not self.root.is_dir():
            return []
        files = [path.name for path in self.root.iterdir() if path.is_file() and not path.is_symlink()]
        return sorted(name for name in files if name == safe(name))

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            with contextlib.suppress(OSError):
                LocalFolder(self.root).delete(name)
        with contextlib.suppress(OSError):  # it holds others
            self.root.rmdir()


def unfinished_line(run_ids: Sequence[str]) -> str:
    """What to say of runs that have begun and not ended; empty where there are none."""
    if not run_ids:
        return ""
    *others, last = run_ids
    more = f" (nor did {', '.join(others[-_MOST_NAMED:])}{' and others' if len(others) > _MOST_NAMED else ''})"
    return (
        f"the last run, {last}, did not end{more if others else ''}: it died or still runs, and its checks are not "
        f"among these results"
    )
