"""Saliency maps as people see them: the gradients' stored pictures, and a map in words."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.colour import (
    GREYS,
    Image,
    Scale,
    Values,
    heat_colours,
    not_finite,
    paint,
    paint_rgb,
)
from pytest_modelviz.pictures.composite import PANEL, Panel, Picture, Row, composite, plain_picture
from pytest_modelviz.pictures.difference import HALF_PRECISION, difference_of, difference_panel
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.pictures.heat import laid_over
from pytest_modelviz.pictures.layout import enlarge
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.views.captions import map_titles, verdict_caption
from pytest_modelviz.views.saliency_map.records import SIDE
from pytest_modelviz.views.stored_pictures import MOST_INPUTS, stored_input, unpacked_values


def picture(actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None) -> Sequence[Exhibit]:
    """The gradients of a capture's first samples; with a baseline, of both and their difference. None of no images."""
    after = _samples(actual)
    if not after:
        return []
    method, titles = str(actual.facts["method"]), map_titles(len(after), actual, baseline)
    if baseline is None:
        return [saliency_picture(method, "; ".join(titles), after)]
    return [saliency_composite(method, verdict_caption(verdict).strip(), _samples(baseline), after, titles)]


def describe(actual: Capture) -> str:
    """What was explained, a line for each fact."""
    facts = actual.facts
    return "\n".join(f"{key}: {facts[key]}" for key in ("method", "targets", "predicted", "score", "peak", "shape"))


def _samples(capture: Capture) -> list[Sample]:
    pages = capture.facts.get("pictures")
    if not isinstance(pages, Mapping):
        return []
    samples = []
    for number, key in enumerate(sorted(pages)):
        stored = capture.arrays.get(key)
        if stored is None or stored.shape[:1] != (4,) or number >= MOST_INPUTS:
            raise UnreadableBaselineError(f"its picture {key!r} is damaged")
        values = unpacked_values(stored, pages[key], key, (4, SIDE, SIDE))
        photo = stored_input(capture, number)
        samples.append(Sample(values[:3], values[3], photo and photo.pixels))
    return samples


_BRIGHTEST = 99.0  # the percentile that gets full brightness: a few pixels hold the largest gradients
_COLOURS, _LARGEST, _LAID = "gradient, grey is zero", "largest over channels", "laid over the input"


@dataclass(frozen=True)
class Sample:
    """A sample: `colours` (3, h, w) and `largest` (h, w) of the gradient, and the photo it belongs to."""

    colours: Values
    largest: Values
    photo: Image | None


@dataclass(frozen=True)
class _Scales:
    """Of the colours, which averaging has dimmed, and of the largest magnitudes."""

    colours: Scale
    largest: Scale

    @classmethod
    def of(cls, *samples: Sample) -> _Scales:
        colours, largest = (max(_reach(getattr(each, kind)) for each in samples) for kind in ("colours", "largest"))
        return cls(Scale.about_zero(colours, GREYS), Scale(0.0, largest, heat_colours()))


def saliency_picture(label: str, caption: str, samples: Sequence[Sample]) -> Picture:
    """Input, gradient in its colours, largest magnitude, and that laid over the input, for each sample."""
    panels: list[tuple[str, Panel]] = []
    for sample in samples:
        scales = _Scales.of(sample)
        if sample.photo is not None:
            panels.append(("input", Panel(enlarge(sample.photo, PANEL, smooth=True))))
        panels += [(_COLOURS, _coloured(sample, scales)), (_LARGEST, _magnitudes(sample, scales))]
        laid = _laid(sample, scales)
        panels += [] if laid is None else [(_LAID, laid)]
    return plain_picture(label, [caption], panels, columns=2)


def saliency_composite(
    label: str, headline: str, baseline: Sequence[Sample], actual: Sequence[Sample], titles: Sequence[str]
) -> Picture:
    """Baseline | actual | difference on one scale; a row for the magnitudes, the gradients and the overlays each."""
    rows: list[Row] = []
    for title, before, after in itertools.zip_longest(titles, baseline[: len(actual)], actual):
        rows += [replace(row, title=": ".join(filter(None, [title, row.title]))) for row in _rows(before, after)]
    return composite(label, [headline], rows)


def _rows(before: Sample | None, after: Sample) -> list[Row]:
    """The rows of one sample."""
    if before is None:
        return _sides(None, after, _Scales.of(after), _Scales.of(after))
    if before.largest.shape != after.largest.shape:
        first, *others = _sides(before, after, _Scales.of(before), _Scales.of(after))
        return [replace(first, comment="The shapes differ: these gradients cannot be subtracted."), *others]
    scales = _Scales.of(before, after)
    largest, colours, *others = _sides(before, after, scales, scales)
    sizes = difference_of(before.largest, after.largest, precision=HALF_PRECISION)
    signed = difference_of(before.colours, after.colours, precision=HALF_PRECISION)
    shown = f"{sizes.shape[0]} x {sizes.shape[1]}, in half precision"
    panel = difference_panel(_without_peaks(sizes), scales.largest, _enlarged, shown=shown)
    signs = difference_panel(_without_peaks(signed), scales.colours, _enlarged_colours, GREYS, shown)
    return [replace(largest, difference=panel), replace(colours, difference=signs), *others]


def _sides(before: Sample | None, after: Sample, old: _Scales, new: _Scales) -> list[Row]:
    rows = []
    for title, draw in ((_LARGEST, _magnitudes), (_COLOURS, _coloured), (_LAID, _laid)):
        panel = draw(after, new)
        if panel is not None:
            rows.append(Row(panel, None if before is None else draw(before, old), title=title))
    return rows


def _reach(values: Values) -> float:
    """The magnitude that is painted brightest."""
    finite = np.abs(values[np.isfinite(values)])
    return float(np.percentile(finite, _BRIGHTEST) if finite.any() else 0.0) or float(finite.max(initial=0.0)) or 1.0


def _without_peaks(difference: Values) -> Values:
    """A difference cut where the values are cut, too, so that a few pixels do not make all others pale."""
    reach = _reach(difference)
    return np.where(np.isfinite(difference), np.clip(difference, -reach, reach), difference)


def _magnitudes(sample: Sample, scales: _Scales) -> Panel:
    return Panel(_enlarged(sample.largest, scales.largest), scales.largest, kinds=not_finite(sample.largest))


def _coloured(sample: Sample, scales: _Scales) -> Panel:
    return Panel(_enlarged_colours(sample.colours, scales.colours), scales.colours, kinds=not_finite(sample.colours))


def _laid(sample: Sample, scales: _Scales) -> Panel | None:
    """The magnitudes over the photograph, where that has their form."""
    if sample.photo is None:
        return None
    laid = laid_over(sample.photo, sample.largest, scales.largest)
    return None if laid is None else Panel(laid, scales.largest, over_photo=True, kinds=not_finite(sample.largest))


def _enlarged(values: Values, scale: Scale) -> Image:
    return enlarge(paint(values, scale), PANEL)


def _enlarged_colours(values: Values, scale: Scale) -> Image:
    return enlarge(paint_rgb(values, scale), PANEL)
