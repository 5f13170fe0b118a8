"""Images as PNG files."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image as Pillow
from PIL import ImageChops, ImageStat

from pytest_modelviz.pictures.colour import Image

_Method = Pillow.Quantize
_MOST_PIXELS = 2**27


def png_bytes(image: Image) -> bytes:
    """A PNG of 256 colours: it looks the same to people and keeps the repository small."""
    whole = Pillow.fromarray(np.ascontiguousarray(image)).convert("RGB")
    return _encoded(_in_256_colours(whole))


def encoded_anew(data: bytes) -> bytes:
    """The same colours in a PNG of our own: of one made here, the same bytes; nothing else that a file may hold.

    Raises:
        ValueError: It is no PNG as `png_bytes` makes them, is damaged, or has absurdly many pixels.

    """
    image = _decoded(data)
    palette = image.getpalette()
    if image.mode != "P" or palette is None:
        raise ValueError(f"it has colours of the kind {image.mode}, not a palette")
    bare = Pillow.frombytes("P", image.size, image.tobytes())
    bare.putpalette(palette)
    return _encoded(bare)


def is_png_as_large(data: bytes, image: Image) -> bool:
    """Whether these bytes are a whole PNG, as wide and high as the image."""
    try:
        return _decoded(data).size == (image.shape[1], image.shape[0])
    except ValueError:
        return False


def _decoded(data: bytes) -> Pillow.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)  # the bound here is another
            image = Pillow.open(io.BytesIO(data), formats=("PNG",))
        if image.width * image.height > _MOST_PIXELS:
            raise ValueError(f"it has {image.width} x {image.height} pixels")
        image.load()
    except Exception as error:  # Pillow raises a dozen kinds for damaged files
        raise ValueError(str(error) or type(error).__name__) from error
    return image


def _encoded(image: Pillow.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def quick_png_bytes(image: Image) -> bytes:
    """The same in a fifth of the time, a little larger: for what is looked at once and committed nowhere."""
    whole = Pillow.fromarray(np.ascontiguousarray(image)).convert("RGB")
    buffer = io.BytesIO()
    whole.quantize(256, method=_Method.FASTOCTREE).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def _in_256_colours(image: Pillow.Image) -> Pillow.Image:
    """Colours out of an octree, of which a noisy picture takes less room, unless those of median cut are better."""
    coarse, fine = (image.quantize(256, method=method) for method in (_Method.FASTOCTREE, _Method.MEDIANCUT))
    return coarse if _error(image, coarse) <= _error(image, fine) else fine


def _error(image: Pillow.Image, other: Pillow.Image) -> float:
    """Mean square of the differences, over all pixels and colours."""
    return sum(rms**2 for rms in ImageStat.Stat(ImageChops.difference(image, other.convert("RGB"))).rms)
