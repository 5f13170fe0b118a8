"""The error of each layer along the depth of a model, as a chart in SVG: one bar a layer, on a log scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from pytest_modelviz.records.verdict import LayerError
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.text.side_by_side import cut_short

WIDTH, HEIGHT = 960, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 8, 26, 22  # around the bars
_LEAST = 2.0  # pixels of a bar's height, so that a layer without any error is there too
_WIDEST = 28.0
_MOST_DECADES = 12
_MOST = 1e308  # of an error, so that the power of ten above it is a number, too
_LONGEST = 70  # characters of the name above the first bar that differs
_KINDS = ("first", "drifted", "agrees")


@dataclass(frozen=True)
class Bar:
    """One bar: the worst of `count` calls of layers that follow each other, and its kind."""

    worst: LayerError
    count: int
    kind: str


@dataclass(frozen=True)
class DepthChart:
    """The chart as an SVG element, the kinds of its bars for a legend, and what a bar stands for."""

    svg: str
    kinds: Sequence[str]
    note: str


def binned(layers: Sequence[LayerError], first: tuple[str, int] | None, most: int) -> list[Bar]:
    """At most so many bars, in the order of execution.

    Args:
        layers: the error of each call of each layer.
        first: the layer and call that are named: the drift begins in the first call of it or inside of it that drifted,
            and the bar of that shows it, whatever else is in it.
        most: how many bars there may be.

    """
    size = max(1, math.ceil(len(layers) / most))
    begins = _begins_at(layers, first)
    bars = []
    for start in range(0, len(layers), size):
        among = layers[start : start + size]
        if begins is not None and start <= begins < start + size:
            bars.append(Bar(layers[begins], len(among), "first"))
        else:
            worst = max(among, key=lambda layer: (layer.drifted, layer.error))
            bars.append(Bar(worst, len(among), "drifted" if worst.drifted else "agrees"))
    return bars


def _begins_at(layers: Sequence[LayerError], first: tuple[str, int] | None) -> int | None:
    """A layer's own call comes behind those of the layers inside, which may have drifted before."""
    if first is None:
        return None
    inside = f"{first[0]}." if first[0] else ""
    calls = enumerate(layers)
    found = (at for at, x in calls if (x.layer, x.call) == first or (x.drifted and x.layer.startswith(inside)))
    return next(found, None)


@dataclass(frozen=True)
class LogScale:
    """Which powers of ten the chart spans, and where an error stands in it."""

    low: int
    high: int

    @classmethod
    def of(cls, bars: Sequence[Bar]) -> LogScale:
        numbers = [number for bar in bars for number in (bar.worst.error, bar.worst.tolerance)]
        logs = [math.log10(min(number, _MOST)) for number in numbers if 0.0 < number < math.inf]
        low, high = (math.floor(min(logs)), math.ceil(max(logs))) if logs else (-1, 0)
        return cls(max(min(low, high - 1), high - _MOST_DECADES), high)

    def y(self, number: float) -> float:
        """The distance from the top of the chart in pixels."""
        if number <= 0.0:
            return float(HEIGHT - _BOTTOM)
        share = 1.0 if math.isinf(number) else (math.log10(number) - self.low) / (self.high - self.low)
        return _TOP + (1.0 - min(1.0, max(0.0, share))) * (HEIGHT - _TOP - _BOTTOM)


def depth_chart(layers: Sequence[LayerError], first: tuple[str, int] | None = None, most: int = 400) -> DepthChart:
    """The chart of at least one layer, in at most so many bars.

    Bars have their kinds as classes: `drifted`, `first` where the drift begins, or `agrees`; and titles with their
    layers and numbers. What is allowed is a line. `first` is the layer and call that are named as the beginning.

    Example:
        >>> depth_chart([LayerError("conv1", 0, 0.1, 1e-4)]).kinds
        ['drifted']

    """
    bars = binned(layers, first, most)
    scale, step = LogScale.of(bars), (WIDTH - _LEFT - _RIGHT) / len(bars)
    width = min(step * 0.8, _WIDEST)

    def x(at: float) -> float:
        return _LEFT + at * step

    drifted = sum(layer.drifted for layer in layers)
    named = "" if first is None else first[0] or MODEL_LABEL
    summary = f"Error along the depth of the model: {drifted} of {counted(len(layers), 'call')} drifted"
    parts = [f'<svg class="depth" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(summary)}">']
    parts += _decades(scale)
    parts += [_rect(bar, x(at), width, scale) for at, bar in enumerate(bars)]
    parts.append(_allowed(bars, x, scale))
    parts += [_mark(x(at) + width / 2, named) for at, bar in enumerate(bars) if bar.kind == "first"]
    parts.append(f'<text x="{_LEFT}" y="{HEIGHT - 6}">input</text>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 6}" class="end">output</text></svg>')
    return DepthChart("".join(parts), [kind for kind in _KINDS if any(bar.kind == kind for bar in bars)], _note(bars))


def _note(bars: Sequence[Bar]) -> str:
    size = max(bar.count for bar in bars)
    if size == 1:
        return "One bar a call of a layer, in the order of execution."
    return f"One bar for {size} layers that follow each other, in the order of execution: the largest error of them."


def _decades(scale: LogScale) -> list[str]:
    every = max(1, math.ceil((scale.high - scale.low) / 6))
    lines = []
    for power in range(scale.low, scale.high + 1, every):
        y = scale.y(10.0**power)
        lines.append(f'<path class="decade" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        lines.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" class="end">{10.0**power:.0e}</text>')
    return lines


def _rect(bar: Bar, x: float, width: float, scale: LogScale) -> str:
    worst, bottom = bar.worst, HEIGHT - _BOTTOM
    y = min(scale.y(worst.error), bottom - _LEAST)
    call = f", call {worst.call}" if worst.call else ""
    size = f"{worst.error:.2g}" if math.isfinite(worst.error) else "cannot be subtracted"
    of = f" (largest of {bar.count})" if bar.count > 1 else ""
    title = f"{worst.layer or MODEL_LABEL}{call}: {size}, allowed {worst.tolerance:.2g}{of}"
    return (
        f'<rect class="{bar.kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{bottom - y:.1f}">'
        f"<title>{escape(title)}</title></rect>"
    )


def _allowed(bars: Sequence[Bar], x: Callable[[float], float], scale: LogScale) -> str:
    """The line of what is allowed, a step for each bar."""
    levels = [scale.y(bar.worst.tolerance) for bar in bars]
    steps = [f"{'L' if at else 'M'}{x(at):.1f} {y:.1f}H{x(at + 1):.1f}" for at, y in enumerate(levels)]
    return f'<path class="allowed" d="{"".join(steps)}"><title>allowed</title></path>'


def _mark(x: float, name: str) -> str:
    anchor, dx = ("end", -9) if x > WIDTH / 2 else ("start", 9)
    return (
        f'<path class="mark" d="M{x:.1f} {_TOP - 1}l-5 -8h10z"/>'
        f'<text x="{x + dx:.1f}" y="{_TOP - 8}" class="mark {anchor}">first: {escape(cut_short(name, _LONGEST))}</text>'
    )
