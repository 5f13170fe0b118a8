"""Which commit a project's files are of, as git says."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pytest_modelviz.storage.git_calls import git_answer, repository_of


class Revision(NamedTuple):
    """The commit that is checked out, its branch (None where it is none), and whether tracked files differ from it."""

    commit: str
    branch: str | None
    dirty: bool


def revision_of(root: Path) -> Revision | None:
    """The revision of the repository that a project lies in; None where there is none, or git does not tell."""
    repository = repository_of(root)
    if repository is None:
        return None
    # Of what was renamed there would be a second path, without a mark; in submodules git runs their own filters.
    options = ["--porcelain=v2", "--branch", "--untracked-files=no", "--no-renames", "--ignore-submodules=all", "-z"]
    answer = git_answer(repository, ["status", *options])
    return None if answer is None else _revision(answer.decode("utf-8", "replace"))


def _revision(status: str) -> Revision | None:
    lines = [line for line in status.split("\0") if line]
    facts = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# ") and " " in line[2:])
    commit, branch = facts.get("branch.oid", "(initial)"), facts.get("branch.head", "(detached)")
    if commit == "(initial)":
        return None
    dirty = any(not line.startswith("# ") for line in lines)
    return Revision(commit, None if branch == "(detached)" else branch, dirty)
