"""A class activation map as the fixture returns it, and as a capture holds it."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.views.captions import rounded

Map: TypeAlias = npt.NDArray[np.float32]

_MOST_NUMBERS = 2**24  # of a map


@dataclass(frozen=True)
class CamMap:
    """What `cam_map` returns.

    `raw` is float32 (maps, h, w), signed, at the layer's resolution (for `fullgrad`, which explains all layers, at the
    input's); `normalized` float32 (maps, height, width) in 0..1 at the input's. For a sequence, (batch, channels,
    length), both are (maps, length). There is a map for each sample, or for each class requested of a single sample.
    `targets` are the classes explained, `predicted` the model's own choice, one a map.
    """

    raw: Map
    normalized: Map
    layer: str
    targets: tuple[int, ...]
    predicted: tuple[int, ...]
    score: float


def stored_map(capture: Capture) -> Map:
    """The raw map that a capture holds; raises UnreadableBaselineError for what is none."""
    raw = capture.arrays.get("map")
    if raw is None or raw.dtype != np.float32 or raw.ndim not in (2, 3, 4) or not 0 < raw.size <= _MOST_NUMBERS:
        raise UnreadableBaselineError("it holds no map")
    return raw.astype(np.float32, copy=False)


def peak(raw: Map) -> float | str:
    """The largest magnitude of a map, for people."""
    with np.errstate(all="ignore"):
        return rounded(float(np.abs(raw).max(initial=0.0)))
