"""A tensor as plain data: its dtype, its shape and a sketch of its values, never the values of a large tensor.

The probe makes these records from tensors of torch; everything after it compares records alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pytest_modelviz.records.norms import norm

WIDEST_SKETCH = 251  # numbers: of an activation; `probe.count_sketch` says why this many
WEIGHT_WIDTH = 61
NATIVE_WIDTH = 53  # of an activation in lower precision, of which a shadow is recorded as well
# Kinds of fingerprints: of all integers of a tensor whose sums may have more digits than float64 holds, and of those
# that by themselves have. Earlier versions recorded the latter only, and neither for small weights.
INTEGERS, LARGE_INTEGERS = "integers", "digits"
COMPONENTS = "components"  # the kind of fingerprint that a nested tensor has: of its components' shapes
LARGEST_PIECE = 2**20  # numbers: a larger tensor is sketched in pieces
# Numbers of a weight up to which those of one size are sketched together. Earlier versions saw no giants in these.
LARGEST_GROUPED = 2**14
Sketch = npt.NDArray[np.float32] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class TensorRecord:
    """One tensor at one moment.

    Attributes:
        dtype: torch's name for it, e.g. "float32".
        shape: the tensor's sizes.
        sketch: a linear function of the finite values (see `probe.count_sketch`), with zeros for NaN and infinities;
            the values themselves where there are no more of them than the sketch is wide.
        value_fingerprints: for each kind of exceptional value ("nan", "+inf", "-inf", or "-1e9" for giants, which are
            far larger than all other values) how many there are and a fingerprint of their positions; for `INTEGERS`
            and `LARGE_INTEGERS` one of their values as well; for `COMPONENTS` one of shapes.
        mean: of a tensor larger than its sketch, where it was taken; for people, not stored.
        sketch_without_giants: a second sketch with zeros for the giants, which would hide all other values in the
            first; None where there are none.
        value_count: how many real numbers it holds, where its shape does not say (see `numbers`).
        step: how far apart two neighbouring values of a quantised tensor are, where all have the same scale.
        noise: how far rounding alone takes it, as a relative L2 difference; None where that was not measured.
        shadow_distance: how far it is from the same tensor of the pass's float32 shadow, likewise; not stored.
        former: in version 2 the same tensor as still earlier versions sketched it, for comparisons with baselines of
            theirs; None where they did so alike.
        is_of_earlier_version: whether a version before that has sketched it, which did so otherwise.

    """

    dtype: str
    shape: tuple[int, ...]
    sketch: Sketch
    value_fingerprints: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    mean: float | None = None
    sketch_without_giants: Sketch | None = None
    value_count: int | None = None
    step: float | None = None
    noise: float | None = None
    shadow_distance: float | None = None
    former: TensorRecord | None = None
    is_of_earlier_version: bool = False

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def numbers(self) -> int:
        """How many real numbers it holds: the shape of a nested tensor counts components, a complex number is two."""
        if self.value_count is not None:
            return self.value_count
        return self.numel * 2 if self.dtype.startswith("complex") else self.numel

    @property
    def elements(self) -> int:
        """How many values it holds, a complex one counted once."""
        return self.numbers // 2 if self.dtype.startswith("complex") else self.numbers

    @property
    def bulk_sketch(self) -> Sketch:
        """The sketch of the values without giants, if there are any."""
        return self.sketch if self.sketch_without_giants is None else self.sketch_without_giants

    @property
    def sketches(self) -> tuple[Sketch, ...]:
        return (self.sketch,) if self.sketch_without_giants is None else (self.sketch, self.sketch_without_giants)

    @property
    def statistics(self) -> tuple[float | None, float] | None:
        """Mean, if known, and root mean square; the latter of a large tensor is an estimate, by a few per cent off."""
        numbers = self.numbers
        if not numbers or not self.sketch.size:
            return None
        mean = self._known_mean if self.sketch.size == numbers else self.mean
        return mean, norm(self.sketch) / math.sqrt(numbers)

    @property
    def _known_mean(self) -> float | None:
        is_whole = self.mean is None and self.sketch.size == self.numbers
        return float(self.sketch.astype(np.float64).mean()) if is_whole else self.mean

    @property
    def dtype_and_shape(self) -> str:
        return dtype_and_shape(self.dtype, self.shape)

    def is_bitwise(self, other: TensorRecord) -> bool:
        """Whether two records hold the same, bit by bit."""
        texts = [(record.dtype, record.shape, dict(record.value_fingerprints)) for record in (self, other)]
        sketches = [[sketch.tobytes() for sketch in record.sketches] for record in (self, other)]
        return texts[0] == texts[1] and sketches[0] == sketches[1]

    def narrowed(self, width: int) -> TensorRecord:
        """The same tensor with sketches of at most `width` numbers: the buckets are added up, with random signs.

        The result is a valid sketch, but not the one that `probe.count_sketch` computes at this width.
        """
        if max(sketch.size for sketch in self.sketches) <= width:
            return self
        giants, sketch = self.sketch_without_giants, _narrowed(self.sketch, width)
        return replace(
            self,
            sketch=sketch,
            mean=self._known_mean,
            sketch_without_giants=None if giants is None else _narrowed(giants, width),
            former=None if self.former is None else self.former.narrowed(width),
        )


def is_of_giants(kind: str) -> bool:
    """Whether a kind of fingerprint is that of giants, such as "-1e9"."""
    return kind.lstrip("+-").startswith("1e")


@functools.lru_cache(maxsize=4096)
def dtype_and_shape(dtype: object, shape: tuple[int, ...]) -> str:
    """How a tensor's kind is written everywhere, e.g. `float32[1, 3, 224, 224]`."""
    return f"{str(dtype).removeprefix('torch.')}{list(shape)}"


def splitmix64(index: npt.NDArray[np.uint64], salt: int) -> npt.NDArray[np.uint64]:
    """Mix 64-bit integers (the finaliser of SplitMix64, Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        z = index + np.uint64(salt) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def random_signs(index: npt.NDArray[np.uint64], salt: int) -> npt.NDArray[np.float64]:
    """1.0 or -1.0 for each index, by the highest bit of its hash."""
    signs: npt.NDArray[np.float64] = (splitmix64(index, salt) >> np.uint64(63)).astype(np.float64) * 2 - 1
    return signs


@functools.lru_cache(maxsize=64)  # there are a few widths
def _narrowing_signs(size: int) -> npt.NDArray[np.float64]:
    return random_signs(np.arange(size, dtype=np.uint64), 2)


def _narrowed(sketch: Sketch, width: int) -> Sketch:
    if sketch.size <= width:
        return sketch
    signs = _narrowing_signs(sketch.size)
    padded = np.zeros(-(-sketch.size // width) * width, np.float64)
    padded[: sketch.size] = sketch * signs
    sums = padded.reshape(-1, width).sum(0)
    with np.errstate(over="ignore"):
        folded: Sketch = sums.astype(sketch.dtype)
    return folded if np.isfinite(folded).all() else sums  # of masks of the lowest numbers
