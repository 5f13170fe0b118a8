"""Revisions of a git repository: which commit a name means, where a branch began, what a folder held then.

Only objects are read: nothing is checked out, and git runs no hooks, filters or text conversions for that.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.storage.git_calls import git_command, git_environment, git_output, repository_of
from pytest_modelviz.storage.git_tree import Blob, GitObjects, GitTree

_MAIN = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
_SECONDS = 60.0  # that git may take to answer
_SHORT = 10  # letters of a commit's id
_ENTRY = re.compile(rb"(?P<mode>\d{6}) blob (?P<id>[0-9a-f]+)\t(?P<name>.+)", re.DOTALL)  # no submodule
_LINK = b"120000"
_DEEPEN = "fetch more of it, as by 'git fetch --deepen=1000', or in actions/checkout by 'fetch-depth: 0'"


@dataclass(frozen=True)
class Revision:
    """A commit, by its id, and what people call it."""

    commit: str
    label: str

    @property
    def short(self) -> str:
        return self.commit[:_SHORT]


@dataclass(frozen=True)
class Repository:
    """The git repository at `root`. What cannot be answered is a ModelvizError with git's reason."""

    root: Path
    command: tuple[str, ...]

    @classmethod
    def around(cls, folder: Path) -> Repository:
        """The repository that a folder lies in; raises ModelvizError."""
        root = repository_of(folder)
        if root is None:
            raise ModelvizError(f"{folder} is in no git repository: name two folders of baselines to compare those")
        command = git_command(root, may_fetch=True)
        if command is None:
            raise ModelvizError("git is not installed: name two folders of baselines to compare those")
        repository = cls(root, (*command, "--no-replace-objects"))
        repository._answer("rev-parse", "--git-dir")  # which fails where git trusts the folder's owner no more
        return repository

    def revision(self, name: str) -> Revision | None:
        """The commit that a name means; None where it means none."""
        if name.startswith("-"):  # git would take it for an option
            return None
        commit = self._answer_if_any("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        return Revision(commit, name if commit.startswith(name) else f"{name} ({commit[:_SHORT]})") if commit else None

    def merge_base(self) -> Revision:
        """Where HEAD has left the main branch; raises ModelvizError."""
        if self.revision("HEAD") is None:
            raise ModelvizError(f"the repository in {self.root} has no commits yet")
        main = next((name for name in _MAIN if self.revision(name)), None)
        if main is None:
            deepen = f", or {_DEEPEN}" if self._is_shallow else ""
            raise ModelvizError(
                f"the repository in {self.root} has no branch {', '.join(_MAIN[:-1])} or {_MAIN[-1]}: name the "
                f"revision to compare with{deepen}"
            )
        commit = self._answer_if_any("merge-base", "HEAD", main)
        if not commit and self._is_shallow:
            raise ModelvizError(
                f"this clone is shallow, and where HEAD has left {main} is not in it: {_DEEPEN}; or name the revision "
                f"to compare with"
            )
        if not commit:
            raise ModelvizError(f"HEAD and {main} have no commit in common: name the revision to compare with")
        called = self._answer_if_any("rev-parse", "--abbrev-ref", main) or main  # not origin/HEAD
        return Revision(commit, f"{commit[:_SHORT]} (where HEAD has left {called})")

    @property
    def _is_shallow(self) -> bool:
        return self._answer("rev-parse", "--is-shallow-repository") == "true"

    def objects(self) -> GitObjects:
        """Its objects, to be used in a `with` block."""
        return GitObjects(self.command, git_environment(may_fetch=True))

    def tree(self, objects: GitObjects, revision: Revision, folder: Path) -> GitTree:
        """The files that a folder of this repository held at a revision: none where it was not there."""
        folder, root = Path(os.path.normpath(folder.absolute())), self.root.resolve()
        within = folder.parent.resolve() / folder.name  # the folder itself may be a link
        if not within.is_relative_to(root):
            raise ModelvizError(f"the baselines in {folder} are not in the git repository {self.root}")
        path = "" if within == root else within.relative_to(root).as_posix()
        found = self._answer_if_any("rev-parse", "--verify", "--quiet", f"{revision.commit}:{path}")
        if found and self._answer("cat-file", "-t", found) != "tree":
            raise ModelvizError(f"in {revision.label}, {path} is a link or a submodule, whose files are not part of it")
        where = f"{revision.short}:{path and f'{path}/'}"
        return GitTree(objects, where, self._blobs(found) if found else {}, self._large_files)

    def _blobs(self, tree: str) -> Mapping[str, Blob]:
        """All files in a tree, by their paths."""
        rows = self._run("ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0")
        entries = filter(None, map(_ENTRY.fullmatch, rows))
        return {os.fsdecode(row["name"]): Blob(row["id"].decode(), row["mode"] == _LINK) for row in entries}

    @property
    def _large_files(self) -> Path:
        """Where Git LFS keeps the files that it has fetched."""
        return self.root / self._answer("rev-parse", "--git-common-dir") / "lfs" / "objects"

    def _answer(self, *arguments: str) -> str:
        return os.fsdecode(self._run(*arguments)).removesuffix("\n")

    def _answer_if_any(self, *arguments: str) -> str:
        """What git answers, empty where it says no."""
        try:
            return self._answer(*arguments)
        except ModelvizError:
            return ""

    def _run(self, *arguments: str) -> bytes:
        try:
            return git_output([*self.command, *arguments], may_fetch=True, seconds=_SECONDS)
        except subprocess.CalledProcessError as error:
            reason = os.fsdecode(error.stderr).strip().partition("\n")[0] or f"git {arguments[0]} failed"
            raise ModelvizError(f"git cannot read the repository in {self.root}: {reason}") from error
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise ModelvizError(f"git cannot read the repository in {self.root}: {error}") from error
