"""Histograms on the same bins: only such can be compared by eye where one is drawn over the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Values: TypeAlias = npt.NDArray[np.float64]


def on_common_bins(series: Mapping[str, tuple[Sequence[float], Sequence[int]]]) -> tuple[Values, dict[str, Values]]:
    """All histograms on as many equal bins as the finest of them has, from the lowest edge to the highest.

    Args:
        series: edges (n + 1), which rise, and counts (n) of each histogram.

    Returns:
        The common edges, (m + 1), and the counts of each histogram, (m), not whole numbers where a bin was divided:
        its values are taken to lie evenly in it. Histograms that share their edges keep them and their counts.

    """
    given = {
        name: (np.asarray(edges, np.float64), np.asarray(counts, np.float64))
        for name, (edges, counts) in series.items()
    }
    first = next(iter(given.values()))[0]
    if all(np.array_equal(edges, first) for edges, _ in given.values()):
        return first, {name: counts for name, (_, counts) in given.items()}
    low, high = min(edges[0] for edges, _ in given.values()), max(edges[-1] for edges, _ in given.values())
    bins = max(len(counts) for _, counts in given.values())
    common = 2 * np.linspace(low / 2, high / 2, bins + 1)  # the width itself may be no number
    return common, {name: _rebinned(edges, counts, common) for name, (edges, counts) in given.items()}


def _rebinned(edges: Values, counts: Values, common: Values) -> Values:
    below = np.concatenate([[0.0], np.cumsum(counts)])
    return np.diff(np.interp(common / 2, edges / 2, below))
