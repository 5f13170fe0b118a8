"""What a model does, layer by layer: every module call's inputs and outputs, and pictures of some layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pytest_modelviz.compare.diagnosis import compare_traces
from pytest_modelviz.compare.naming import baseline_name, renames_of
from pytest_modelviz.compare.readable import agrees, contradiction, require_rows
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.composite import channels_composite, channels_picture, photo_composite
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.fake import only_shapes
from pytest_modelviz.probe.forward import call, layer_patterns, prepared, require_model
from pytest_modelviz.probe.modules import class_name
from pytest_modelviz.probe.observe import Observer
from pytest_modelviz.probe.thumbnails import CHANNELS, SIDE, Album, Thumbnail
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaves
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.views.limits import limits
from pytest_modelviz.views.numbers import error_text
from pytest_modelviz.views.packing import packed, unpacked_values
from pytest_modelviz.views.photos import PHOTO_LABEL, photos, stored_photo

_PICTURE = "picture."


@dataclass(frozen=True)
class FeatureMaps:
    """What `feature_maps` returns: the trace of the pass, the model's output, and the pictures' raw material.

    `pictures` maps a layer's name to float32 of shape (channels, h, w), `output` is what the observed pass returned.
    """

    trace: ForwardTrace
    output: Any
    pictures: Mapping[str, Thumbnail]


class FeatureMapsView:
    """`feature_maps(model, input_data, *, layers=None)`."""

    view = "feature_maps"

    def __init__(self, model: torch.nn.Module, input_data: Any, *, layers: Sequence[str] | str | None = None):
        require_model(model)
        self._model, self._input = model, input_data
        self._layers = layer_patterns(layers)

    @property
    def model(self) -> torch.nn.Module:
        return self._model

    def capture(self) -> Capture:
        with prepared(self._model, self._input) as model:
            album = Album(model, self._layers)
            observer = Observer(model, on_output=album.see)
            photographs = photos(self._input)
            with only_shapes(model), observer.watching():
                output = call(model, self._input)
        return self.captured(observer.trace, album, photographs, output)

    def captured(self, trace: ForwardTrace, album: Album, photographs: Mapping[str, Array], output: Any) -> Capture:
        """The capture of a pass that was made already."""
        pages = album.pages()
        arrays: dict[str, Array] = dict(pack_trace(trace))
        pictures: dict[str, Any] = {}
        for layer, (small, chosen, count) in pages.items():
            arrays[_PICTURE + layer], exponent = packed(small)
            pictures[layer] = {"channels": chosen, "of": count, "exponent": exponent}
        arrays.update(photographs)
        facts = {"model": class_name(self._model), "pictures": pictures, "layers": _rows(trace)}
        result = FeatureMaps(trace, output, {layer: small for layer, (small, _, _) in pages.items()})
        notes = limits(self._model, trace)
        around = environment(self._model, self._input)
        return Capture(self.view, facts, arrays, around, result, notes, tuple(trace.modules))

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        before, after = (stored_trace(capture.arrays, tolerances.ignored) for capture in (baseline, actual))
        _require_rows(baseline, before)
        return compare_traces(before, after, tolerances)

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        if baseline is None:
            return [
                channels_picture(layer or MODEL_LABEL, maps, _caption(actual, layer))
                for layer, maps in unpacked(actual).items()
            ]
        renamed = renames_of(verdict)
        errors = {} if verdict is None else {error.layer: error for error in verdict.layers}
        before, after = unpacked(baseline), unpacked(actual)
        old = {layer: baseline_name(layer, renamed) for layer in after}
        pictures = []
        one, two = stored_photo(baseline), stored_photo(actual)
        if one is not None and two is not None and not np.array_equal(one, two):
            pictures.append(photo_composite(PHOTO_LABEL, "the input", one, two))
        agreed = {layer for layer, error in errors.items() if layer in before and not error.drifted}
        shown = [layer for layer in after if old[layer] not in agreed]
        for layer in shown or after:  # where none of those kept in pictures drifted, all of them
            maps, error = after[layer], errors.get(old[layer])
            told = "" if error is None else error_text(error.error, error.tolerance)
            label = layer or MODEL_LABEL
            headline = label if old[layer] == layer else f"{label} (was {old[layer]})"
            pictures.append(channels_composite(label, before.get(old[layer]), maps, f"{headline}{told}"))
        return pictures

    def describe(self, actual: Capture) -> str:
        rows = actual.facts["layers"]
        return "\n".join(f"{name or MODEL_LABEL}: {row.get('out', '')}" for name, row in rows.items())


def unpacked(capture: Capture) -> dict[str, Thumbnail]:
    """The pictures' raw material as it was: layer name -> float32 (channels, h, w). Raises UnreadableBaselineError."""
    found = {
        name.removeprefix(_PICTURE): values for name, values in capture.arrays.items() if name.startswith(_PICTURE)
    }
    pages = capture.facts.get("pictures", {})
    most = (CHANNELS, SIDE, SIDE)
    whole = {layer: unpacked_values(values, pages, layer, most) for layer, values in found.items()}
    return {layer: whole[layer] for layer in pages if layer in whole}


def _caption(capture: Capture, layer: str) -> str:
    page = capture.facts["pictures"][layer]
    return f"channels {', '.join(map(str, page['channels']))} of {page['of']}"


def _rows(trace: ForwardTrace) -> dict[str, dict[str, Any]]:
    """One line a call, in the order of execution; a tensor is described where it came into being, else named."""
    rows: dict[str, dict[str, Any]] = {}
    for made in trace.calls:
        key = _key(made)
        rows[key] = {
            "class": trace.modules[made.layer].class_name,
            "in": _texts(made.inputs, trace, f"{key}<"),
            "out": _texts(made.outputs or {}, trace, key),
        }
    for name in trace.modules:
        if name not in rows:
            rows[name] = {"class": trace.modules[name].class_name, "never_called": True}
    return rows


def _texts(leaves: Leaves, trace: ForwardTrace, place: str) -> str:
    parts = []
    for (text, *_), record in _described(leaves, trace, place):
        if record is not None and record.statistics:
            mean, rms = record.statistics
            parts.append(f"{text} mean {mean:.3g} rms {rms:.3g}")
        else:
            parts.append(text)
    return "; ".join(parts)


def _described(leaves: Leaves, trace: ForwardTrace, place: str) -> Iterator[tuple[list[str], TensorRecord | None]]:
    """What is said of each leaf, and what earlier versions said; the record of a tensor that came into being here."""
    for path, leaf in leaves.items():
        texts, record = [str(leaf.literal)], None
        if leaf.tensor is not None:
            tensor = trace.tensors[leaf.tensor]
            kind = tensor.dtype_and_shape
            is_new = leaf.tensor == place + path
            record = tensor if is_new else None
            texts = [kind] if is_new else [f"= {leaf.tensor}", f"{kind} = {leaf.tensor}"]
        yield [f"{path}: {text}" if path else text for text in texts], record


def _require_rows(baseline: Capture, trace: ForwardTrace) -> None:
    """Make sure that the text of a baseline says what its trace holds; raises UnreadableBaselineError."""
    stored, expected = baseline.facts.get("layers"), _rows(trace)
    texts = {name: {**row, "in": "", "out": ""} for name, row in expected.items()}
    if isinstance(stored, Mapping) and all(isinstance(row, Mapping) for row in stored.values()):
        require_rows({name: {**row, "in": "", "out": ""} for name, row in stored.items()}, texts, "layer")
    else:
        raise UnreadableBaselineError("it does not list layers")
    for made in trace.calls:
        key = _key(made)
        for part, leaves, place in (("in", made.inputs, f"{key}<"), ("out", made.outputs or {}, key)):
            if not agrees(str(stored[key].get(part)), _described(leaves, trace, place)):
                raise contradiction(f"layer {key or MODEL_LABEL!r}")


def _key(call: Call) -> str:
    return f"{call.layer}#{call.index}" if call.index else call.layer
