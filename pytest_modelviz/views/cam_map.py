"""What a model looks at: a class activation map, compared raw and signed at layer resolution."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.capture import Array, Capture
from pytest_modelviz.compare.explained import explained
from pytest_modelviz.compare.maps import map_difference, map_findings
from pytest_modelviz.compare.tolerance import ROUNDING, Tolerances
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.pictures.composite import heat_composite, heat_picture
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.explain import Explanation, NotDifferentiableError, Target, explain, spatial_layers
from pytest_modelviz.probe.modules import class_name, observed_modules
from pytest_modelviz.probe.run import find_layer, prepared, require_model
from pytest_modelviz.probe.structure import tensors
from pytest_modelviz.probe.thumbnails import photo
from pytest_modelviz.verdict import Finding, Verdict
from pytest_modelviz.views.cam_methods import SIGNLESS, Map, normalized_map, raw_map, require_method
from pytest_modelviz.views.limits import limits
from pytest_modelviz.views.photos import MODEL_LABEL, PHOTO, stored_photo

_MOST_TRIED = 8  # layers, from the last one back, until one has a gradient


@dataclass(frozen=True)
class CamMap:
    """What `cam_map` returns.

    `raw` is float32 (batch, h, w), signed, at the layer's resolution; `normalized` float32 (batch, height, width) in
    0..1 at the input's. `targets` are the classes explained, `predicted` the model's own choice, one a sample.
    """

    raw: npt.NDArray[np.float32]
    normalized: npt.NDArray[np.float32]
    layer: str
    targets: tuple[int, ...]
    predicted: tuple[int, ...]
    score: float


def _require_target(target: Any) -> None:
    several = target if isinstance(target, (list, tuple)) else [target]
    for one in several:
        if not (one is None and target is None) and not callable(one) and (isinstance(one, bool) or not _is_index(one)):
            raise ModelvizError(
                f"target takes a class (an integer), one a sample, or functions of one sample's output, not {one!r}"
            )


def _is_index(value: Any) -> bool:
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


class CamMapView:
    """`cam_map(model, input_data, *, target_layer=None, target=None, method="gradcam", reshape_transform=None)`."""

    view = "cam_map"

    def __init__(
        self,
        model: torch.nn.Module,
        input_data: Any,
        *,
        target_layer: str | None = None,
        target: Target = None,
        method: str = "gradcam",
        reshape_transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ):
        require_model(model)
        require_method(method)
        if isinstance(target_layer, torch.nn.Module):
            names = [name for name, module in observed_modules(model) if module is target_layer]
            raise ModelvizError(
                f"target_layer takes a layer's name{', here ' + repr(names[0]) if names else ''}, not the layer itself"
            )
        if target_layer is not None:
            find_layer(model, target_layer)
        _require_target(target)
        self._model, self._input = model, input_data
        self._layer, self._target, self._method = target_layer, target, method
        self._reshape = reshape_transform

    def capture(self) -> Capture:
        with prepared(self._model, self._input, grad=True) as model:
            seen = self._explain(model)
            photograph = photo(self._input)
        raw = raw_map(self._method, seen.activation, seen.gradient)
        arrays: dict[str, Array] = {"map": raw, **seen.trace.to_arrays()}
        if photograph is not None:
            arrays[PHOTO] = photograph
        result = CamMap(
            raw, normalized_map(raw, _image_size(self._input)), seen.layer, seen.targets, seen.predicted, seen.score
        )
        facts = self._facts(seen, raw)
        notes = (*limits(self._model, seen.trace), *_doubts(raw, seen.layer))
        around = environment(self._model, self._input)
        return Capture(self.view, facts, arrays, around, result, notes, tuple(seen.trace.modules))

    def _explain(self, model: torch.nn.Module) -> Explanation:
        if self._layer is not None:
            return explain(model, self._input, self._layer, self._target, self._reshape)
        layers = spatial_layers(model, self._input)
        for layer in layers[:_MOST_TRIED]:
            with contextlib.suppress(NotDifferentiableError):  # an auxiliary head, say
                return explain(model, self._input, layer, self._target, self._reshape)
        return explain(model, self._input, layers[0], self._target, self._reshape)

    def _facts(self, seen: Explanation, raw: Map) -> dict[str, Any]:
        with np.errstate(all="ignore"):
            peak = float(np.abs(raw).max(initial=0.0))
        return {
            "model": class_name(self._model),
            "method": self._method,
            "layer": seen.layer,
            "call": seen.call,
            "dtype": seen.dtype,
            "targets": list(seen.targets),
            "predicted": list(seen.predicted),
            "score": _rounded(seen.score),
            "peak": _rounded(peak),
            "scale": _rounded(float((seen.activation * seen.gradient).abs().sum(1).max())),
            "shape": list(raw.shape),
        }

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        before, after = _map(baseline), _map(actual)
        dtype = str(actual.facts["dtype"])
        allowed = tolerances.of(str(actual.facts["layer"])).explanation(dtype)
        floor = ROUNDING * _number(baseline.facts.get("scale"))
        error = map_difference(before, after, signless=self._method in SIGNLESS, floor=floor)
        findings = [
            Finding(kind, what=kind, before=str(baseline.facts.get(kind)), after=str(actual.facts.get(kind)))
            for kind in ("method", "layer", "call", "targets", "predicted")
            if baseline.facts.get(kind) != actual.facts.get(kind)
        ]
        kinds = {finding.kind for finding in findings}
        # a target that the caller chose is part of the question; one that the model chose is its answer
        asked = kinds & ({"method", "layer", "call"} | ({"targets"} if self._target is not None else set()))
        if error <= allowed and not asked and "targets" not in kinds:
            return Verdict(True, 1, 0, error, allowed)
        if not error <= allowed:
            findings += map_findings(before, after)
        if asked:
            return Verdict(False, 1, 1, math.inf, allowed, None, None, tuple(findings))
        return explained(error, allowed, findings, baseline, actual, tolerances)

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        label = str(actual.facts["layer"]) or MODEL_LABEL
        heat = shown(_map(actual))
        if baseline is None:
            return [heat_picture(label, _headline(actual), heat, stored_photo(actual))]
        before = shown(_map(baseline))
        told = "" if verdict is None else f"   error {verdict.error:.2g}, allowed {verdict.tolerance:.2g}"
        return [
            heat_composite(
                label, f"{_headline(actual)}{told}", (before, stored_photo(baseline)), (heat, stored_photo(actual))
            )
        ]

    def describe(self, actual: Capture) -> str:
        facts = actual.facts
        return "\n".join(f"{key}: {facts[key]}" for key in ("method", "layer", "targets", "predicted", "score", "peak"))


def shown(raw: Map) -> Map:
    """The first sample's map as people see it: negative parts cut, stretched to 0..1, at layer resolution."""
    first = raw[0] if raw.ndim == 3 else raw[0, raw.shape[1] // 2]
    positive = np.maximum(first, 0, dtype=np.float64)
    finite = positive[np.isfinite(positive)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    stretched = positive - low if high <= low else (positive - low) / (high - low)
    return np.asarray(stretched, dtype=np.float32)


def _number(value: Any) -> float:
    """A number out of a stored file, zero where it is something else."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0


def _headline(capture: Capture) -> str:
    facts = capture.facts
    target = ", ".join(map(str, facts.get("targets", []))) or "function"
    return f"{facts['method']} at {facts['layer'] or '(model)'}, target {target}"


def _map(capture: Capture) -> Map:
    raw = capture.arrays.get("map")
    if raw is None or raw.dtype != np.float32 or raw.ndim not in (3, 4) or not raw.size:
        raise UnreadableBaselineError("it holds no map")
    return raw.astype(np.float32, copy=False)


def _image_size(input_data: Any) -> tuple[int, ...] | None:
    """(width, height) of the first image-like input, as OpenCV wants it; (width, height, depth) of a volume."""
    for tensor in tensors(input_data):
        if tensor.dim() in (4, 5):
            return tuple(int(side) for side in reversed(tensor.shape[2:]))
    return None


def _doubts(raw: Map, layer: str) -> tuple[str, ...]:
    """What is odd about a map by itself, whatever the baseline says."""
    where = layer or "the model"
    if not np.isfinite(raw).all():
        return (f"{int((~np.isfinite(raw)).sum())} of the map's {raw.size} values at {where} are not finite",)
    if not raw.any():
        return (f"the map at {where} is empty: the target's score does not depend on any place there",)
    return ()


def _rounded(number: float) -> float | str:
    """Four digits are for people; what JSON has no number for is a word."""
    return float(f"{number:.4g}") if math.isfinite(number) else str(number)
