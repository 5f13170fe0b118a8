"""Suppositions of what was done to the values of a tensor, each tested against the sketch of what they were."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.compare.tensors import sketched_alike
from pytest_modelviz.probe.count_sketch import signs_of, sketch_rows
from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.records.changes import (
    Affine,
    ExchangedSlices,
    FewValues,
    Mirrored,
    NormalisedChannels,
    PreparedOtherwise,
    Rounded,
    ScaledSlices,
    ValueChange,
    ZeroSlices,
    ZeroValues,
)
from pytest_modelviz.records.norms import norm
from pytest_modelviz.records.tensors import TensorRecord

_UNEXPLAINED = 0.01  # the largest part of a difference that an explanation may leave
_ROUNDING = {"float64": 4e-6, "float32": 4e-6, "float16": 1e-3, "bfloat16": 8e-3}  # of a sketch, relative
_COARSER = {"bfloat16": (torch.bfloat16, 2.0**-8), "float16": (torch.float16, 2.0**-11)}
_DEVIATIONS = 3.0  # standard ones, of a norm as a sketch of this width gives it
_BYTE, _BYTE_ERROR = 255.0, 1e-3  # the largest number of 8 bits, and how far from a whole one float32 takes one
_MOST_SLICES, _MOST_WORK = 256, 5e7  # of a tensor of which slices are tried one by one, and numbers that are summed
_MOST_SCALED = 3
_SIMILAR = 0.5  # the largest relative difference of pictures that look alike
_ORTHOGONAL = 2.5  # standard deviations of the cosine of two sketches
_CHANNELS = (3, 4)
_NEAT = 2e-4  # how far a factor may be from a round one, to be reported as that
Vector = npt.NDArray[np.float64]


class Suppositions:
    """What may have been done to a tensor, each supposition with the sketch that the baseline must have then."""

    def __init__(self, baseline: TensorRecord, actual: torch.Tensor, values: torch.Tensor, slices: str) -> None:
        record = record_tensor(actual.detach(), baseline.sketch.size)
        self._before = sketched_alike(baseline, record)[0].sketch.astype(np.float64)
        self._values, self._dtype, self._width, self._name = values, baseline.dtype, baseline.sketch.size, slices
        self._after = self._sketch(values)
        self._difference = norm(self._before - self._after)
        self._allowed = _UNEXPLAINED * self._difference + _ROUNDING.get(self._dtype, 4e-6) * norm(self._before)

    def right_ones(self) -> Iterator[ValueChange]:
        """The changes that explain the difference, the simplest first."""
        if not self._difference or self._allowed >= self._difference / 2:
            return
        yield from self._rounded()
        yield from self._affine()
        yield from self._few_values()
        yield from self._mirrored()
        yield from self._exchanged_channels()
        yield from self._normalised()
        yield from self._slices()
        yield from self._zeros()
        if _is_picture(self._values) and self._difference <= _SIMILAR * norm(self._before):
            yield PreparedOtherwise()

    def _sketch(self, values: torch.Tensor) -> Vector:
        sketch: Vector = sketch_rows(values.reshape(-1), self._width)[0].numpy().astype(np.float64)
        return sketch

    def _is_right(self, sketch: Vector) -> bool:
        return norm(self._before - sketch) <= self._allowed

    def _rounded(self) -> Iterator[ValueChange]:
        is_long = self._dtype in ("float32", "float64")
        for name, (dtype, unit) in _COARSER.items():
            if is_long and torch.equal(self._values.to(dtype).double(), self._values):
                # what is lost lies anywhere within half a step
                lost = _steps(self._values, dtype, unit) / math.sqrt(12)
                if self._difference <= lost * (1 + _DEVIATIONS / math.sqrt(2 * self._width)):
                    yield Rounded(name)
        eighth = self._values * _BYTE
        is_byte = bool(((eighth - eighth.round()).abs() <= _BYTE_ERROR).all()) and self._values.min() >= 0
        if is_byte and self._values.max() <= 1 and self._difference <= math.sqrt(self._values.numel()) / _BYTE:
            yield Rounded("8 bits")

    def _affine(self) -> Iterator[ValueChange]:
        """The baseline as a multiple of the actual values, as these and a constant, and as both."""
        ones = self._sketch(torch.ones_like(self._values))
        for columns in ([self._after], [self._after, ones]):
            found = self._fitted(self._before, columns)
            if found is not None and found[0]:
                yield Affine(_neat(1 / found[0]), _neat(-found[1] / found[0]) if len(found) == 2 else 0.0)
            shift = self._fitted(self._before - self._after, [ones])
            if shift is not None:
                yield Affine(offset=_neat(-shift[0]))

    def _fitted(self, target: Vector, columns: list[Vector]) -> list[float] | None:
        """The factors with which columns add up to a sketch (least squares); None where they do not."""
        table = np.stack(columns, axis=1)
        found = np.linalg.lstsq(table, target, rcond=None)[0]
        return [float(factor) for factor in found] if norm(target - table @ found) <= self._allowed else None

    def _normalised(self) -> Iterator[ValueChange]:
        """Each channel of a picture by itself, as where it is normalised with other means and deviations."""
        if not _is_picture(self._values):
            return
        columns = []
        for values in (self._values, torch.ones_like(self._values)):
            for at in range(values.shape[1]):
                channel = torch.zeros_like(values)
                channel[:, at] = values[:, at]
                columns.append(self._sketch(channel))
        found = self._fitted(self._before, columns)
        count = len(columns) // 2
        if found is not None and all(found[:count]):
            pairs = list(zip(found[:count], found[count:], strict=True))
            yield NormalisedChannels(tuple(_neat(1 / x) for x, _ in pairs), tuple(_neat(-y / x) for x, y in pairs))

    def _few_values(self) -> Iterator[ValueChange]:
        """Where few values differ, few buckets do; of a tensor that is its own sketch, exactly as many."""
        change = np.abs(self._after - self._before)
        count = int((change > 1e-3 * change.max()).sum())
        if count <= self._width // 4:
            yield FewValues(count, self._values.numel(), self._values.numel() <= self._width)

    def _mirrored(self) -> Iterator[ValueChange]:
        if _is_picture(self._values):
            for how, dims in {"left to right": (-1,), "top to bottom": (-2,), "both ways": (-1, -2)}.items():
                if self._is_right(self._sketch(self._values.flip(dims))):
                    yield Mirrored(how)

    def _exchanged_channels(self) -> Iterator[ValueChange]:
        if _is_picture(self._values):
            count = self._values.shape[1]
            for first, second in itertools.combinations(range(count), 2):
                order = list(range(count))
                order[first], order[second] = second, first
                if self._is_right(self._sketch(self._values[:, order])):
                    yield ExchangedSlices(first, second, count, "channel")

    def _slices(self) -> Iterator[ValueChange]:
        count = self._values.shape[0]
        if self._values.dim() < 2 or not 1 < count <= _MOST_SLICES or count * self._values.numel() > _MOST_WORK:
            return
        slices = self._values.reshape(count, -1).numpy()
        placed = _placed(slices, self._width)
        own = placed[np.arange(count), np.arange(count)]
        yield from self._scaled(own)
        yield from self._exchanged(placed, own)

    def _zeros(self) -> Iterator[ValueChange]:
        """What is zero now, if that may be all: what was taken away is then orthogonal to what is left."""
        removed = self._before - self._after
        cosine = float(removed @ self._after) / (norm(removed) * (norm(self._after) or 1.0))
        may_be_all = abs(cosine) <= _ORTHOGONAL / math.sqrt(self._width)
        if not may_be_all or self._values.dim() < 2 or _is_picture(self._values):  # pictures have black places
            return
        zero = self._values.reshape(self._values.shape[0], -1) == 0
        rows = tuple(int(at) for at in torch.nonzero(zero.all(1)).reshape(-1))
        if 0 < len(rows) < len(zero) and len(rows) * zero.shape[1] == int(zero.sum()):
            yield ZeroSlices(rows, len(zero), self._name)
        elif 0 < int(zero.sum()) < zero.numel():
            yield ZeroValues(int(zero.sum()), zero.numel())

    def _scaled(self, own: Vector) -> Iterator[ValueChange]:
        """Slices that explain most of what is left, chosen one after the other (orthogonal matching pursuit)."""
        difference, chosen = self._before - self._after, list[int]()
        sizes = np.maximum(np.sqrt((own**2).sum(1)), np.finfo(np.float64).tiny)
        left = difference
        for _ in range(_MOST_SCALED):
            chosen.append(int(np.argmax(np.abs(own @ left) / sizes)))
            found = np.linalg.lstsq(own[chosen].T, difference, rcond=None)[0]
            left = difference - own[chosen].T @ found
            if norm(left) <= self._allowed:
                ordered = sorted(zip(chosen, (1 + float(x) for x in found), strict=True))
                if all(abs(scale) > _NEAT for _, scale in ordered):
                    indices, factors = tuple(at for at, _ in ordered), tuple(_neat(1 / x) for _, x in ordered)
                    yield ScaledSlices(indices, factors, len(own), self._name)
                return

    def _exchanged(self, placed: Vector, own: Vector) -> Iterator[ValueChange]:
        first, second = np.triu_indices(len(own), 1)
        moved = placed[first, second] + placed[second, first] - own[first] - own[second]
        left = np.sqrt(((self._before - self._after - moved) ** 2).sum(1))
        best = int(np.argmin(left))
        if left[best] <= self._allowed:
            yield ExchangedSlices(int(first[best]), int(second[best]), len(own), self._name)


def _placed(slices: Vector, width: int) -> Vector:
    """(count, count, width): the sketch of slice j where slice i is, and zeros everywhere else, at [i, j]."""
    count, size = slices.shape
    if count * size <= width:
        placed = np.zeros((count, count, count * size))
        for at in range(count):
            placed[at, :, at * size : (at + 1) * size] = slices
        return placed
    signs = signs_of(count * size, width)
    placed = np.empty((count, count, width))
    for at in range(count):
        start = at * size
        first = start % width
        rows = -(-(first + size) // width)
        padded = np.zeros((count, rows * width))
        padded[:, first : first + size] = slices * signs[start : start + size]
        placed[at] = padded.reshape(count, rows, width).sum(1)
    return placed


def _steps(values: torch.Tensor, dtype: torch.dtype, unit: float) -> float:
    """The norm of what lies between each value and the next one that a dtype holds."""
    of_subnormals = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    steps = torch.ldexp(torch.full_like(values, unit), torch.frexp(values).exponent)
    return float(torch.linalg.vector_norm(steps.clamp(min=of_subnormals)))


def _is_picture(values: torch.Tensor) -> bool:
    return values.dim() == 4 and values.shape[1] in _CHANNELS and min(values.shape[2:]) > 1


def _neat(number: float) -> float:
    """A number with four digits where that is what it must have been."""
    rounded = float(f"{number:.4g}")
    return rounded if abs(number - rounded) <= _NEAT * abs(rounded) else number
