"""What has become of a tensor's values, as plain data: `reports.changes` words it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ValueChange:
    """The base of all changes of a tensor's values."""


@dataclass(frozen=True)
class Rounded(ValueChange):
    """All values are such as a coarser dtype ("bfloat16", "8 bits") holds, and no further off than its rounding."""

    dtype: str


@dataclass(frozen=True)
class Affine(ValueChange):
    """Every value is now `factor` times what it was, plus `offset`."""

    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class NormalisedChannels(ValueChange):
    """Every value of a picture's channel is now its `factors` times what it was, plus its `offsets`."""

    factors: tuple[float, ...]
    offsets: tuple[float, ...]


@dataclass(frozen=True)
class ScaledSlices(ValueChange):
    """Some of the `total` slices along the first dimension are now `factors` times what they were.

    `slices` is what people call them, in the singular: "filter", "row".
    """

    indices: tuple[int, ...]
    factors: tuple[float, ...]
    total: int
    slices: str


@dataclass(frozen=True)
class ExchangedSlices(ValueChange):
    """Two of the slices along a dimension have changed places; `slices` is what people call them."""

    first: int
    second: int
    total: int
    slices: str


@dataclass(frozen=True)
class ZeroSlices(ValueChange):
    """Some of the `total` slices along the first dimension hold nothing but zeros; they may have before."""

    indices: tuple[int, ...]
    total: int
    slices: str


@dataclass(frozen=True)
class ZeroValues(ValueChange):
    """So many of the `total` values are zero; some may have been before, which no sketch says."""

    count: int
    total: int


@dataclass(frozen=True)
class FewValues(ValueChange):
    """So many of the `total` values differ; a few more may, unless the count `is_exact`."""

    count: int
    total: int
    is_exact: bool


@dataclass(frozen=True)
class Mirrored(ValueChange):
    """A picture is mirrored: "left to right", "top to bottom", or both."""

    how: str


@dataclass(frozen=True)
class PreparedOtherwise(ValueChange):
    """A picture looks the same, and no simpler change explains what differs."""
