"""The raw material of pictures, made smaller for the file; what is compared lies in it as it is.

An array that is worth it stands there as bytes, under a key that says what it was: `picture.relu|float16[8,32,32]`.
Numbers lie in planes, first bytes first: those of neighbours are alike. Of photographs the differences between
neighbouring pixels lie there.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pytest_modelviz.capture import Array
from pytest_modelviz.errors import UnreadableBaselineError

_LEAST = 1024  # bytes; of less there is little to gain
_GAIN = 0.95
_KEY = re.compile(r"(?s:(?P<key>.*))\|(?P<kind>float16|uint8)\[(?P<shape>\d{1,9}(?:,\d{1,9}){0,7})\]")


def compressed(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays as they are put into a file."""
    made: dict[str, Array] = {}
    for key, array in arrays.items():
        data = _deflated(array) if array.dtype in (np.float16, np.uint8) and array.nbytes >= _LEAST else None
        if data is None or len(data) > _GAIN * array.nbytes:
            made[key] = array
        else:
            made[f"{key}|{array.dtype}[{','.join(map(str, array.shape))}]"] = np.frombuffer(data, np.uint8)
    return made


def expanded(arrays: Mapping[str, Array], most: int) -> dict[str, Array]:
    """Arrays as they were; raises UnreadableBaselineError, also where they would take more than `most` bytes."""
    made: dict[str, Array] = {}
    for key, array in arrays.items():
        found = _KEY.fullmatch(key)
        if found is None or array.dtype != np.uint8 or array.ndim != 1:
            made[key] = array
            continue
        shape = tuple(int(side) for side in found["shape"].split(","))
        size = math.prod(shape) * np.dtype(found["kind"]).itemsize
        most -= size
        if most < 0:
            raise UnreadableBaselineError(f"its array {found['key']!r} is absurdly large")
        made[found["key"]] = _inflated(array.tobytes(), found["kind"], shape, found["key"])
    return made


def _deflated(array: Array) -> bytes:
    plain = _differences(array) if _is_photo(array.dtype, array.shape) else array
    planes = np.frombuffer(plain.tobytes(), np.uint8).reshape(-1, plain.dtype.itemsize)
    return zlib.compress(planes.T.tobytes(), 9)


def _inflated(data: bytes, kind: str, shape: tuple[int, ...], key: str) -> Array:
    dtype = np.dtype(kind)
    size = math.prod(shape) * dtype.itemsize
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(data, size + 1)
    except zlib.error as error:
        raise UnreadableBaselineError(f"its array {key!r} is damaged ({error})") from error
    if len(raw) != size or not inflater.eof:
        raise UnreadableBaselineError(f"its array {key!r} is damaged")
    planes = np.frombuffer(raw, np.uint8).reshape(dtype.itemsize, -1)
    array = np.frombuffer(planes.T.tobytes(), dtype).reshape(shape)
    return np.cumsum(array, axis=1, dtype=np.uint8) if _is_photo(dtype, shape) else array


def _is_photo(dtype: npt.DTypeLike, shape: tuple[int, ...]) -> bool:
    return dtype == np.uint8 and len(shape) == 3 and shape[2] == 3


def _differences(photo: Array) -> npt.NDArray[np.uint8]:
    """Each pixel less the one to its left, modulo 256."""
    pixels = photo.astype(np.uint8)
    return np.concatenate([pixels[:, :1], pixels[:, 1:] - pixels[:, :-1]], axis=1)
