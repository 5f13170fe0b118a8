"""Images as PNG files."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pillow

from pytest_modelviz.pictures.colour import Image


def png_bytes(image: Image) -> bytes:
    """A PNG of 256 colours: it looks the same to people and keeps the repository small."""
    buffer = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(image)).quantize(256).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
