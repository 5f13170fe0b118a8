"""Where two arrays hold no numbers: NaN and infinities, which cannot be subtracted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def has_same_nonfinite(baseline: npt.NDArray[Any], actual: npt.NDArray[Any]) -> bool:
    """Whether shapes are equal, and NaN and each infinity stand at the same indices."""
    kinds = (np.isnan, np.isposinf, np.isneginf)
    return baseline.shape == actual.shape and all(np.array_equal(kind(baseline), kind(actual)) for kind in kinds)
