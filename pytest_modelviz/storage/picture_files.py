"""Names of the files of a check's pictures: `003-layer.png` is a composite, `003-layer.baseline.png` a part of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

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
