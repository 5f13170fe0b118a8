"""Revisions of a git repository: which commit a name means, where a branch began, what a folder held then.

Only objects are read: nothing is checked out, and git runs no hooks, filters or text conversions for that.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.storage.git_calls import git_command, git_environment, git_run, repository_of
from pytest_modelviz.storage.git_tree import PARTIAL, Blob, GitObjects, GitTree

_REMOTE, _LOCAL = "refs/remotes/", "refs/heads/"
_MAIN = (*(f"{_REMOTE}origin/{name}" for name in ("HEAD", "main", "master")), f"{_LOCAL}main", f"{_LOCAL}master")
_SECONDS = 60.0  # that git may take to answer
_SHORT = 10  # letters of a commit's id
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
        command = git_command(root)
        if command is None:
            raise ModelvizError("git is not installed: name two folders of baselines to compare those")
        repository = cls(root, (*command, "--no-replace-objects"))
        repository._answer("rev-parse", "--git-dir")  # which fails where git trusts the folder's owner no more
        return repository

    def revision(self, name: str) -> Revision | None:
        """The commit that a name means, None where it means none; raises ModelvizError where it means several."""
        if name.startswith("-"):  # git would take it for an option
            return None
        try:
            done = self._run("rev-parse", "--verify", f"{name}^{{commit}}")
        except ModelvizError:
            return None
        if b"is ambiguous" in done.stderr:
            raise ModelvizError(
                f"{name!r} is ambiguous in the repository in {self.root}, such as a branch and a tag, or a local and a "
                f"remote branch: name it in full, as refs/heads/..., refs/tags/... or refs/remotes/..."
            )
        commit = os.fsdecode(done.stdout).strip()
        return Revision(commit, name if commit.startswith(name) else f"{name} ({commit[:_SHORT]})")

    def merge_base(self) -> Revision:
        """Where HEAD has left the main branch; raises ModelvizError."""
        if not self._answer_if_any("rev-parse", "--verify", "--quiet", "HEAD^{commit}"):
            raise ModelvizError(f"the repository in {self.root} has no commits yet")
        refs = (name for name in _MAIN if self._answer_if_any("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"))
        ref = next(refs, None)
        if ref is None:
            deepen = f", or {_DEEPEN}" if self._is_shallow else ""
            known = f"{', '.join(map(_short, _MAIN[:-1]))} or {_short(_MAIN[-1])}"
            raise ModelvizError(
                f"the repository in {self.root} has no branch {known}: name the revision to compare with{deepen}"
            )
        main, commit = _short(ref), self._answer_if_any("merge-base", "HEAD", ref)
        if not commit and self._is_shallow:
            raise ModelvizError(
                f"this clone is shallow, and where HEAD has left {main} is not in it: {_DEEPEN}; or name the revision "
                f"to compare with"
            )
        if not commit:
            raise ModelvizError(f"HEAD and {main} have no commit in common: name the revision to compare with")
        called = _short(self._answer_if_any("symbolic-ref", "--quiet", ref) or ref)  # not origin/HEAD
        return Revision(commit, f"{commit[:_SHORT]} (where HEAD has left {called})")

    @property
    def _is_shallow(self) -> bool:
        return self._answer("rev-parse", "--is-shallow-repository") == "true"

    def objects(self) -> GitObjects:
        """Its objects, to be used in a `with` block."""
        partial = self._answer_if_any("config", "--get-regexp", r"^(remote\..*\.promisor|extensions\.partialclone)$")
        return GitObjects(self.command, git_environment(), is_partial=bool(partial))

    def tree(self, objects: GitObjects, revision: Revision, folder: Path) -> GitTree:
        """The files that a folder of this repository held at a revision: none where it was not there."""
        folder, root = Path(os.path.normpath(folder.absolute())), self.root.resolve()
        within = folder.parent.resolve() / folder.name  # the folder itself may be a link
        if not within.is_relative_to(root):
            raise ModelvizError(f"the baselines in {folder} are not in the git repository {self.root}")
        path = "" if within == root else within.relative_to(root).as_posix()
        where = f"{revision.short}:{path and f'{path}/'}"
        try:
            files = self._files(objects, revision, PurePosixPath(path).parts)
        except OSError as error:
            raise ModelvizError(f"git cannot read {where} in the repository in {self.root}: {error}") from error
        return GitTree(objects, where, files, self._large_files)

    def _files(self, objects: GitObjects, revision: Revision, path: Sequence[str]) -> Mapping[str, Blob]:
        tree = self._answer("rev-parse", "--verify", f"{revision.commit}^{{tree}}")
        for at, name in enumerate(path, 1):
            entry = objects.entries(tree).get(name)
            if entry is None:
                return {}
            if not entry.is_tree:
                folder = "/".join(path[:at])
                raise ModelvizError(
                    f"in {revision.label}, {folder} is a link or a submodule, whose files are not part of it"
                )
            tree = entry.id
        return objects.files(tree)

    @property
    def _large_files(self) -> Path:
        """Where Git LFS keeps the files that it has fetched."""
        return self.root / self._answer("rev-parse", "--git-common-dir") / "lfs" / "objects"

    def _answer(self, *arguments: str) -> str:
        return os.fsdecode(self._run(*arguments).stdout).removesuffix("\n")

    def _answer_if_any(self, *arguments: str) -> str:
        """What git answers, empty where it says no."""
        try:
            return self._answer(*arguments)
        except ModelvizError:
            return ""

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        try:
            return git_run([*self.command, *arguments], seconds=_SECONDS)
        except subprocess.CalledProcessError as error:
            if b"promisor" in error.stderr:
                raise ModelvizError(PARTIAL) from error
            reason = os.fsdecode(error.stderr).strip().partition("\n")[0] or f"git {arguments[0]} failed"
            raise ModelvizError(f"git cannot read the repository in {self.root}: {reason}") from error
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise ModelvizError(f"git cannot read the repository in {self.root}: {error}") from error


def _short(ref: str) -> str:
    """A branch as people call it."""
    return ref.removeprefix(_REMOTE).removeprefix(_LOCAL)
