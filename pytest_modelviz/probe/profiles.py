"""Profiles of tensors: their size by places and channels, and the distribution of their values, in a few numbers."""

import functools
import math

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.probe.thumbnails import has_picture
from pytest_modelviz.probe.torch_internals import without_dispatch_modes
from pytest_modelviz.records.profiles import BINS, GROUPS, PLACES, SIDE, Numbers, Profile

_Counts = npt.NDArray[np.int64]
_MOST_NUMBERS = 2**24  # of all samples together, of which copies are made
_MOST_VALUES = 2**14  # of which a distribution is made
_REACH = 3.7  # root mean squares that the bins reach to, of no distribution that is common the end of a bin
_SLACK = 1 - 1e-4  # so that rounding does not decide about the next power of two
_SMALLEST, _LARGEST = 1e-30, 1e30  # tensors beyond have no profile
_SAFE = 1e15


def has_profile(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds floating-point numbers that can be read."""
    return has_picture(tensor) and tensor.is_floating_point()


def profile_of(tensor: torch.Tensor, grid: tuple[int, ...] = (), before: int = 0) -> Profile | None:
    """A tensor's profile, whose numbers are not rounded yet; of a very large batch that of the first samples.

    Args:
        tensor: one that `has_profile`, (batch, channels, *positions).
        grid: the rows and columns that its positions form, with a depth before these or as a length alone; empty where
            they are no places.
        before: positions that precede those of the grid.

    Returns:
        The profile; None where the largest number is beyond 1e30 or below 1e-30.

    Example:
        >>> profile_of(torch.ones(2, 64, 56, 56), (56, 56)).places.shape
        (8, 8)

    """
    with torch.no_grad(), without_dispatch_modes():
        values = tensor.detach()[: max(1, _MOST_NUMBERS * len(tensor) // tensor.numel())]
        values = values if values.dtype == torch.float64 else values.float()
        low, high, broken = *_ends(values), None
        if not (math.isfinite(low) and math.isfinite(high)):
            broken = ~values.isfinite()
            values = values.nan_to_num(0.0, 0.0, 0.0)
            low, high = _ends(values)
        peak, scale = max(-low, high), 1.0
        if peak and not _SMALLEST < peak < _LARGEST:
            return None
        if peak and not 1 / _SAFE < peak < _SAFE:  # its squares may overflow
            scale = math.ldexp(1.0, math.frexp(peak)[1])  # of which division rounds nothing
            values = values / scale
        squares = values.square()
        places, channels, means = _places(squares, grid, before), _channels(squares), _channels(values)
        rms = math.sqrt(float(channels.mean()))
        energies = np.sqrt(_pooled(channels, GROUPS))
        means = _pooled(means, GROUPS)
        if broken is not None:
            marks = broken.float()
            places[_places(marks, grid, before) > 0] = math.nan
            is_broken = _pooled(_channels(marks), GROUPS) > 0
            energies[is_broken] = means[is_broken] = math.nan
        reach = min(peak, _REACH * rms * scale) * _SLACK
        exponent = math.ceil(math.log2(reach)) if reach else 0
        sign = 0 if low >= 0 else 2 if high <= 0 else 1
        sample = _sample(values) * math.ldexp(scale, -exponent)
        shares = _counts(sample if broken is None else sample[_sample(broken) == 0], sign) / len(sample)
        return Profile(
            np.sqrt(places) * scale, energies * scale, means * scale, shares, sign, exponent, tensor.shape[1]
        )


def _ends(values: torch.Tensor) -> tuple[float, float]:
    low, high = values.aminmax()
    return float(low), float(high)


def _places(values: torch.Tensor, grid: tuple[int, ...], before: int) -> Numbers:
    """Means over samples and channels, and over neighbouring places."""
    if math.prod(grid) < 2:
        return np.zeros((0, 0))
    means = _numbers(values.mean((0, 1))).reshape(-1)[before:].reshape(grid)
    if len(grid) == 1:
        return _pooled(means, PLACES)[:, None]
    flat = np.asarray(means.reshape(-1, *grid[-2:]).mean(0), np.float64)
    return np.transpose(_pooled(np.transpose(_pooled(flat, SIDE)), SIDE))


def _channels(values: torch.Tensor) -> Numbers:
    """Means of all that each channel holds."""
    return _numbers(values.flatten(2).mean((0, 2)) if values.dim() > 2 else values.mean(0))


def _pooled(numbers: Numbers, most: int) -> Numbers:
    """Means over at most so many groups of neighbours, along the first dimension."""
    starts, sizes = _groups(min(most, len(numbers)), len(numbers))
    sums = np.add.reduceat(numbers, starts, axis=0)
    return np.asarray(sums / sizes.reshape(-1, *[1] * (numbers.ndim - 1)), np.float64)


@functools.lru_cache(maxsize=256)
def _groups(groups: int, count: int) -> tuple[_Counts, _Counts]:
    """Where each group of so many numbers begins, and how many it has."""
    edges = np.arange(groups + 1, dtype=np.int64) * count // groups
    return edges[:-1], edges[1:] - edges[:-1]


def _sample(values: torch.Tensor) -> Numbers:
    """At most some ten thousand values, each n-th, n an odd number, since the sides of layers are mostly even."""
    return _numbers(values.reshape(-1)[:: values.numel() // _MOST_VALUES | 1])


def _counts(values: Numbers, sign: int) -> Numbers:
    """How many values lie in each bin, where the bins reach to 1, from -1 to 1, or from -1."""
    bins = values * BINS if sign == 0 else (values + 1) * (BINS / (2 if sign == 1 else 1))
    return np.bincount(np.clip(bins, 0, BINS - 1).astype(np.intp), minlength=BINS).astype(np.float64)


def _numbers(values: torch.Tensor) -> Numbers:
    return np.asarray(values.cpu().numpy(), np.float64)
