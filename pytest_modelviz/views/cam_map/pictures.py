"""Heatmaps laid over the input, and a map in words."""

from collections.abc import Sequence

import numpy as np

from pytest_modelviz.pictures.colour import Image
from pytest_modelviz.pictures.composite import heat_composite, heat_picture
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.views.cam_map.compare import aligned
from pytest_modelviz.views.cam_map.methods import SIGNLESS
from pytest_modelviz.views.cam_map.records import Map, stored_map
from pytest_modelviz.views.captions import target_caption, verdict_caption
from pytest_modelviz.views.stored_pictures import MOST_INPUTS, stored_input

_STRIP_LENGTH, _STRIP_RATIO = 448, 8  # of the picture of a sequence's map


def picture(actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None) -> Sequence[Exhibit]:
    """The heatmaps of a capture; with a baseline, of both and their difference."""
    label = str(actual.facts["layer"]) or MODEL_LABEL
    after = stored_map(actual)
    if baseline is None:
        return [heat_picture(label, _headline(actual), _heatmaps(after, actual))]
    before = stored_map(baseline)
    if actual.facts["method"] in SIGNLESS and before.shape == after.shape:
        after = aligned(before, after)
    headline = f"{_headline(actual)}{verdict_caption(verdict)}"
    return [heat_composite(label, headline, _heatmaps(before, baseline), _heatmaps(after, actual))]


def describe(actual: Capture) -> str:
    """What was explained, a line for each fact."""
    facts = actual.facts
    return "\n".join(f"{key}: {facts[key]}" for key in ("method", "layer", "targets", "predicted", "score", "peak"))


def heatmap(raw: Map) -> Map:
    """A sample's map as people see it: negative parts cut, stretched to 0..1, at layer resolution.

    That of a sequence is drawn as a strip, of a volume its middle slice.
    """
    if raw.ndim == 1:
        strip = _shortened(raw)
        raw = np.repeat(strip[None], max(1, strip.size // _STRIP_RATIO), axis=0)
    first = raw if raw.ndim == 2 else raw[raw.shape[0] // 2]
    positive = np.maximum(first, 0, dtype=np.float64)
    finite = positive[np.isfinite(positive)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    stretched = positive - low if high <= low else (positive - low) / (high - low)
    return np.asarray(stretched, dtype=np.float32)


def _shortened(raw: Map) -> Map:
    """A sequence's map, (length,), no longer than a strip, by averages; sums run in order, as torch's do."""
    count = min(_STRIP_LENGTH, len(raw))
    spans = [(at * len(raw) // count, -(-(at + 1) * len(raw) // count)) for at in range(count)]
    with np.errstate(all="ignore"):
        means = [np.cumsum(raw[start:stop])[-1] / np.float32(stop - start) for start, stop in spans]
    return np.array(means, np.float32)


def _heatmaps(maps: Map, capture: Capture) -> list[tuple[Map, Image | None]]:
    """The first samples' heatmaps, each with its input."""
    return [(heatmap(raw), stored_input(capture, sample)) for sample, raw in enumerate(maps[:MOST_INPUTS])]


def _headline(capture: Capture) -> str:
    facts = capture.facts
    return f"{facts['method']} at {facts['layer'] or '(model)'}, target {target_caption(capture)}"
