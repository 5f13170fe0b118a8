"""Saliency maps as people see them: the gradients' stored pictures, and a map in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.colour import DIVERGING, NOT_A_NUMBER, Image, Scale, Values, paint
from pytest_modelviz.pictures.composite import PANEL, Picture, magnified_difference
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.pictures.layout import below, beside, enlarge, labelled
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.views.captions import target_caption, verdict_caption
from pytest_modelviz.views.saliency_map.records import SIDE
from pytest_modelviz.views.stored_pictures import MOST_INPUTS, stored_input, unpacked_values


def picture(actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None) -> Sequence[Exhibit]:
    """The gradients of a capture's first samples; with a baseline, of both and their difference. None of no images."""
    after = _samples(actual)
    if not after:
        return []
    method = str(actual.facts["method"])
    headline = f"{method}, target {target_caption(actual)}"
    if baseline is None:
        return [saliency_picture(method, headline, after)]
    return [saliency_composite(method, f"{headline}{verdict_caption(verdict)}", _samples(baseline), after)]


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
        samples.append(Sample(values[:3], values[3], stored_input(capture, number)))
    return samples


_BRIGHTEST = 99.0  # the percentile that gets full brightness: a few pixels hold the largest gradients
_STRENGTH = 0.75


@dataclass(frozen=True)
class Sample:
    """A sample: `colours` (3, h, w) and `largest` (h, w) of the gradient, and the photo it belongs to."""

    colours: Values
    largest: Values
    photo: Image | None


def saliency_picture(label: str, caption: str, samples: Sequence[Sample]) -> Picture:
    """Input | gradient in its colours | largest magnitude | laid over the input; one row a sample."""
    return Picture(label, labelled(below([_row(sample, _reaches(sample)) for sample in samples], gap=12), caption))


def saliency_composite(label: str, headline: str, baseline: Sequence[Sample], actual: Sequence[Sample]) -> Picture:
    """The baseline's row, the actual one's on the same scale, and the difference of the two."""
    rows: list[Image] = []
    for number, after in enumerate(actual):
        before = baseline[number] if number < len(baseline) else None
        comparable = before is not None and before.largest.shape == after.largest.shape
        reaches = _reaches(after, before) if before is not None and comparable else _reaches(after)
        if before is not None:
            rows.append(labelled(_row(before, reaches if comparable else _reaches(before)), "baseline"))
        rows.append(labelled(_row(after, reaches), "actual"))
        if before is not None and comparable:
            rows.append(_difference(before.largest, after.largest, reaches[1]))
    return Picture(label, labelled(below(rows, gap=12), headline, "baseline and actual on one scale"))


def _difference(before: Values, after: Values, reach: float) -> Image:
    scale = Scale(-reach, reach, DIVERGING)
    name, difference = magnified_difference(before, after, scale, "difference of the largest magnitudes")
    return labelled(enlarge(paint(difference, scale), PANEL), name)


def _reaches(*samples: Sample) -> tuple[float, float]:
    """The magnitudes that are painted brightest: of the colours, which averaging has dimmed, and of the largest."""
    return max(_reach(sample.colours) for sample in samples), max(_reach(sample.largest) for sample in samples)


def _reach(values: Values) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(np.percentile(finite, _BRIGHTEST) if finite.any() else 0.0) or float(finite.max(initial=0.0)) or 1.0


def _row(sample: Sample, reaches: tuple[float, float]) -> Image:
    vivid, reach = reaches
    strength = np.clip(np.nan_to_num(sample.largest, nan=0.0, posinf=reach) / reach, 0, 1)
    panels = [] if sample.photo is None else [("input", enlarge(sample.photo, PANEL, smooth=True))]
    panels.append(("gradient, grey is zero", enlarge(_coloured(sample.colours, vivid), PANEL)))
    magnitudes = paint(strength, Scale(0.0, 1.0, "gray"))
    magnitudes[~np.isfinite(sample.largest)] = NOT_A_NUMBER
    panels.append(("largest over channels", enlarge(magnitudes, PANEL)))
    if sample.photo is not None:
        under = enlarge(sample.photo, PANEL, smooth=True).astype(np.float64)
        light = enlarge(paint(strength, Scale(0.0, 1.0, "gray")), PANEL, smooth=True).astype(np.float64) / 255
        if under.shape == light.shape:
            grey = under.mean(axis=2, keepdims=True)
            share = light * _STRENGTH
            mixed = grey * (1 - share) * 0.6 + np.array([255.0, 40.0, 0.0]) * share
            panels.append(("laid over the input", np.asarray(np.rint(mixed), dtype=np.uint8)))
    return beside([labelled(image, name) for name, image in panels])


def _coloured(colours: Values, reach: float) -> Image:
    unit = np.clip(np.nan_to_num(colours, nan=0.0) / (2 * reach) + 0.5, 0, 1)
    image = np.asarray(np.rint(unit * 255), dtype=np.uint8).transpose(1, 2, 0)
    image = np.ascontiguousarray(image)
    image[np.isnan(colours).any(axis=0)] = NOT_A_NUMBER
    return image
