"""The files of a check's pictures: `003-layer.png` is a composite, `003-layer.baseline.png` a part of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_modelviz.storage.local_folder import LocalFolder
from pytest_modelviz.storage.names import safe

PARTS = ("baseline", "actual", "difference")
_SUFFIX = ".png"


def composite_name(number: int, label: str) -> str:
    """The file name of a composite; no two pictures of a check have the same number."""
    return f"{number:03}-{safe(label)}{_SUFFIX}"


def part_name(composite: str, part: str) -> str:
    """The file name of a part of a composite.

    Example:
        >>> part_name("003-conv1.png", "actual")
        '003-conv1.actual.png'

    """
    return f"{composite.removesuffix(_SUFFIX)}.{part}{_SUFFIX}"


def composites(paths: Iterable[Path]) -> list[Path]:
    """The paths that are no part of another one of them."""
    listed = list(paths)
    parts = {path.with_name(part_name(path.name, part)) for path in listed for part in PARTS}
    return [path for path in listed if path not in parts]


def label_of(path: Path) -> str:
    """The label in a composite's file name, as far as a file name can hold it."""
    number, _, label = path.name.removesuffix(_SUFFIX).partition("-")
    return label if number.isdecimal() and label else path.name.removesuffix(_SUFFIX)


@dataclass(frozen=True)
class PictureFiles:
    """The files below `root`, which has a folder for each check, at its location."""

    root: Path

    def at(self, path: PurePosixPath) -> list[Path]:
        """All files of a check."""
        if self.root.is_symlink():
            return []
        try:
            return sorted((self.root / path).glob(f"*{_SUFFIX}"))
        except OSError:  # untrusted results may name a test whose files no system can hold
            return []

    def read(self, file: Path, limit: int) -> bytes:
        """The content of a file; raises OSError, and UnreadableBaselineError where it is larger, or no plain file."""
        return LocalFolder(self.root).read(file.relative_to(self.root).as_posix(), limit)

    def keep(self, path: PurePosixPath, files: Mapping[str, bytes]) -> None:
        """Write the files of a check, in place of those that are there. Raises OSError."""
        folder = LocalFolder(self.root)
        for file in self.at(path):
            if file.name not in files:
                folder.delete(str(path / file.name))
        for name, data in files.items():
            folder.write(str(path / name), data)

    def discard(self, path: PurePosixPath) -> None:
        """Remove the files of a check, as far as they can be removed."""
        for file in self.at(path):
            with contextlib.suppress(OSError):
                LocalFolder(self.root).delete(str(path / file.name))
