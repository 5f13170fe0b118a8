"""Folders of event files for TensorBoard, one a run: their names, the trend over runs, and which of them are kept.

TensorBoard shows folders' names as names of runs, sorted. What is in the files is not known here. No torch.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.storage.files import files_below
from pytest_modelviz.storage.git_revision import Revision
from pytest_modelviz.storage.local_folder import LocalFolder
from pytest_modelviz.storage.names import safe

KEPT_RUNS, KEPT_STEPS = 20, 500
TREND = "0_trend"  # sorts before the runs, whose names begin with their year

_MARK = "run.txt"  # in each folder that a run has made
_MARKED = re.compile(rb"run [\w.-]{1,200}\n", re.ASCII)
_UNMARKED = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.\d{6}_\d+", re.ASCII)  # of versions that named them by run ids
_EVENTS = "events.out.tfevents."
_STEP = re.compile(rf"{re.escape(_EVENTS)}(\d{{10,15}})\.modelviz", re.ASCII)
_LARGEST_GAP = 10**6  # between two steps: beyond it, no run has counted so far
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_BRANCH, _SHORT_COMMIT = 40, 7
_MOST_OF_A_SECOND = 100  # runs


def run_name(run_id: str, revision: Revision | None) -> str:
    """The time, branch and commit of a run; `-dirty` stands for the `*` that not every system has in file names.

    Example:
        >>> run_name("2026-11-27_12-36-19.123456_4242", Revision("a1b2c3d4e5", "main", True))
        '2026-11-27_12-36-19_main_a1b2c3d-dirty'

    """
    words = [run_id.partition(".")[0]]
    if revision is not None:
        branch = _UNSAFE.sub("-", revision.branch or "").strip(".-_")[:_LONGEST_BRANCH]
        commit = f"{revision.commit[:_SHORT_COMMIT]}{'-dirty' if revision.dirty else ''}"
        words += [branch, commit] if branch else [commit]
    return safe("_".join(words))


@dataclass(frozen=True)
class EventFolders:
    """The folder of all runs' folders, itself no link."""

    root: Path

    def claim(self, run_id: str, revision: Revision | None) -> str:
        """Make a folder for a run; returns its name, the run's id where none can be made."""
        name = run_name(run_id, revision)
        for number in range(1, _MOST_OF_A_SECOND):
            free = name if number == 1 else f"{name}-{number}"
            try:
                (self.root / free).mkdir(parents=True)
                (self.root / free / _MARK).write_bytes(f"run {safe(run_id)}\n".encode())
            except FileExistsError:
                continue
            except OSError:  # which is reported when event files are to be written there
                break
            return free
        return run_id

    def release(self, name: str) -> None:
        """Remove a run's folder if nothing was written into it."""
        with contextlib.suppress(OSError):
            if [entry.name for entry in os.scandir(self.root / name)] == [_MARK]:
                LocalFolder(self.root).delete(f"{name}/{_MARK}")

    @contextlib.contextmanager
    def next_step(self) -> Iterator[int]:
        """The number of a run in the trend, held until it is written. Raises OSError."""
        with LocalFolder(self.root).locked(TREND):
            yield max(self._steps(), default=0) + 1

    def trend_file(self, step: int) -> Path:
        """The file for one step of the trend."""
        return self.root / TREND / f"{_EVENTS}{step:010}.modelviz"

    def run_file(self, name: str) -> Path:
        """The file for what is said of a run at its end; it sorts behind those that were written during the run."""
        return self.root / name / f"{_EVENTS}{10**10 - 1}.modelviz"

    def _steps(self) -> dict[int, list[Path]]:
        """The files of the trend, by step, without steps that no run can have reached."""
        found: dict[int, list[Path]] = {}
        if not (self.root / TREND).is_symlink():
            for path in files_below(self.root / TREND, lambda _: True):
                match = _STEP.fullmatch(path.name)
                if match:
                    found.setdefault(int(match[1]), []).append(path)
        steps = sorted(found)
        jump = next((at for at, (low, high) in enumerate(pairwise([0, *steps])) if high - low > _LARGEST_GAP), None)
        return {step: found[step] for step in steps[:jump]}

    def prune(self, own: str) -> None:
        """Remove the event files of all but the last runs, and the steps of the trend before the last ones.

        Nothing is removed that no run has written, nothing of the run that asks for it, whose folder is `own`, and
        nothing through links. Folders of later runs than that are somebody else's, and do not count.
        """
        steps, runs = self._steps(), sorted(filter(self._is_of_a_run, self._folders()))
        runs = [name for name in runs if name <= own]
        old = [path for step in sorted(steps)[:-KEPT_STEPS] for path in steps[step]]
        for name in runs[:-KEPT_RUNS]:
            old += [path for path in files_below(self.root / name, lambda _: True) if path.name.startswith(_EVENTS)]
            old.append(self.root / name / _MARK)
        for path in old:
            with contextlib.suppress(OSError):
                LocalFolder(self.root).delete(path.relative_to(self.root).as_posix())

    def _folders(self) -> list[str]:
        try:
            return [entry.name for entry in os.scandir(self.root) if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return []

    def _is_of_a_run(self, name: str) -> bool:
        if _UNMARKED.fullmatch(name):
            return True
        try:
            return _MARKED.fullmatch(LocalFolder(self.root).read(f"{name}/{_MARK}", 256)) is not None
        except (OSError, UnreadableBaselineError):
            return False
