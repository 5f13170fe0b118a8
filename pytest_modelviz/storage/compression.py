"""Compression of the arrays that pictures are drawn from; arrays that are compared are stored unchanged.

An array that gains by it is stored as bytes, under a key with its dtype and shape: `picture.relu|float16[8,32,32]`.
Its bytes are stored plane by plane, the first bytes of all numbers first, since those of neighbours are similar. Of
photographs the differences between neighbouring pixels are stored.
"""

from __future__ import annotations

import collections
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_modelviz.errors import OversizedBaselineError, UnreadableBaselineError
from pytest_modelviz.records.capture import Array
from pytest_modelviz.storage.limits import pieces

_LEAST = 1024  # bytes; smaller arrays gain little
_GAIN = 0.95
_MOST_BYTES = 2**62  # of a shape without its empty sides: numpy makes no array of more
_KEY = re.compile(r"(?s:(?P<key>.*))\|(?P<kind>float16|uint8)\[(?P<shape>\d{1,9}(?:,\d{1,9}){0,7})\]")


def compressed(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays as they are stored in a file."""
    stored: dict[str, Array] = {}
    for key, array in arrays.items():
        data = _deflated(array) if array.dtype in (np.float16, np.uint8) and array.nbytes >= _LEAST else None
        if data is None or len(data) > _GAIN * array.nbytes:
            stored[key] = array
        else:
            stored[f"{key}|{array.dtype}[{','.join(map(str, array.shape))}]"] = np.frombuffer(data, np.uint8)
    return stored


def expanded(arrays: Mapping[str, Array], most: int) -> Mapping[str, Array]:
    """Arrays as they were; raises UnreadableBaselineError.

    Where they would take more than `most` bytes, none of them is unpacked.
    """
    plain, packed = _split(arrays, most)
    return _ExpandedArrays(plain, {each.key: (each, _inflated(each)) for each in packed})


def require_expandable(arrays: Mapping[str, Array], most: int) -> None:
    """Raises UnreadableBaselineError where `expanded` would; what it unpacks is counted and forgotten."""
    for packed in _split(arrays, most)[1]:
        inflater, size = zlib.decompressobj(), 0
        try:
            for piece in pieces(inflater, packed.data):
                size += len(piece)
                if size > packed.size:
                    break
        except zlib.error as error:
            raise packed.damage(f" ({error})") from error
        if size != packed.size or not inflater.eof or inflater.unused_data:
            raise packed.damage()


class _ExpandedArrays(Mapping[str, Array]):
    """Arrays of a file, of which nothing is left that could be damaged: what was packed is laid out when asked for."""

    def __init__(self, plain: dict[str, Array], inflated: Mapping[str, tuple[_Packed, bytes]]) -> None:
        self._arrays, self._inflated = plain, dict(inflated)
        self._names = [*plain, *inflated]
        for key in [key for key, (packed, _) in self._inflated.items() if not packed.size]:
            self._lay_out(key)  # of a shape that may fit no bytes at all

    def _lay_out(self, key: str) -> None:
        self._arrays[key] = _laid_out(*self._inflated.pop(key))

    def __getitem__(self, key: str) -> Array:
        if key in self._inflated:
            self._lay_out(key)
        return self._arrays[key]

    def __contains__(self, key: object) -> bool:
        return key in self._arrays or key in self._inflated

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _Packed(NamedTuple):
    """A compressed array, with its dtype and shape."""

    key: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    data: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes unpacked."""
        return math.prod(self.shape) * self.dtype.itemsize

    def damage(self, why: str = "") -> UnreadableBaselineError:
        return UnreadableBaselineError(f"its array {self.key!r} is damaged{why}")


def _split(arrays: Mapping[str, Array], most: int) -> tuple[dict[str, Array], list[_Packed]]:
    """The arrays that are stored unchanged, and those to unpack; together they take at most `most` bytes."""
    plain: dict[str, Array] = {}
    packed: list[_Packed] = []
    for key, array in arrays.items():
        named = _KEY.fullmatch(key)
        if named is None or array.dtype != np.uint8 or array.ndim != 1:
            plain[key] = array
        else:
            shape = tuple(int(side) for side in named["shape"].split(","))
            packed.append(_Packed(named["key"], np.dtype(named["kind"]), shape, array.tobytes()))
            if packed[-1].dtype.itemsize * math.prod(side or 1 for side in shape) > _MOST_BYTES:
                raise packed[-1].damage(" (of a shape that no array has)")
    names = collections.Counter([*plain, *(each.key for each in packed)])
    if len(names) != len(arrays):
        raise UnreadableBaselineError(f"its array {names.most_common(1)[0][0]!r} occurs twice")
    size = sum(array.nbytes for array in plain.values()) + sum(each.size for each in packed)
    if size > most:
        largest = f", {max(packed, key=lambda each: each.size).key!r} above all" if packed else ""
        raise OversizedBaselineError(f"its arrays are absurdly large ({size} bytes unpacked{largest})")
    return plain, packed


def _deflated(array: Array) -> bytes:
    plain = _differences(array) if _is_photo(array.dtype, array.shape) else array
    planes = np.frombuffer(plain.tobytes(), np.uint8).reshape(-1, plain.dtype.itemsize)
    return zlib.compress(planes.T.tobytes(), 9)


def _inflated(packed: _Packed) -> bytes:
    """What it unpacks to, plane by plane. Raises UnreadableBaselineError."""
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(packed.data, packed.size + 1)
    except zlib.error as error:
        raise packed.damage(f" ({error})") from error
    if len(raw) != packed.size or not inflater.eof or inflater.unused_data:
        raise packed.damage()
    return raw


def _laid_out(packed: _Packed, raw: bytes) -> Array:
    planes = np.frombuffer(raw, np.uint8).reshape(packed.dtype.itemsize, -1)
    array = np.frombuffer(planes.T.tobytes(), packed.dtype).reshape(packed.shape)
    return np.cumsum(array, axis=1, dtype=np.uint8) if _is_photo(packed.dtype, packed.shape) else array


def _is_photo(dtype: npt.DTypeLike, shape: tuple[int, ...]) -> bool:
    return dtype == np.uint8 and len(shape) == 3 and shape[2] == 3


def _differences(photo: Array) -> npt.NDArray[np.uint8]:
    """Each pixel less the one to its left, modulo 256."""
    pixels = photo.astype(np.uint8)
    return np.concatenate([pixels[:, :1], pixels[:, 1:] - pixels[:, :-1]], axis=1)
