"""How far rounding alone takes what a baseline holds, as it was measured when recording: two bytes a quantity."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Array, Capture, Result_co

EXPLANATION_NOISE = "explanation.noise"  # of each quantity by which a view compares explanations, in its own order
TRACE_NOISE = frozenset({"trace.noise", "shadow.noise"})  # of each tensor of a pass, and of its shadow, in turn
NOISE_ARRAYS = TRACE_NOISE | {EXPLANATION_NOISE}  # no recording differs by these alone
EXPLANATIONS_MOVED = 2.0**-13  # how far weights and input are moved for that: 1024 units in the last place of float32


def packed_noise(noises: Sequence[float | None]) -> Array:
    """The upper halves of float32 (uint16), rounded up; NaN where nothing was measured."""
    numbers = np.array([math.nan if noise is None else noise for noise in noises], np.float32)
    bits = numbers.view(np.uint32)
    rounded = np.where(np.isfinite(numbers) & (bits & 0xFFFF != 0), bits + 0x10000, bits)
    return (rounded >> 16).astype(np.uint16)


def unpacked_noise(packed: Array, count: int) -> list[float | None]:
    """Unpack what `packed_noise` made of `count` numbers.

    Raises:
        UnreadableBaselineError: it is anything else.

    """
    if packed.dtype != np.uint16 or packed.shape != (count,):
        raise UnreadableBaselineError("the noise of what it holds is not laid out as expected")
    numbers = (packed.astype(np.uint32) << 16).view(np.float32).tolist()
    if any(number < 0 for number in numbers):
        raise UnreadableBaselineError("it holds a negative noise")
    return [None if math.isnan(number) else number for number in numbers]


def with_explanation_noise(
    capture: Capture[Result_co], differences: Sequence[Sequence[float]], note: str = ""
) -> Capture[Result_co]:
    """A capture with the noise of each quantity: of the differences that were measured the largest.

    Args:
        capture: the capture of an explanation.
        differences: for each explanation that rounding has moved, by how much each quantity differs; of none there is
            no noise.
        note: why there is none, if that is worth saying.

    """
    if not differences:
        return replace(capture, notes=(*capture.notes, note)) if note else capture
    noise = packed_noise([max(own) for own in zip(*differences, strict=True)])
    return replace(capture, arrays={**capture.arrays, EXPLANATION_NOISE: noise})


def explanation_noise(capture: Capture, count: int) -> list[float | None]:
    """The noise of each of `count` quantities of an explanation, None where the capture does not hold it."""
    packed = capture.arrays.get(EXPLANATION_NOISE)
    return [None] * count if packed is None else unpacked_noise(packed, count)
