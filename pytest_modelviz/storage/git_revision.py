"""Which commit a project's files are of, as git says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from pytest_modelviz.storage.git import path_in_repository

_SECONDS = 5.0  # that git may take to answer


class Revision(NamedTuple):
    """The commit that is checked out, its branch (None where it is none), and whether tracked files differ from it."""

    commit: str
    branch: str | None
    dirty: bool


def revision_of(root: Path) -> Revision | None:
    """The revision of the repository that a project lies in; None where there is none, or git does not tell."""
    git = shutil.which("git")
    if git is None or path_in_repository(root) is None:
        return None
    command = [git, "-C", str(root), "-c", "safe.bareRepository=explicit", "-c", "core.fsmonitor=false"]
    command += ["--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=no", "-z"]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=_SECONDS)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return _revision(done.stdout.decode("utf-8", "replace"))


def _revision(status: str) -> Revision | None:
    lines = [line for line in status.split("\0") if line]
    facts = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# ") and " " in line[2:])
    commit, branch = facts.get("branch.oid", "(initial)"), facts.get("branch.head", "(detached)")
    if commit == "(initial)":
        return None
    dirty = any(not line.startswith("# ") for line in lines)
    return Revision(commit, None if branch == "(detached)" else branch, dirty)
