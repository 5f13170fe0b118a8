"""The small picture of the input that views keep beside what they compare."""

from __future__ import annotations

import numpy as np

from pytest_modelviz.capture import Capture
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.colour import Image

PHOTO = "input"
PHOTO_LABEL = "(input)"  # no layer can be called that
MODEL_LABEL = "(model)"  # the root module, whose name is empty


def stored_photo(capture: Capture) -> Image | None:
    """The picture (h, w, 3), uint8, None where the input was none; raises UnreadableBaselineError for a damaged one."""
    stored = capture.arrays.get(PHOTO)
    if stored is None:
        return None
    if stored.dtype != np.uint8 or stored.ndim != 3 or stored.shape[2] != 3 or not stored.size:
        raise UnreadableBaselineError("its picture of the input is damaged")
    return stored.astype(np.uint8, copy=False)
