"""Where a check's baseline lies: a folder for the test file, one for the test id, a file stem for the check.

Names are made safe for every file system and stay readable; a name that had to be changed carries a hash of the
original, so that two tests never share a folder. So does one with a capital letter, since some file systems do not
tell `[S]` from `[s]`; the names of files and classes, which have capitals everywhere, are left as they are.

Which file system it is plays no part: a baseline recorded on one machine is found on all others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

_LONGEST = 120
_UNSAFE = re.compile(r"[^A-Za-z0-9._=+,\[\]-]")
_CAPITAL = re.compile("[A-Z]")  # any other letter that has a case is unsafe by itself
_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}
_VARIANT = "@"  # stands before a variant, and in no name


@dataclass(frozen=True)
class Location:
    """`folder` is relative to the baselines' folder, `stem` the file name without its ending.

    A `variant` has files of its own beside the common ones: `feature_maps@cuda.json`. `earlier` is where versions
    before this one kept the same baseline, if that is somewhere else: the store still looks there.
    """

    folder: PurePosixPath
    stem: str
    variant: str | None = None
    earlier: EarlierLocation | None = field(default=None, compare=False)

    @classmethod
    def of(cls, nodeid: str, name: str, variant: str | None = None) -> Location:
        """The place for one check of one test, from pytest's id of the test and the check's name."""
        file, test = file_folder(nodeid), _dotted(nodeid.partition("::")[2]) or "module"
        stem = _stem(name, variant, distinct)
        folder = file / (_hashed(test) if _CAPITAL.search(_function(test)) else safe(test))
        earlier = EarlierLocation(file / safe(test), _stem(name, variant, safe), (nodeid, name, variant))
        return cls(folder, stem, variant, earlier if earlier.path != folder / stem else None)

    @property
    def path(self) -> PurePosixPath:
        """The files without their endings, relative to the baselines' folder."""
        return self.folder / self.stem

    @property
    def common(self) -> Location:
        """Of a variant, what stands in where it has no baseline of its own."""
        if self.variant is None:
            return self
        earlier = self.earlier.common if self.earlier else None
        folder, stem = self.folder, self.stem.rpartition(_VARIANT)[0]
        return Location(folder, stem, None, earlier if earlier and earlier.path != folder / stem else None)

    @property
    def paths(self) -> tuple[PurePosixPath, ...]:
        """Where the files may lie, without their endings: `path` and, where that was another, the earlier one."""
        return (self.path,) if self.earlier is None else (self.path, self.earlier.path)


@dataclass(frozen=True)
class EarlierLocation:
    """Where a baseline may lie that an earlier version has recorded; `owner` is its test's id, its name and variant.

    Ids that differ only in case shared this place on some machines, so that the owner has to be looked at.
    """

    folder: PurePosixPath
    stem: str
    owner: tuple[str, str, str | None]

    @property
    def path(self) -> PurePosixPath:
        return self.folder / self.stem

    @property
    def common(self) -> EarlierLocation:
        nodeid, name, _ = self.owner
        return EarlierLocation(self.folder, safe(name), (nodeid, name, None))


def display_path(path: str | Path, rootdir: Path) -> str:
    """A path as people write it: relative to the project where it lies inside; a URL as it is."""
    inside = "://" not in str(path) and Path(path).is_relative_to(rootdir)
    return Path(path).relative_to(rootdir).as_posix() if inside else str(path)


def file_folder(nodeid: str) -> PurePosixPath:
    """Where the baselines of all tests of this test's file lie."""
    *parents, last = [part for part in nodeid.partition("::")[0].split("/") if part not in ("", ".")] or ["tests"]
    return PurePosixPath(*(safe(part) for part in (*parents, last.removesuffix(".py"))))


def _dotted(test: str) -> str:
    """`TestA::test_b[x::y]` -> `TestA.test_b[x::y]`: only what stands before the parameters is a path."""
    path, bracket, parameters = test.partition("[")
    return path.replace("::", ".") + bracket + parameters


def _function(dotted: str) -> str:
    """Of `TestA.test_b[x.Y]`, `test_b[x.Y]`: all but the classes."""
    path, bracket, parameters = dotted.partition("[")
    return path.rpartition(".")[2] + bracket + parameters


def _stem(name: str, variant: str | None, made: Callable[[str], str]) -> str:
    return made(name) if variant is None else f"{made(name)}{_VARIANT}{made(variant)}"


def distinct(name: str) -> str:
    """One path segment that stays another one where case is not told apart."""
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
