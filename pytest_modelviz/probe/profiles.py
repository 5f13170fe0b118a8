"""Profiles of tensors: their size by places and channels, and the distribution of their values, in a few numbers."""

import math

import numpy as np
import torch

from pytest_modelviz.probe.thumbnails import has_picture
from pytest_modelviz.probe.torch_internals import without_dispatch_modes
from pytest_modelviz.records.profiles import BINS, GROUPS, PLACES, SIDE, Numbers, Profile

_MOST_VALUES = 2**15  # of which a distribution is made; of a larger tensor each n-th
_REACH = 3.7  # root mean squares that the bins reach to, of no distribution that is common the end of a bin
_SLACK = 1 - 1e-4  # so that rounding does not decide about the next power of two
_SMALLEST, _LARGEST = 1e-30, 1e30  # tensors beyond have no profile


def has_profile(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds floating-point numbers that can be read."""
    return has_picture(tensor) and tensor.is_floating_point()


def profile_of(tensor: torch.Tensor, grid: tuple[int, ...] = (), before: int = 0) -> Profile | None:
    """A tensor's profile, whose numbers are not rounded yet.

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
        values = tensor.detach() if tensor.dtype == torch.float64 else tensor.detach().float()
        peak, broken = float(values.abs().amax()), None
        if not math.isfinite(peak):
            broken = ~values.isfinite()
            values = values.nan_to_num(0.0, 0.0, 0.0)
            peak = float(values.abs().amax())
        if peak and not _SMALLEST < peak < _LARGEST:
            return None
        scale = math.ldexp(1.0, math.frexp(peak)[1])  # of which division rounds nothing
        unit = (values / scale).float()
        squares = unit.square()
        places, energies = _places(squares, grid, before).sqrt(), _groups(squares).sqrt()
        means = _groups(unit)
        if broken is not None:
            marks = broken.float()
            places[_places(marks, grid, before) > 0] = math.nan
            energies[_groups(marks) > 0] = means[_groups(marks) > 0] = math.nan
        sample = unit.reshape(-1)[:: _step(unit.numel())]
        are_numbers = None if broken is None else ~broken.reshape(-1)[:: _step(unit.numel())]
        sign = 0 if bool(unit.amin() >= 0) else 2 if bool(unit.amax() <= 0) else 1
        reach = min(peak, _REACH * scale * math.sqrt(float(squares.mean()))) * _SLACK
        exponent = math.ceil(math.log2(reach)) if reach else 0
        counted = sample if are_numbers is None else sample[are_numbers]
        shares = _counts(counted.double() * math.ldexp(scale, -exponent), sign) / len(sample)
        tables = _numbers(places, scale), _numbers(energies, scale), _numbers(means, scale), _numbers(shares)
        return Profile(*tables, sign, exponent, tensor.shape[1])


def _places(values: torch.Tensor, grid: tuple[int, ...], before: int) -> torch.Tensor:
    """Means over samples and channels, and over neighbouring places."""
    if math.prod(grid) < 2:
        return values.new_zeros(0, 0)
    means = values.mean((0, 1)).reshape(-1)[before:].reshape(grid)
    if len(grid) == 1:
        return torch.nn.functional.adaptive_avg_pool1d(means[None], min(PLACES, len(means)))[0, :, None]
    flat = means.reshape(-1, *grid[-2:]).mean(0, keepdim=True)
    return torch.nn.functional.adaptive_avg_pool2d(flat, (min(SIDE, grid[-2]), min(SIDE, grid[-1])))[0]


def _groups(values: torch.Tensor) -> torch.Tensor:
    """Means of all that each channel holds, and of neighbouring channels."""
    means = values.transpose(0, 1).reshape(values.shape[1], -1).mean(1)
    return torch.nn.functional.adaptive_avg_pool1d(means[None], min(GROUPS, len(means)))[0]


def _step(count: int) -> int:
    """An odd number, since the sides of layers are mostly even."""
    return count // _MOST_VALUES | 1


def _counts(values: torch.Tensor, sign: int) -> torch.Tensor:
    """How many values lie in each bin, where the bins reach to 1, from -1 to 1, or from -1."""
    bins = values * BINS if sign == 0 else (values + 1) * (BINS / (2 if sign == 1 else 1))
    return torch.bincount(bins.clamp(0, BINS - 1).long(), minlength=BINS).double()


def _numbers(values: torch.Tensor, times: float = 1.0) -> Numbers:
    return np.asarray(values.double().cpu().numpy() * times, np.float64)
