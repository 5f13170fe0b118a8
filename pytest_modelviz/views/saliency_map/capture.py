"""What of an input a score depends on: its gradient there, plain and in variants."""

from __future__ import annotations

import functools
import time

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.attribution.kinks import is_smooth
from pytest_modelviz.attribution.noise import with_measured_noise
from pytest_modelviz.attribution.scores import require_target
from pytest_modelviz.attribution.shadow import explain_in_float32
from pytest_modelviz.attribution.targets import Target
from pytest_modelviz.compare.explanation_shadow import precision_facts
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tensors import whole_difference
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.forward import ModelInput, prepared, require_model
from pytest_modelviz.probe.modules import class_name
from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.probe.thumbnails import shrink
from pytest_modelviz.probe.value_changes import with_value_changes
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.explanation_shadow import explanation_shadow, stored_targets, without_shadow
from pytest_modelviz.records.shadow import Shadow
from pytest_modelviz.records.trace import GRADIENT
from pytest_modelviz.records.trace_arrays import captured_arrays
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.strict_json import JsonObject, JsonValue
from pytest_modelviz.views.captions import rounded
from pytest_modelviz.views.coverage_notes import coverage_notes, target_notes
from pytest_modelviz.views.input_pictures import input_pictures
from pytest_modelviz.views.saliency_map import pictures
from pytest_modelviz.views.saliency_map.compare import compare_in_float32, stored_gradient
from pytest_modelviz.views.saliency_map.gradients import RUNNING, Saliency, require_saliency_method, saliency
from pytest_modelviz.views.saliency_map.records import SIDE, SaliencyMap
from pytest_modelviz.views.stored_pictures import MOST_INPUTS, packed


class SaliencyMapView:
    """The view of `saliency_map`; `SaliencyMapFixture` says what its arguments mean."""

    view = "saliency_map"
    picture = staticmethod(pictures.picture)
    describe = staticmethod(pictures.describe)

    def __init__(
        self, model: torch.nn.Module, input_data: ModelInput, *, target: Target = None, method: str = "gradient"
    ):
        require_model(model)
        require_saliency_method(method)
        require_target(target)
        self.model, self._input, self._target, self._method = model, input_data, target, method
        self._shadow = Shadow.AUTO

    def set_shadow(self, shadow: Shadow) -> None:
        """Say when an explanation in lower precision is repeated in float32."""
        self._shadow = shadow

    def capture(self) -> Capture[SaliencyMap]:
        started = time.perf_counter()
        with prepared(self.model, self._input, grad=True) as model:
            capture = self._explained(model, self._input)
        return self._with_shadow(capture, self._shadow, time.perf_counter() - started)

    def capture_again(self, first: Capture[SaliencyMap]) -> Capture[SaliencyMap]:
        """The explanation made once more; of one in lower precision the shadow alone, which shows far less noise."""
        if explanation_shadow(first) is None:
            return self.capture()
        return self._with_shadow(without_shadow(first), Shadow.ALWAYS)

    def _with_shadow(self, capture: Capture[SaliencyMap], shadow: Shadow, seconds: float = 0.0) -> Capture[SaliencyMap]:
        return explain_in_float32(capture, self.model, self._input, self._explained, shadow=shadow, seconds=seconds)

    def _explained(self, model: torch.nn.Module, input_data: ModelInput) -> Capture[SaliencyMap]:
        explanation = saliency(model, input_data, self._target, self._method)
        trace, scores, gradient = explanation.trace, explanation.scores, explanation.gradient.numpy()
        trace.gradients[GRADIENT] = record_tensor(explanation.gradient)
        result = SaliencyMap(gradient, magnitude(gradient), scores.targets, scores.predicted, scores.total)
        facts: dict[str, JsonValue] = {
            "model": class_name(self.model),
            "method": self._method,
            "dtype": explanation.dtype,
            "targets": list(scores.targets),
            "predicted": list(scores.predicted),
            "score": rounded(scores.total),
            "peak": rounded(float(np.abs(gradient).max(initial=0.0))),
            "shape": list(gradient.shape),
            **precision_facts(trace),
        }
        if is_smooth(scores.values):
            facts["smooth"] = True
        arrays: dict[str, Array] = {}
        if scores.explained:
            facts["explained"] = scores.explained
        pages: dict[str, JsonObject] = {}
        for number, sample in enumerate(gradient[:MOST_INPUTS] if gradient.ndim == 4 else ()):
            key = f"gradient.{number}"
            arrays[key], exponent = packed(_thumbnail(sample))
            pages[key] = {"exponent": exponent}
        facts["pictures"] = pages
        notes = (*coverage_notes(self.model, trace), *target_notes(scores), *_quality_notes(self._method, explanation))
        around = environment(self.model, self._input)
        captured = captured_arrays(trace, arrays, functools.partial(input_pictures, self._input, len(gradient)))
        return Capture(self.view, facts, captured, around, result, notes, tuple(trace.modules))

    def explain_values(self, verdict: Verdict, baseline: Capture) -> Verdict:
        """The verdict with what has become of the weights and the input that differ."""
        return with_value_changes(verdict, stored_trace(baseline.arrays), self.model, self._input)

    def with_noise(self, capture: Capture[SaliencyMap]) -> Capture[SaliencyMap]:
        """The same capture with how far rounding may take its gradient."""
        own = explanation_shadow(capture) or capture
        target: Target = stored_targets(own) or self._target  # moved numbers might decide on another class

        def explained(model: torch.nn.Module, input_data: ModelInput) -> torch.Tensor:
            return saliency(model, input_data, target, self._method).gradient

        def differences(gradient: torch.Tensor) -> list[float]:
            return [whole_difference(stored_gradient(own), record_tensor(gradient))]

        runs_often = self._method in RUNNING
        return with_measured_noise(capture, self.model, self._input, explained, differences, runs_often=runs_often)

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        return compare_in_float32(baseline, actual, tolerances, is_target_chosen=self._target is not None)


def magnitude(gradient: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(maps, channels, height, width) -> (maps, height, width); what has another shape keeps it."""
    return np.abs(gradient).max(axis=1) if gradient.ndim == 4 else np.abs(gradient)


def _thumbnail(gradient: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(channels, h, w) -> (4, h, w), no side over 96: three channels (or the first, thrice), and the largest."""
    colours = gradient if len(gradient) == 3 else np.repeat(gradient[:1], 3, axis=0)
    maps = np.concatenate([colours, np.abs(gradient).max(axis=0, keepdims=True)])
    return shrink(torch.from_numpy(maps), SIDE)


def _quality_notes(method: str, explanation: Saliency) -> tuple[str, ...]:
    """What is odd about a gradient by itself, whatever the baseline says."""
    notes = []
    if method == "guided" and not explanation.rectifiers:
        notes.append("no ReLU takes part in this model: guided back-propagation is its plain gradient")
    odd = int((~torch.isfinite(explanation.gradient)).sum())
    if odd:
        notes.append(
            f"{odd} of the gradient's {explanation.gradient.numel()} values {'is' if odd == 1 else 'are'} not finite"
        )
    elif not bool(explanation.gradient.any()):
        notes.append("the gradient is zero everywhere: the score does not change with the input")
    return tuple(notes)
