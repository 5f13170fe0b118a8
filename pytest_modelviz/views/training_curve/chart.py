"""Line charts of curves, a number for each step: a capture's own, or baseline and actual with their difference below.

matplotlib's objects are used without pyplot, which would keep every figure and may open windows.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator

from pytest_modelviz.pictures.colour import NOT_A_NUMBER, Image
from pytest_modelviz.pictures.composite import Picture
from pytest_modelviz.pictures.fonts import with_font
from pytest_modelviz.text.side_by_side import cut_short

Series = Mapping[str, npt.NDArray[np.float64]]

_WIDTH, _DPI = 7.0, 100  # inches: 700 pixels
_MOST_PANELS = 6
# Any: keyword arguments of matplotlib, each of a type of its own
_STYLES: Mapping[str, Mapping[str, Any]] = {
    "baseline": {"color": "#9aa5b1", "linewidth": 3.5},
    "actual": {"color": "#1f5fa8", "linewidth": 1.4, "marker": "o", "markersize": 2.5},
}
_DIFFERENCE: Mapping[str, Any] = {"color": "#b3372f", "linewidth": 1.2, "marker": "o", "markersize": 2.5}
_NOT_A_NUMBER = tuple(channel / 255 for channel in NOT_A_NUMBER)
_LARGEST = 1e300  # that matplotlib can scale
_LOWEST, _HIGHEST = 1e-9, 1e99  # on a logarithmic scale: what differs by less, or by more, lies there


def chart(label: str, curves: Mapping[str, Series]) -> Picture:
    """Draw curves by name, each with the series "actual" or both "baseline" and "actual", in panels two abreast.

    Of more than six the first five and the last are drawn, and a line below says how many are not.
    """
    with warnings.catch_warnings():  # of fonts and layout, which say nothing about the test
        warnings.simplefilter("ignore")
        return _chart(label, curves)


def _chart(label: str, curves: Mapping[str, Series]) -> Picture:
    names = list(curves)
    if len(names) > _MOST_PANELS:
        names = [*names[: _MOST_PANELS - 1], names[-1]]
    heights = [2.1, 1.1] if any("baseline" in curves[name] for name in names) else [2.1]
    each, columns = len(heights), min(2, len(names))
    heights *= -(-len(names) // columns)
    figure = Figure(figsize=(_WIDTH, sum(heights) + 0.3), dpi=_DPI, layout="constrained", facecolor="white")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
    for at, name in enumerate(names):
        row, column = divmod(at, columns)
        _draw(panels[each * row, column], name, curves[name])
        if each == 2:
            _draw_difference(panels[2 * row + 1, column], curves[name])
    for axes in panels.flat:
        if not axes.lines:
            axes.set_axis_off()
    if len(curves) > len(names):
        figure.supxlabel(f"{len(curves) - len(names)} more curves are not drawn here", fontsize=8)
    canvas.draw()
    image: Image = np.asarray(canvas.buffer_rgba(), np.uint8)[..., :3].copy()
    return Picture(label, image)


def _draw(axes: Axes, name: str, series: Series) -> None:
    for key in ("baseline", "actual"):
        if key in series:
            axes.plot(np.arange(len(series[key])), _finite(series[key]), label=key, **_STYLES[key])
            _mark(axes, ~np.isfinite(series[key]), f"{key} not finite" if "baseline" in series else "not finite")
    text, path = with_font(name)
    font = FontProperties(fname=path, size=9)
    axes.set_title(cut_short(text, 48), loc="left", parse_math=False, font=font)
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(fontsize=7, frameon=False)
    _tidy(axes, series, "" if "baseline" in series else "step")


def _mark(axes: Axes, steps: npt.NDArray[np.bool_], label: str) -> None:
    """Steps that have no number to draw, in the colour that it has in other pictures."""
    for at in np.flatnonzero(steps):
        axes.axvline(float(at), color=_NOT_A_NUMBER, linewidth=0.8, alpha=0.6, label=label)
        label = "_"  # which a legend leaves out: it names them once


def _draw_difference(axes: Axes, series: Series) -> None:
    """The relative difference at each step, on a logarithmic scale: rounding that grows is a straight line there.

    Equal steps are left out.
    """
    if not {"baseline", "actual"} <= series.keys():
        return
    steps = min(map(len, series.values()))
    before, after = series["baseline"][:steps], series["actual"][:steps]
    with np.errstate(all="ignore"):
        distance = np.abs(after - before)
        relative = distance / np.abs(before)
    relative = np.where(np.isfinite(relative) & (distance > 0), np.clip(relative, _LOWEST, _HIGHEST), np.nan)
    axes.plot(np.arange(steps), relative, **_DIFFERENCE)
    axes.set_yscale("log")
    drawn = relative[np.isfinite(relative)]
    axes.set_ylim(_LOWEST / 2, max(3 * float(drawn.max(initial=0.0)), 1e-3))
    _mark(axes, np.isfinite(before) != np.isfinite(after), "_")
    if not drawn.size and np.array_equal(before, after, equal_nan=True):
        axes.text(0.5, 0.5, "no difference", transform=axes.transAxes, fontsize=7, ha="center", va="center")
    axes.set_ylabel("relative\ndifference", fontsize=7)
    _tidy(axes, series, "step")


def _finite(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Gaps where there is no number to draw; matplotlib cannot scale the largest ones."""
    return np.asarray(np.where(np.isfinite(values) & (np.abs(values) < _LARGEST), values, np.nan), np.float64)


def _tidy(axes: Axes, series: Series, xlabel: str) -> None:
    last = max(len(values) for values in series.values()) - 1
    axes.set_xlim(-0.03 * last - 0.1, 1.03 * last + 0.1)  # the same in both panels, also where there are gaps
    axes.set_xlabel(xlabel, fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    axes.tick_params(labelsize=7)
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
