"""What a model looks at: a class activation map, compared raw and signed at layer resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.attribution.explain import Explanation, Maps, Reshape, Taps, explain, spatial_layers, with_places
from pytest_modelviz.attribution.images import image_in
from pytest_modelviz.attribution.scores import Target, class_score, is_class, require_target
from pytest_modelviz.attribution.spatial_layout import image_frame
from pytest_modelviz.compare.explained import by_forward_pass, forward_verdict
from pytest_modelviz.compare.gradients import worse
from pytest_modelviz.compare.questions import asked_otherwise
from pytest_modelviz.compare.readable import require_rows
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import ROUNDING, Tolerances
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.pictures.composite import heat_composite, heat_picture
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.forward import prepared, require_model
from pytest_modelviz.probe.modules import class_name
from pytest_modelviz.probe.structure import tensors
from pytest_modelviz.probe.thumbnails import smaller
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.views.cam_map.compare import aligned, map_difference, map_distance, map_findings
from pytest_modelviz.views.cam_map.layers import candidates, named_layers, one_of_each_size
from pytest_modelviz.views.cam_map.library import library_map
from pytest_modelviz.views.cam_map.methods import (
    ALL_LAYERS,
    CANCELLING,
    METHODS,
    SIGNLESS,
    Map,
    against_similar,
    differentiates,
    normalized_map,
    raw_map,
    refined_map,
    require_method,
    uses_gradients,
)
from pytest_modelviz.views.limits import doubts_of_target, limits
from pytest_modelviz.views.numbers import rounded, told
from pytest_modelviz.views.photos import MOST_SHOWN, photos, stored_photo

_MOST_NUMBERS = 2**24  # of a map
_MOST_SIDE = 56  # of what is compared of a map that is made at the input's resolution
_STRIP_LENGTH, _STRIP_RATIO = 448, 8  # of the picture of a sequence's map


@dataclass(frozen=True)
class CamMap:
    """What `cam_map` returns.

    `raw` is float32 (maps, h, w), signed, at the layer's resolution (of `fullgrad`, which explains all layers, at the
    input's); `normalized` float32 (maps, height, width) in 0..1 at the input's. Of a sequence, (batch, channels,
    length), both are (maps, length). There is a map for each sample, or, of a single sample, for each class wanted.
    `targets` are the classes explained, `predicted` the model's own choice, one a map.
    """

    raw: npt.NDArray[np.float32]
    normalized: npt.NDArray[np.float32]
    layer: str
    targets: tuple[int, ...]
    predicted: tuple[int, ...]
    score: float


class CamMapView:
    """`cam_map(model, input_data, *, target_layer=None, target=None, method="gradcam", reshape_transform=None)`."""

    view = "cam_map"

    def __init__(
        self,
        model: torch.nn.Module,
        input_data: Any,
        *,
        target_layer: str | Sequence[str] | None = None,
        target: Target = None,
        method: str = "gradcam",
        reshape_transform: Reshape | None = None,
    ):
        require_model(model)
        require_method(method)
        require_target(target)
        if method == "finercam" and not is_class(target):
            raise ModelvizError("method 'finercam' compares a class with others: target takes a class, not a function")
        self._layers = named_layers(model, target_layer, method)
        self._model, self._input = model, input_data
        self._target, self._method, self._reshape = target, method, reshape_transform

    @property
    def model(self) -> torch.nn.Module:
        return self._model

    def capture(self) -> Capture:
        with prepared(self._model, self._input, grad=True) as model:
            seen = self._explain(model)
            maps, raw = self._raw(model, seen)
        return self._captured(seen, maps, raw)

    def _explain(self, model: torch.nn.Module) -> Explanation:
        if self._method in ALL_LAYERS:
            return explain(model, self._input, self._target, None)
        layers = self._layers or candidates(spatial_layers(model, self._input), self._method)
        taps = Taps(layers, self._input, self._reshape)
        weigh = against_similar if self._method == "finercam" else class_score
        chooses = not self._layers and self._method not in METHODS  # what runs the model says nothing about layers
        differentiate = uses_gradients(self._method) or chooses
        return explain(model, self._input, self._target, taps, weigh=weigh, differentiate=differentiate)

    def _raw(self, model: torch.nn.Module, seen: Explanation) -> tuple[list[Maps], Map]:
        """The layers that were chosen, and the map."""
        if self._method == "refinecam":
            chosen = list(seen.maps) if self._layers else one_of_each_size(seen.maps)
            return chosen, refined_map([raw_map("gradcam++", one.activation, one.gradient) for one in chosen])
        chosen = [with_places(seen.maps)] if seen.maps else []
        if self._method in METHODS or self._method == "finercam":
            return chosen, raw_map(self._method, chosen[0].activation, chosen[0].gradient)
        image, put = image_in(self._input, f"method {self._method!r}")
        layer = chosen[0] if chosen else None
        is_sequence = layer is not None and layer.activation.dim() == 3
        if image.dim() != (3 if is_sequence else 4) or len(list(tensors(self._input))) != 1:
            raise ModelvizError(
                f"method {self._method!r} runs the model on changed images: it needs an input of one tensor (batch, "
                f"channels, height, width){', or (batch, channels, length)' if is_sequence else ''}"
            )
        targets: Sequence[Any] = seen.scores.targets or seen.scores.functions
        return chosen, library_map(self._method, model, image, put, layer, self._reshape, targets)

    def explained(self, seen: Explanation) -> Capture:
        """The capture of an explanation that was made already, by a method that needs no more than one pass."""
        return self._captured(seen, *self._raw(self._model, seen))

    def _captured(self, seen: Explanation, maps: Sequence[Maps], raw: Map) -> Capture:
        scores, layer = seen.scores, ", ".join(one.layer for one in maps)
        result = CamMap(
            raw=raw,
            normalized=normalized_map(raw, _size(self._input, raw)),
            layer=layer,
            targets=scores.targets,
            predicted=scores.predicted,
            score=scores.total,
        )
        if self._method in ALL_LAYERS:
            raw = smaller(raw, _MOST_SIDE)
        facts: dict[str, Any] = {
            "model": class_name(self._model),
            "method": self._method,
            "layer": layer,
            "call": maps[0].call if maps else 0,
            "dtype": maps[0].dtype if maps else "float32",
            "targets": list(scores.targets),
            "predicted": list(scores.predicted),
            "score": rounded(scores.total),
            "peak": _peak(raw),
            "scale": rounded(_scale(maps)),
            "shape": list(raw.shape),
        }
        if scores.explained:
            facts["explained"] = scores.explained
        places = ", ".join(one.places.text for one in maps if one.places is not None and one.places.text)
        if places:
            facts["places"] = places
        photographs = photos(self._input, len(raw)) if raw.ndim > 2 else {}  # a sequence is no picture
        arrays: dict[str, Array] = {"map": raw, **pack_trace(seen.trace), **photographs}
        notes = (*limits(self._model, seen.trace), *doubts_of_target(scores), *_doubts(raw, layer))
        around = environment(self._model, self._input)
        return Capture(self.view, facts, arrays, around, result, notes, tuple(seen.trace.modules))

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        before, after = _map(baseline), _map(actual)
        stated = {key: baseline.facts.get(key) for key in ("peak", "shape")}
        require_rows(stated, {"peak": _peak(before), "shape": list(before.shape)}, "map's")
        dtype = str(actual.facts["dtype"])
        layers = str(actual.facts["layer"]).split(", ")  # of RefineCAM several
        own = max((tolerances.of(layer) for layer in layers), key=lambda one: one.explanation(dtype))
        floor, signless = ROUNDING * _number(actual.facts.get("scale")), self._method in SIGNLESS
        error, allowed = map_difference(before, after, signless=signless, floor=floor), own.explanation(dtype)
        kinks = own.rtol is None and differentiates(self._method)
        forward = None if error <= allowed else _forward(baseline, actual, tolerances)
        if forward is not None and forward.matched and kinks:
            # a kink turns a map everywhere by a little, and at one place by more
            whole, size = map_distance(before, after, signless=signless)
            error, allowed = worse(
                (error, own.at_one_place(dtype)),
                (whole, own.differentiated(dtype)),
                (size, own.differentiated(dtype) if self._method in CANCELLING else own.resized(dtype)),
            )
        # a target that the caller chose is part of the question; one that the model chose is its answer
        asked = {"method", "layer", "call", *({"targets"} if self._target is not None else ())}
        other, findings = asked_otherwise(
            baseline, actual, ("method", "layer", "call", "dtype", "targets", "predicted", "explained"), asked
        )
        if other:
            return other
        if error <= allowed and not any(finding.kind in ("targets", "dtype") for finding in findings):
            return Verdict(True, 1, 0, error, allowed)
        if not error <= allowed:
            findings += map_findings(before, after)
        return by_forward_pass(error, allowed, findings, forward or _forward(baseline, actual, tolerances))

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        label = str(actual.facts["layer"]) or MODEL_LABEL
        after = _map(actual)
        shots = [(shown(one), stored_photo(actual, number)) for number, one in enumerate(after[:MOST_SHOWN])]
        if baseline is None:
            return [heat_picture(label, _headline(actual), shots)]
        before = _map(baseline)
        if self._method in SIGNLESS and before.shape == after.shape:
            after = aligned(before, after)
            shots = [(shown(one), photograph) for one, (_, photograph) in zip(after, shots, strict=False)]
        old = [(shown(one), stored_photo(baseline, number)) for number, one in enumerate(before[:MOST_SHOWN])]
        return [heat_composite(label, f"{_headline(actual)}{told(verdict)}", old, shots)]

    def describe(self, actual: Capture) -> str:
        facts = actual.facts
        return "\n".join(f"{key}: {facts[key]}" for key in ("method", "layer", "targets", "predicted", "score", "peak"))


def _forward(baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
    before, after = (stored_trace(capture.arrays, tolerances.ignored) for capture in (baseline, actual))
    return forward_verdict(before, after, tolerances)


def shown(raw: Map) -> Map:
    """A sample's map as people see it: negative parts cut, stretched to 0..1, at layer resolution.

    That of a sequence is drawn as a strip, of a volume its middle slice.
    """
    if raw.ndim == 1:
        strip = smaller(raw[None, None], _STRIP_LENGTH)[0]
        raw = np.repeat(strip, max(1, strip.size // _STRIP_RATIO), axis=0)
    first = raw if raw.ndim == 2 else raw[raw.shape[0] // 2]
    positive = np.maximum(first, 0, dtype=np.float64)
    finite = positive[np.isfinite(positive)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    stretched = positive - low if high <= low else (positive - low) / (high - low)
    return np.asarray(stretched, dtype=np.float32)


def _peak(raw: Map) -> float | str:
    with np.errstate(all="ignore"):
        return rounded(float(np.abs(raw).max(initial=0.0)))


def _scale(maps: Sequence[Maps]) -> float:
    """The size of what a map's values are sums of: of that, rounding is a part."""
    sizes = [(m.activation * m.gradient).abs().sum(1).max() for m in maps if m.gradient is not None]
    return max((float(size) for size in sizes), default=0.0)


def _number(value: Any) -> float:
    """A finite number, zero for what is none."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0


def _headline(capture: Capture) -> str:
    facts = capture.facts
    target = ", ".join(map(str, facts.get("targets", []))) or "function"
    return f"{facts['method']} at {facts['layer'] or MODEL_LABEL}, target {target}"


def _map(capture: Capture) -> Map:
    raw = capture.arrays.get("map")
    if raw is None or raw.dtype != np.float32 or raw.ndim not in (2, 3, 4) or not 0 < raw.size <= _MOST_NUMBERS:
        raise UnreadableBaselineError("it holds no map")
    return raw.astype(np.float32, copy=False)


def _size(input_data: Any, raw: Map) -> tuple[int, ...] | None:
    """(width, height) of the first image-like input, as OpenCV wants it; (width, height, depth) of a volume.

    Of a sequence its length, as that of one row.
    """
    if raw.ndim == 2:
        sides = next((tuple(tensor.shape[1:]) for tensor in tensors(input_data) if tensor.dim() in (2, 3)), ())
        length = next((side for side in reversed(sides) if side >= raw.shape[1]), raw.shape[1])
        return length, 1
    frame = image_frame(input_data)
    return None if frame is None else tuple(int(side) for side in reversed(frame[1:]))


def _doubts(raw: Map, layer: str) -> tuple[str, ...]:
    """What is odd about a map by itself, whatever the baseline says."""
    where = layer or "the model"
    if not np.isfinite(raw).all():
        return (f"{int((~np.isfinite(raw)).sum())} of the map's {raw.size} values at {where} are not finite",)
    if not raw.any() and ", " in layer:
        return (f"the map at {where} is empty: no place is positive in the maps of all these layers",)
    if not raw.any():
        return (f"the map at {where} is empty: the target's score does not depend on any place there",)
    return ()
