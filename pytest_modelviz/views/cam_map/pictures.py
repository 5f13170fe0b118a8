"""Heatmaps laid over the input, and a map in words."""

from collections.abc import Sequence

import numpy as np

from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.pictures.heat import Heat, heat_composite, heat_picture
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.views.cam_map.compare import aligned
from pytest_modelviz.views.cam_map.methods import SIGNLESS
from pytest_modelviz.views.cam_map.records import Map, stored_map
from pytest_modelviz.views.captions import map_titles, verdict_caption
from pytest_modelviz.views.stored_pictures import MOST_INPUTS, stored_input

_STRIP_LENGTH, _STRIP_RATIO = 448, 8  # of the picture of a sequence's map


def picture(actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None) -> Sequence[Exhibit]:
    """The heatmaps of a capture; with a baseline, of both and their difference."""
    label = str(actual.facts["layer"]) or MODEL_LABEL
    after = stored_map(actual)
    method, titles = str(actual.facts["method"]), map_titles(min(len(after), MOST_INPUTS), actual, baseline)
    if baseline is None:
        return [heat_picture(label, method, _heats(after, actual), titles)]
    before = stored_map(baseline)
    if actual.facts["method"] in SIGNLESS and before.shape == after.shape:
        after = aligned(before, after)
    shown = f"of {len(after)} maps the first {MOST_INPUTS}" if len(after) > MOST_INPUTS else ""
    shown = "a slice of the volume" if after.ndim == 4 else "averages of the sequence" if after.ndim == 2 else shown
    captions = [f"{method}{verdict_caption(verdict)}"]
    return [heat_composite(label, captions, _heats(before, baseline), _heats(after, actual), titles, shown)]


def describe(actual: Capture) -> str:
    """What was explained, a line for each fact."""
    facts = actual.facts
    return "\n".join(f"{key}: {facts[key]}" for key in ("method", "layer", "targets", "predicted", "score", "peak"))


def flat(raw: Map) -> Map:
    """A sample's map as two dimensions: that of a sequence as a strip, of a volume its middle slice."""
    if raw.ndim == 1:
        strip = _shortened(raw)
        return np.repeat(strip[None], max(1, strip.size // _STRIP_RATIO), axis=0)
    return raw if raw.ndim == 2 else raw[raw.shape[0] // 2]


def _shortened(raw: Map) -> Map:
    """A sequence's map, (length,), no longer than a strip, by averages; sums run in order, as torch's do."""
    count = min(_STRIP_LENGTH, len(raw))
    spans = [(at * len(raw) // count, -(-(at + 1) * len(raw) // count)) for at in range(count)]
    with np.errstate(all="ignore"):
        means = [np.cumsum(raw[start:stop])[-1] / np.float32(stop - start) for start, stop in spans]
    return np.array(means, np.float32)


def _heats(maps: Map, capture: Capture) -> list[Heat]:
    """The first samples' maps, each with its input."""
    inputs = [stored_input(capture, sample) for sample in range(min(len(maps), MOST_INPUTS))]
    return [Heat(flat(raw), photo and photo.pixels) for raw, photo in zip(maps, inputs, strict=False)]
