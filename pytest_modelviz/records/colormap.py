"""The colour maps that heatmaps can be painted with."""

import enum


class Colormap(enum.Enum):
    """Maps of matplotlib; all but `jet` are perceptually uniform."""

    INFERNO = "inferno"
    VIRIDIS = "viridis"
    CIVIDIS = "cividis"
    JET = "jet"


NOT_FINITE_NAMES = ("NaN", "+inf", "-inf")  # values with a colour of their own, that no map contains
