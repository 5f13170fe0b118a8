"""Where a check's baseline lies: a folder for the test file, one for the test id, a file stem for the check.

Names are made safe for every file system and stay readable; a name that had to be changed carries a hash of the
original, so that two tests never share a folder.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_LONGEST = 120
_UNSAFE = re.compile(r"[^A-Za-z0-9._=+,\[\]-]")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}
_VARIANT = "@"  # stands before a variant, and in no name


@dataclass(frozen=True)
class Location:
    """`folder` is relative to the baselines' folder, `stem` the file name without its ending.

    A `variant` has files of its own beside the common ones: `feature_maps@cuda.json`.
    """

    folder: PurePosixPath
    stem: str
    variant: str | None = None

    @classmethod
    def of(cls, nodeid: str, name: str, variant: str | None = None) -> Location:
        """The place for one check of one test, from pytest's id of the test and the check's name."""
        stem = safe(name) if variant is None else f"{safe(name)}{_VARIANT}{safe(variant)}"
        return cls(PurePosixPath(file_folder(nodeid), _test_folder(nodeid)), stem, variant)

    @property
    def path(self) -> PurePosixPath:
        """The files without their endings, relative to the baselines' folder."""
        return self.folder / self.stem

    @property
    def common(self) -> Location:
        """Of a variant, what stands in where it has no baseline of its own."""
        return Location(self.folder, self.stem.rpartition(_VARIANT)[0]) if self.variant is not None else self


def file_folder(nodeid: str) -> PurePosixPath:
    """Where the baselines of all tests of this test's file lie."""
    *parents, last = [part for part in nodeid.partition("::")[0].split("/") if part not in ("", ".")] or ["tests"]
    return PurePosixPath(*(safe(part) for part in (*parents, last.removesuffix(".py"))))


def _test_folder(nodeid: str) -> str:
    return safe(_dotted(nodeid.partition("::")[2]) or "module")


def _dotted(test: str) -> str:
    """`TestA::test_b[x::y]` -> `TestA.test_b[x::y]`: only what stands before the parameters is a path."""
    path, bracket, parameters = test.partition("[")
    return path.replace("::", ".") + bracket + parameters


def safe(name: str) -> str:
    """One path segment: the name itself where every file system takes it, else a cleaned one with a hash."""
    cleaned = _UNSAFE.sub("_", name)
    stem = cleaned.partition(".")[0].lower()
    if cleaned == name and 0 < len(name) <= _LONGEST and stem not in _RESERVED and name == name.strip("."):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{cleaned.strip('.')[: _LONGEST - 12] or '_'}-{digest}"
