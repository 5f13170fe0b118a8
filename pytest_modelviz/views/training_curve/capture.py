"""How a model learns: a short seeded run of the user's own training step, its scalars, gradients and updates."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch

from pytest_modelviz.compare.tensors import weight_difference
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.configuration import Describer
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.forward import require_model
from pytest_modelviz.probe.modules import class_name, observed_modules, qualified_name, tie_groups, unsaved_buffers
from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.probe.weights import Weights
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.sketch_version import EARLIER_VERSION, sketched_as
from pytest_modelviz.records.structure import REWRITTEN, ModelStructure
from pytest_modelviz.records.tensors import WEIGHT_WIDTH
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.text.strict_json import JsonValue
from pytest_modelviz.views.training_curve import compare as comparison
from pytest_modelviz.views.training_curve import pictures
from pytest_modelviz.views.training_curve.optimizer_comparison import option_names
from pytest_modelviz.views.training_curve.optimizer_recorder import OptimizerRecorder, Optimizers, require_optimizers
from pytest_modelviz.views.training_curve.optimizer_records import optimizers_from_json
from pytest_modelviz.views.training_curve.recorder import Step, train
from pytest_modelviz.views.training_curve.records import MOST_STEPS, Training, TrainingCurve


class TrainingCurveView:
    """The view of `training_curve`; `TrainingCurveFixture` says what its arguments mean.

    It trains the model: what it learns stays learned.
    """

    view = "training_curve"
    cause_texts: ClassVar = comparison.CAUSE_TEXTS
    compare = staticmethod(comparison.compare)
    picture = staticmethod(pictures.picture)
    describe = staticmethod(pictures.describe)

    def __init__(
        self,
        step: Step,
        *,
        steps: int = 20,
        model: torch.nn.Module | None = None,
        optimizer: Optimizers | None = None,
        seed: int = 0,
    ):
        if not callable(step) or isinstance(step, (torch.nn.Module, type)):
            raise ModelvizError(
                f"step takes a function that does one training step, step(i) -> loss, not a {_kind(step)}"
            )
        if model is not None:
            require_model(model)
        if optimizer is not None:
            require_optimizers(optimizer)
        self._step, self.model = step, model
        self._optimizer = optimizer
        self._steps = _require_whole("steps", steps, 1, MOST_STEPS)
        self._seed = _require_whole("seed", seed, 0, 2**32 - 1)

    def capture(self) -> Capture[TrainingCurve]:
        # a training cannot be repeated for a baseline of another version, so it has the sketches of the earlier one
        with sketched_as(EARLIER_VERSION):
            return self._capture()

    def _capture(self) -> Capture[TrainingCurve]:
        # the training may change modules and flags: what it starts from is recorded before
        model = self.model
        structure = None if model is None else _model_before(model)
        around = environment(torch.nn.Module() if model is None else model)
        optimizers = None if self._optimizer is None else OptimizerRecorder(self._optimizer, model, self._step)
        training, dtype = train(self._step, self._steps, model, self._seed, optimizers)
        if structure is not None and model is not None:
            _record_caches(structure, model)
        facts: dict[str, JsonValue] = {
            "model": None if model is None else class_name(model),
            "seed": self._seed,
            "dtype": dtype,
            "steps": training.step_rows(),
            "parameters": training.parameter_rows(),
        }
        if optimizers is not None:
            facts["optimizer"] = [record.to_json() for record in optimizers.records()]
        arrays: dict[str, Array] = {
            **training.to_arrays(),
            **({} if structure is None else pack_trace(ForwardTrace(structure))),
        }
        result = TrainingCurve(
            training.scalars, training.by_parameter(training.gradients), training.by_parameter(training.updates)
        )
        layers = () if structure is None else tuple(structure.modules)
        return Capture(self.view, facts, arrays, around, result, _quality_notes(training), layers, repeatable=False)

    def option_names(self, capture: Capture) -> list[tuple[str, str]]:
        """(class, option) of what a capture has recorded of optimisers, for globs that ignore some."""
        return list(option_names(optimizers_from_json(capture.facts.get("optimizer")) or ()))


def _kind(value: object) -> str:
    return f"class ({value.__name__})" if isinstance(value, type) else type(value).__name__


def _require_whole(name: str, value: int, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise ModelvizError(f"{name} takes a whole number from {low} to {high}, not {value!r}")
    return int(value)


def _model_before(model: torch.nn.Module) -> ModelStructure:
    """The model as it stands before the training."""
    modules = list(observed_modules(model))
    weights, describer = Weights(modules), Describer()
    records = {name: describer.describe(module, weights.names(module)) for name, module in modules}
    return ModelStructure(records, weights.records(), tie_groups(model))


def _record_caches(structure: ModelStructure, model: torch.nn.Module) -> None:
    """Of buffers that no state dict holds and that the training has written, record what they hold after it.

    They are caches and state: what they hold before it is nothing, or left by an earlier call of the same model. They
    are marked as written, so that a baseline's need not be like those of a training that writes them.
    """
    before = dict(structure.weights)
    for name, module in observed_modules(model):
        for local, buffer in unsaved_buffers(module):
            record = structure.modules.get(name)
            if record is None or torch.nn.parameter.is_lazy(buffer):
                continue
            key = record.weights.get(local, qualified_name(name, local))
            after = record_tensor(buffer, WEIGHT_WIDTH)
            if key not in before or weight_difference(before[key], after):
                structure.weights[key] = after
                config = {**record.config, REWRITTEN: "\n".join(sorted({*record.rewritten, local}))}
                structure.modules[name] = replace(record, config=config, weights={**record.weights, local: key})


def _quality_notes(training: Training) -> tuple[str, ...]:
    """What is odd about a training by itself."""
    if not training.parameters:
        return ()
    if not training.updates.any():
        return ("no step changed a parameter of the model: is it the one that is trained?",)
    if not training.gradients.any():
        return ("no gradient was accumulated in the model's parameters: only scalars and updates are compared",)
    return ()
