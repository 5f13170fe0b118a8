"""A short training as plain data: its scalars step by step, the parameters' gradients, and how each step moved them.

The recorder makes it, a capture holds it as arrays and, in few digits, as the text of a baseline; two are compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.norms import row_norms
from pytest_modelviz.text.strict_json import parse_json
from pytest_modelviz.views.captions import rounded

Values: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.int64]
_Scalar = TypeVar("_Scalar", bound=np.generic)

BINS = 30
GRADIENT_NORM = "gradient norm"
MOST_STEPS = 100_000
_CURVE = "curve."
_NAMES, _GRADIENTS, _UPDATES = "parameters.names", "parameters.gradients", "parameters.updates"
_MOVES = "parameters.moves"
_EDGES, _COUNTS = "histograms.edges", "histograms.counts"


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


@dataclass(frozen=True)
class Training:
    """A training of some steps; without a model there are no parameters.

    Attributes:
        scalars: names -> curves, float64 (steps,).
        parameters: names.
        gradients: float64 (steps, parameters), the norm of each parameter's gradient as it was last accumulated in a
            step, 0 where there was none.
        updates: float64 (steps, parameters), how far each step moved each parameter.
        moves: float64 (3, steps, parameters), more of that: `along`, `sizes` and `rounding`.
        ranges: float64 (2, parameters, 2), the lowest and the highest finite value of each parameter after the last
            step, and of its gradient in it; zero where there is none.
        counts: int64 (2, parameters, BINS), how many values are in equal bins between them.

    """

    scalars: Mapping[str, Values]
    parameters: tuple[str, ...]
    gradients: Values
    updates: Values
    moves: Values
    ranges: Values
    counts: Counts

    @property
    def steps(self) -> int:
        return len(next(iter(self.scalars.values())))

    @property
    def along(self) -> Values:
        """How far each step moved each parameter along itself, (steps, parameters), rounding left out.

        It is negative towards zero: what weight decay does, and what the length of a move hardly shows.
        """
        return np.asarray(self.moves[0])

    @property
    def sizes(self) -> Values:
        """Each parameter's norm before each step, (steps, parameters)."""
        return np.asarray(self.moves[1])

    @property
    def rounding(self) -> Values:
        """The norm of the move of those elements whose gradient is mere rounding, (steps, parameters).

        An optimiser that scales each element by itself makes a full step of it, in any direction.
        """
        return np.asarray(self.moves[2])

    @property
    def gradient(self) -> Values:
        """The norm of the whole gradient, (steps,)."""
        return row_norms(self.gradients)

    @property
    def curves(self) -> dict[str, Values]:
        """The scalars and, with a model, the norm of its whole gradient under a name that is free; each (steps,)."""
        curves = dict(self.scalars)
        if self.parameters:
            curves[GRADIENT_NORM if GRADIENT_NORM not in curves else f"{GRADIENT_NORM} (model)"] = self.gradient
        return curves

    def by_parameter(self, table: Values) -> dict[str, Values]:
        """A table (steps, parameters) as a curve for each parameter, (steps,)."""
        return {name: table[:, at] for at, name in enumerate(self.parameters)}

    def within(self, other: Training) -> Training:
        """The steps and scalars of this training that the other has too."""
        steps = slice(other.steps)
        scalars = {name: values[steps] for name, values in self.scalars.items() if name in other.scalars}
        gradients, updates, moves = self.gradients[steps], self.updates[steps], self.moves[:, steps]
        return replace(self, scalars=scalars, gradients=gradients, updates=updates, moves=moves)

    def in_order_of(self, names: tuple[str, ...]) -> Training:
        """The curves with the parameters in the order of `names`, which are all of them."""
        order = [self.parameters.index(name) for name in names]
        gradients, updates, moves = (table[..., order] for table in (self.gradients, self.updates, self.moves))
        return replace(self, parameters=names, gradients=gradients, updates=updates, moves=moves)

    def step_rows(self) -> dict[str, dict[str, float | str]]:
        """For people, each step's scalars and the norm of the whole gradient."""
        curves = self.curves
        return {
            str(step): {name: rounded(float(values[step]), 3) for name, values in curves.items()}
            for step in range(self.steps)
        }

    def parameter_rows(self) -> dict[str, dict[str, list[float | str]]]:
        """For people, gradient and update of each parameter at the first step and at the last."""
        tables = {"gradient": self.gradients, "update": self.updates}
        return {
            name: {key: [rounded(float(table[step, at]), 3) for step in (0, -1)] for key, table in tables.items()}
            for at, name in enumerate(self.parameters)
        }

    def to_arrays(self) -> dict[str, Array]:
        """Pack into arrays; those of the parameters only where there are any."""
        arrays: dict[str, Array] = {f"{_CURVE}{name}": values for name, values in self.scalars.items()}
        if self.parameters:
            arrays[_NAMES] = np.frombuffer(json.dumps(list(self.parameters)).encode(), np.uint8)
            arrays[_GRADIENTS], arrays[_UPDATES] = self.gradients, self.updates
            with np.errstate(over="ignore"):
                arrays[_MOVES] = self.moves.astype(np.float32)
            arrays[_EDGES], arrays[_COUNTS] = self.ranges, self.counts
        return arrays

    @classmethod
    def of_scalars(cls, scalars: Mapping[str, Values]) -> Training:
        """A training without a model."""
        nothing = np.zeros((3, len(next(iter(scalars.values()))), 0))
        return cls(scalars, (), nothing[0], nothing[0], nothing, np.zeros((2, 0, 2)), np.zeros((2, 0, BINS), np.int64))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Training:
        """Unpack what `to_arrays` made; raises UnreadableBaselineError for anything else."""
        scalars = {
            key.removeprefix(_CURVE): np.asarray(values, np.float64)
            for key, values in arrays.items()
            if key.startswith(_CURVE) and values.dtype == np.float64 and values.ndim == 1
        }
        lengths = {len(values) for values in scalars.values()}
        if len(lengths) != 1 or len(scalars) != sum(key.startswith(_CURVE) for key in arrays):
            raise UnreadableBaselineError("its curves are damaged")
        (steps,) = lengths
        if not 0 < steps <= MOST_STEPS:
            raise UnreadableBaselineError(f"its curves have {steps} steps")
        if _NAMES not in arrays:
            return cls.of_scalars(scalars)
        if _MOVES not in arrays:
            raise UnreadableBaselineError(
                "it does not say how its steps moved each parameter: an earlier version recorded it, or something was "
                "cut out of it. Record it anew"
            )
        names = _names(arrays[_NAMES])
        count = len(names)
        ranges = _shaped(arrays, _EDGES, np.float64, (2, count, 2))
        counts = _shaped(arrays, _COUNTS, np.int64, (2, count, BINS))
        if not np.isfinite(ranges).all() or (counts < 0).any():
            raise UnreadableBaselineError("its histograms are damaged")
        gradients, updates = (_shaped(arrays, key, np.float64, (steps, count)) for key in (_GRADIENTS, _UPDATES))
        moves = _shaped(arrays, _MOVES, np.float32, (3, steps, count)).astype(np.float64)
        return cls(scalars, names, gradients, updates, moves, ranges, counts)


def _names(packed: Array) -> tuple[str, ...]:
    try:
        names = parse_json(packed.tobytes())
    except (ValueError, RecursionError) as error:
        raise UnreadableBaselineError(f"its parameters' names are damaged ({error})") from error
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UnreadableBaselineError("its parameters' names are damaged")
    if len(set(names)) != len(names):
        raise UnreadableBaselineError("it names a parameter twice")
    return tuple(names)


def _shaped(
    arrays: Mapping[str, Array], key: str, dtype: type[_Scalar], shape: tuple[int, ...]
) -> npt.NDArray[_Scalar]:
    values = arrays.get(key)
    if values is None or values.dtype != dtype or values.shape != shape:
        raise UnreadableBaselineError(f"its {key} are damaged")
    return values.view(dtype)
