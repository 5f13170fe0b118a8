"""What a model does, layer by layer: every module call's inputs and outputs, and pictures of some layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.fake import only_shapes
from pytest_modelviz.probe.forward import ModelInput, call, prepared, require_model
from pytest_modelviz.probe.layer_names import layer_patterns
from pytest_modelviz.probe.modules import class_name
from pytest_modelviz.probe.pass_recorder import PassRecorder
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.views.coverage_notes import coverage_notes
from pytest_modelviz.views.feature_maps import compare, pictures
from pytest_modelviz.views.feature_maps.records import PICTURE, FeatureMaps, layer_rows
from pytest_modelviz.views.feature_maps.thumbnails import ThumbnailCollector
from pytest_modelviz.views.input_pictures import input_pictures
from pytest_modelviz.views.stored_pictures import packed


class FeatureMapsView:
    """The view of `feature_maps`; `FeatureMapsFixture` says what its arguments mean."""

    view = "feature_maps"

    def __init__(self, model: torch.nn.Module, input_data: ModelInput, *, layers: str | Collection[str] | None = None):
        require_model(model)
        self._model, self._input = model, input_data
        self._layers = layer_patterns(layers)

    @property
    def model(self) -> torch.nn.Module:
        return self._model

    def capture(self) -> Capture[FeatureMaps]:
        with prepared(self._model, self._input) as model:
            collector = ThumbnailCollector(model, self._layers)
            recorder = PassRecorder(model, [collector])
            inputs = input_pictures(self._input)
            with only_shapes(model), recorder.recording():
                output = call(model, self._input)
        return self.captured(recorder.trace, collector, inputs, output)

    def captured(
        self, trace: ForwardTrace, collector: ThumbnailCollector, inputs: Mapping[str, Array], output: Any
    ) -> Capture[FeatureMaps]:
        """The capture of a pass that was made already, with the pictures of its input."""
        thumbnails = collector.thumbnails()
        arrays: dict[str, Array] = dict(pack_trace(trace))
        pages: dict[str, Any] = {}
        for layer, thumbnail in thumbnails.items():
            arrays[PICTURE + layer], exponent = packed(thumbnail.maps)
            pages[layer] = {"channels": thumbnail.channels, "of": thumbnail.of, "exponent": exponent}
        arrays.update(inputs)
        facts = {"model": class_name(self._model), "pictures": pages, "layers": layer_rows(trace)}
        result = FeatureMaps(trace, output, {layer: thumbnail.maps for layer, thumbnail in thumbnails.items()})
        notes = coverage_notes(self._model, trace)
        around = environment(self._model, self._input)
        return Capture(self.view, facts, arrays, around, result, notes, tuple(trace.modules))

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        return compare.compare(baseline, actual, tolerances)

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        return pictures.picture(actual, baseline, verdict)

    def describe(self, actual: Capture) -> str:
        return pictures.describe(actual)
