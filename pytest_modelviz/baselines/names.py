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
_UNSAFE = re.compile(r"[^A-Za-z0-9._=+,@\[\]-]")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}


@dataclass(frozen=True)
class Location:
    """`folder` is relative to the baselines' folder, `stem` the file name without its ending."""

    folder: PurePosixPath
    stem: str

    @classmethod
    def of(cls, nodeid: str, name: str) -> Location:
        """The place for one check of one test, from pytest's id of the test and the check's name."""
        file, _, test = nodeid.partition("::")
        *parents, last = [part for part in file.split("/") if part not in ("", ".")] or ["tests"]
        parts = [*parents, last.removesuffix(".py")]
        return cls(PurePosixPath(*(safe(part) for part in parts), safe(_dotted(test) or "module")), safe(name))


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
