"""What excites a filter most: an input that is climbed to from a fixed start, with the way there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.compare.readable import require_rows
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.exhibits import Curve, Exhibit
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.forward import find_layer, prepared, require_model
from pytest_modelviz.probe.modules import class_name
from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.records.verdict import Finding, Verdict
from pytest_modelviz.views.activation_maximization.ascent import Ascent, ascend
from pytest_modelviz.views.activation_maximization.compare import Climb, compare_climbs, gradient_key
from pytest_modelviz.views.activation_maximization.pictures import inputs_composite, inputs_picture
from pytest_modelviz.views.activation_maximization.starts import require_filters, require_number, start_of
from pytest_modelviz.views.limits import limits
from pytest_modelviz.views.numbers import rounded, told

STEPS, LEARNING_RATE = 20, 0.5
_SIDE = 72  # of the pictures that are kept: four filters stay below 100 kB
_ASKED = ("layer", "filters", "steps", "seed", "learning_rate", "input", "call", "precision")


@dataclass(frozen=True)
class ActivationMaximization:
    """What `activation_maximization` returns.

    `images` is float32 (filters, *input), `curves` float64 (steps + 1, filters): the filter's mean activation before
    the first step and after each. Both are in the order of `filters`.
    """

    images: npt.NDArray[np.float32]
    curves: npt.NDArray[np.float64]
    layer: str
    filters: tuple[int, ...]


class ActivationMaximizationView:
    """`activation_maximization(model, layer, *, filters=(0,), steps=20, seed=0, ...)`."""

    view = "activation_maximization"

    def __init__(
        self,
        model: torch.nn.Module,
        layer: str,
        *,
        filters: Sequence[int] | int = (0,),
        steps: int = STEPS,
        seed: int = 0,
        learning_rate: float = LEARNING_RATE,
        input_size: Sequence[int] | None = None,
        image: torch.Tensor | None = None,
    ):
        require_model(model)
        find_layer(model, layer)
        self._model, self._layer, self._seed = model, layer, seed
        self._filters = require_filters(filters)
        self._steps = int(require_number("steps", steps, least=1, whole=True))
        require_number("seed", seed, least=0, whole=True)
        self._rate = require_number("learning_rate", learning_rate, least=0)
        self._start, self._of_image = start_of(model, input_size, image, seed), image is not None

    @property
    def model(self) -> torch.nn.Module:
        return self._model

    def capture(self) -> Capture:
        with prepared(self._model, self._start[None], grad=True) as model:
            found = ascend(model, self._layer, self._filters, self._start, self._steps, self._rate)
        for at, one in enumerate(found.gradients):
            found.trace.gradients[gradient_key(at)] = record_tensor(one, statistics=False)
        arrays: dict[str, Array] = {
            "curves": found.curves,
            **pack_trace(found.trace),
        }
        pictures, scales = _small(found.images)
        if pictures is not None:
            arrays |= {"images": pictures, "scales": scales}
        images = found.images.numpy()
        result = ActivationMaximization(images, found.curves, self._layer, self._filters)
        notes = (*limits(self._model, found.trace), *_doubts(found, self._filters))
        around = environment(self._model, self._start)
        return Capture(self.view, self._facts(found), arrays, around, result, notes, tuple(found.trace.modules))

    def _facts(self, found: Ascent) -> dict[str, Any]:
        return {
            "model": class_name(self._model),
            "layer": self._layer,
            "call": found.call,
            "filters": list(self._filters),
            "steps": self._steps,
            "seed": None if self._of_image else self._seed,
            "learning_rate": self._rate,
            "input": list(self._start.shape),
            "precision": found.precision,
            "climbs": _rows(self._filters, found.curves),
        }

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        before, after = (_climb(capture, tolerances.ignored) for capture in (baseline, actual))
        require_rows(baseline.facts.get("climbs"), _rows(baseline.facts["filters"], before.curves), "filter")
        changed = [kind for kind in _ASKED if baseline.facts.get(kind) != actual.facts.get(kind)]
        findings = [
            Finding("asked", what=kind, before=str(baseline.facts.get(kind)), after=str(actual.facts.get(kind)))
            for kind in changed
        ]
        answered = {"call", "precision"}  # by the model; the rest was asked by the caller
        if set(changed) - answered:
            return Verdict(False, 1, 1, math.inf, 0.0, None, None, tuple(findings))
        verdict = compare_climbs(before, after, findings, actual.facts, tolerances.of(self._layer))
        if verdict.matched and findings:  # what climbs in another precision is no measure of this climb
            return Verdict(False, 1, 1, math.inf, 0.0, findings=tuple(findings))
        return verdict

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        layer, filters = str(actual.facts["layer"]), actual.facts["filters"]
        labels = [f"filter {one} of {layer or 'the model'}" for one in filters]
        ends = [f"{row['start']} to {row['end']}" for row in actual.facts["climbs"].values()]
        after = _images(actual)
        if baseline is None:
            return [] if after is None else [inputs_picture(labels, [f"mean activation {one}" for one in ends], after)]
        exhibits: list[Exhibit] = []
        before = _images(baseline)
        if after is not None:
            exhibits.append(inputs_composite(f"{layer}{told(verdict)}", labels, before, after))
        old, new = _climb(baseline).curves, _climb(actual).curves
        if old.shape == new.shape:
            exhibits += [
                Curve(label, {"baseline": one.tolist(), "actual": two.tolist()})
                for label, one, two in zip(labels, old.T, new.T, strict=True)
            ]
        return exhibits

    def describe(self, actual: Capture) -> str:
        rows = actual.facts["climbs"].items()
        return "\n".join(f"filter {name}: {', '.join(f'{k} {v}' for k, v in row.items())}" for name, row in rows)


def _rows(filters: Sequence[int], curves: npt.NDArray[np.float64]) -> dict[str, dict[str, float | str]]:
    return {
        str(number): {
            "start": rounded(curve[0], 3),
            "end": rounded(curve[-1], 3),
            "highest": rounded(np.max(curve), 3),
        }
        for number, curve in zip(filters, curves.T, strict=True)
    }


def _small(images: torch.Tensor) -> tuple[Array | None, Array]:
    """Images (n, 1 or 3, h, w) as bytes (n, side, side, 1 or 3) between mean -/+ 3 standard deviations, and those."""
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        return None, np.zeros(0)
    small = torch.nan_to_num(images.double(), posinf=0.0, neginf=0.0)
    factor = _SIDE / max(images.shape[2:])
    if factor < 1:
        size = [max(1, round(side * factor)) for side in images.shape[2:]]
        small = torch.nn.functional.interpolate(small, size, mode="bilinear", antialias=True)
    mean, reach = small.mean((1, 2, 3)), 3 * small.flatten(1).std(1, unbiased=False)
    reach = torch.where(reach > 0, reach, torch.ones_like(reach))
    unit = (small - (mean - reach).view(-1, 1, 1, 1)) / (2 * reach).view(-1, 1, 1, 1)
    pixels = (unit.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return pixels.numpy().copy(), torch.stack([mean - reach, mean + reach], 1).numpy()


def _images(capture: Capture) -> npt.NDArray[np.uint8] | None:
    """The pictures (n, h, w, 1 or 3), None where the input is no image; raises UnreadableBaselineError."""
    stored = capture.arrays.get("images")
    if stored is None:
        return None
    if stored.dtype != np.uint8 or stored.ndim != 4 or stored.shape[3] not in (1, 3) or not stored.size:
        raise UnreadableBaselineError("its pictures are damaged")
    return stored.astype(np.uint8, copy=False)


def _climb(capture: Capture, ignored: Sequence[str] = ()) -> Climb:
    curves, filters, steps = capture.arrays.get("curves"), capture.facts.get("filters"), capture.facts.get("steps")
    if curves is None or curves.dtype != np.float64 or not isinstance(filters, list) or not isinstance(steps, int):
        raise UnreadableBaselineError("it holds no climb")
    if not curves.size or curves.shape != (steps + 1, len(filters)):
        raise UnreadableBaselineError("its climb is damaged")
    trace = stored_trace(capture.arrays, ignored)
    keys = [gradient_key(at) for at in range(len(filters))]
    if not trace.gradients.keys() >= set(keys):
        raise UnreadableBaselineError("it does not hold the gradient of every filter")
    return Climb(curves.astype(np.float64), tuple(trace.gradients[key] for key in keys), trace)


def _doubts(found: Ascent, filters: Sequence[int]) -> tuple[str, ...]:
    """What is odd about the climb by itself, whatever the baseline says."""
    notes = []
    dead = [str(one) for one, row in zip(filters, found.gradients, strict=True) if not row.any()]
    if dead:
        notes.append(f"nothing excites filter {', '.join(dead)} from this start: the gradient is zero there")
    if not np.isfinite(found.curves).all() or not torch.isfinite(found.images).all():
        notes.append("the climb holds values that are not finite")
    return tuple(notes)
