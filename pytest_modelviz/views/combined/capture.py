"""Several views of one model from as few passes as possible: one forward and, for a map, one backward."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, cast

import torch

from pytest_modelviz.attribution.explain import TRACE_WEIGHT_WIDTH, TRACE_WIDTH, Explanation, Taps
from pytest_modelviz.attribution.scores import scores_of
from pytest_modelviz.attribution.targets import Target
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.probe.containers import rebuilt
from pytest_modelviz.probe.fake import only_shapes
from pytest_modelviz.probe.forward import ModelInput, call, prepared, require_model
from pytest_modelviz.probe.observe import Observer
from pytest_modelviz.probe.purity import untouched
from pytest_modelviz.probe.thumbnails import Album
from pytest_modelviz.records.capture import Capture, Result_co
from pytest_modelviz.records.trace import Call
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.views.base import View
from pytest_modelviz.views.cam_map.capture import CamMap, CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMaps, FeatureMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.model_summary.flops import MultAdds
from pytest_modelviz.views.model_summary.summary import ModelSummary, caches_of, table_without_pass, unsaved_shapes
from pytest_modelviz.views.photos import photos


@dataclass(frozen=True)
class Views:
    """What `modelviz` returns: what each view's own fixture returns, None for those that were not asked for."""

    summary: ModelSummary | None = None
    feature_maps: FeatureMaps | None = None
    cam: CamMap | None = None


class Together:
    """The views that `modelviz` was asked for, None for the others. The second look of one is the second look of all.

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
                "modelviz has nothing to look at: leave summary or feature_maps on, or name a layer in cam"
            )
        if cam is not None and not isinstance(cam, str):
            raise ModelvizError(f"cam takes the name of a layer, not {cam!r}")
        self._model, self._input, self._target, self._layer = model, input_data, target, cam
        self._summary = ModelSummaryView(model, input_data=input_data) if summary else None
        self._maps = FeatureMapsView(model, input_data) if feature_maps else None
        self._cam = CamMapView(model, input_data, target_layer=cam, target=target) if cam is not None else None
        self._looks: list[Mapping[str, Capture]] = []
        self.summary = None if self._summary is None else _Member(self._summary, self)
        self.feature_maps = None if self._maps is None else _Member(self._maps, self)
        self.cam = None if self._cam is None else _Member(self._cam, self)

    def look(self, number: int, view: str) -> Capture:
        """What a view has seen at the first look (0), or at a later one, which is made when it is first asked for."""
        while len(self._looks) <= number:
            self._looks.append(self._look())
        return self._looks[number][view]

    def _look(self) -> dict[str, Capture]:
        if self._summary is not None and self._maps is None and self._cam is None and self._summary.is_on_meta:
            return {"model_summary": self._summary.with_table(table_without_pass)}  # which can do without values
        with prepared(self._model, self._input, grad=self._cam is not None) as model, only_shapes(model):
            if self._summary is None:
                return self._pass(model, None)
            counter = MultAdds(model)
            try:
                with untouched(model, self._input):
                    return self._pass(model, counter)
            except ModelvizError:
                raise
            except Exception as error:
                if not counter.is_to_blame(error):
                    raise
                return self._pass(model, None)

    def _pass(self, model: torch.nn.Module, counter: MultAdds | None) -> dict[str, Capture]:
        album = Album(model, None) if self._maps is not None else None
        taps = Taps([self._layer], self._input) if self._layer is not None else None
        steps = [one.see for one in (album, taps) if one is not None]

        def left(one: Call, module: torch.nn.Module, output: Any) -> Any:
            if counter is not None:
                counter.leave(one, module, output)
            for step in steps:
                output = step(one, module, output)
            return output

        enter, close = (None, None) if counter is None else (counter.enter, counter.close)
        observer = Observer(model, on_enter=enter, on_output=left, on_raise=close)
        before = unsaved_shapes(model)
        with contextlib.nullcontext() if counter is None else counter.counting(), observer.watching():
            output = call(model, self._input)
        trace = observer.trace
        found: dict[str, Capture] = {}
        if taps is not None and self._cam is not None:
            scores = scores_of(output, self._target)
            narrow = trace.narrowed(TRACE_WIDTH, TRACE_WEIGHT_WIDTH)
            found["cam_map"] = self._cam.explained(Explanation(narrow, scores, taps.maps(scores)))
        if self._maps is not None and album is not None:
            output = _detached(output) if taps is not None else output
            found["feature_maps"] = self._maps.captured(trace, album, photos(self._input), output)
        if self._summary is not None:
            table, caches = table_without_pass(model), caches_of(before, unsaved_shapes(model))
            own = {} if counter is None else counter.own
            found["model_summary"] = self._summary.captured(model, trace, own, table, caches)
        return found


class _Member(Generic[Result_co]):
    """One view of several."""

    def __init__(self, inner: View[Result_co], together: Together) -> None:
        self._inner, self._together, self._number = inner, together, 0

    @property
    def view(self) -> str:
        return self._inner.view

    @property
    def model(self) -> torch.nn.Module | None:
        return getattr(self._inner, "model", None)

    def capture(self) -> Capture[Result_co]:
        self._number += 1
        look = self._together.look(self._number - 1, self.view)
        return cast("Capture[Result_co]", look)  # looks are kept by the views' names

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        return self._inner.compare(baseline, actual, tolerances)

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        return self._inner.picture(actual, baseline, verdict)

    def describe(self, actual: Capture) -> str:
        return self._inner.describe(actual)


def _detached(value: Any) -> Any:
    """The output as a pass without gradients gives it, as far as containers can be rebuilt."""
    return rebuilt(value, lambda item: item.detach() if isinstance(item, torch.Tensor) else item)
