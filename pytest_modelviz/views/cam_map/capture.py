"""What a model looks at: a class activation map, made at a layer, signed and at that layer's resolution."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence

import numpy as np
import torch

from pytest_modelviz.attribution.activation_recorder import ActivationRecorder, LayerActivation, Reshape
from pytest_modelviz.attribution.explain import Explanation, explain, spatial_layers
from pytest_modelviz.attribution.images import image_in
from pytest_modelviz.attribution.kinks import is_smooth
from pytest_modelviz.attribution.noise import with_measured_noise
from pytest_modelviz.attribution.scores import class_score, is_class, require_target
from pytest_modelviz.attribution.shadow import explain_in_float32
from pytest_modelviz.attribution.spatial_layout import image_frame
from pytest_modelviz.attribution.targets import Target
from pytest_modelviz.compare.explanation_shadow import precision_facts
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.forward import ModelInput, prepared, require_model
from pytest_modelviz.probe.modules import class_name
from pytest_modelviz.probe.nested_values import tensors
from pytest_modelviz.probe.thumbnails import shrink
from pytest_modelviz.probe.value_changes import with_value_changes
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.explanation_shadow import explanation_shadow, stored_targets, without_shadow
from pytest_modelviz.records.shadow import Shadow
from pytest_modelviz.records.trace_arrays import captured_arrays
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.strict_json import JsonValue
from pytest_modelviz.views.cam_map import library, pictures
from pytest_modelviz.views.cam_map.compare import compare_in_float32, map_noise
from pytest_modelviz.views.cam_map.layers import chosen_layers, default_layers, named_layers
from pytest_modelviz.views.cam_map.methods import ALL_LAYERS, COMPOSED, METHODS, SIGNLESS, uses_gradients
from pytest_modelviz.views.cam_map.records import CamMap, Map, peak, stored_map
from pytest_modelviz.views.cam_map.running_methods import running_map
from pytest_modelviz.views.captions import rounded
from pytest_modelviz.views.coverage_notes import coverage_notes, target_notes
from pytest_modelviz.views.input_pictures import input_pictures

_LONGEST_SIDE = 56  # of the stored copy of a map at the input's resolution


class CamMapView:
    """The view of `cam_map`; `CamMapFixture` says what its arguments mean."""

    view = "cam_map"
    picture = staticmethod(pictures.picture)
    describe = staticmethod(pictures.describe)

    def __init__(
        self,
        model: torch.nn.Module,
        input_data: ModelInput,
        *,
        target_layer: str | Sequence[str] | None = None,
        target: Target = None,
        method: str = "gradcam",
        reshape_transform: Reshape | None = None,
    ):
        require_model(model)
        library.require_method(method)
        require_target(target)
        if method == "finercam" and not is_class(target):
            raise ModelvizError("method 'finercam' compares a class with others: target takes a class, not a function")
        self._layers = named_layers(model, target_layer, method)
        self.model, self._input = model, input_data
        self._target, self._method, self._reshape = target, method, reshape_transform
        self._shadow = Shadow.AUTO

    def set_shadow(self, shadow: Shadow) -> None:
        """Say when an explanation in lower precision is repeated in float32."""
        self._shadow = shadow

    def capture(self) -> Capture[CamMap]:
        started = time.perf_counter()
        with prepared(self.model, self._input, grad=True) as model:
            capture = self._explained(model, self._input)
        return self.with_shadow(capture, time.perf_counter() - started)

    def capture_of(self, explanation: Explanation) -> Capture[CamMap]:
        """The capture, without a shadow, of an explanation that was made already, by a method that needs one pass."""
        return self._captured(explanation, *self._raw(self.model, self._input, explanation))

    def capture_again(self, first: Capture[CamMap]) -> Capture[CamMap]:
        """The explanation made once more; of one in lower precision the shadow alone, which shows far less noise."""
        if explanation_shadow(first) is None:
            return self.capture()
        return self._repeated(without_shadow(first), Shadow.ALWAYS)

    def explain_values(self, verdict: Verdict, baseline: Capture) -> Verdict:
        """The verdict with what has become of the weights and the input that differ."""
        return with_value_changes(verdict, stored_trace(baseline.arrays), self.model, self._input)

    def with_noise(self, capture: Capture[CamMap]) -> Capture[CamMap]:
        """The same capture with how far rounding may take its map."""
        own = explanation_shadow(capture) or capture
        target: Target = stored_targets(own) or self._target  # moved numbers might decide on another class

        def explained(model: torch.nn.Module, input_data: ModelInput) -> Map:
            return self._raw(model, input_data, self._explain(model, input_data, target))[1]

        def differences(raw: Map) -> tuple[float, float]:
            return map_noise(stored_map(own), self._stored(raw), signless=self._method in SIGNLESS)

        runs_often = self._method not in METHODS and self._method not in COMPOSED
        return with_measured_noise(capture, self.model, self._input, explained, differences, runs_often=runs_often)

    def _explained(self, model: torch.nn.Module, input_data: ModelInput) -> Capture[CamMap]:
        explanation = self._explain(model, input_data, self._target)
        return self._captured(explanation, *self._raw(model, input_data, explanation))

    def with_shadow(self, capture: Capture[CamMap], seconds: float) -> Capture[CamMap]:
        """The same capture with its float32 shadow, if it needs one; outside of a `prepared` block."""
        return self._repeated(capture, self._shadow, seconds)

    def _repeated(self, capture: Capture[CamMap], shadow: Shadow, seconds: float = 0.0) -> Capture[CamMap]:
        return explain_in_float32(
            capture, self.model, self._input, self._explained, compared=("map",), shadow=shadow, seconds=seconds
        )

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        return compare_in_float32(baseline, actual, tolerances, is_target_chosen=self._target is not None)

    def _explain(self, model: torch.nn.Module, input_data: ModelInput, target: Target) -> Explanation:
        if self._method in ALL_LAYERS:
            return explain(model, input_data, target, None)
        layers = self._layers or default_layers(spatial_layers(model, input_data), self._method)
        recorder = ActivationRecorder(layers, input_data, self._reshape)
        weigh = library.contrast_with_similar if self._method == "finercam" else class_score
        chooses = not self._layers and self._method not in METHODS  # a method that runs the model chooses no layer
        differentiate = uses_gradients(self._method) or chooses
        return explain(model, input_data, target, recorder, weigh=weigh, differentiate=differentiate)

    def _raw(
        self, model: torch.nn.Module, input_data: ModelInput, explanation: Explanation
    ) -> tuple[list[LayerActivation], Map]:
        """The layers that were chosen, and the map."""
        method = self._method
        chosen = chosen_layers(explanation.activations, method, are_named=bool(self._layers))
        if method == "refinecam":
            maps = [library.raw_map("gradcam++", layer.activation, layer.gradient) for layer in chosen]
            return chosen, library.refined_map(maps)
        if method in METHODS or method == "finercam":
            return chosen, library.raw_map(method, chosen[0].activation, chosen[0].gradient)
        image, put = image_in(input_data, f"method {method!r}")
        layer = chosen[0] if chosen else None
        is_sequence = layer is not None and layer.activation.dim() == 3
        if image.dim() != (3 if is_sequence else 4) or len(list(tensors(input_data))) != 1:
            raise ModelvizError(
                f"method {method!r} runs the model on changed images: it needs an input of one tensor (batch, "
                f"channels, height, width){', or (batch, channels, length)' if is_sequence else ''}"
            )
        targets = explanation.scores.targets or explanation.scores.functions
        return chosen, running_map(method, model, image, put, layer, self._reshape, targets)

    def _stored(self, raw: Map) -> Map:
        return shrink(torch.from_numpy(raw), _LONGEST_SIDE) if self._method in ALL_LAYERS else raw

    def _captured(self, explanation: Explanation, layers: Sequence[LayerActivation], raw: Map) -> Capture[CamMap]:
        scores, trace, names = explanation.scores, explanation.trace, ", ".join(layer.layer for layer in layers)
        result = CamMap(
            raw=raw,
            normalized=library.normalized_map(raw, _input_size(self._input, raw)),
            layer=names,
            targets=scores.targets,
            predicted=scores.predicted,
            score=scores.total,
        )
        raw = self._stored(raw)
        facts: dict[str, JsonValue] = {
            "model": class_name(self.model),
            "method": self._method,
            "layer": names,
            "call": layers[0].call if layers else 0,
            "dtype": layers[0].dtype if layers else "float32",
            "targets": list(scores.targets),
            "predicted": list(scores.predicted),
            "score": rounded(scores.total),
            "peak": peak(raw),
            "scale": rounded(_scale(layers)),
            "shape": list(raw.shape),
        }
        layouts = ", ".join(layer.layout.text for layer in layers if layer.layout is not None and layer.layout.text)
        optional: dict[str, JsonValue] = {
            "smooth": is_smooth(scores.values),
            "explained": scores.explained,
            "places": layouts,
        }
        facts |= {key: value for key, value in optional.items() if value} | precision_facts(trace)
        pictures = functools.partial(input_pictures, self._input, len(raw)) if raw.ndim > 2 else dict  # of no sequence
        arrays = captured_arrays(trace, {"map": raw}, pictures)
        notes = (*coverage_notes(self.model, trace), *target_notes(scores), *_quality_notes(raw, names))
        return Capture(
            self.view, facts, arrays, environment(self.model, self._input), result, notes, tuple(trace.modules)
        )


def _scale(layers: Sequence[LayerActivation]) -> float:
    """The largest sum of magnitudes that a value of the map is made of: rounding is a fraction of that."""
    sizes = [(layer.activation * layer.gradient).abs().sum(1).max() for layer in layers if layer.gradient is not None]
    return max((float(size) for size in sizes), default=0.0)


def _input_size(input_data: ModelInput, raw: Map) -> tuple[int, ...] | None:
    """(width, height) of the first image-like input, as OpenCV wants it; (width, height, depth) of a volume.

    Of a sequence its length, as that of one row.
    """
    if raw.ndim == 2:
        sides = next((tuple(tensor.shape[1:]) for tensor in tensors(input_data) if tensor.dim() in (2, 3)), ())
        length = next((side for side in reversed(sides) if side >= raw.shape[1]), raw.shape[1])
        return length, 1
    frame = image_frame(input_data)
    return None if frame is None else tuple(int(side) for side in reversed(frame[1:]))


def _quality_notes(raw: Map, layers: str) -> tuple[str, ...]:
    """Notes on a map that is empty or not finite, whatever the baseline says."""
    where = layers or "the model"
    if not np.isfinite(raw).all():
        odd = int((~np.isfinite(raw)).sum())
        return (f"{odd} of the map's {raw.size} values at {where} {'is' if odd == 1 else 'are'} not finite",)
    if not raw.any() and ", " in layers:
        return (f"the map at {where} is empty: no place is positive in the maps of all these layers",)
    if not raw.any():
        return (f"the map at {where} is empty: the target's score does not depend on any place there",)
    return ()
