"""What a model does, layer by layer: every module call's inputs and outputs, and pictures of some layers."""

from __future__ import annotations

import functools
import time
from collections.abc import Collection
from dataclasses import replace

import torch

from pytest_modelviz.compare.precision import is_low
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.probe.dtypes import DtypeRecorder, recorder_for
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.fake import only_shapes
from pytest_modelviz.probe.forward import ModelInput, ModelOutput, call, prepared, require_model
from pytest_modelviz.probe.layer_names import layer_patterns
from pytest_modelviz.probe.leaf_recorder import RecordTensor
from pytest_modelviz.probe.modules import class_name
from pytest_modelviz.probe.noise import with_noise
from pytest_modelviz.probe.pass_recorder import CallObserver, PassRecorder
from pytest_modelviz.probe.shadow import with_shadow
from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.probe.sketch_queue import SketchQueue
from pytest_modelviz.probe.top_classes import top_class_facts
from pytest_modelviz.probe.value_changes import with_value_changes
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.shadow import Shadow
from pytest_modelviz.records.tensors import NATIVE_WIDTH, WEIGHT_WIDTH
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_arrays import captured_arrays, pack_noise, pack_trace
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.strict_json import JsonObject
from pytest_modelviz.views.coverage_notes import coverage_notes
from pytest_modelviz.views.feature_maps import compare as comparison
from pytest_modelviz.views.feature_maps import pictures
from pytest_modelviz.views.feature_maps.profiles import ProfileCollector
from pytest_modelviz.views.feature_maps.records import PICTURE, FeatureMaps, layer_rows
from pytest_modelviz.views.feature_maps.thumbnails import ThumbnailCollector
from pytest_modelviz.views.half_precision import common_exponent, in_half_precision
from pytest_modelviz.views.input_pictures import input_pictures

_WITH_MEAN = functools.partial(record_tensor, mean=True)


class FeatureMapsView:
    """The view of `feature_maps`; `FeatureMapsFixture` says what its arguments mean."""

    view = "feature_maps"
    compare = staticmethod(comparison.compare)
    picture = staticmethod(pictures.picture)
    describe = staticmethod(pictures.describe)

    def __init__(self, model: torch.nn.Module, input_data: ModelInput, *, layers: str | Collection[str] | None = None):
        require_model(model)
        self.model, self._input = model, input_data
        self._layers = layer_patterns(layers)
        self._again: tuple[ForwardTrace, ProfileCollector] | None = None  # of the pass that was made once more
        self.shadow = Shadow.AUTO

    def set_shadow(self, shadow: Shadow) -> None:
        """Say when a pass in lower precision is repeated in float32."""
        self.shadow = shadow

    def capture(self) -> Capture[FeatureMaps]:
        return self._capture()

    def _capture(self, *observers: CallObserver, record: RecordTensor = record_tensor) -> Capture[FeatureMaps]:
        started = time.perf_counter()
        kind = recorder_for(self.model, self._input)
        trace, collector, output = self._pass(kind, *observers, record=record)
        seconds = time.perf_counter() - started
        if is_low(trace) and kind is not DtypeRecorder:  # the model itself has a region of lower precision
            trace, collector, output = self._pass(DtypeRecorder)
        trace, note = with_shadow(trace, self.model, self._input, self.shadow, seconds)
        return self.captured(trace, collector, output, note)

    def _pass(
        self,
        kind: type[PassRecorder],
        *observers: CallObserver,
        record: RecordTensor = record_tensor,
        may_wait: bool = True,
    ) -> tuple[ForwardTrace, ThumbnailCollector, ModelOutput]:
        queue = SketchQueue() if may_wait and record is record_tensor else None
        with prepared(self.model, self._input) as model:
            collector = ThumbnailCollector(model, self._layers)
            recorder = kind(model, [collector, *observers], record=record, queue=queue)
            with only_shapes(model), recorder.recording():
                output = call(model, self._input)
            trace = recorder.trace
        if queue is None or queue.is_complete:
            return trace, collector, output
        return self._pass(kind, *observers, record=record, may_wait=False)

    def capture_again(self, first: Capture[FeatureMaps]) -> Capture[FeatureMaps]:
        """The pass made once more; of one in lower precision its shadow alone, which shows far smaller differences."""
        trace = first.result.trace
        if trace.shadow is None:
            profiles = ProfileCollector(self.model, self._input)
            capture = self._capture(profiles, record=_WITH_MEAN)
            self._again = capture.result.trace, profiles
            return capture
        again, _ = with_shadow(replace(trace, shadow=None), self.model, self._input, self.shadow)
        return (
            self.capture()
            if again.shadow is None
            else replace(first, arrays={**first.arrays, **pack_trace(_stored(again))})
        )

    def explain_values(self, verdict: Verdict, baseline: Capture) -> Verdict:
        """The verdict with what has become of the weights and the input that differ."""
        return with_value_changes(verdict, stored_trace(baseline.arrays), self.model, self._input)

    def with_noise(self, capture: Capture[FeatureMaps]) -> Capture[FeatureMaps]:
        """The same capture with the noise of each tensor, or a note on why there is none, and what people look at."""
        before = capture.result.trace
        trace = with_noise(before, self.model, self._input)
        notes = (*capture.notes, *trace.notes[len(before.notes) :])
        again, profiles = self._again or self._pass_for_people()
        facts = {**capture.facts, "layers": layer_rows(_stored(_with_means(before, again)))}
        arrays = {**capture.arrays, **pack_noise(trace), **profiles.arrays(before)}
        return replace(capture, facts=facts, arrays=arrays, notes=notes)

    def _pass_for_people(self) -> tuple[ForwardTrace, ProfileCollector]:
        profiles = ProfileCollector(self.model, self._input)
        with prepared(self.model, self._input) as model, only_shapes(model):
            recorder = PassRecorder(model, [profiles], record=_WITH_MEAN, weight_width=None)
            with recorder.recording():
                call(model, self._input)
        return recorder.trace, profiles

    def captured(
        self,
        trace: ForwardTrace,
        collector: ThumbnailCollector,
        output: ModelOutput,
        shadow_note: str = "",
    ) -> Capture[FeatureMaps]:
        """The capture of a pass that was made already."""
        stored, thumbnails = _stored(trace), collector.thumbnails()
        exponents = {layer: common_exponent(thumbnail.maps) for layer, thumbnail in thumbnails.items()}
        pages: dict[str, JsonObject] = {
            layer: {"channels": thumbnail.channels, "of": thumbnail.of, "exponent": exponents[layer]}
            for layer, thumbnail in thumbnails.items()
        }

        def pictures() -> dict[str, Array]:
            maps = ((layer, in_half_precision(thumbnails[layer].maps, by)) for layer, by in exponents.items())
            return {**{PICTURE + layer: array for layer, array in maps}, **input_pictures(self._input)}

        facts: JsonObject = {
            "model": class_name(self.model),
            **top_class_facts(output),
            "pictures": pages,
            "layers": layer_rows(stored),
        }
        result = FeatureMaps(trace, output, {layer: thumbnail.maps for layer, thumbnail in thumbnails.items()})
        notes = (*coverage_notes(self.model, trace), *([shadow_note] if shadow_note else []))
        around = environment(self.model, self._input)
        arrays = captured_arrays(stored, pictures=pictures)
        return Capture(self.view, facts, arrays, around, result, notes, tuple(trace.modules))


def _with_means(trace: ForwardTrace, again: ForwardTrace) -> ForwardTrace:
    """A pass with the means of its large tensors, which only people look at, as the same pass made again has them."""
    means = {
        key: replace(record, mean=again.tensors[key].mean)
        for key, record in trace.tensors.items()
        if record.sketch.size < record.numbers and key in again.tensors
    }
    return replace(trace, tensors={**trace.tensors, **means})


def _stored(trace: ForwardTrace) -> ForwardTrace:
    """A pass as a baseline holds it: with narrower sketches of its own where its shadow has better ones."""
    if trace.shadow is None:
        return trace
    return replace(trace.narrowed(NATIVE_WIDTH, WEIGHT_WIDTH), shadow=trace.shadow)
