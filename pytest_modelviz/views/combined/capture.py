"""Several views of one model from as few passes as possible: one forward and, for a map, one backward."""

from __future__ import annotations

import contextlib
import functools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, cast

import torch

from pytest_modelviz.attribution.activation_recorder import ActivationRecorder
from pytest_modelviz.attribution.explain import TRACE_WEIGHT_WIDTH, TRACE_WIDTH, Explanation
from pytest_modelviz.attribution.scores import scores_of
from pytest_modelviz.attribution.targets import Target
from pytest_modelviz.compare.precision import is_low
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.containers import rebuild
from pytest_modelviz.probe.dtypes import DtypeRecorder, recorder_for
from pytest_modelviz.probe.fake import only_shapes
from pytest_modelviz.probe.forward import ModelInput, call, prepared, require_model
from pytest_modelviz.probe.pass_recorder import PassRecorder
from pytest_modelviz.probe.shadow import with_shadow
from pytest_modelviz.probe.sketch_queue import SketchQueue
from pytest_modelviz.records.capture import Capture, Result_co
from pytest_modelviz.records.shadow import Shadow
from pytest_modelviz.records.sketch_version import sketch_version
from pytest_modelviz.views.base import View, measured
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.cam_map.records import CamMap
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.feature_maps.records import FeatureMaps
from pytest_modelviz.views.feature_maps.thumbnails import ThumbnailCollector
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.model_summary.contents import contents_of
from pytest_modelviz.views.model_summary.flops import MultAdds, counted_pass
from pytest_modelviz.views.model_summary.records import ModelSummary
from pytest_modelviz.views.model_summary.summary import SummaryPass


@dataclass(frozen=True)
class Views:
    """What `modelviz` returns: the result of each view's own fixture, None for views that were not requested."""

    summary: ModelSummary | None = None
    feature_maps: FeatureMaps | None = None
    cam: CamMap | None = None


class CombinedCapture:
    """The views that `modelviz` was asked for, None for the others. When one captures again, all do, in one pass.

    Multiply-adds are counted in the same pass, which therefore takes torch's unfused paths of attention.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        input_data: ModelInput,
        *,
        summary: bool = True,
        feature_maps: bool = True,
        cam: str | None = None,
        target: Target = None,
    ):
        require_model(model)
        if cam is None and target is not None:
            raise ModelvizError("modelviz takes a target only with cam= the name of the layer to explain it at")
        if not summary and not feature_maps and cam is None:
            raise ModelvizError(
                "modelviz has nothing to capture: leave summary or feature_maps on, or name a layer in cam"
            )
        if cam is not None and not isinstance(cam, str):
            raise ModelvizError(f"cam takes the name of a layer, not {cam!r}")
        self._model, self._input, self._target, self._layer = model, input_data, target, cam
        self._summary = ModelSummaryView(model, input_data=input_data) if summary else None
        self._maps = FeatureMapsView(model, input_data) if feature_maps else None
        self._cam = CamMapView(model, input_data, target_layer=cam, target=target) if cam is not None else None
        self._captures: defaultdict[int, list[Mapping[str, Capture]]] = defaultdict(list)  # by version of sketches
        self.summary = None if self._summary is None else CombinedView(self._summary, self)
        self.feature_maps = None if self._maps is None else CombinedView(self._maps, self)
        self.cam = None if self._cam is None else CombinedView(self._cam, self)

    def with_noise(self, view: View, capture: Capture) -> Capture:
        """A view's capture with its noise, measured on the unfused paths that a pass takes which counts as well."""
        before = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(before and self._summary is None)
        try:
            return measured(view, capture)
        finally:
            torch.backends.mha.set_fastpath_enabled(before)

    def set_shadow(self, shadow: Shadow) -> None:
        """Say when a pass in lower precision is repeated in float32."""
        for view in (self._maps, self._cam):
            if view is not None:
                view.set_shadow(shadow)

    def capture(self, number: int, view: str) -> Capture:
        """A view's first capture (0), or a later one. All views' are made when the first of them is asked for."""
        captures = self._captures[sketch_version()]
        while len(captures) <= number:
            captures.append(self._capture())
        return captures[number][view]

    def _capture(self) -> dict[str, Capture]:
        if self._summary is not None and self._maps is None and self._cam is None and self._summary.is_on_meta:
            return {"model_summary": self._summary.capture(is_table_of_pass=False)}  # which can do without values
        started = time.perf_counter()
        kind = recorder_for(self._model, self._input)
        captures = self._captures_of_pass(kind)
        seconds = time.perf_counter() - started
        if self._maps is not None and is_low(self._observed[0]) and kind is not DtypeRecorder:
            captures = self._captures_of_pass(DtypeRecorder)  # the model has a region of lower precision
        if self._cam is not None:
            captures["cam_map"] = self._cam.with_shadow(cast("Capture[CamMap]", captures["cam_map"]), seconds)
        if self._maps is not None:
            trace, collector, output = self._observed
            trace, note = with_shadow(trace, self._model, self._input, self._maps.shadow, seconds)
            captures["feature_maps"] = self._maps.captured(trace, collector, output, note)
        return captures

    def _captures_of_pass(self, kind: type[PassRecorder]) -> dict[str, Capture]:
        queue = SketchQueue()
        captures = self._captures_with(queue, kind)
        return captures if queue.is_complete else self._captures_with(None, kind)

    def _captures_with(self, queue: SketchQueue | None, kind: type[PassRecorder]) -> dict[str, Capture]:
        run = functools.partial(self._pass, functools.partial(kind, queue=queue))
        if self._summary is not None:
            return counted_pass(self._model, self._prepared, run)
        with self._prepared() as model:
            return run(model, None)

    @contextlib.contextmanager
    def _prepared(self) -> Iterator[torch.nn.Module]:
        with prepared(self._model, self._input, grad=self._cam is not None) as model, only_shapes(model):
            yield model

    def _pass(
        self, recorder_of: Callable[..., PassRecorder], model: torch.nn.Module, counter: MultAdds | None
    ) -> dict[str, Capture]:
        collector = ThumbnailCollector(model, None) if self._maps is not None else None
        recorder = ActivationRecorder([self._layer], self._input) if self._layer is not None else None
        observers = [observer for observer in (counter, collector, recorder) if observer is not None]
        pass_recorder = recorder_of(model, observers)
        contents = None if self._summary is None else contents_of(model, pass_recorder.structure)
        with contextlib.nullcontext() if counter is None else counter.counting(), pass_recorder.recording():
            output = call(model, self._input)
        trace = pass_recorder.trace
        captures: dict[str, Capture] = {}
        if recorder is not None and self._cam is not None:
            scores = scores_of(output, self._target)
            narrow = trace.narrowed(TRACE_WIDTH, TRACE_WEIGHT_WIDTH).without_dtypes()
            captures["cam_map"] = self._cam.capture_of(Explanation(narrow, scores, recorder.activations(scores)))
        if self._maps is not None and collector is not None:
            if recorder is not None:  # as a pass without gradients gives it, as far as containers can be rebuilt
                output = rebuild(output, lambda item: item.detach() if isinstance(item, torch.Tensor) else item)
            self._observed = trace, collector, output
        if self._summary is not None and contents is not None:
            own = {} if counter is None else counter.own
            observed = SummaryPass(trace.without_dtypes(), own, contents.caches(model))
            captures["model_summary"] = self._summary.captured(contents, observed, is_table_of_pass=False)
        return captures


class CombinedView(Generic[Result_co]):
    """One view of a `CombinedCapture`: it compares, pictures and describes by itself, and captures with the others."""

    def __init__(self, view: View[Result_co], combined: CombinedCapture) -> None:
        self.view, self.model = view.view, getattr(view, "model", None)
        self.compare, self.picture, self.describe = view.compare, view.picture, view.describe
        if hasattr(view, "with_noise"):
            self.with_noise = functools.partial(combined.with_noise, view)
        self._combined, self._counts = combined, Counter[int]()  # of captures, by version of sketches

    def set_shadow(self, shadow: Shadow) -> None:
        """Say it for all views, since the first of them makes the pass."""
        self._combined.set_shadow(shadow)

    def capture(self) -> Capture[Result_co]:
        self._counts[sketch_version()] += 1
        capture = self._combined.capture(self._counts[sketch_version()] - 1, self.view)
        return cast("Capture[Result_co]", capture)  # captures are kept by the views' names
