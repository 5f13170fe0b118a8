"""Texts as pictures: removed lines in red, added lines in green."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from pytest_modelviz.pictures.composite import Picture
from pytest_modelviz.pictures.fonts import drawable, width_of
from pytest_modelviz.pictures.layout import SMALL, headed, labelled
from pytest_modelviz.text.side_by_side import cut_apart

_MOST_LINES, _LONGEST_LINE = 60, 130  # characters
_CONTEXT = 3  # lines around a change
_HEIGHT, _MARGIN = 18, 6
_PAPER = {"-": (255, 226, 224), "+": (218, 245, 220), " ": (255, 255, 255), "@": (236, 240, 248)}
_INK = {"-": (150, 20, 20), "+": (10, 100, 30), " ": (40, 40, 40), "@": (90, 100, 130)}

Line = tuple[str, str]  # its sign (one of `-+ @`) and its text


@dataclass(frozen=True)
class TextPicture(Picture):
    """A text as an image, and all of its lines, for reports that can show text as text."""

    lines: tuple[Line, ...] = ()


def text_picture(label: str, headline: str, lines: Sequence[Line]) -> TextPicture:
    """Lines on a page; lines that do not fit on it are counted in the last.

    Long lines are shortened, a removed line and the line added for it around their differences.
    """
    page_lines = list(lines[:_MOST_LINES])
    if len(lines) > _MOST_LINES:
        page_lines[-1] = ("@", f"and {len(lines) - _MOST_LINES + 1} lines more")
    texts = _shorten(page_lines) or [(" ", "nothing")]
    drawn = [(sign, *drawable(text, SMALL)) for sign, text in texts]
    width = max(width_of(text, font) for _, text, font in drawn) + 3 * _MARGIN + 12
    page = Pillow.new("RGB", (width, _HEIGHT * len(texts) + _MARGIN), _PAPER[" "])
    draw = ImageDraw.Draw(page)
    for number, (sign, text, font) in enumerate(drawn):
        top = number * _HEIGHT
        draw.rectangle((0, top, width, top + _HEIGHT - 1), fill=_PAPER[sign])
        draw.text((_MARGIN, top + 1), sign.strip("@ "), font=font, fill=_INK[sign])
        draw.text((2 * _MARGIN + 8, top + 1), text, font=font, fill=_INK[sign])
    return TextPicture(label, headed(labelled(np.asarray(page), headline), label), lines=tuple(lines))


def around_changes(lines: Sequence[Line]) -> list[Line]:
    """The changed lines with a few of those around them; lines left out are counted."""
    excerpt: list[Line] = []
    end = 0  # of the lines that are in the excerpt or counted
    for at, line in enumerate(lines):
        if any(sign != " " for sign, _ in lines[max(0, at - _CONTEXT) : at + _CONTEXT + 1]):
            if at > end:
                excerpt.append(("@", f"{at - end} unchanged"))
            excerpt.append(line)
            end = at + 1
    if 0 < end < len(lines):
        excerpt.append(("@", f"{len(lines) - end} unchanged"))
    return excerpt


def _shorten(lines: Sequence[Line]) -> list[Line]:
    """Shorten long lines; of as many removed as added lines in a row, each with its counterpart."""
    short: list[Line] = []
    while len(short) < len(lines):
        at = len(short)
        removed = list(itertools.takewhile(lambda line: line[0] == "-", lines[at:]))
        added = list(itertools.takewhile(lambda line: line[0] == "+", lines[at + len(removed) :]))
        if removed and len(removed) == len(added):
            pairs = [cut_apart(old, new, _LONGEST_LINE) for (_, old), (_, new) in zip(removed, added, strict=True)]
            short += [*(("-", old) for old, _ in pairs), *(("+", new) for _, new in pairs)]
        else:
            sign, text = lines[at]
            short.append((sign, cut_apart(text, text, _LONGEST_LINE)[0]))
    return short
