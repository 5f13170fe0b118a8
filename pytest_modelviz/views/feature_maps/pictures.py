"""Channels of some layers side by side, and the text of a pass for people."""

from collections.abc import Mapping, Sequence

import numpy as np

from pytest_modelviz.compare.naming import baseline_namer, renames_of
from pytest_modelviz.pictures.composite import channels_composite, channels_picture, photo_composite
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.facts import items, rows
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.views.captions import INPUT_LABEL, error_caption
from pytest_modelviz.views.feature_maps.records import CHANNELS, PICTURE, SIDE, Maps
from pytest_modelviz.views.stored_pictures import stored_input, unpacked_values


def picture(actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None) -> Sequence[Exhibit]:
    """A picture for each layer that has one; with a verdict, of those layers that drifted."""
    after = _stored_maps(actual)
    if baseline is None:
        return [channels_picture(layer or MODEL_LABEL, maps, _caption(actual, layer)) for layer, maps in after.items()]
    baseline_name = baseline_namer(renames_of(verdict))
    errors = {} if verdict is None else {error.layer: error for error in verdict.layers}
    before = _stored_maps(baseline)
    old = {layer: baseline_name(layer) for layer in after}
    pictures = []
    old_input, new_input = stored_input(baseline), stored_input(actual)
    if old_input is not None and new_input is not None and not np.array_equal(old_input, new_input):
        pictures.append(photo_composite(INPUT_LABEL, old_input, new_input))
    agreed = {layer for layer, error in errors.items() if layer in before and not error.drifted}
    drifted = [layer for layer in after if old[layer] not in agreed]
    for layer in drifted or after:  # where none of those that have a picture drifted, all of them
        error, label = errors.get(old[layer]), layer or MODEL_LABEL
        headline = label if old[layer] == layer else f"{label} (was {old[layer]})"
        caption = "" if error is None else error_caption(error.error, error.tolerance)
        pictures.append(channels_composite(label, before.get(old[layer]), after[layer], f"{headline}{caption}"))
    return pictures


def describe(actual: Capture) -> str:
    """A line for each call: what it returned."""
    layers = rows(actual.facts, "layers").items()
    return "\n".join(f"{name or MODEL_LABEL}: {row.get('out', '')}" for name, row in layers)


def _stored_maps(capture: Capture) -> dict[str, Maps]:
    """The pictures' raw material as it was: layer name -> float32 (channels, h, w). Raises UnreadableBaselineError."""
    stored = {name.removeprefix(PICTURE): values for name, values in capture.arrays.items() if name.startswith(PICTURE)}
    listed = capture.facts.get("pictures")
    pages = listed if isinstance(listed, Mapping) else {}
    most = (CHANNELS, SIDE, SIDE)
    whole = {layer: unpacked_values(values, pages.get(layer), layer, most) for layer, values in stored.items()}
    return {layer: whole[layer] for layer in pages if layer in whole}


def _caption(capture: Capture, layer: str) -> str:
    page = rows(capture.facts, "pictures")[layer]
    return f"channels {', '.join(map(str, items(page, 'channels')))} of {page['of']}"
