"""Maps in half precision beside a power of two that they share, so that no magnitude overflows. Knows no torch."""

import numpy as np
import numpy.typing as npt


def common_exponent(values: npt.NDArray[np.float32]) -> int:
    """The power of two that brings the largest finite magnitude to between a half and one; 0 where there is none."""
    finite = np.abs(values[np.isfinite(values)])
    return int(np.frexp(finite.max())[1]) if finite.size and finite.max() > 0 else 0


def in_half_precision(values: npt.NDArray[np.float32], exponent: int) -> npt.NDArray[np.float16]:
    """The values divided by this power of two; what is far below the largest of them may vanish."""
    with np.errstate(all="ignore"):
        return np.ldexp(values, -exponent).astype(np.float16)
