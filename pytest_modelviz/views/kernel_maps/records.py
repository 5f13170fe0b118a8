"""What `kernel_maps` returns, and the facts about it: statistics of every convolution, and filters to look at."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_modelviz.text.strict_json import JsonObject

MOST_PICTURED = 8  # layers
# Of a picture: filters, pixels of a filter's longer side, and those of a filter that is a row.
MOST_FILTERS, MOST_SIDE, MOST_LENGTH = 64, 256, 1024

# Begin the names of a layer's arrays in a capture.
PICTURE, INPUTS = "picture.", "inputs."

Filters = npt.NDArray[np.float32]


@dataclass(frozen=True)
class KernelStatistics:
    """One convolution's kernels. `weight` and `bias` are texts such as `float32[64, 3, 7, 7]`, `bias` may be empty.

    The numbers are of all finite elements (real and imaginary parts count apart), None where there are none;
    `not_finite` counts the filters that hold NaN or infinities.
    """

    class_name: str
    weight: str
    bias: str
    filters: int
    mean: float | None = None
    rms: float | None = None
    low: float | None = None
    high: float | None = None
    not_finite: int = 0

    def to_row(self) -> JsonObject:
        """As facts hold it."""
        row: dict[str, str | float] = {"class": self.class_name, "weight": self.weight}
        if self.bias:
            row["bias"] = self.bias
        if self.rms is not None and self.mean is not None and self.low is not None and self.high is not None:
            # a mean that cancels out has no digits beyond those of what cancels
            digits = 2 - math.floor(math.log10(self.rms)) if self.rms > 0 else 0
            row |= {"mean": float(f"{round(self.mean, digits):.3g}") + 0.0, "rms": float(f"{self.rms:.3g}")}
            row |= {"min": float(f"{self.low:.3g}"), "max": float(f"{self.high:.3g}")}
        if self.not_finite:
            row["not_finite"] = f"{self.not_finite} of {self.filters} filters"
        return row


@dataclass(frozen=True)
class FilterSample:
    """Every `step`-th of a convolution's `of` filters of `shape`, as a person can look at them, float32.

    `kind` says what a filter shows. "colour": all of it, (filters, 3, h, w). "strongest": of each filter the input
    channel with the largest norm, which is in `inputs`, (filters, h, w), of a volume the middle slice. As rows of one
    picture, (1, filters, length): "positions" of the strongest channel of a one-dimensional kernel, and "inputs" of
    a kernel that has a single position. Of enormous kernels the first positions.
    """

    kind: str
    values: Filters
    step: int
    of: int
    shape: tuple[int, ...]
    inputs: tuple[int, ...] = ()

    def to_page(self, exponent: int, *, pictured: bool) -> JsonObject:
        """As facts hold it beside the values, which were packed with this exponent."""
        return {
            "shows": self.kind,
            "filter": list(self.shape),
            "of": self.of,
            "step": self.step,
            "exponent": exponent,
            **({"pictured": True} if pictured else {}),
        }


@dataclass(frozen=True)
class KernelMaps:
    """What `kernel_maps` returns: statistics of every convolution compared, and the filters that are pictured.

    `pictures` maps a layer's name to float32: (filters, 3, h, w) for filters of three channels, (filters, h, w) of each
    filter's strongest input channel (of a volume the middle slice), (1, filters, n) where a filter is a row.
    """

    layers: Mapping[str, KernelStatistics]
    pictures: Mapping[str, Filters]
