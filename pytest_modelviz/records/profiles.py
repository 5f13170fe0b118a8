"""Profiles of tensors, for people: how a tensor's size lies over places and channels, and how its values are spread.

They are never compared. A picture of any layer can be drawn from one, of which a hundred bytes are stored: all numbers
are rounded to 8 bits, as parts of the largest of their kind. They lie in four arrays with a row for each profile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf

SIDE, PLACES, GROUPS, BINS = 8, 64, 32, 24  # the most of each: rows and columns, places, groups of channels; bins
LEVELS = 254  # into which the numbers of a kind are rounded; the level above marks what is not finite
_NAMES = ("profiles.index", "profiles.shapes", "profiles.scales", "profiles.levels")
_WIDTHS = (PLACES, GROUPS, GROUPS, BINS)
_LOWEST = (0.0, 0.0, -1.0, 0.0)  # of each table, in parts of its largest number
_STARTS = np.cumsum(_WIDTHS)[:-1]
_LAYOUTS = (("int32", 3), ("uint8", 5), ("float32", 4), ("uint8", sum(_WIDTHS)))
_LARGEST, _BIAS = 1e38, 128
_ENDS = {0: (0.0, 1.0), 1: (-1.0, 1.0), 2: (-1.0, 0.0)}  # of the bins, times a power of two

Numbers = npt.NDArray[np.float64]
Position = tuple[int, int]  # a call, by its number, and a leaf of its outputs; a leaf -1 - n is the n-th of its inputs


@dataclass(frozen=True)
class Profile:
    """What is stored of a tensor, each number rounded to a part of the largest; NaN where values are not finite.

    Attributes:
        places: root mean squares over samples and channels, (rows, columns), of a sequence (positions, 1); empty for a
            tensor without places.
        energies: root mean squares of channels, or of groups of neighbouring ones, (n,).
        means: their means, (n,).
        shares: of all values, those in each of 24 equal bins; what is beyond their ends counts in the outermost.
        sign: whether the bins reach from zero up (0), from below zero to above it (1) or up to zero (2).
        exponent: of the power of two that they reach to.
        channels: how many channels there are.

    """

    places: Numbers
    energies: Numbers
    means: Numbers
    shares: Numbers
    sign: int
    exponent: int
    channels: int

    @property
    def ends(self) -> tuple[float, float]:
        """From where to where the bins reach."""
        low, high = _ENDS[self.sign]
        return math.ldexp(low, self.exponent), math.ldexp(high, self.exponent)

    @property
    def tables(self) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        return self.places, self.energies, self.means, self.shares


def largest(numbers: Numbers) -> float:
    """The largest size of the numbers that are finite."""
    return float(np.abs(numbers[np.isfinite(numbers)]).max(initial=0.0))


def pack_profiles(profiles: Mapping[Position, Profile]) -> dict[str, Array]:
    """Pack profiles, by where in a trace their tensors are, into arrays; none where there are no profiles."""
    if not profiles:
        return {}
    index = [(*position, profile.channels) for position, profile in profiles.items()]
    shapes = [(*p.places.shape, len(p.energies), p.sign, p.exponent + _BIAS) for p in profiles.values()]
    scales = np.array([[largest(table) for table in p.tables] for p in profiles.values()], np.float32)
    levels = np.zeros((len(profiles), sum(_WIDTHS)), np.uint8)
    for row, own, profile in zip(levels, scales.astype(np.float64), profiles.values(), strict=True):
        for part, table, scale, lowest in zip(np.split(row, _STARTS), profile.tables, own, _LOWEST, strict=True):
            unit = table.ravel() / (scale or 1.0)
            rounded = np.rint((np.clip(unit, lowest, 1.0) - lowest) / (1.0 - lowest) * LEVELS)
            part[: table.size] = np.where(np.isfinite(unit), rounded, LEVELS + 1)
    packed = np.array(index, np.int32), np.array(shapes, np.uint8), scales, levels
    return dict(zip(_NAMES, packed, strict=True))


def unpack_profiles(arrays: Mapping[str, Array], trace: ForwardTrace) -> dict[str, Profile]:
    """Unpack what `pack_profiles` made.

    Args:
        arrays: the arrays of a capture, which earlier versions recorded without profiles.
        trace: the pass that they hold.

    Returns:
        The profiles by the keys of their tensors.

    Raises:
        UnreadableBaselineError: the arrays are anything else.

    """
    if not any(name in arrays for name in _NAMES):
        return {}
    try:
        index, shapes, scales, levels = (
            _required(arrays[name], *layout) for name, layout in zip(_NAMES, _LAYOUTS, strict=True)
        )
        rows = zip(index.tolist(), shapes.tolist(), scales.tolist(), levels.astype(np.uint8), strict=True)
        keys, profiles = _Keys(trace.calls), dict[str, Profile]()
        for (call, leaf, channels), *rest in rows:
            key = keys.at(call, leaf)
            if key in profiles:
                raise ValueError("two of one tensor")
            profiles[key] = _unpacked(channels, *rest)
    except (LookupError, ValueError) as error:
        raise UnreadableBaselineError(f"its profiles of layers are damaged ({error})") from error
    return profiles


def _required(array: Array, dtype: str, width: int) -> Array:
    if array.dtype != dtype or array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"{array.dtype}{list(array.shape)}")
    return array


def _unpacked(channels: int, shape: list[int], scales: list[float], levels: npt.NDArray[np.uint8]) -> Profile:
    rows, columns, groups, sign, biased = shape
    if (
        rows * columns > PLACES
        or bool(rows) != bool(columns)
        or not 0 < groups <= min(GROUPS, channels)
        or sign not in _ENDS
    ):
        raise ValueError(f"the shape {shape}")
    if not all(0 <= scale <= _LARGEST for scale in scales):
        raise ValueError(f"the scales {scales}")
    sizes = (rows * columns, groups, groups, BINS)
    places, energies, means, shares = (
        np.where(part[:size] > LEVELS, np.nan, lowest + part[:size] / LEVELS * (1.0 - lowest)) * scale
        for part, size, scale, lowest in zip(np.split(levels, _STARTS), sizes, scales, _LOWEST, strict=True)
    )
    return Profile(places.reshape(rows, columns), energies, means, shares, sign, biased - _BIAS, channels)


class _Keys:
    """The keys of tensors by position. The leaves of a call are listed once, however many positions name it."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = calls
        self._leaves: dict[tuple[int, bool], list[Leaf]] = {}

    def at(self, call: int, leaf: int) -> str:
        if not 0 <= call < len(self._calls):
            raise ValueError(f"a call {call}")
        is_input = leaf < 0
        if (call, is_input) not in self._leaves:
            given = self._calls[call].inputs if is_input else self._calls[call].outputs or {}
            self._leaves[call, is_input] = list(given.values())
        key = self._leaves[call, is_input][-1 - leaf if is_input else leaf].tensor
        if key is None:
            raise ValueError(f"no tensor in call {call}")
        return key
