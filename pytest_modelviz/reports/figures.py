"""Pictures as report.html holds them: data URIs, as many as a page can bear, of files that anybody may have written."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from pathlib import Path

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.json_values import objects, optional, required
from pytest_modelviz.storage.local_folder import LocalFolder
from pytest_modelviz.storage.picture_files import PARTS, label_of, part_name
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.text.printable import printable
from pytest_modelviz.text.strict_json import JsonValue

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

    Each line has its kind: `removed`, `added`, `same` or `omitted`.
    """

    label: str
    images: Mapping[str, EmbeddedImage] = default(default_factory=dict)
    lines: Sequence[tuple[str, str]] = ()


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
        described: the labels and lines of each check's pictures, as far as they are known, by the names of their files.
        field: makes a label fit to be shown.

    """
    found = [CheckFigures() for _ in checks]
    waiting: list[tuple[int, list[Path]]] = []
    claimed: dict[object, int] = {}
    for at, check in enumerate(checks):
        path = results.location(check).path
        if path in claimed:
            found[at].omitted = claimed[path]
            continue
        files = results.pictures_of(check)
        claimed[path] = len(files)
        waiting.append((at, files))
    budget = _Budget(results)
    rounds = max((len(files) for _, files in waiting), default=0)
    for number in range(rounds):
        for at, files in waiting:
            if number < len(files):
                figure = _figure(budget, files[number], described[at].get(files[number].name), field)
                if figure is None:
                    found[at].omitted += 1
                else:
                    found[at].figures.append(figure)
    return found


def _figure(budget: _Budget, path: Path, described: Figure | None, field: Callable[[str], str]) -> Figure | None:
    """A text as text; else the parts of a picture, where there are a baseline and an actual one; else its composite."""
    if described is not None and described.lines:
        return described
    label = field(label_of(path)) if described is None else described.label
    parts = {part: path.with_name(part_name(path.name, part)) for part in PARTS}
    images = {}
    if all(parts[part].is_file() for part in ("baseline", "actual")):
        images = {part: image for part, file in parts.items() if (image := budget.embed(file)) is not None}
    if not {"baseline", "actual"} <= images.keys():
        composite = budget.embed(path)
        images = {} if composite is None else {"composite": composite}
    return Figure(label, images) if images else None


def described_figures(details: Mapping[str, JsonValue], field: Callable[[str], str]) -> dict[str, Figure]:
    """The labels of pictures, and the lines of those that are texts, by the names of their files."""
    found = {}
    try:
        for row in objects(details, "pictures"):
            lines, file = optional(row, "lines", list) or [], required(row, "composite", str)
            shown = [(_SIGNS[sign], field(str(text))) for sign, text in lines[:_MOST_LINES]]
            more = len(lines) - len(shown)
            shown += [("omitted", f"and {more} more lines")] if more > 0 else []
            found[file.rpartition("/")[2]] = Figure(field(required(row, "label", str)), lines=shown)
    except (ValueError, TypeError, KeyError):
        return {}
    return found


class _Budget:
    """Reads pictures until there are as many bytes as a page can bear."""

    def __init__(self, results: ResultsFolder) -> None:
        self._folder = LocalFolder(results.pictures)
        self._left = _MOST_PICTURE_BYTES

    def embed(self, path: Path) -> EmbeddedImage | None:
        """A PNG file that a browser can decode: a small file may be a picture of gigabytes."""
        if not self._left:
            return None
        try:
            data = self._folder.read(path.relative_to(self._folder.root).as_posix(), self._left)
        except (OSError, UnreadableBaselineError):
            return None
        header = _PNG_HEADER.match(data)
        if header is None:
            return None
        width, height = (int.from_bytes(side, "big") for side in header.groups())
        if width * height > _MOST_PIXELS:
            return None
        self._left -= len(data)
        return EmbeddedImage(f"data:image/png;base64,{base64.b64encode(data).decode()}", width, height)
