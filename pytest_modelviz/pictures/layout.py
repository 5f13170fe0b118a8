"""Putting images beside and below each other, enlarged and labelled."""

from collections.abc import Sequence

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from pytest_modelviz.pictures.colour import Image
from pytest_modelviz.text.printable import printable
from pytest_modelviz.text.side_by_side import cut_short

_BACKGROUND, _INK = 255, (40, 40, 40)
_GAP = 4
_LINE = 16


def enlarge(image: Image, size: int, *, smooth: bool = False) -> Image:
    """Scale an image so that its longer side has `size` pixels; whole pixels stay sharp unless `smooth`."""
    height, width = image.shape[:2]
    factor = size / max(height, width)
    target = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = Pillow.Resampling.BICUBIC if smooth else Pillow.Resampling.NEAREST
    return np.asarray(Pillow.fromarray(image).resize(target, method))


def beside(images: Sequence[Image], gap: int = _GAP) -> Image:
    """Side by side, aligned at the top, on white."""
    height = max(image.shape[0] for image in images)
    width = sum(image.shape[1] for image in images) + gap * (len(images) - 1)
    canvas = np.full((height, width, 3), _BACKGROUND, np.uint8)
    at = 0
    for image in images:
        canvas[: image.shape[0], at : at + image.shape[1]] = image
        at += image.shape[1] + gap
    return canvas


def below(images: Sequence[Image], gap: int = _GAP) -> Image:
    """One under the other, aligned at the left, on white."""
    turned = beside([image.transpose(1, 0, 2) for image in images], gap)
    return np.ascontiguousarray(turned.transpose(1, 0, 2))


def grid(images: Sequence[Image], columns: int, gap: int = 2) -> Image:
    """Rows of `columns` images each."""
    rows = [images[start : start + columns] for start in range(0, len(images), columns)]
    return below([beside(row, gap) for row in rows], gap)


def labelled(image: Image, *lines: str) -> Image:
    """Write lines of text above an image, widening it if the text needs space. Long lines are cut.

    Unprintable characters are escaped: Pillow refuses to measure them.
    """
    font = ImageFont.load_default(size=12)
    texts = [cut_short(printable(line), 90) for line in lines]
    wanted = max((int(np.ceil(font.getlength(text))) for text in texts), default=0) + 2
    canvas = np.full((_LINE * len(texts), max(wanted, image.shape[1]), 3), _BACKGROUND, np.uint8)
    drawing = Pillow.fromarray(canvas)
    draw = ImageDraw.Draw(drawing)
    for number, text in enumerate(texts):
        draw.text((1, number * _LINE), text, font=font, fill=_INK)
    return below([np.asarray(drawing), image], gap=0)
