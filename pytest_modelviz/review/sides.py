"""The two sides that `modelviz diff` compares: baselines of a revision, of the working tree, or of any folder."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.records.limits import FIXED
from pytest_modelviz.storage.baseline_files import ENDINGS
from pytest_modelviz.storage.folder import Folder
from pytest_modelviz.storage.git_tree import GitObjects, GitTree, content_ids
from pytest_modelviz.storage.local_folder import BaselineFolder
from pytest_modelviz.storage.names import display_path
from pytest_modelviz.storage.revisions import Repository, Revision
from pytest_modelviz.storage.store import Store


@dataclass(frozen=True)
class Side:
    """One side, as people call it; `content_ids` tell a file's content, and are empty where there is no such file."""

    label: str
    folder: Folder
    content_ids: Callable[[str], frozenset[str]]
    rootdir: Path

    @functools.cached_property
    def store(self) -> Store:
        return Store(self.folder)

    def display_path(self, stem: PurePosixPath) -> str:
        """The JSON file of the baseline at this path, as shown to users."""
        return display_path(self.store.at(stem), self.rootdir)

    def raw(self, name: str) -> bytes | None:
        """A file as it is; None where there is none, or it cannot be read."""
        with contextlib.suppress(OSError, UnreadableBaselineError):
            return self.folder.read(name, FIXED.array_bytes)
        return None


def is_same_file(name: str, before: Side, after: Side) -> bool:
    """Whether both sides hold the same under this name, or neither holds anything."""
    ids, others = before.content_ids(name), after.content_ids(name)
    return bool(ids & others) or ids == others == frozenset()


def is_same_baseline(stem: PurePosixPath, before: Side, after: Side) -> bool:
    """Whether the files of a baseline are the same on both sides, as far as that can be told without decoding them."""
    return all(is_same_file(f"{stem}{ending}", before, after) for ending in ENDINGS)


@contextlib.contextmanager
def opened_sides(references: Sequence[str], rootdir: Path, baseline_dir: str | Path) -> Iterator[tuple[Side, Side]]:
    """Before and after: what one or two names mean, else where HEAD has left the main branch and the working tree.

    Raises ModelvizError for names that mean nothing, and where neither side has baselines.
    """
    with contextlib.ExitStack() as closing:
        opener = _Opener(rootdir, baseline_dir, closing)
        before = opener.named(references[0]) if references else opener.merge_base()
        after = opener.named(references[1]) if len(references) > 1 else opener.working_tree()
        if not before.store.stems() and not after.store.stems():
            raise ModelvizError(
                f"there are no baselines in {before.label}, nor in {after.label} "
                f"({display_path(baseline_dir, rootdir)}): name their folder with --baseline-dir"
            )
        yield before, after


@dataclass
class _Opener:
    """Opens sides; the repository is looked for when a revision is asked for."""

    _rootdir: Path
    _baseline_dir: str | Path
    _closing: contextlib.ExitStack

    @functools.cached_property
    def _repository(self) -> Repository:
        return Repository.around(self._rootdir)

    @functools.cached_property
    def _objects(self) -> GitObjects:
        return self._closing.enter_context(self._repository.objects())

    def merge_base(self) -> Side:
        return self._revision(self._repository.merge_base())

    def working_tree(self) -> Side:
        return self._folder("the working tree", self._local())

    def named(self, name: str) -> Side:
        """What a name means: a folder where there is one and no such revision, else a revision."""
        is_folder, is_path = Path(name).is_dir(), os.sep in name or name in (os.curdir, os.pardir)
        try:
            revision = None if is_folder and is_path else self._repository.revision(name)
        except ModelvizError:
            if not is_folder:
                raise
            revision = None
        if revision is not None:
            if is_folder:
                raise ModelvizError(
                    f"{name!r} is a revision and a folder: write ./{name} for the folder, or the commit's id"
                )
            return self._revision(revision)
        if not is_folder:
            raise ModelvizError(f"{name!r} is no revision of the repository in {self._repository.root}, and no folder")
        side = self._folder(f"the folder {name}", Path(name).absolute())
        if not side.store.stems():
            raise ModelvizError(
                f"there are no baselines in the folder {name}: name the one that they were recorded into"
            )
        return side

    def _local(self) -> Path:
        if not isinstance(self._baseline_dir, Path):
            raise ModelvizError(
                f"the baselines are at {self._baseline_dir}, not in git: name two folders to compare copies of them"
            )
        return self._baseline_dir

    def _revision(self, revision: Revision) -> Side:
        tree: GitTree = self._repository.tree(self._objects, revision, self._local())
        return Side(revision.label, tree, tree.content_ids, self._rootdir)

    def _folder(self, label: str, path: Path) -> Side:
        folder = BaselineFolder(path)

        def ids(name: str) -> frozenset[str]:
            try:
                return content_ids(folder.read(name, FIXED.array_bytes))
            except FileNotFoundError:
                return frozenset()
            except (OSError, UnreadableBaselineError):
                return frozenset({f"unreadable in {path}"})  # which is the same as nothing

        return Side(label, folder, ids, self._rootdir)
