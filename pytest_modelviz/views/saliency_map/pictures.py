"""Saliency maps as people see them: the gradients' stored pictures, and a map in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.views.captions import target_caption, verdict_caption
from pytest_modelviz.views.saliency_map.panels import Sample, saliency_composite, saliency_picture
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
        if stored is None or stored.shape[0] != 4 or number >= MOST_INPUTS:
            raise UnreadableBaselineError(f"its picture {key!r} is damaged")
        values = unpacked_values(stored, pages[key], key, (4, SIDE, SIDE))
        samples.append(Sample(values[:3], values[3], stored_input(capture, number)))
    return samples
