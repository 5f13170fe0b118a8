"""Pictures as report.html holds them: data URIs, as many as a page can bear, of files that anybody may have written."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as default
from pathlib import Path

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.colormap import NOT_FINITE_NAMES
from pytest_modelviz.records.json_values import objects, optional, required, texts
from pytest_modelviz.storage.local_folder import LocalFolder
from pytest_modelviz.storage.picture_files import PARTS, label_of, part_name
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.text.printable import printable
from pytest_modelviz.text.strict_json import JsonObject, JsonValue

_PNG_HEADER = re.compile(rb"\x89PNG\r\n\x1a\n.{4}IHDR(.{4})(.{4})", re.DOTALL)
_MOST_PIXELS = 50_000_000  # of one picture: no view draws a tenth of that
_MOST_PICTURE_BYTES = 15 * 2**20  # of a page: one of 30 megabytes opens at once, and a third of that is base64's
_MOST_LINES = 300  # of a text
_SIGNS = {"-": "removed", "+": "added", " ": "same", "@": "omitted"}


@dataclass(frozen=True)
class EmbeddedImage:
    """A picture as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Figure:
    """A picture of a check: images by role (`composite`, or `baseline`, `actual` and `difference`), or lines of text.

    Each line has its kind: `removed`, `added`, `same` or `omitted`. `captions`, and a legend of the kinds in
    `not_finite`, belong to the parts: a composite holds its own.
    """

    label: str
    images: Mapping[str, EmbeddedImage] = default(default_factory=dict)
    lines: Sequence[tuple[str, str]] = ()
    captions: Sequence[str] = ()
    not_finite: Sequence[str] = ()


@dataclass
class CheckFigures:
    """The figures of one check, and how many more pictures there are."""

    figures: list[Figure] = default(default_factory=list)
    omitted: int = 0


def figures_of(
    results: ResultsFolder,
    checks: Sequence[CheckResult],
    described: Sequence[Mapping[str, Figure]],
    field: Callable[[str], str] = printable,
) -> list[CheckFigures]:
    """The figures of each check as long as the page can bear them: first one of each check, then the second of each.

    Args:
        results: the folder with the files.
        checks: the checks, the most important first. Of several that claim the same pictures, the first has them.
        described: each check's pictures without images, as far as they are known, by the names of their files.
        field: makes a label fit to be shown.

    """
    found = [CheckFigures() for _ in checks]
    waiting: dict[object, tuple[int, list[Path]]] = {}
    for at, check in enumerate(checks):
        path = results.location(check).path
        if path in waiting:
            found[at].omitted = len(waiting[path][1])
        else:
            waiting[path] = at, results.pictures_of(check)
    budget = _Budget(results)
    for number in range(max((len(files) for _, files in waiting.values()), default=0)):
        for at, files in waiting.values():
            if number < len(files):
                file = files[number]
                figure = _with_images(budget, file, described[at].get(file.name) or Figure(field(label_of(file))))
                if figure is None:
                    found[at].omitted += 1
                else:
                    found[at].figures.append(figure)
    return found


def _with_images(budget: _Budget, path: Path, figure: Figure) -> Figure | None:
    """A text as text; else the parts of a picture, where there are a baseline and an actual one; else its composite."""
    if figure.lines:
        return figure
    images = budget.embed({part: path.with_name(part_name(path.name, part)) for part in PARTS}, "baseline", "actual")
    if images:
        return replace(figure, images=images)
    images = budget.embed({"composite": path}, "composite")
    return Figure(figure.label, images) if images else None


def described_figures(details: JsonObject, field: Callable[[str], str]) -> dict[str, Figure]:
    """What the details of a check say of its pictures, by the names of their files."""
    try:
        rows = objects(details, "pictures")
        return {required(row, "composite", str).rpartition("/")[2]: _described(row, field) for row in rows}
    except (ValueError, TypeError, KeyError):
        return {}


def _described(row: Mapping[str, JsonValue], field: Callable[[str], str]) -> Figure:
    lines = optional(row, "lines", list) or []
    shown = [(_SIGNS[sign], field(str(text))) for sign, text in lines[:_MOST_LINES]]
    more = len(lines) - len(shown)
    return Figure(
        field(required(row, "label", str)),
        lines=[*shown, *([("omitted", f"and {more} more lines")] if more > 0 else [])],
        captions=[field(text) for text in texts(row, "captions")[:_MOST_LINES]],
        not_finite=[kind for kind in NOT_FINITE_NAMES if kind in texts(row, "not_finite")],
    )


class _Budget:
    """Reads pictures until there are as many bytes as a page can bear."""

    def __init__(self, results: ResultsFolder) -> None:
        self._folder = LocalFolder(results.pictures)
        self._left = _MOST_PICTURE_BYTES

    def embed(self, paths: Mapping[str, Path], *needed: str) -> dict[str, EmbeddedImage]:
        """The images that there is room for, by role; none where one of those that are needed is not among them."""
        left, found = self._left, {}
        for role, path in paths.items():
            data = self._read(path, left)
            image = _embedded(data)
            if image is not None:
                found[role] = image
                left -= len(data)
            elif role in needed:
                return {}
        self._left = left
        return found

    def _read(self, path: Path, limit: int) -> bytes:
        try:
            return self._folder.read(path.relative_to(self._folder.root).as_posix(), limit)
        except (OSError, UnreadableBaselineError):
            return b""


def _embedded(data: bytes) -> EmbeddedImage | None:
    """A PNG file that a browser can decode: a small file may be a picture of gigabytes."""
    header = _PNG_HEADER.match(data)
    if header is None:
        return None
    width, height = (int.from_bytes(side, "big") for side in header.groups())
    if width * height > _MOST_PIXELS:
        return None
    return EmbeddedImage(f"data:image/png;base64,{base64.b64encode(data).decode()}", width, height)
