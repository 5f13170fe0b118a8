"""What a test is called: its file relative to rootdir and its id within that file, whatever arguments pytest was given.

pytest's own ids say so of files inside of rootdir only. Others it calls by the argument they were found under, so that
two folders' tests may share an id, and one test may have several. Knows nothing of models.
"""

from __future__ import annotations

import collections
import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_modelviz.plugin.start import NODEID
from pytest_modelviz.storage.definitions import is_defined

if TYPE_CHECKING:  # private to pytest, which has no other word for them
    from _pytest.fixtures import FuncFixtureInfo
    from _pytest.python import CallSpec2

_IDENTITY = pytest.StashKey[str]()
_PRIVATE = "__"  # begins the names of parameters that pytest-repeat, flake-finder and the like add to every test


def identity(item: pytest.Item) -> str:
    """`<file>::<id within the file>`, the file relative to rootdir (`..` where it lies outside).

    Parameters that a plugin has added in order to run a test several times are no part of it.
    """
    known = item.stash.get(_IDENTITY, None)
    if known is None:
        collected = item.stash.get(NODEID, item.nodeid)
        test = _without_repetition(item, collected.partition("::")[2])
        file = relative_file(item.path, item.config.rootpath)
        known = f"{file}::{test}" if test else file
        if NODEID in item.stash:
            item.stash[_IDENTITY] = known
    return known


def former_identity(item: pytest.Item) -> str | None:
    """The id that earlier versions gave to a test outside of rootdir, where that is another one."""
    file, _, test = item.stash.get(NODEID, item.nodeid).partition("::")
    former = f"{file or relative_file(item.path, item.config.rootpath)}::{_without_repetition(item, test)}"
    return former if test and former != identity(item) else None


@functools.lru_cache(maxsize=4096)
def relative_file(path: Path, root: Path) -> str:
    """A file as seen from a folder, with `/`; absolute where no relative path leads there (another drive)."""
    if not path.is_relative_to(root):
        real, real_root = path.resolve(), root.resolve()
        if real.is_relative_to(real_root):  # it was named through a link
            return real.relative_to(real_root).as_posix()
    try:
        return os.path.relpath(path, root).replace(os.sep, "/")
    except ValueError:
        return path.as_posix()


def _without_repetition(item: pytest.Item, test: str) -> str:
    callspec: CallSpec2 | None = getattr(item, "callspec", None)
    added = {name for name in getattr(callspec, "params", ()) if name.startswith(_PRIVATE)}
    added = added and added & unrequested_parameters(item)
    if callspec is None or not added or not test.endswith(f"[{callspec.id}]"):
        return test
    ids, groups = list(getattr(callspec, "_idlist", ())), _parametrisations(item, callspec)
    if len(ids) == len(groups):
        own = [text for text, names in zip(ids, groups, strict=True) if not added.issuperset(names)]
    else:  # some parametrisation cannot be recognised: plugins add theirs before or after all others
        first, last = (groups[at][0] in added for at in (0, -1))
        own = ids[1:] if first else ids[:-1] if last else ids
    bare = test.removesuffix(f"[{callspec.id}]")
    return f"{bare}[{'-'.join(own)}]" if own else bare


def _parametrisations(item: pytest.Item, callspec: CallSpec2) -> list[tuple[str, ...]]:
    """The names of each parametrisation, in their order: those of one mark share a single part of the test's id."""
    together: dict[str, tuple[str, ...]] = {}
    for mark in item.iter_markers("parametrize"):
        given = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        names = tuple(name.strip() for name in given.split(",") if name.strip()) if isinstance(given, str) else given
        together.update(dict.fromkeys(names, tuple(names)))
    return list(dict.fromkeys(together.get(name, (name,)) for name in callspec.params))


def unrequested_parameters(item: pytest.Item) -> set[str]:
    """Parameters that neither the test nor any of its fixtures asks for: a plugin has added them."""
    information: FuncFixtureInfo | None = getattr(item, "_fixtureinfo", None)
    parameters = set(getattr(getattr(item, "callspec", None), "params", ()))
    if information is None or not parameters:
        return set()
    waiting, requested = list(information.initialnames), set[str]()
    while waiting:
        name = waiting.pop()
        if name not in requested:
            requested.add(name)
            waiting += [other for fixture in information.name2fixturedefs.get(name, ()) for other in fixture.argnames]
    return parameters - requested


class CollectedTests:
    """What the tests of a run are called, side by side. Made when the first check asks."""

    def __init__(self, items: Iterable[pytest.Item], *, whole: bool) -> None:
        """`whole` says that no test is named by itself: of each file that was collected all tests are known."""
        sources: dict[str, set[tuple[int | None, str]]] = {}
        former: dict[str, set[str]] = {}
        for item in items:
            name = identity(item)
            sources.setdefault(name, set()).add((item.location[1], getattr(item, "originalname", item.name)))
            old = former_identity(item)
            if old is not None:
                former.setdefault(old, set()).add(name)
        self._names, self._former, self._whole = set(sources), former, whole
        self._files = {name.partition("::")[0] for name in sources}
        self._shared = {name for name, definitions in sources.items() if len(definitions) > 1}
        counts = collections.Counter(name.partition("::")[2] for name in sources)
        self._ambiguous = {test for test, count in counts.items() if count > 1}

    def title(self, name: str) -> str:
        """How a test is called in TensorBoard: without its file, unless another file has a test of that name."""
        test = name.partition("::")[2]
        return name if not test or test in self._ambiguous else test

    def is_shared(self, name: str) -> bool:
        """Whether two different tests of this run have this id."""
        return name in self._shared

    def is_former(self, nodeid: str, item: pytest.Item) -> bool:
        """Whether an id that earlier versions gave to a test was this one's alone, and is no other test's now."""
        if nodeid in self._names or self._former.get(nodeid, {identity(item)}) != {identity(item)}:
            return False
        if is_defined(item.config.rootpath, nodeid):  # not collected here, but elsewhere or with other options
            return False
        file = nodeid.partition("::")[0]
        return (self._whole and file in self._files) or not (item.config.rootpath / file).exists()

    def is_taken(self, nodeid: str, root: Path) -> bool:
        """Whether a test has this id: one of this run, or one whose function stands in its file, or may stand there."""
        return nodeid in self._names or is_defined(root, nodeid) is not False
