"""The small pictures of the input that views keep beside what they compare."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.colour import Image
from pytest_modelviz.probe.thumbnails import photo
from pytest_modelviz.records.capture import Array, Capture

PHOTO = "input"
PHOTO_LABEL = "(input)"  # no layer can be called that
MOST_SHOWN = 4  # samples of a batch


def photos(input_data: Any, count: int = 1) -> dict[str, Array]:
    """The pictures of the first `count` samples as a capture's arrays; none where the input is no image."""
    found: dict[str, Array] = {}
    for number in range(min(count, MOST_SHOWN)):
        taken = photo(input_data, number)
        if taken is not None and not (number and np.array_equal(taken, found[PHOTO])):
            found[_key(number)] = taken
    return found


def stored_photo(capture: Capture, number: int = 0) -> Image | None:
    """A sample's picture (h, w, 3), uint8, None where the input was none; where samples look alike, the first one's.

    Raises UnreadableBaselineError for a damaged one.
    """
    stored = capture.arrays.get(_key(number), capture.arrays.get(PHOTO))
    if stored is None:
        return None
    if stored.dtype != np.uint8 or stored.ndim != 3 or stored.shape[2] != 3 or not stored.size:
        raise UnreadableBaselineError("its picture of the input is damaged")
    return stored.astype(np.uint8, copy=False)


def _key(number: int) -> str:
    return f"{PHOTO}.{number}" if number else PHOTO
