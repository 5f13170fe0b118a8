"""What excites a filter most: an input that is climbed to from a fixed start, with the curve of the climb."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pytest_modelviz.attribution.noise import with_measured_noise
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.forward import prepared, require_model
from pytest_modelviz.probe.layer_names import find_layer
from pytest_modelviz.probe.modules import class_name
from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.trace_arrays import captured_arrays
from pytest_modelviz.text.strict_json import JsonObject
from pytest_modelviz.views.activation_maximization import compare as comparison
from pytest_modelviz.views.activation_maximization import pictures
from pytest_modelviz.views.activation_maximization.ascent import Ascent, ascend
from pytest_modelviz.views.activation_maximization.records import (
    ActivationMaximization,
    Climb,
    climb_rows,
    gradient_key,
    stored_climb,
)
from pytest_modelviz.views.activation_maximization.starts import require_filters, require_number, start_of
from pytest_modelviz.views.coverage_notes import coverage_notes

_SIDE = 72  # of the stored pictures: four filters stay below 100 kB


class ActivationMaximizationView:
    """The view of `activation_maximization`; `ActivationMaximizationFixture` says what its arguments mean."""

    view = "activation_maximization"
    compare = staticmethod(comparison.compare)
    picture = staticmethod(pictures.picture)
    describe = staticmethod(pictures.describe)

    def __init__(
        self,
        model: torch.nn.Module,
        layer: str,
        *,
        filters: Sequence[int] | int = (0,),
        steps: int = 20,
        seed: int = 0,
        learning_rate: float = 0.5,
        input_size: Sequence[int] | None = None,
        image: torch.Tensor | None = None,
    ):
        require_model(model)
        find_layer(model, layer)
        self.model, self._layer, self._seed = model, layer, seed
        self._filters = require_filters(filters)
        self._steps = int(require_number("steps", steps, least=1, whole=True))
        require_number("seed", seed, least=0, whole=True)
        self._rate = require_number("learning_rate", learning_rate, least=0)
        self._start, self._of_image = start_of(model, input_size, image, seed), image is not None

    def capture(self) -> Capture[ActivationMaximization]:
        with prepared(self.model, self._start[None], grad=True) as model:
            ascent = self._ascend(model, self._start[None])
        gradients = _climb(ascent).gradients
        ascent.trace.gradients.update((gradient_key(at), record) for at, record in enumerate(gradients))
        arrays: dict[str, Array] = {"curves": ascent.curves}
        pictures, scales = _small(ascent.images)
        if pictures is not None:
            arrays |= {"images": pictures, "scales": scales}
        result = ActivationMaximization(ascent.images.numpy(), ascent.curves, self._layer, self._filters)
        notes = (*coverage_notes(self.model, ascent.trace), *_quality_notes(ascent, self._filters))
        around = environment(self.model, self._start)
        captured = captured_arrays(ascent.trace, arrays)
        return Capture(self.view, self._facts(ascent), captured, around, result, notes, tuple(ascent.trace.modules))

    def with_noise(self, capture: Capture[ActivationMaximization]) -> Capture[ActivationMaximization]:
        """The same capture with how far rounding may take its climb."""
        own = stored_climb(capture)

        def differences(ascent: Ascent) -> list[float]:
            return comparison.climb_noise(own, _climb(ascent))

        start = self._start[None]
        return with_measured_noise(capture, self.model, start, self._ascend, differences, runs_often=True)

    def _ascend(self, model: torch.nn.Module, start: torch.Tensor) -> Ascent:
        return ascend(model, self._layer, self._filters, start[0], self._steps, self._rate)

    def _facts(self, ascent: Ascent) -> JsonObject:
        return {
            "model": class_name(self.model),
            "layer": self._layer,
            "call": ascent.call,
            "filters": list(self._filters),
            "steps": self._steps,
            "seed": None if self._of_image else self._seed,
            "learning_rate": self._rate,
            "input": list(self._start.shape),
            "precision": ascent.precision,
            "climbs": climb_rows(self._filters, ascent.curves),
            **({"smooth": True} if ascent.smooth else {}),
        }


def _climb(ascent: Ascent) -> Climb:
    gradients = tuple(map(record_tensor, ascent.gradients))
    return Climb(ascent.curves, gradients, ascent.trace)


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


def _quality_notes(ascent: Ascent, filters: Sequence[int]) -> tuple[str, ...]:
    """What is odd about the climb by itself, whatever the baseline says."""
    notes = []
    dead = [str(number) for number, row in zip(filters, ascent.gradients, strict=True) if not row.any()]
    if dead:
        notes.append(f"nothing excites filter {', '.join(dead)} from this start: the gradient is zero there")
    if not np.isfinite(ascent.curves).all() or not torch.isfinite(ascent.images).all():
        notes.append("the climb holds values that are not finite")
    return tuple(notes)
