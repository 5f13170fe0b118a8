"""How large a baseline may be: its files, what they unpack to, and how many values they hold.

A file of a few kilobytes can unpack to gigabytes, so that all of this is looked at before anything is unpacked. A check
knows what its own capture takes, and reads no baseline that would take more than four times that; small ones are always
read, since a model may have been larger once. A command that has no capture reads what any check may have recorded.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pytest_modelviz.errors import OversizedBaselineError
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.limits import FIXED, SMALL, STRUCTURE, Limits, is_structure
from pytest_modelviz.text.strict_json import count_values

if TYPE_CHECKING:
    from zlib import _Decompress  # what decompressobj makes; it has no public name

TIMES = 4
_CHUNK = 64 * 2**10
_ARRAY_HEADER = 200  # bytes in a safetensors file, beside the array's name


def limits_for(capture: Capture) -> Limits:
    """What may be read to be compared with a capture: four times what it takes itself, and small baselines always."""
    try:
        text = json.dumps(capture.facts, default=str, skipkeys=True).encode()
    except (TypeError, ValueError, RecursionError):  # of a third party's view: it cannot be recorded
        text = b""
    names = sum(len(key.encode("utf-8", "replace")) + _ARRAY_HEADER for key in capture.arrays)
    arrays = sum(array.nbytes for array in capture.arrays.values())
    structure = structure_size(capture.arrays, FIXED)
    needed = (len(text), count_values(text), arrays + names, names, *structure)
    both = zip(needed, SMALL, FIXED, strict=True)
    return Limits(*(min(max(TIMES * need, least), most) for need, least, most in both))


def require_structure(arrays: Mapping[str, Array], limits: Limits) -> None:
    """Raises OversizedBaselineError where the structure of a trace would unpack to more than is read."""
    size, count = structure_size(arrays, limits)
    if size > limits.structure_bytes or count > limits.structure_values:
        raise OversizedBaselineError(
            f"the structure of its trace is absurdly large (at least {size} bytes, up to {count} values)"
        )


def structure_size(arrays: Mapping[str, Array], limits: Limits) -> tuple[int, int]:
    """(bytes, values) of the JSON that describes a trace, counted piece by piece until they are beyond the limits.

    Zero where there is none, or what is no such thing: its reader says what is wrong with it.
    """
    size = count = 0
    for packed in (arrays[name] for name in arrays if name.endswith(STRUCTURE) and is_structure(name, arrays[name])):
        with contextlib.suppress(zlib.error):
            for piece in pieces(zlib.decompressobj(), packed.tobytes()):
                size, count = size + len(piece), count + count_values(piece)
                if size > limits.structure_bytes or count > limits.structure_values:
                    return size, count
    return size, count


def pieces(inflater: _Decompress, data: bytes) -> Iterator[bytes]:
    """What some compressed bytes unpack to, piece by piece. Raises zlib.error."""
    left, piece = data, b" "
    while not inflater.eof and (left or piece):
        piece = inflater.decompress(left, _CHUNK)
        left = inflater.unconsumed_tail
        yield piece
