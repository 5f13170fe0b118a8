"""Makes the pictures and texts of docs/reviewing.md: what a reviewer is shown of three faults of a trained network.

Needs Chromium for the pictures of report.html. Use: python examples/reviewing.py
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images" / "reviewing"
FAULTS = ("weights", "activation", "resizing")
SIZE = "1200,2150"  # of a page, in pixels
TEST = """
import os

import numpy as np
import torch
from imagenet import load_classifier
from PIL import Image
from skimage import data
from torch import nn

FAULT = os.environ.get("FAULT")


def load_model():
    model = load_classifier()
    if FAULT == "weights":
        with torch.no_grad():
            model._blocks[7]._depthwise_conv.weight.mul_(1.05)
    if FAULT == "activation":
        model._blocks[3]._swish = nn.GELU()
    return model


def load_photos():
    how = Image.Resampling.NEAREST if FAULT == "resizing" else Image.Resampling.BICUBIC
    photos = (data.chelsea(), data.rocket(), data.coffee(), data.astronaut())
    pixels = np.stack([np.asarray(Image.fromarray(photo).resize((224, 224), how)) for photo in photos])
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.498) / 0.502


def test_classifier(feature_maps, cam_map):
    model, photos = load_model(), load_photos()
    feature_maps(model, photos)
    cam_map(model, photos, target_layer="_blocks.15")
"""


def main() -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("this needs Chromium: install it, and run the script again")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_net.py").write_text(TEST)
        (folder / "pytest.ini").write_text("[pytest]\n")
        run(folder, "--modelviz-update")
        for fault in FAULTS:
            text = run(folder, "--modelviz", fault=fault)
            print(f"\n##### {fault}\n{text}")
            page = (folder / ".modelviz/report.html").as_uri()
            options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={SIZE}"]
            picture = IMAGES / f"{fault}.png"
            subprocess.run([browser, *options, f"--screenshot={picture}", page], check=True, capture_output=True)
            shrink(picture)


def run(folder: Path, option: str, fault: str = "") -> str:
    """The output of a run of pytest in the folder."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "examples")])
    environment = {**os.environ, "FAULT": fault, "PYTHONPATH": paths, "COLUMNS": "120"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", option]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


def shrink(path: Path) -> None:
    """Fewer colours: the pictures lie in the repository."""
    from PIL import Image

    image = Image.open(path).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    image.save(path, optimize=True)


if __name__ == "__main__":
    main()
