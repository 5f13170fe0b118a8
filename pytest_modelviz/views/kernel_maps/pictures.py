"""Convolution kernels as tiles: filters of three channels in colour, all others painted on one scale about zero."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from pytest_modelviz.compare.naming import baseline_namer, renames_of
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.channels import most_different_first
from pytest_modelviz.pictures.colour import DIVERGING, GREYS, Image, Scale, Values, not_finite, paint, paint_rgb
from pytest_modelviz.pictures.composite import Panel, Picture, Row, composite, plain_picture
from pytest_modelviz.pictures.difference import HALF_PRECISION, difference_of, difference_panel, far_apart
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.pictures.layout import MOST_WIDTH, enlarge, grid, labelled
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.facts import items, rows
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.text.strict_json import JsonObject
from pytest_modelviz.views.captions import error_caption, rows_in_words
from pytest_modelviz.views.kernel_maps.records import (
    INPUTS,
    MOST_FILTERS,
    MOST_LENGTH,
    MOST_PICTURED,
    MOST_SIDE,
    PICTURE,
    Filters,
)
from pytest_modelviz.views.stored_pictures import unpacked_values

_TILE = 40  # the least size of a filter, in whole multiples of its own pixels
_ROWS = 336  # the longer side of a picture that shows filters as rows
_GAP = 3
_FEW = 16  # filters, that stand four abreast
_KINDS = {
    "colour": "in colour",
    "strongest": "each filter's strongest input channel",
    "positions": "each filter a row, of its strongest input channel",
    "inputs": "each filter a row, each input channel a column",
}


def picture(actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None) -> Sequence[Exhibit]:
    """A picture for the first convolution of each stage; with a verdict, of those that drifted."""
    pages = rows(actual.facts, "pictures")
    after = _stored_filters(actual, pages)
    pictured = [name for name in after if pages[name].get("pictured")]
    if baseline is None:
        return [kernels_picture(name or MODEL_LABEL, _captions(actual, name), after[name]) for name in pictured]
    errors = {} if verdict is None else {error.layer: error for error in verdict.layers}
    baseline_name = baseline_namer(renames_of(verdict))
    old = {name: baseline_name(name) for name in after}
    before = _stored_filters(baseline, list(old.values()))
    drifted = [name for name in after if old[name] in errors and errors[old[name]].drifted]
    drifted += [name for name in after if old[name] not in before or before[old[name]].shape != after[name].shape]
    drifted += [name for name in after if old[name] != name]
    pictures = []
    for name in sorted(set(drifted[:MOST_PICTURED]), key=list(after).index) or pictured:
        label, error = name or MODEL_LABEL, errors.get(old[name])
        caption = "" if error is None else error_caption(error.error, error.tolerance)
        captions = _captions(actual, name)
        if old[name] != name:
            captions = [f"was {old[name]}", *captions]
        if old[name] not in before:
            pictures.append(kernels_picture(label, ["not in the baseline", *captions], after[name]))
            continue
        captions[-1] += _other_inputs(baseline, actual, old[name], name)
        numbers = _numbers(rows(baseline.facts, "pictures")[old[name]], pages[name], len(after[name]))
        captions = [caption.strip(), *captions]
        pictures.append(kernels_composite(label, captions, before[old[name]], after[name], numbers))
    return pictures


def describe(actual: Capture) -> str:
    """A line for each convolution: its facts."""
    return rows_in_words(actual, "layers")


def kernels_picture(label: str, captions: Sequence[str], filters: Values) -> Picture:
    """One capture's filters of one layer: (n, 3, h, w) in colour, (n, h, w) as tiles, (1, n, m) as rows."""
    caption = ", ".join(filter(None, [*captions, _zero(filters)]))
    return plain_picture(label, [caption], [("", _panel(filters, kernel_scale(filters)))])


def kernels_composite(
    label: str, captions: Sequence[str], baseline: Values, actual: Values, numbers: Sequence[int] = ()
) -> Picture:
    """Baseline | actual | difference of a layer's filters on one scale, those that differ most first.

    A small difference is enlarged. `numbers` says which filters they are.
    """
    if baseline.shape != actual.shape:
        before, after = (_panel(filters, kernel_scale(filters)) for filters in (baseline, actual))
        comment = "The shapes differ: these cannot be subtracted."
        return composite(label, captions, [Row(after, before, comment=comment)])
    scale, difference = kernel_scale(baseline, actual), difference_of(baseline, actual, precision=HALF_PRECISION)
    order = most_different_first(difference, baseline, actual)

    def draw(filters: Values, scale: Scale) -> Image:
        return _tiles(filters, scale, order, numbers, 4)  # with which three panels fit beside each other

    before, after = (Panel(draw(filters, scale), scale, kinds=not_finite(filters)) for filters in (baseline, actual))
    facts = ", ".join(filter(None, [*captions[1:], _zero(actual)]))
    panel = difference_panel(difference, scale, draw, scale.colours, facts)
    return composite(label, [captions[0], facts], [Row(after, before, panel, comment=far_apart(baseline, actual))])


def kernel_scale(*filters: Values) -> Scale:
    """One scale for all, symmetric about zero; of filters in colour grey is zero."""
    finite = [np.abs(np.asarray(values, np.float64)[np.isfinite(values)]) for values in filters]
    reach = max((float(values.max(initial=0.0)) for values in finite), default=0.0) or 1.0
    return Scale.about_zero(reach, GREYS if all(values.ndim == 4 for values in filters) else DIVERGING)


def _zero(filters: Values) -> str:
    return "grey is zero" if filters.ndim == 4 else ""


def _panel(filters: Values, scale: Scale) -> Panel:
    columns = 4 if len(filters) <= _FEW else 8
    return Panel(_tiles(filters, scale, range(len(filters)), (), columns), scale, kinds=not_finite(filters))


def _tiles(filters: Values, scale: Scale, order: Sequence[int], numbers: Sequence[int], columns: int) -> Image:
    if filters.ndim == 3 and len(filters) == 1:
        return _enlarged(paint(filters[0], scale), _ROWS)
    painted = [paint_rgb(filters[at], scale) if filters.ndim == 4 else paint(filters[at], scale) for at in order]
    tiles = [_enlarged(tile, _TILE) for tile in painted]
    if len(numbers) == len(filters):
        tiles = [labelled(tile, str(numbers[at])) for tile, at in zip(tiles, order, strict=True)]
    fitting = (MOST_WIDTH + _GAP) // (max(tile.shape[1] for tile in tiles) + _GAP)
    return grid(tiles, max(1, min(columns, fitting)), _GAP)


def _enlarged(image: Image, size: int) -> Image:
    """Every pixel the same whole number of times: the smallest number that reaches the size, or none."""
    longer = max(image.shape[:2])
    return enlarge(image, longer * max(1, -(-size // longer)))


def _captions(capture: Capture, layer: str) -> list[str]:
    page = rows(capture.facts, "pictures")[layer]
    sides = items(page, "filter")
    size = "x".join(map(str, sides))
    step = "" if page["step"] == 1 else f", 1 in {page['step']} shown"
    shows = "" if sides[0] == 1 and page["shows"] != "inputs" else _KINDS[str(page["shows"])]
    return [f"{page['of']} filters of {size}{step}", *([shows] if shows else [])]


def _numbers(before: JsonObject, after: JsonObject, count: int) -> Sequence[int]:
    """Which filters are pictured, where these are the same on both sides."""
    step = after["step"]
    is_same = (before.get("step"), before.get("of")) == (step, after["of"])
    return range(0, count * step, step) if is_same and isinstance(step, int) and step > 0 else ()


def _fits(values: Array) -> bool:
    row = values.ndim == 3 and len(values) == 1
    most = (MOST_FILTERS, MOST_SIDE, MOST_LENGTH if row else MOST_SIDE)
    return all(side <= limit for side, limit in zip((len(values), *values.shape[-2:]), most, strict=True))


def _other_inputs(baseline: Capture, actual: Capture, old: str, layer: str) -> str:
    """Of how many filters the strongest channel is another than in the baseline: there the difference misleads."""
    before, after = baseline.arrays.get(INPUTS + old), actual.arrays.get(INPUTS + layer)
    if before is None or after is None or before.shape != after.shape:
        return ""
    count = int((before != after).sum())
    return f"; of {count} now another channel" if count else ""


def _stored_filters(capture: Capture, layers: Collection[str]) -> dict[str, Filters]:
    """The filters of those layers that have a picture; raises UnreadableBaselineError."""
    pages = capture.facts.get("pictures")
    if not isinstance(pages, Mapping):
        raise UnreadableBaselineError("it does not list its pictures")
    filters = {}
    for name in layers:
        if name not in pages:
            continue
        values = capture.arrays.get(PICTURE + name)
        if values is None or values.ndim not in (3, 4) or (values.ndim == 4 and values.shape[1] != 3):
            raise UnreadableBaselineError(f"its picture of {name!r} is damaged")
        if not _fits(values):  # what a small file can hold would be painted for minutes
            raise UnreadableBaselineError(f"its picture of {name!r} is larger than any recorded picture")
        filters[name] = unpacked_values(values, pages[name], name)
    return filters
