"""Channels of a layer as tiles on one scale, those that differ most first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_modelviz.pictures.colour import Image, Scale, Values, not_finite, paint
from pytest_modelviz.pictures.composite import PANEL, Panel, Picture, Row, composite, plain_picture
from pytest_modelviz.pictures.difference import difference_of, difference_panel, far_apart
from pytest_modelviz.pictures.layout import enlarge, grid, labelled

TILE = 96
_FEW = 8  # tiles stand two abreast, so that three panels fit beside each other


def channels_picture(label: str, channels: Values, caption: str = "", *, numbers: Sequence[int] = ()) -> Picture:
    """One capture's channels (c, h, w) of one layer, with their scale; those that are zero come last.

    `numbers` says which channels they are.
    """
    scale = Scale.of(channels)
    columns = 1 if len(channels) == 1 else 4
    image = _tiles(channels, scale, _alive_first(channels), numbers, columns)
    return plain_picture(label, [caption], [("", Panel(image, scale, kinds=not_finite(channels)))])


def channels_composite(
    label: str,
    baseline: Values | None,
    actual: Values,
    headline: str,
    *,
    numbers: Sequence[int] = (),
    precision: float = 0.0,
    shown: str = "",
    more: Sequence[Row] = (),
) -> Picture:
    """Baseline | actual | difference of a layer's channels (c, h, w).

    Those that differ most come first, those that are zero on both sides last. Baseline and actual share one scale; a
    difference that could not be seen on it is enlarged.

    Args:
        label: the layer's name.
        baseline: its channels, None where the baseline has none.
        actual: the same of this run.
        headline: stands above; the label at its start is left out, as it is the heading.
        numbers: which channels they are.
        precision: of the numbers, where they were rounded when stored: no smaller relative difference is drawn.
        shown: what these channels are of all that was compared, for a difference that lies elsewhere.
        more: rows that stand below.

    """
    captions = [headline.removeprefix(label).strip()]
    if baseline is None or baseline.shape != actual.shape:
        before = None if baseline is None else _panel(baseline, Scale.of(baseline), numbers)
        comment = "The shapes differ: these cannot be subtracted."
        comment = "The baseline has no picture of this." if baseline is None else comment
        row = Row(_panel(actual, Scale.of(actual), numbers), before, comment=comment)
        return composite(label, captions, [row, *more])
    scale, difference = Scale.of(baseline, actual), difference_of(baseline, actual, precision=precision)
    order = most_different_first(difference, baseline, actual)

    def draw(values: Values, scale: Scale) -> Image:
        return _tiles(values, scale, order, numbers, _columns(len(values)))

    before, after = (Panel(draw(values, scale), scale, kinds=not_finite(values)) for values in (baseline, actual))
    panel = difference_panel(difference, scale, draw, shown=shown)
    return composite(label, captions, [Row(after, before, panel, comment=far_apart(baseline, actual)), *more])


def most_different_first(difference: Values, *sides: Values) -> list[int]:
    """The order in which channels (c, ...) are drawn: by how much they differ, and last those that are zero throughout.

    What differs by NaN or an infinity differs most.
    """
    sizes = np.sqrt((difference.reshape(len(difference), -1) ** 2).sum(1))
    sizes = np.where(np.isfinite(sizes), sizes, np.inf)
    are_dead = ~np.any([side.reshape(len(side), -1).any(1) for side in sides], axis=0)
    return [int(at) for at in np.lexsort((-sizes, are_dead))]


def _alive_first(channels: Values) -> list[int]:
    return most_different_first(np.zeros(len(channels)), channels)


def _panel(channels: Values, scale: Scale, numbers: Sequence[int]) -> Panel:
    image = _tiles(channels, scale, range(len(channels)), numbers, _columns(len(channels)))
    return Panel(image, scale, kinds=not_finite(channels))


def _columns(count: int) -> int:
    return 1 if count == 1 else 2 if count <= _FEW else 4


def _tiles(channels: Values, scale: Scale, order: Sequence[int], numbers: Sequence[int], columns: int) -> Image:
    size = PANEL if len(channels) == 1 else TILE
    tiles = [enlarge(paint(channels[at], scale), size) for at in order]
    if len(numbers) == len(channels):
        tiles = [labelled(tile, f"channel {numbers[at]}") for tile, at in zip(tiles, order, strict=True)]
    return grid(tiles, columns)
