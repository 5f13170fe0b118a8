"""Convolution kernels as tiles: filters of three channels in colour, all others painted on one scale about zero."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from pytest_modelviz.compare.naming import baseline_namer, renames_of
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.colour import DIVERGING, NOT_A_NUMBER, Image, Scale, Values, paint
from pytest_modelviz.pictures.composite import Picture, magnified_difference
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.pictures.layout import beside, enlarge, grid, labelled
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.facts import items, rows
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.views.captions import error_caption
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
        pictures.append(kernels_composite(label, [f"{label}{caption}", *captions], before[old[name]], after[name]))
    return pictures


def describe(actual: Capture) -> str:
    """A line for each convolution: its facts."""
    layers = rows(actual.facts, "layers").items()
    return "\n".join(f"{name or MODEL_LABEL}: {', '.join(f'{k} {v}' for k, v in row.items())}" for name, row in layers)


def kernels_picture(label: str, captions: Sequence[str], filters: Values) -> Picture:
    """One capture's filters of one layer: (n, 3, h, w) in colour, (n, h, w) as tiles, (1, n, m) as rows."""
    scale = kernel_scale(filters)
    return Picture(label, labelled(_tiles(filters, scale), label, *captions, _legend(filters, scale)))


def kernels_composite(label: str, captions: Sequence[str], baseline: Values, actual: Values) -> Picture:
    """Baseline | actual | difference of a layer's filters on one scale; a small difference is shown enlarged."""
    if baseline.shape != actual.shape:
        panels = [("baseline", baseline, kernel_scale(baseline)), ("actual", actual, kernel_scale(actual))]
        return Picture(label, _row(captions, panels))
    scale = kernel_scale(baseline, actual)
    name, difference = magnified_difference(baseline, actual, scale)
    panels = [("baseline", baseline, scale), ("actual", actual, scale), (name, difference, scale)]
    return Picture(label, _row([*captions, _legend(actual, scale)], panels))


def kernel_scale(*filters: Values) -> Scale:
    """One scale for all, symmetric about zero, which is white, or grey in colour."""
    finite = [np.abs(np.asarray(values, np.float64)[np.isfinite(values)]) for values in filters]
    reach = max((float(values.max(initial=0.0)) for values in finite), default=0.0) or 1.0
    return Scale(-reach, reach, DIVERGING)


def _legend(filters: Values, scale: Scale) -> str:
    return f"scale {scale.text}, {'grey is zero' if filters.ndim == 4 else 'blue to red'}"


def _row(captions: Sequence[str], panels: Sequence[tuple[str, Values, Scale]]) -> Image:
    images = [labelled(_tiles(values, scale), name) for name, values, scale in panels]
    return labelled(beside(images, gap=12), *captions)


def _tiles(filters: Values, scale: Scale) -> Image:
    if filters.ndim == 3 and len(filters) == 1:
        return _enlarged(paint(filters[0], scale), _ROWS)
    painted = [_coloured(kernel, scale) if kernel.ndim == 3 else paint(kernel, scale) for kernel in filters]
    return grid([_enlarged(tile, _TILE) for tile in painted], 4 if len(painted) <= 16 else 8, _GAP)


def _enlarged(image: Image, size: int) -> Image:
    """Every pixel the same whole number of times: the smallest number that reaches the size, or none."""
    longer = max(image.shape[:2])
    return enlarge(image, longer * max(1, -(-size // longer)))


def _coloured(kernel: Values, scale: Scale) -> Image:
    """(3, h, w) as red, green and blue, zero in the middle; what is not finite in its own colour."""
    numbers = np.asarray(kernel, np.float64).transpose(1, 2, 0)
    finite = np.isfinite(numbers)
    unit = np.clip((np.where(finite, numbers, 0.0) - scale.low) / (scale.high - scale.low), 0.0, 1.0)
    image: Image = np.rint(unit * 255).astype(np.uint8)
    image[~finite.all(-1)] = NOT_A_NUMBER
    return image


def _captions(capture: Capture, layer: str) -> list[str]:
    page = rows(capture.facts, "pictures")[layer]
    sides = items(page, "filter")
    size = "x".join(map(str, sides))
    step = "" if page["step"] == 1 else f", 1 in {page['step']} shown"
    shows = "" if sides[0] == 1 and page["shows"] != "inputs" else _KINDS[str(page["shows"])]
    return [f"{page['of']} filters of {size}{step}", *([shows] if shows else [])]


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
