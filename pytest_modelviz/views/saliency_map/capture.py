"""Which parts of an input a score depends on: its gradient there, plain and in variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.attribution.scores import Target, require_target
from pytest_modelviz.compare.gradients import compare_gradients
from pytest_modelviz.compare.questions import asked_otherwise
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.forward import prepared, require_model
from pytest_modelviz.probe.modules import class_name
from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.probe.thumbnails import smaller
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.trace import GRADIENT
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.views.limits import doubts_of_target, limits
from pytest_modelviz.views.numbers import rounded, told
from pytest_modelviz.views.packing import packed, unpacked_values
from pytest_modelviz.views.photos import MOST_SHOWN, photos, stored_photo
from pytest_modelviz.views.saliency_map.gradients import Saliency, require_saliency_method, saliency
from pytest_modelviz.views.saliency_map.pictures import Shot, saliency_composite, saliency_picture

_SIDE = 96  # of the pictures' raw material
_PICTURE = "gradient"


@dataclass(frozen=True)
class SaliencyMap:
    """What `saliency_map` returns.

    `gradient` is float32 (maps, *shape of one sample): a map for each sample, or, of a single sample, for each class
    wanted. `saliency` is its largest magnitude over the channels, float32 (maps, height, width) for images; where the
    input is no image, the magnitude itself. `targets` and `predicted` are classes, one a map.
    """

    gradient: npt.NDArray[np.float32]
    saliency: npt.NDArray[np.float32]
    targets: tuple[int, ...]
    predicted: tuple[int, ...]
    score: float


class SaliencyMapView:
    """`saliency_map(model, input_data, *, target=None, method="gradient")`."""

    view = "saliency_map"

    def __init__(self, model: torch.nn.Module, input_data: Any, *, target: Target = None, method: str = "gradient"):
        require_model(model)
        require_saliency_method(method)
        require_target(target)
        self._model, self._input, self._target, self._method = model, input_data, target, method

    @property
    def model(self) -> torch.nn.Module:
        return self._model

    def capture(self) -> Capture:
        with prepared(self._model, self._input, grad=True) as model:
            seen = saliency(model, self._input, self._target, self._method)
        seen.trace.gradients[GRADIENT] = record_tensor(seen.gradient, statistics=False)
        gradient = seen.gradient.numpy()
        scores = seen.scores
        result = SaliencyMap(gradient, magnitude(gradient), scores.targets, scores.predicted, scores.total)
        facts: dict[str, Any] = {
            "model": class_name(self._model),
            "method": self._method,
            "dtype": seen.dtype,
            "targets": list(scores.targets),
            "predicted": list(scores.predicted),
            "score": rounded(scores.total),
            "peak": rounded(float(np.abs(gradient).max(initial=0.0))),
            "shape": list(gradient.shape),
        }
        arrays: dict[str, Array] = {**pack_trace(seen.trace), **photos(self._input, len(gradient))}
        if scores.explained:
            facts["explained"] = scores.explained
        pictures: dict[str, Any] = {}
        for number, one in enumerate(gradient[:MOST_SHOWN] if gradient.ndim == 4 else ()):
            key = f"{_PICTURE}.{number}"
            arrays[key], exponent = packed(_thumbnail(one))
            pictures[key] = {"exponent": exponent}
        facts["pictures"] = pictures
        notes = (*limits(self._model, seen.trace), *doubts_of_target(scores), *_doubts(self._method, seen))
        around = environment(self._model, self._input)
        return Capture(self.view, facts, arrays, around, result, notes, tuple(seen.trace.modules))

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        # a target that the caller chose is part of the question; one that the model chose is its answer
        asked = {"method", *({"targets"} if self._target is not None else ())}
        kinds = ("method", "dtype", "targets", "predicted", "explained")
        other, findings = asked_otherwise(baseline, actual, kinds, asked)
        if other:
            return other
        parted = [finding for finding in findings if finding.kind in ("targets", "dtype")]
        verdict = compare_gradients(baseline, actual, tolerances, findings if parted else ())
        if verdict.matched or parted:
            return verdict
        explained = [finding for finding in findings if finding.kind == "explained"]
        return replace(verdict, findings=(*explained, *verdict.findings))

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        after = _shots(actual)
        if not after:
            return []
        if baseline is None:
            return [saliency_picture(self._method, _headline(actual), after)]
        return [saliency_composite(self._method, f"{_headline(actual)}{told(verdict)}", _shots(baseline), after)]

    def describe(self, actual: Capture) -> str:
        facts = actual.facts
        return "\n".join(f"{key}: {facts[key]}" for key in ("method", "targets", "predicted", "score", "peak", "shape"))


def magnitude(gradient: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(maps, channels, height, width) -> (maps, height, width); what has another shape keeps it."""
    return np.abs(gradient).max(axis=1) if gradient.ndim == 4 else np.abs(gradient)


def _thumbnail(gradient: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(channels, h, w) -> (4, h, w), no side over 96: three channels (or the first, thrice), and the largest."""
    colours = gradient if len(gradient) == 3 else np.repeat(gradient[:1], 3, axis=0)
    return smaller(np.concatenate([colours, np.abs(gradient).max(axis=0, keepdims=True)]), _SIDE)


def _shots(capture: Capture) -> list[Shot]:
    pages = capture.facts.get("pictures")
    shots = []
    for number, key in enumerate(sorted(pages) if isinstance(pages, dict) else ()):
        stored = capture.arrays.get(key)
        if stored is None or stored.shape[0] != 4 or number >= MOST_SHOWN:
            raise UnreadableBaselineError(f"its picture {key!r} is damaged")
        values = unpacked_values(stored, pages, key, (4, _SIDE, _SIDE))
        shots.append(Shot(values[:3], values[3], stored_photo(capture, number)))
    return shots


def _headline(capture: Capture) -> str:
    target = ", ".join(map(str, capture.facts.get("targets", []))) or "function"
    return f"{capture.facts['method']}, target {target}"


def _doubts(method: str, seen: Saliency) -> tuple[str, ...]:
    """What is odd about a gradient by itself, whatever the baseline says."""
    notes = []
    if method == "guided" and not seen.rectifiers:
        notes.append("no ReLU takes part in this model: guided back-propagation is its plain gradient")
    odd = int((~torch.isfinite(seen.gradient)).sum())
    if odd:
        notes.append(f"{odd} of the gradient's {seen.gradient.numel()} values are not finite")
    elif not bool(seen.gradient.any()):
        notes.append("the gradient is zero everywhere: the score does not change with the input")
    return tuple(notes)
