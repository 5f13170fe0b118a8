"""Fingerprints of what a sketch cannot hold: NaN and infinities, giants, long integers, shapes of components."""

import math

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.probe.plain_numbers import dense
from pytest_modelviz.records.tensors import COMPONENTS, INTEGERS, LARGE_INTEGERS, splitmix64

WIDE_INTEGERS = {getattr(torch, name, torch.int64) for name in ("int64", "uint64", "int32", "uint32")}
_EXACT_BELOW = 2.0**53  # integers from here on, and sums of integers, have more digits than float64 holds
_GIANT_RATIO = 100.0  # how many times larger than all others a giant is
_SOME = 4096  # values that are looked at before all are
_ABOVE, _BELOW = 1 + 1e-6, 1 - 1e-6  # of a bound, whichever way it is rounded


def without_exceptional(values: torch.Tensor) -> tuple[dict[str, tuple[int, int]], torch.Tensor]:
    """Fingerprints of the values that are not finite, and the rest in float64, which adds up without overflow."""
    fingerprints = {}
    for kind, is_kind in (("nan", torch.isnan), ("+inf", torch.isposinf), ("-inf", torch.isneginf)):
        if fingerprint := _fingerprint(is_kind(values)):
            fingerprints[kind] = fingerprint
    return fingerprints, torch.nan_to_num(values.to(torch.float64), nan=0.0, posinf=0.0, neginf=0.0)


def without_giants(values: torch.Tensor) -> tuple[dict[str, tuple[int, int]], torch.Tensor]:
    """Fingerprints of a few values far larger than all others, as in a mask of -1e9, and the values without them.

    Relative to such values no other difference in the tensor would count.
    """
    lowest, highest = values.aminmax()
    largest = max(float(highest), -float(lowest))
    some = np.abs(values[:_SOME].cpu().numpy())
    if ((some > _ABOVE * largest / _GIANT_RATIO) & (some < _BELOW * largest / _GIANT_RATIO**0.5)).any():
        return {}, values  # as nearly everywhere: the others are too large
    size = values.abs()
    giant = size > size.max() / _GIANT_RATIO**0.5
    rest = torch.where(giant, torch.zeros_like(values), values)
    if not bool(rest.any()) or float(rest.abs().max()) * _GIANT_RATIO > largest:
        return {}, values
    fingerprints = {}
    for sign, mask in (("+", giant & (values > 0)), ("-", giant & (values < 0))):
        if fingerprint := _fingerprint(mask):
            decade = round(math.log10(float(size[mask].double().mean())))
            fingerprints[f"{sign}1e{decade}"] = fingerprint
    return fingerprints, rest


def digit_fingerprints(tensor: torch.Tensor) -> dict[str, tuple[int, int]]:
    """Fingerprints of integers (`WIDE_INTEGERS`) whose sums may have more digits than float64 holds, else empty."""
    if torch.iinfo(tensor.dtype).max * tensor.numel() < _EXACT_BELOW:
        return {}
    integers = dense(tensor).reshape(-1).cpu().numpy()
    sizes = np.abs(integers.astype(np.float64))
    if integers.size * sizes.max(initial=0.0) < _EXACT_BELOW:
        return {}
    positions, bits = np.arange(integers.size, dtype=np.uint64), integers.astype(np.int64).view(np.uint64)
    mixed = splitmix64(positions, 99) ^ splitmix64(bits, 7)
    large = mixed[sizes >= _EXACT_BELOW]  # all that earlier versions recorded
    return {INTEGERS: _hash(mixed), **({LARGE_INTEGERS: _hash(large)} if large.size else {})}


def component_fingerprints(tensor: torch.Tensor) -> dict[str, tuple[int, int]]:
    """A fingerprint of the shapes of a nested tensor's components."""
    sizes = [size for part in tensor.unbind() for size in (part.dim(), *part.shape)]
    positions, lengths = np.arange(len(sizes), dtype=np.uint64), np.array(sizes, dtype=np.uint64)
    return {COMPONENTS: _hash(splitmix64(positions, 99) ^ splitmix64(lengths, 7))}


def _fingerprint(mask: torch.Tensor) -> tuple[int, int] | None:
    """How many elements are marked, and a hash of their indices; None if there are none."""
    indices = mask.nonzero().reshape(-1).cpu().numpy().astype(np.uint64)
    return _hash(indices) if indices.size else None


def _hash(numbers: npt.NDArray[np.uint64]) -> tuple[int, int]:
    """How many numbers there are, and a hash of them in any order."""
    return int(numbers.size), int((splitmix64(numbers, 99) >> np.uint64(12)).sum(dtype=np.uint64) >> np.uint64(11))
