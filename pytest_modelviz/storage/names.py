"""Where a check's baseline is stored: a folder for the test file, one for the test id, a file stem for the check.

Names are made safe for every file system and stay readable; a name that had to be changed carries a hash of the
original, so that two tests never share a folder. So does one with a capital letter, since some file systems do not
tell `[S]` from `[s]`; the names of files and classes, which have capitals everywhere, are left as they are.

Which file system it is plays no part: a baseline recorded on one machine is found on all others.
"""

from __future__ import annotations

import functools
import hashlib
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

_LONGEST = 120
_UNSAFE = re.compile(r"[^A-Za-z0-9._=+,\[\]-]")
_CAPITAL = re.compile("[A-Z]")  # any other letter that has a case is unsafe by itself
_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}
_VARIANT = "@"  # precedes a variant, and occurs in no name


@dataclass(frozen=True)
class Location:
    """`folder` is relative to the baselines' folder, `stem` the file name without its ending.

    A `variant` has files of its own beside the common ones: `feature_maps@cuda.json`. `owner` is the test's id, the
    check's name and the variant that it was made from; None for files whose owner is unknown.
    """

    folder: PurePosixPath
    stem: str
    variant: str | None = None
    owner: tuple[str, str, str | None] | None = field(default=None, compare=False)

    @classmethod
    def of(cls, nodeid: str, name: str, variant: str | None = None) -> Location:
        """The location of a check's baseline, from pytest's id of the test and the check's name."""
        test = _test_folder(nodeid)
        folder = file_folder(nodeid) / (_hashed(test) if _CAPITAL.search(_function(test)) else safe(test))
        return cls(folder, _stem(name, variant, distinct), variant, (nodeid, name, variant))

    @classmethod
    def of_document(cls, document: Mapping[str, Any], nodeid: str | None = None) -> Location:
        """Where a baseline with the ids in this document belongs, or would if its test were called `nodeid`."""
        variant = document.get("variant")
        owner = document["nodeid"] if nodeid is None else nodeid
        return cls.of(owner, document["name"], variant if isinstance(variant, str) else None)

    @functools.cached_property
    def path(self) -> PurePosixPath:
        """The files without their endings, relative to the baselines' folder."""
        return self.folder / self.stem

    @functools.cached_property
    def earlier(self) -> Location | None:
        """Where versions before this one kept the same baseline, if that is somewhere else: the store looks there too.

        Ids that differ only in case shared it on some machines, so that the owner of what lies there has to be looked
        at.
        """
        if self.owner is None:
            return None
        nodeid, name, variant = self.owner
        earlier = Location(file_folder(nodeid) / safe(_test_folder(nodeid)), _stem(name, variant, safe), variant)
        return None if earlier == self else earlier

    @property
    def common(self) -> Location:
        """The location that a variant without a baseline of its own falls back to."""
        if self.variant is None:
            return self
        if self.owner is not None:
            return Location.of(*self.owner[:2])
        return Location(self.folder, self.stem.rpartition(_VARIANT)[0])

    @property
    def paths(self) -> tuple[PurePosixPath, ...]:
        """The possible paths of the files, without endings: `path` and, where that was another, the earlier one."""
        earlier = self.earlier
        return (self.path,) if earlier is None else (self.path, earlier.path)


def display_path(path: str | Path, rootdir: Path) -> str:
    """A path as shown to users: relative to the project if it is inside; a URL as it is."""
    inside = "://" not in str(path) and Path(path).is_relative_to(rootdir)
    return Path(path).relative_to(rootdir).as_posix() if inside else str(path)


def has_clean_path(nodeid: str) -> bool:
    """Whether a test id spells its file as pytest does: any other spelling may pass for another file."""
    file = nodeid.partition("::")[0]
    return "\0" not in file and file == posixpath.normpath(file)


def file_folder(nodeid: str) -> PurePosixPath:
    """The folder with the baselines of all tests of this test's file."""
    *parents, last = [name for name in nodeid.partition("::")[0].split("/") if name not in ("", ".")] or ["tests"]
    return PurePosixPath(*map(safe, (*parents, last.removesuffix(".py"))))


def _test_folder(nodeid: str) -> str:
    """`t.py::TestA::test_b[x::y]` -> `TestA.test_b[x::y]`: only what stands before the parameters is a path."""
    path, bracket, parameters = nodeid.partition("::")[2].partition("[")
    return path.replace("::", ".") + bracket + parameters or "module"


def _function(dotted: str) -> str:
    """Of `TestA.test_b[x.Y]`, `test_b[x.Y]`: all but the classes."""
    path, bracket, parameters = dotted.partition("[")
    return path.rpartition(".")[2] + bracket + parameters


def _stem(name: str, variant: str | None, segment: Callable[[str], str]) -> str:
    return segment(name) if variant is None else f"{segment(name)}{_VARIANT}{segment(variant)}"


def distinct(name: str) -> str:
    """One path segment, unique also where the file system ignores case."""
    return _hashed(name) if _CAPITAL.search(name) else safe(name)


def safe(name: str) -> str:
    """One path segment: the name itself where every file system takes it, else a cleaned one with a hash."""
    cleaned = _UNSAFE.sub("_", name)
    stem = cleaned.partition(".")[0].lower()
    if cleaned == name and 0 < len(name) <= _LONGEST and stem not in _RESERVED and name == name.strip("."):
        return name
    return _hashed(name)


def _hashed(name: str) -> str:
    cleaned = _UNSAFE.sub("_", name)
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{cleaned.strip('.')[: _LONGEST - 12] or '_'}-{digest}"
