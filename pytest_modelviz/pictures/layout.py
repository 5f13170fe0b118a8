"""Putting images beside and below each other, enlarged and labelled.

Labels stand outside of what they name. Headings are large enough to be read where a picture is shown at a quarter of
its size.
"""

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from pytest_modelviz.pictures.colour import Image, Values
from pytest_modelviz.pictures.fonts import Font, drawable, width_of
from pytest_modelviz.text.side_by_side import cut_short

MOST_WIDTH = 700  # pixels, that fit into a report without being shrunk
SMALL, HEADING = 13, 30  # pixels of letters
_BACKGROUND, _PAPER, _INK = 255, 236, (40, 40, 40)
_GAP = 4
_LINE = 16
_MOST_LINES = 3  # of a heading
_LONGEST = 400  # letters of a text that is to be broken into lines


def enlarge(image: Image, size: int, *, smooth: bool = False) -> Image:
    """Scale an image so that its longer side has `size` pixels; whole pixels stay sharp unless `smooth`."""
    method = Pillow.Resampling.BICUBIC if smooth else Pillow.Resampling.NEAREST
    return np.asarray(Pillow.fromarray(image).resize(_enlarged(image.shape, size), method))


def enlarge_values(values: Values, size: int) -> Values:
    """Scale a map (h, w) of numbers so, before it is painted: smoothly, unless it holds what is not finite."""
    method = Pillow.Resampling.BICUBIC if np.isfinite(values).all() else Pillow.Resampling.NEAREST
    largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0
    unit = (np.asarray(values, np.float64) / largest).astype(np.float32)  # in which all magnitudes have room
    return np.asarray(Pillow.fromarray(unit).resize(_enlarged(values.shape, size), method), np.float64) * largest


def _enlarged(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    """Width and height."""
    factor = size / max(shape[:2])
    return max(1, round(shape[1] * factor)), max(1, round(shape[0] * factor))


def beside(images: Sequence[Image], gap: int = _GAP) -> Image:
    """Side by side, aligned at the top, on white."""
    height = max(image.shape[0] for image in images)
    width = sum(image.shape[1] for image in images) + gap * (len(images) - 1)
    canvas = blank(height, width)
    at = 0
    for image in images:
        canvas[: image.shape[0], at : at + image.shape[1]] = image
        at += image.shape[1] + gap
    return canvas


def below(images: Sequence[Image], gap: int = _GAP) -> Image:
    """One under the other, aligned at the left, on white."""
    height = sum(image.shape[0] for image in images) + gap * (len(images) - 1)
    canvas = blank(height, max(image.shape[1] for image in images))
    at = 0
    for image in images:
        canvas[at : at + image.shape[0], : image.shape[1]] = image
        at += image.shape[0] + gap
    return canvas


def grid(images: Sequence[Image], columns: int, gap: int = 2) -> Image:
    """Rows of `columns` images each."""
    rows = [images[start : start + columns] for start in range(0, len(images), columns)]
    return below([beside(row, gap) for row in rows], gap)


def blank(height: int, width: int) -> Image:
    """Nothing, on white."""
    return np.full((height, width, 3), _BACKGROUND, np.uint8)


def read_only(canvas: Pillow.Image) -> Image:
    """What was drawn, as an array that several pictures may hold."""
    image = np.asarray(canvas)
    image.flags.writeable = False
    return image


def labelled(image: Image, *lines: str) -> Image:
    """Write lines of small text above an image, widening it if the text needs space. Long lines are cut."""
    return below([text_lines([cut_short(line, 90) for line in lines]), image], gap=0) if lines else image


def headed(image: Image, heading: str, *, width: int = MOST_WIDTH) -> Image:
    """Write a text in large letters above an image, in smaller ones where it is long, in lines of up to `width`."""
    return below([_heading(heading, width), image], gap=2)


def commented(image: Image, text: str, *, width: int = MOST_WIDTH) -> Image:
    """Write a sentence below an image, in lines of up to `width` or the image's own width, if that is more."""
    return below([image, text_lines(_broken(text, SMALL, max(width, image.shape[1])))], gap=2) if text else image


def text_box(text: str, height: int, width: int) -> Image:
    """A text on grey, in the place of an image of this size: larger only if the text needs it."""
    box = np.full((height, width, 3), _PAPER, np.uint8)
    lines = text_lines(_broken(text, SMALL, max(width - 2 * _GAP, 60)))
    written = np.minimum(lines, _PAPER)
    box = below([box, np.full((max(0, len(written) - height), width, 3), _PAPER, np.uint8)], gap=0)
    top = (len(box) - len(written)) // 2
    box[top : top + len(written), _GAP : _GAP + written.shape[1]] = written[:, : width - _GAP]
    return box


def text_lines(lines: Sequence[str], size: int = SMALL, line: int = _LINE) -> Image:
    """Lines of text on white, as wide as the longest."""
    return _text_lines(tuple(lines), size, line)


@functools.lru_cache(maxsize=256)  # most words stand in many pictures, and drawing them is dear
def _text_lines(lines: tuple[str, ...], size: int, line: int) -> Image:
    drawn = [drawable(text, size) for text in lines]
    canvas = Pillow.fromarray(blank(line * len(drawn), max((width_of(*each) for each in drawn), default=0) + 2))
    draw = ImageDraw.Draw(canvas)
    for number, (text, font) in enumerate(drawn):
        draw.text((1, number * line), text, font=font, fill=_INK)
    return read_only(canvas)


def _heading(text: str, width: int) -> Image:
    shown, _ = drawable(cut_short(text, _LONGEST), HEADING)
    size = next((size for size in (HEADING, 28, 26) if _width(shown, size) < width), 26)
    return text_lines(_broken(text, size, width)[:_MOST_LINES], size, round(size * 1.2))


def _width(text: str, size: int) -> int:
    return width_of(*drawable(text, size))


def _broken(text: str, size: int, width: int) -> list[str]:
    """A text in lines of up to `width` pixels, broken at a space or behind a dot where there is one, else anywhere."""
    rest, font = drawable(cut_short(text, _LONGEST), size)
    lines = []
    while width_of(rest, font) >= width:
        most = _fitting(rest, font, width)
        space, mark = rest.rfind(" ", 1, most + 1), max(rest.rfind(mark, 1, most) for mark in "._/")
        at = space if space > 0 else mark + 1 if mark >= most // 2 else most
        lines.append(rest[:at].rstrip(" "))
        rest = rest[at:].lstrip(" ")
    return [*lines, rest]


def _fitting(text: str, font: Font, width: int) -> int:
    """How many letters fit, at least one."""
    return max(1, next(at for at in range(len(text)) if width_of(text[: at + 1], font) >= width))
