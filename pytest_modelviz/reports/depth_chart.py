"""The error of each layer along the depth of a model, as a chart in SVG: one bar a layer, on a log scale."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Bar:
    """One bar: the worst of `count` calls of layers that follow each other."""

    worst: LayerError
    count: int
    is_first: bool  # whether the drift begins here


def binned(layers: Sequence[LayerError], first: tuple[str, int] | None, most: int) -> list[Bar]:
    """At most so many bars, in the order of execution.

    Args:
        layers: the error of each call of each layer.
        first: the layer and call where the drift begins; its bar shows it, whatever else is in it.
        most: how many bars there may be.

    """
    size = max(1, math.ceil(len(layers) / most))
    bars = []
    for start in range(0, len(layers), size):
        among = layers[start : start + size]
        begins = [layer for layer in among if first == (layer.layer, layer.call)]
        worst = begins[0] if begins else max(among, key=lambda layer: (layer.drifted, layer.error))
        bars.append(Bar(worst, len(among), bool(begins)))
    return bars


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


def depth_chart(
    layers: Sequence[LayerError], first: tuple[str, int] | None = None, most: int = 400, *, from_input: bool = False
) -> str:
    """The chart as an SVG element; empty without layers.

    Layers that drifted have the class `drifted`, that where the drift begins `first`, others `agrees`. What is allowed
    is a line. Bars have titles with their layers and numbers. A drift that begins `from_input` begins before all bars.

    Example:
        >>> depth_chart([LayerError("conv1", 0, 0.1, 1e-4)]).count("<rect")
        1

    """
    if not layers:
        return ""
    bars = binned(layers, None if from_input else first, most)
    scale, step = LogScale.of(bars), (WIDTH - _LEFT - _RIGHT) / len(bars)

    def x(at: float) -> float:
        return _LEFT + at * step

    parts = [f'<svg class="depth" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{_text(_summary(layers))}">']
    parts += _decades(scale)
    parts += [_rect(bar, x(at), min(step * 0.8, _WIDEST), scale) for at, bar in enumerate(bars)]
    parts.append(_allowed(bars, x, scale))
    marks = [(x(at) + min(step * 0.8, _WIDEST) / 2, _name(bar.worst)) for at, bar in enumerate(bars) if bar.is_first]
    parts += [_mark(*mark) for mark in ([(float(_LEFT), "the input")] if from_input else marks)]
    parts.append(f'<text x="{_LEFT}" y="{HEIGHT - 6}">input</text>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 6}" class="end">output</text>')
    return "".join([*parts, "</svg>"])


def chart_note(layers: Sequence[LayerError], most: int = 400) -> str:
    """What a bar of the chart stands for."""
    size = math.ceil(len(layers) / most)
    if size <= 1:
        return "One bar a call of a layer, in the order of execution."
    return f"One bar for {size} layers that follow each other, in the order of execution: the largest error of them."


def _summary(layers: Sequence[LayerError]) -> str:
    drifted = [layer for layer in layers if layer.drifted]
    begins = f", first {_name(drifted[0])}" if drifted else ""
    return f"Error along the depth of the model: {len(drifted)} of {counted(len(layers), 'call')} drifted{begins}"


def _name(layer: LayerError) -> str:
    return (layer.layer or MODEL_LABEL) + (f", call {layer.call}" if layer.call else "")


def _decades(scale: LogScale) -> list[str]:
    every = max(1, math.ceil((scale.high - scale.low) / 6))
    lines = []
    for power in range(scale.low, scale.high + 1, every):
        y = scale.y(10.0**power)
        lines.append(f'<path class="decade" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        lines.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" class="end">{10.0**power:.0e}</text>')
    return lines


def _rect(bar: Bar, x: float, width: float, scale: LogScale) -> str:
    worst = bar.worst
    kind = "first" if bar.is_first else "drifted" if worst.drifted else "agrees"
    bottom = HEIGHT - _BOTTOM
    y = min(scale.y(worst.error), bottom - _LEAST)
    size = f"{worst.error:.2g}" if math.isfinite(worst.error) else "cannot be subtracted"
    of = f" (largest of {bar.count})" if bar.count > 1 else ""
    title = f"{_name(worst)}: {size}, allowed {worst.tolerance:.2g}{of}"
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{bottom - y:.1f}">'
        f"<title>{_text(title)}</title></rect>"
    )


def _allowed(bars: Sequence[Bar], x: Callable[[float], float], scale: LogScale) -> str:
    """The line of what is allowed, a step for each bar."""
    levels = [scale.y(bar.worst.tolerance) for bar in bars]
    steps = [f"{'L' if at else 'M'}{x(at):.1f} {y:.1f}H{x(at + 1):.1f}" for at, y in enumerate(levels)]
    return f'<path class="allowed" d="{"".join(steps)}"><title>allowed</title></path>'


def _mark(x: float, name: str) -> str:
    anchor = "end" if x > WIDTH / 2 else "start"
    name = _text(cut_short(name, _LONGEST))
    return (
        f'<path class="mark" d="M{x:.1f} {_TOP - 1}l-5 -8h10z"/>'
        f'<text x="{x + (-9 if anchor == "end" else 9):.1f}" y="{_TOP - 8}" class="mark {anchor}">first: {name}</text>'
    )


def _text(text: str) -> str:
    return html.escape(text)
