r"""Fonts for labels. DejaVu Sans comes with matplotlib; for other letters the machine's fonts are searched.

What no font has a glyph for is written out, as in `\u4e2d`: a box would stand for any letter.
"""

import contextlib
import functools
import math
from pathlib import Path

from PIL import ImageFont

from pytest_modelviz.text.printable import printable

Font = ImageFont.FreeTypeFont

_LIKELY = ("cjk", "noto", "gothic", "hei", "song", "ming", "wenquanyi", "droid", "unicode", "unifont", "pingfang")


@functools.lru_cache(maxsize=1024)
def drawable(text: str, size: int) -> tuple[str, Font]:
    """A text as it can be drawn on one line, and the font of that size (pixels) to draw it with."""
    text, path = with_font(text)
    return text, _load(path, size)


def with_font(text: str) -> tuple[str, str]:
    """A text as it can be drawn on one line, and the path of a font that has all of its letters."""
    text = printable(text)
    missing = frozenset(map(ord, text)) - _glyphs(_dejavu())
    path = _font_with(missing) if missing else _dejavu()
    if path is not None:
        return text, path
    escaped = (a.encode("unicode_escape").decode("ascii") if ord(a) in missing else a for a in text)
    return "".join(escaped), _dejavu()


@functools.lru_cache(maxsize=4096)
def width_of(text: str, font: Font) -> int:
    """How many pixels a line takes."""
    return math.ceil(font.getlength(text))


@functools.cache
def _dejavu() -> str:
    import matplotlib  # here, since most runs paint nothing

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


@functools.lru_cache(maxsize=64)
def _load(path: str, size: int) -> Font:
    return ImageFont.truetype(path, size)


@functools.lru_cache(maxsize=64)
def _font_with(letters: frozenset[int]) -> str | None:
    """A font of the machine that has these letters and those of ASCII."""
    wanted = letters | set(range(0x20, 0x7F))
    return next((path for path in _installed() if wanted <= _glyphs(path) and _is_scalable(path)), None)


def _installed() -> list[str]:
    """The machine's fonts, upright ones and those that probably have many letters first."""
    from matplotlib.font_manager import fontManager

    # a font of last resort has a glyph for every letter, which shows what kind of letter it is
    fonts = {font.fname: font for font in fontManager.ttflist if "lastresort" not in font.name.lower().replace(" ", "")}

    def rank(path: str) -> tuple[bool, bool, str]:
        name = fonts[path].name.lower()
        return fonts[path].style != "normal", not any(word in name for word in _LIKELY), path

    return sorted(fonts, key=rank)


@functools.lru_cache(maxsize=8)
def _glyphs(path: str) -> frozenset[int]:
    from matplotlib.font_manager import get_font

    with contextlib.suppress(Exception):  # of a broken font, which matplotlib reports in many ways
        return frozenset(get_font(path).get_charmap())
    return frozenset()


def _is_scalable(path: str) -> bool:
    """Whether a font can be drawn in any size; those of coloured pictures cannot."""
    with contextlib.suppress(OSError):
        return _load(path, 13) is not None
    return False
