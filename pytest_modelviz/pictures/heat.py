"""Heatmaps laid over the photographs that they explain."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pytest_modelviz.pictures.colour import (
    Image,
    Scale,
    Values,
    heat_colours,
    mark_not_finite,
    not_finite,
    overlay,
    paint,
)
from pytest_modelviz.pictures.composite import PANEL, Panel, Picture, Row, composite, plain_picture
from pytest_modelviz.pictures.difference import difference_of, difference_panel, sentences
from pytest_modelviz.pictures.layout import beside, enlarge, enlarge_values

_LONG, _STRIP = 4, 3 * PANEL  # times as long as high is a strip, and its length
_MOST_APART = 10.0  # times as large as the other's: both cannot be seen on one scale


class Heat(NamedTuple):
    """A signed map (h, w), of which the positive part is painted, and the photograph that it explains."""

    values: Values
    photo: Image | None = None

    @property
    def positive(self) -> Values:
        return np.maximum(self.values, 0)


def heat_picture(label: str, caption: str, heats: Sequence[Heat], titles: Sequence[str]) -> Picture:
    """One capture's heatmaps, of up to a few samples, each beside its photograph and on its own scale."""
    panels: list[tuple[str, Panel]] = []
    for title, heat in zip(titles, heats, strict=False):
        if heat.photo is not None:
            panels.append((title, Panel(enlarge(heat.photo, PANEL, smooth=True))))
        panels.append((title if heat.photo is None else "map", _panel(heat, _scale(heat))))
    return plain_picture(label, [caption], panels, columns=2)


def heat_composite(
    label: str,
    captions: Sequence[str],
    baseline: Sequence[Heat],
    actual: Sequence[Heat],
    titles: Sequence[str],
    shown: str = "",
) -> Picture:
    """Baseline | actual | difference, one row a sample with its title, whose two maps share one scale.

    Maps of which one is more than ten times as large as the other have a scale each.
    """
    samples = zip(titles, baseline, actual, strict=False)
    rows = [replace(_row(before, after, shown), title=title) for title, before, after in samples]
    return composite(label, captions, rows)


def _row(baseline: Heat, actual: Heat, shown: str) -> Row:
    sides = {"baseline": baseline, "actual": actual}
    scale = _scale(baseline, actual)
    own = [_scale(heat) for heat in sides.values()]
    peaks = sorted(each.high for each in own)
    is_far_apart = all(map(_has_positive, sides.values())) and peaks[1] > _MOST_APART * peaks[0]
    before, after = (
        _panel(heat, each if is_far_apart else scale) for heat, each in zip(sides.values(), own, strict=True)
    )
    if baseline.values.shape != actual.values.shape:
        return Row(after, before, comment="The shapes differ: these maps cannot be subtracted.")
    difference = difference_of(baseline.values, actual.values)
    comments = [f"{name} is positive nowhere." for name, heat in sides.items() if not _has_positive(heat)]
    if is_far_apart:
        comments.append(f"Each on a scale of its own: their peaks differ by {peaks[1] / peaks[0]:.3g} times.")
    return Row(after, before, difference_panel(difference, scale, _smooth, shown=shown), comment=sentences(comments))


def _scale(*heats: Heat) -> Scale:
    return Scale.of(*(heat.positive for heat in heats)).painted_with(heat_colours())


def _has_positive(heat: Heat) -> bool:
    return bool((heat.values > 0).any())


def _panel(heat: Heat, scale: Scale) -> Panel:
    """A map over its photograph, or beside it where it has another form."""
    painted = _smooth(heat.positive, scale)
    kinds = not_finite(heat.positive)
    if heat.photo is None:
        return Panel(painted, scale, kinds=kinds)
    laid = laid_over(heat.photo, heat.positive, scale)
    if laid is None:
        return Panel(beside([enlarge(heat.photo, PANEL, smooth=True), painted]), scale, kinds=kinds)
    return Panel(laid, scale, over_photo=True, kinds=kinds)


def laid_over(photo: Image, values: Values, scale: Scale) -> Image | None:
    """A map (h, w) over a photograph, what is not finite in its own colour; None where they have other proportions."""
    under, over = enlarge(photo, PANEL, smooth=True), enlarge_values(values, PANEL)
    if under.shape[:2] != over.shape:
        return None
    laid = overlay(under, paint(over, scale))
    mark_not_finite(laid, over)
    return laid


def _smooth(values: Values, scale: Scale) -> Image:
    size = _STRIP if values.shape[1] > _LONG * values.shape[0] else PANEL
    return paint(enlarge_values(values, size), scale)
