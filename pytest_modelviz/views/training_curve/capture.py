"""How a model learns: a short seeded run of the user's own training step, its scalars, gradients and updates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from pytest_modelviz.compare.readable import require_rows
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.pictures.exhibits import Curve, Exhibit, Histogram
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.forward import require_model
from pytest_modelviz.probe.modules import Describer, class_name, observed_modules, tie_groups
from pytest_modelviz.probe.weights import Weights
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.structure import ModelStructure
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.records.verdict import Finding, Verdict
from pytest_modelviz.views.numbers import rounded
from pytest_modelviz.views.training_curve.compare import compare_training
from pytest_modelviz.views.training_curve.optimizer_records import optimizers_from_json
from pytest_modelviz.views.training_curve.optimizer_state import OptimizerWatch, require_optimizers
from pytest_modelviz.views.training_curve.optimizers import optimizer_findings, option_names
from pytest_modelviz.views.training_curve.pictures import chart
from pytest_modelviz.views.training_curve.recorder import train
from pytest_modelviz.views.training_curve.records import MOST_STEPS, Bins, Training, Values

GRADIENT_NORM = "gradient norm"
_MOST_PARAMETERS = 12  # that are shown each by itself, those that parted most


@dataclass(frozen=True)
class TrainingCurve:
    """What `training_curve` returns.

    `scalars` maps the names that the step returned ("loss" for one without a name) to float64 (steps,). `gradients` and
    `updates` map the parameters' names to float64 (steps,): the norm of the gradient as it was last accumulated in each
    step, before any clipping, and how far the step moved the parameter; empty without a model.
    """

    scalars: Mapping[str, Values]
    gradients: Mapping[str, Values]
    updates: Mapping[str, Values]


class TrainingCurveView:
    """`training_curve(step, *, steps=20, model=None, optimizer=None, seed=0)`.

    It trains the model: what it learns stays learned.
    """

    view = "training_curve"

    def __init__(
        self,
        step: Callable[[int], Any],
        *,
        steps: int = 20,
        model: torch.nn.Module | None = None,
        optimizer: Any = None,
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
        self._step, self._model = step, model
        self._optimizer = optimizer
        self._steps = _whole("steps", steps, 1, MOST_STEPS)
        self._seed = _whole("seed", seed, 0, 2**32 - 1)

    @property
    def model(self) -> torch.nn.Module | None:
        return self._model

    def capture(self) -> Capture:
        # the training may change modules and flags: what it starts from is looked at before
        model = self._model
        structure = None if model is None else _start(model)
        around = environment(torch.nn.Module() if model is None else model)
        optimizers = None if self._optimizer is None else OptimizerWatch(self._optimizer, model, self._step)
        training, dtype = train(self._step, self._steps, model, self._seed, optimizers)
        facts: dict[str, Any] = {
            "model": None if model is None else class_name(model),
            "seed": self._seed,
            "dtype": dtype,
            "steps": _rows(training),
            "parameters": _parameter_rows(training),
        }
        if optimizers is not None:
            facts["optimizer"] = [record.to_json() for record in optimizers.records()]
        arrays: dict[str, Array] = {
            **training.to_arrays(),
            **({} if structure is None else pack_trace(ForwardTrace(structure))),
        }
        result = TrainingCurve(
            training.scalars, _by_name(training, training.gradients), _by_name(training, training.updates)
        )
        layers = () if structure is None else tuple(structure.modules)
        return Capture(self.view, facts, arrays, around, result, _doubts(training), layers, repeatable=False)

    def option_names(self, capture: Capture) -> list[tuple[str, str]]:
        """(class, option) of what a capture has recorded of optimisers, for globs that ignore some."""
        return list(option_names(optimizers_from_json(capture.facts.get("optimizer")) or ()))

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        if baseline.facts.get("seed") != actual.facts.get("seed"):
            before, after = (str(one.facts.get("seed")) for one in (baseline, actual))
            return Verdict(False, 1, 1, math.inf, 0.0, findings=(Finding("seed", "", "seed", before, after),))
        dtypes = [one.facts.get("dtype") for one in (baseline, actual)]
        if not all(isinstance(dtype, str) for dtype in dtypes):
            raise UnreadableBaselineError("it does not say in which dtype it was trained")
        one, other = (Training.from_arrays(capture.arrays) for capture in (baseline, actual))
        require_rows(baseline.facts.get("steps"), _rows(one), "step")
        require_rows(baseline.facts.get("parameters"), _parameter_rows(one), "parameter")
        optimizers = [optimizers_from_json(capture.facts.get("optimizer")) for capture in (baseline, actual)]
        verdict = compare_training(
            one,
            other,
            _stored_start(baseline, one, tolerances),
            _stored_start(actual, other, tolerances),
            optimizer_findings(optimizers[0], optimizers[1], tolerances.ignored),
            dtype=str(dtypes[1]),
            tolerances=tolerances,
        )
        if dtypes[0] == dtypes[1]:
            return verdict
        finding = Finding("dtype", what="dtype", before=str(dtypes[0]), after=str(dtypes[1]))
        if verdict.matched:
            return Verdict(False, verdict.compared, 0, math.inf, 0.0, findings=(finding,))
        return replace(verdict, findings=(*verdict.findings, finding))

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        after = Training.from_arrays(actual.arrays)
        if baseline is None:
            return [chart("chart", {name: {"actual": values} for name, values in _curves(after).items()})]
        before = Training.from_arrays(baseline.arrays).within(after)
        both = _both(_curves(before), _curves(after))
        parted = _most_parted(before, after)
        own = _both(_by_name(before, before.gradients), _by_name(after, after.gradients))
        # TensorBoard keeps one kind of thing a tag: scalars have folders that neither histograms nor pictures are in
        curves = {f"curves/{name}": pair for name, pair in both.items()}
        curves |= {f"gradient norms/{name}": own[name] for name in parted}
        exhibits: list[Exhibit] = [chart("chart", both)]
        exhibits += [
            Curve(label, {series: values.tolist() for series, values in pair.items()}) for label, pair in curves.items()
        ]
        for label, bins in (("parameters", "values"), ("gradients", "pulls")):
            for name in parted:
                trainings = {"baseline": before, "actual": after}
                series = {key: _distribution(one, getattr(one, bins), name) for key, one in trainings.items()}
                found = {key: one for key, one in series.items() if one is not None}
                if found:
                    exhibits.append(Histogram(f"{label}/{name}", found, after.steps - 1))
        return exhibits

    def describe(self, actual: Capture) -> str:
        return "\n".join(
            f"step {step}: " + ", ".join(f"{name} {value}" for name, value in row.items())
            for step, row in actual.facts["steps"].items()
        )


def _kind(value: Any) -> str:
    return f"class ({value.__name__})" if isinstance(value, type) else type(value).__name__


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise ModelvizError(f"{name} takes a whole number from {low} to {high}, not {value!r}")
    return int(value)


def _start(model: torch.nn.Module) -> ModelStructure:
    """The model as it stands before the training."""
    modules = list(observed_modules(model))
    weights, describer = Weights(modules), Describer()
    records = {name: describer.describe(module, weights.names(module)) for name, module in modules}
    return ModelStructure(records, weights.records(), tie_groups(model))


def _stored_start(capture: Capture, training: Training, tolerances: Tolerances) -> ModelStructure | None:
    """The model that a training began with; None where it had none. Raises UnreadableBaselineError."""
    return stored_trace(capture.arrays, tolerances.ignored).structure if training.parameters else None


def _doubts(training: Training) -> tuple[str, ...]:
    """What is odd about a training by itself."""
    if not training.parameters:
        return ()
    if not training.updates.any():
        return ("no step changed a parameter of the model: is it the one that is trained?",)
    if not training.gradients.any():
        return ("no gradient was accumulated in the model's parameters: only scalars and updates are compared",)
    return ()


def _curves(training: Training) -> dict[str, Values]:
    """The scalars and, with a model, the norm of its whole gradient under a name that is free."""
    curves = dict(training.scalars)
    if training.parameters:
        curves[GRADIENT_NORM if GRADIENT_NORM not in curves else f"{GRADIENT_NORM} (model)"] = training.gradient
    return curves


def _both(before: Mapping[str, Values], after: Mapping[str, Values]) -> dict[str, dict[str, Values]]:
    return {
        name: {key: one[name] for key, one in (("baseline", before), ("actual", after)) if name in one}
        for name in {**before, **after}
    }


def _most_parted(before: Training, after: Training) -> list[str]:
    """Names of the parameters whose gradients are furthest apart over all steps."""
    one, two = _by_name(before, before.gradients), _by_name(after, after.gradients)

    def distance(name: str) -> float:
        if name not in one or one[name].shape != two[name].shape:
            return math.inf
        with np.errstate(all="ignore"):
            size = float(np.linalg.norm(two[name] - one[name]) / max(float(np.linalg.norm(one[name])), 1e-30))
        return size if math.isfinite(size) else math.inf

    return sorted(two, key=lambda name: -distance(name))[:_MOST_PARAMETERS]


def _by_name(training: Training, table: Values) -> dict[str, Values]:
    return {name: table[:, at] for at, name in enumerate(training.parameters)}


def _distribution(training: Training, bins: Bins, name: str) -> tuple[list[float], list[int]] | None:
    """Edges and counts of one parameter, None where it has no finite values."""
    if name not in training.parameters:
        return None
    at = training.parameters.index(name)
    counts = [int(count) for count in bins.counts[at]]
    low, high = (float(end) for end in bins.ranges[at])
    if low == high:  # as numpy does with equal values
        low, high = low - 0.5, high + 0.5
    edges = 2 * np.linspace(low / 2, high / 2, len(counts) + 1)  # the width itself may be no number
    return ([float(edge) for edge in edges], counts) if sum(counts) else None


def _rows(training: Training) -> dict[str, dict[str, Any]]:
    curves = _curves(training)
    return {
        str(step): {name: rounded(float(values[step]), 3) for name, values in curves.items()}
        for step in range(training.steps)
    }


def _parameter_rows(training: Training) -> dict[str, dict[str, Any]]:
    """Gradient and update of each parameter at the first step and at the last."""
    return {
        name: {
            key: [rounded(float(table[0, at]), 3), rounded(float(table[-1, at]), 3)]
            for key, table in (("gradient", training.gradients), ("update", training.updates))
        }
        for at, name in enumerate(training.parameters)
    }
