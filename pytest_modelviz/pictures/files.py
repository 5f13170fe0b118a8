"""Images as PNG files."""

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
    return _encoded(_in_256_colours(_rgb(image)), optimize=True)


def quick_png_bytes(image: Image) -> bytes:
    """A slightly larger PNG in a fifth of the time, for pictures that are looked at once and not committed."""
    return quick_pngs(image)[0]


def quick_pngs(image: Image, *parts: Image) -> list[bytes]:
    """The same of an image and of parts of it, which have the colours of the whole: choosing these takes longest."""
    whole = _rgb(image).quantize(256, method=_Method.FASTOCTREE)
    others = (_rgb(part).quantize(palette=whole, dither=Pillow.Dither.NONE) for part in parts)
    return [_encoded(each, compress_level=3) for each in (whole, *others)]


def _rgb(image: Image) -> Pillow.Image:
    picture = Pillow.fromarray(np.ascontiguousarray(image))
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def encoded_anew(data: bytes) -> bytes:
    """Encode a PNG anew without anything else that the file may hold; a PNG made by `png_bytes` stays the same.

    Raises:
        ValueError: the file is not a PNG as `png_bytes` makes them, is damaged, or has too many pixels.

    """
    image = _decoded(data)
    palette = image.getpalette()
    if image.mode != "P" or palette is None:
        raise ValueError(f"it has colours of the kind {image.mode}, not a palette")
    bare = Pillow.frombytes("P", image.size, image.tobytes())
    bare.putpalette(palette)
    return _encoded(bare, optimize=True)


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


def _encoded(image: Pillow.Image, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", **options)
    return buffer.getvalue()


def _in_256_colours(image: Pillow.Image) -> Pillow.Image:
    """Colours from an octree, with which a noisy picture takes less space, unless those of median cut are closer."""
    coarse, fine = (image.quantize(256, method=method) for method in (_Method.FASTOCTREE, _Method.MEDIANCUT))
    return coarse if _error(image, coarse) <= _error(image, fine) else fine


def _error(image: Pillow.Image, other: Pillow.Image) -> float:
    """Mean square of the differences, over all pixels and colours."""
    return sum(rms**2 for rms in ImageStat.Stat(ImageChops.difference(image, other.convert("RGB"))).rms)
