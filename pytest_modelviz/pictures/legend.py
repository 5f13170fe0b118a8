"""What the colours of a picture mean: bars with numbers, and the colours of what is not finite."""

import functools
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from pytest_modelviz.pictures.colour import NOT_FINITE, Image, Scale, overlay, paint
from pytest_modelviz.pictures.fonts import drawable, width_of
from pytest_modelviz.pictures.layout import SMALL, below, beside, blank, read_only, text_lines

BAR_HEIGHT = 28  # with its numbers
_STRIP, _LINE, _MARGIN = 10, 16, 6
_INK = (40, 40, 40)


def colour_bar(scale: Scale, width: int, *, over_photo: bool = False) -> Image:
    """The colours of a scale from left to right, (28, width, 3), with the numbers of its ends, and of its middle.

    `over_photo` shows them as they look over a grey of medium lightness.
    """
    ramp = paint(np.linspace(scale.low, scale.high, width)[None].repeat(_STRIP, axis=0), scale)
    if over_photo:
        ramp = overlay(np.full_like(ramp, 128), ramp)
    numbers = [f"{number:.3g}" for number in (scale.low, scale.low / 2 + scale.high / 2, scale.high)]
    return below([ramp, spread_texts(numbers, width)], gap=BAR_HEIGHT - _STRIP - _LINE)


def spread_texts(three: Sequence[str], width: int) -> Image:
    """Small texts at both ends of a line, (16, width, 3), and in its middle if there is room for that."""
    return _spread_texts(tuple(three), width)


@functools.lru_cache(maxsize=256)
def _spread_texts(three: tuple[str, ...], width: int) -> Image:
    texts = [drawable(text, SMALL) for text in three]
    widths = [width_of(*each) for each in texts]
    canvas = Pillow.fromarray(blank(_LINE, width))
    draw = ImageDraw.Draw(canvas)
    fits = sum(widths) + 2 * _MARGIN <= width and max(widths[0], widths[2]) + _MARGIN <= (width - widths[1]) / 2
    for at, (text, font), is_drawn in zip(
        (0, (width - widths[1]) // 2, width - widths[2]), texts, (True, fits, True), strict=True
    ):
        if is_drawn:
            draw.text((at, 0), text, font=font, fill=_INK)
    return read_only(canvas)


def not_finite_legend(kinds: Iterable[str]) -> Image | None:
    """A patch of each colour beside what it stands for, None where there are none."""
    found = set(kinds)
    entries: list[Image] = []
    for name, colour in NOT_FINITE.items():
        if name in found:
            patch = blank(16, 16)
            patch[:] = colour
            entries.append(beside([patch, text_lines([name])], gap=4))
    return beside(entries, gap=16) if entries else None
