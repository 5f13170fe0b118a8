"""Profiles of tensors as pictures: their size by places and by channels, and the distribution of values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_modelviz.pictures.colour import DIVERGING, NOT_A_NUMBER, Image, Scale, not_finite, paint
from pytest_modelviz.pictures.composite import PANEL, Panel, Row
from pytest_modelviz.pictures.difference import difference_scale
from pytest_modelviz.pictures.layout import below, enlarge, text_box
from pytest_modelviz.pictures.legend import colour_bar, spread_texts
from pytest_modelviz.records.profiles import BINS, LEVELS, Numbers, Profile, largest

_HEIGHT = 80  # of bars
_GROUND, _AXIS, _BAR, _MARK = (246, 246, 246), (120, 120, 120), (102, 153, 204), (30, 30, 30)
_MORE, _LESS = (180, 4, 38), (59, 76, 192)  # the ends of the map that differences are painted with
_GAP = 8
_ROUNDING = 1.5  # steps: two numbers that were rounded up and down differ by one, on scales that may differ as well
_SAME = "What is stored of it, in 8 bits, does not differ."


@dataclass(frozen=True)
class _Chart:
    """A map, or bars over an axis with a mark on each. `ends` and `middle` stand below the bars."""

    title: str
    numbers: Numbers
    marks: Numbers | None = None
    ends: tuple[str, str] = ("", "")
    middle: str = ""

    @property
    def tables(self) -> list[Numbers]:
        return [self.numbers] if self.marks is None else [self.numbers, self.marks]

    @property
    def is_map(self) -> bool:
        return self.numbers.ndim > 1

    def any(self) -> bool:
        return any(table.any() for table in self.tables)


def profile_row(baseline: Profile | None, actual: Profile, unseen: str = "") -> Row:
    """Baseline | actual | difference of a tensor's profiles; the actual one alone where the baseline has none.

    Args:
        baseline: the profile in the baseline.
        actual: that of this run.
        unseen: what to say of a difference that neither of them shows.

    """
    sides = [actual] if baseline is None else [baseline, actual]
    charts = _charts(sides)
    kinds = not_finite(*(table for side in charts for chart in side.values() for table in chart.tables))
    names = list(dict.fromkeys(name for side in reversed(charts) for name in side))
    scales = {name: _scale(side[name] for side in charts if name in side) for name in names}
    columns = [below([_drawn(side.get(name), scales[name]) for name in names], _GAP) for side in charts]
    if baseline is None:
        return Row(Panel(columns[0], kinds=kinds))
    differences = [_difference(*(side.get(name) for side in charts)) for name in names]
    image = below([_drawn_difference(own, scales[n]) for own, n in zip(differences, names, strict=True)], _GAP)
    if not any(map(_is_seen, differences)):
        image = text_box(f"{_SAME} {unseen}", *image.shape[:2])
    return Row(Panel(columns[1], kinds=kinds), Panel(columns[0], kinds=kinds), Panel(image, kinds=kinds))


def profiles_differ(baseline: Profile, actual: Profile) -> bool:
    """Whether two profiles differ by more than rounding to 8 bits."""
    before, after = _charts([baseline, actual])
    return any(_is_seen(_difference(before.get(name), after.get(name))) for name in {*before, *after})


def _charts(profiles: Sequence[Profile]) -> list[dict[str, _Chart]]:
    """The charts of profiles by name, their values in the same bins."""
    low, high = min(profile.ends[0] for profile in profiles), max(profile.ends[1] for profile in profiles)
    found = []
    for profile in profiles:
        charts: dict[str, _Chart] = {}
        rows, columns = profile.places.shape
        if columns == 1:
            charts["positions"] = _Chart("positions", profile.places[:, 0], ends=("first", "last"), middle="rms")
        elif columns:
            charts["places"] = _Chart(f"places, {rows} x {columns}", profile.places)
        ends = ("0", str(profile.channels - 1))
        charts["channels"] = _Chart("channels", profile.energies, profile.means, ends, "rms, dark: mean")
        edges, common = (np.linspace(*ends, BINS + 1) for ends in (profile.ends, (low, high)))
        shares = np.diff(np.interp(common, edges, np.concatenate([[0.0], np.cumsum(profile.shares)])))
        charts["values"] = _Chart("values, share", shares, ends=(f"{low:.3g}", f"{high:.3g}"))
        found.append(charts)
    return found


def _scale(charts: Iterable[_Chart]) -> Scale:
    """One scale for all; that of bars reaches to zero."""
    drawn = list(charts)
    tables = [table for chart in drawn for table in chart.tables]
    if drawn[0].is_map:
        return Scale.of(*tables)
    numbers = np.concatenate([table[np.isfinite(table)] for table in tables])
    return Scale(float(numbers.min(initial=0.0)), float(numbers.max(initial=0.0)) or 1.0)


def _difference(baseline: _Chart | None, actual: _Chart | None) -> _Chart | None:
    """None where the two cannot be subtracted."""
    if baseline is None or actual is None or baseline.numbers.shape != actual.numbers.shape:
        return None
    tables = zip(baseline.tables, actual.tables, (1.0, 2.0), strict=False)  # marks lie on both sides of zero
    numbers, *marks = (_subtracted(before, after, steps / LEVELS) for before, after, steps in tables)
    return replace(actual, numbers=numbers, marks=marks[0] if marks else None)


def _subtracted(baseline: Numbers, actual: Numbers, step: float) -> Numbers:
    """The difference, zero where rounding explains it; `step` is that of 8 bits, as a part of the largest number."""
    rounding = _ROUNDING * step * (largest(baseline) + largest(actual)) / 2
    difference = actual - baseline
    both = np.isnan(baseline) & np.isnan(actual)
    return np.where(both | (np.abs(difference) <= rounding), 0.0, difference)


def _is_seen(difference: _Chart | None) -> bool:
    return difference is None or difference.any()


def _drawn(chart: _Chart | None, scale: Scale) -> Image:
    if chart is None:
        return text_box("It has no such places.", _HEIGHT, PANEL)
    return _framed(chart, scale, f"{scale.low:.2g} to {scale.high:.2g}", chart.middle)


def _drawn_difference(difference: _Chart | None, scale: Scale) -> Image:
    """A difference, enlarged where it could not be seen on the scale of the two sides; words where there is none."""
    if difference is None:
        return text_box("The shapes differ: these cannot be subtracted.", _HEIGHT, PANEL)
    greatest = np.array([largest(table) for table in difference.tables])
    own, note = difference_scale(greatest, scale, DIVERGING)
    image = _framed(difference, own, f"\N{PLUS-MINUS SIGN}{own.high:.3g}", note, is_difference=True)
    return image if difference.any() else text_box(_SAME, *image.shape[:2])


def _framed(chart: _Chart, scale: Scale, reach: str, note: str, *, is_difference: bool = False) -> Image:
    if chart.is_map:
        image, foot = enlarge(paint(chart.numbers, scale), PANEL), colour_bar(scale, PANEL)
        return below([spread_texts([chart.title, "", note or "rms"], PANEL), image, foot], gap=0)
    colours, marks = (_MORE, _LESS) if is_difference else (_BAR, _BAR), chart.marks
    if marks is not None and is_difference:  # only where there is one
        marks = np.where(marks == 0.0, np.nan, marks)
    image = _bars(chart.numbers, marks, scale, colours)
    head = spread_texts([chart.title, "", reach], PANEL)
    return below([head, image, spread_texts([chart.ends[0], note, chart.ends[1]], PANEL)], gap=0)


def _bars(
    numbers: Numbers, marks: Numbers | None, scale: Scale, colours: tuple[tuple[int, int, int], tuple[int, int, int]]
) -> Image:
    """Bars from zero, (80, 192, 3), in the second of the colours where they are negative; marks are dark."""
    canvas = np.full((_HEIGHT, PANEL, 3), _GROUND, np.uint8)

    def row(number: float) -> int:
        return round((scale.high - number) / (scale.high - scale.low) * (_HEIGHT - 1))

    zero, edges = row(0.0), np.rint(np.linspace(0, PANEL, len(numbers) + 1)).astype(int)
    gap = 1 if 4 * len(numbers) <= PANEL else 0
    for at, number in enumerate(numbers):
        bar = slice(edges[at], edges[at + 1] - gap)
        if np.isnan(number):
            canvas[:, bar] = NOT_A_NUMBER
            continue
        top, bottom = sorted((row(number), zero))
        canvas[top : bottom + 1, bar] = colours[0] if number > 0 else colours[1]
        if marks is not None and not np.isnan(marks[at]):
            mark = min(row(float(marks[at])), _HEIGHT - 2)
            canvas[mark : mark + 2, bar] = _MARK
    canvas[zero] = _AXIS
    return canvas
