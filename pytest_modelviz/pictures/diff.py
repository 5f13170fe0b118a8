"""Texts as pictures: lines with what was taken away in red and what was put in its place in green."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from pytest_modelviz.pictures.composite import Picture
from pytest_modelviz.pictures.layout import labelled
from pytest_modelviz.text.side_by_side import cut_apart

_MOST_LINES, _MOST_LETTERS = 60, 130
_HEIGHT, _MARGIN = 18, 6
_PAPER = {"-": (255, 226, 224), "+": (218, 245, 220), " ": (255, 255, 255), "@": (236, 240, 248)}
_INK = {"-": (150, 20, 20), "+": (10, 100, 30), " ": (40, 40, 40), "@": (90, 100, 130)}

Line = tuple[str, str]  # its sign (one of `-+ @`) and its text


def text_picture(label: str, headline: str, lines: Sequence[Line]) -> Picture:
    """Lines on one page; what is beyond it is counted in the last line.

    Long lines are cut, those that stand for one another around what is different about them.
    """
    shown = list(lines[:_MOST_LINES])
    if len(lines) > len(shown):
        shown[-1:] = [("@", f"and {len(lines) - len(shown) + 1} lines more")]
    texts = _cut(shown) or [(" ", "nothing")]
    font = ImageFont.load_default(size=13)
    width = max(int(np.ceil(font.getlength(text))) for _, text in texts) + 3 * _MARGIN + 12
    page = Pillow.new("RGB", (width, _HEIGHT * len(texts) + _MARGIN), _PAPER[" "])
    draw = ImageDraw.Draw(page)
    for number, (sign, text) in enumerate(texts):
        top = number * _HEIGHT
        draw.rectangle((0, top, width, top + _HEIGHT - 1), fill=_PAPER[sign])
        draw.text((_MARGIN, top + 1), sign.strip("@ "), font=font, fill=_INK[sign])
        draw.text((2 * _MARGIN + 8, top + 1), text, font=font, fill=_INK[sign])
    return Picture(label, labelled(np.asarray(page), headline))


def around_changes(lines: Sequence[Line], context: int = 3) -> list[Line]:
    """The changed lines with a few of those around them; what is left out is counted."""
    changed = [at for at, (sign, _) in enumerate(lines) if sign != " "]
    kept = sorted({near for at in changed for near in range(max(0, at - context), min(len(lines), at + context + 1))})
    shown: list[Line] = []
    last = -1
    for at in kept:
        if at != last + 1:
            shown.append(("@", f"{at - last - 1} unchanged"))
        shown.append(lines[at])
        last = at
    if kept and last != len(lines) - 1:
        shown.append(("@", f"{len(lines) - last - 1} unchanged"))
    return shown


def _cut(lines: Sequence[Line]) -> list[Line]:
    """Each line as it fits; of lines taken away and as many put in their place, each with its counterpart."""
    cut: list[Line] = []
    at = 0
    while at < len(lines):
        gone = list(itertools.takewhile(lambda line: line[0] == "-", lines[at:]))
        come = list(itertools.takewhile(lambda line: line[0] == "+", lines[at + len(gone) :]))
        if gone and len(gone) == len(come):
            pairs = [cut_apart(one, other, _MOST_LETTERS) for (_, one), (_, other) in zip(gone, come, strict=True)]
            cut += [*(("-", one) for one, _ in pairs), *(("+", other) for _, other in pairs)]
            at += 2 * len(gone)
        else:
            sign, text = lines[at]
            cut.append((sign, cut_apart(text, text, _MOST_LETTERS)[0]))
            at += 1
    return cut
