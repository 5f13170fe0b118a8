"""Where two arrays hold no numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def same_places(one: npt.NDArray[Any], two: npt.NDArray[Any]) -> bool:
    """Whether shapes are equal, and NaN and each infinity stand in the same places."""
    kinds = (np.isnan, np.isposinf, np.isneginf)
    return one.shape == two.shape and all(np.array_equal(kind(one), kind(two)) for kind in kinds)
