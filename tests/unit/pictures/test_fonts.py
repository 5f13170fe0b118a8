"""Names are drawn in letters where a font of the machine has them, and written out where none has."""

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from pytest_modelviz.pictures import fonts
from pytest_modelviz.pictures.fonts import drawable, with_font
from pytest_modelviz.pictures.layout import labelled


@pytest.fixture
def installed(monkeypatch):
    """The machine's fonts are those that a test says."""

    def install(*found):
        entries = [font_manager.FontEntry(fname=str(path), name=name, style="normal") for path, name in found]
        monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
        fonts._font_with.cache_clear()

    yield install
    fonts._font_with.cache_clear()


@pytest.fixture
def font_with(tmp_path):
    """A font in which all letters of ASCII and some others are black squares."""

    def build(letters, name="squares"):
        pen = TTGlyphPen(None)
        for at in ((100, 0), (100, 700), (800, 700), (800, 0)):
            (pen.moveTo if at == (100, 0) else pen.lineTo)(at)
        pen.closePath()
        builder = FontBuilder(1000, isTTF=True)
        builder.setupGlyphOrder([".notdef", "square"])
        builder.setupCharacterMap(dict.fromkeys([*range(0x20, 0x7F), *map(ord, letters)], "square"))
        builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
        builder.setupHorizontalMetrics({".notdef": (500, 0), "square": (900, 100)})
        builder.setupHorizontalHeader(ascent=800, descent=-200)
        builder.setupNameTable({"familyName": name, "styleName": "Regular"})
        builder.setupOS2()
        builder.setupPost()
        path = tmp_path / f"{name}.ttf"
        builder.save(path)
        return path, name

    return build


def test_a_font_that_has_all_letters_is_found(installed, font_with, tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    installed((tmp_path / "broken.ttf", "Noto broken"), font_with("中", "some"), font_with("中文", "both"))
    assert with_font("层") == ("\\u5c42", fonts._dejavu())
    assert with_font("conv.中文") == ("conv.中文", str(tmp_path / "both.ttf"))
    assert with_font("conv.λ") == ("conv.λ", fonts._dejavu())
    text, font = drawable("中文", 20)
    assert (text, font.size) == ("中文", 20)
    image = labelled(np.zeros((1, 1, 3), np.uint8), "中文")
    assert (image < 100).any()


def test_where_no_font_has_a_letter_it_is_written_out(installed):
    installed()
    assert with_font("a中")[0] == "a\\u4e2d"
    assert with_font("a🦀")[0] == "a\\U0001f980"
    assert with_font("a\nb")[0] == "a\\nb"


def test_a_font_of_last_resort_has_no_letters_of_its_own(installed, font_with):
    installed(font_with("中", "Last Resort High-Efficiency"))
    assert with_font("中")[0] == "\\u4e2d"
