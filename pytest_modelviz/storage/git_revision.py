"""Which commit a project's files are of, as git says."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pytest_modelviz.storage.git_calls import git_answer, repository_of

_DETACHED = "(detached)"  # what git calls the branch where there is none, and what a branch may be called


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
    revision = None if answer is None else _revision(answer.decode("utf-8", "replace"))
    if revision is None or revision.branch != _DETACHED:
        return revision
    is_branch = git_answer(repository, ["symbolic-ref", "--quiet", "HEAD"]) is not None  # an error where HEAD is none
    return revision if is_branch else revision._replace(branch=None)


def _revision(status: str) -> Revision | None:
    """The revision, with git's own name for a branch that there is not."""
    lines = [line for line in status.split("\0") if line]
    facts = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# ") and " " in line[2:])
    commit, branch = facts.get("branch.oid", "(initial)"), facts.get("branch.head", _DETACHED)
    if commit == "(initial)":
        return None
    dirty = any(not line.startswith("# ") for line in lines)
    return Revision(commit, branch, dirty)
