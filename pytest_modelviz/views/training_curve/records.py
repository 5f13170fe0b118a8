"""A short training as plain data: its scalars step by step, the parameters' gradients, and how each step moved them.

The recorder makes it, a capture holds it as arrays, and two of them are compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Array
from pytest_modelviz.text.strict_json import parse_json

Values: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.int64]

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


def _empty(*shape: int) -> Values:
    return np.zeros(shape, np.float64)


@dataclass(frozen=True)
class Bins:
    """How the finite values of the parameters are distributed after the last step, or those of their gradients in it.

    `ranges` (parameters, 2) are the lowest and the highest value, `counts` (parameters, BINS) those in equal bins
    between them; all zero where there is none.
    """

    ranges: Values = field(default_factory=lambda: _empty(0, 2))
    counts: Counts = field(default_factory=lambda: np.zeros((0, BINS), np.int64))


class Moves(NamedTuple):
    """More of how each step moved each parameter, each (steps, parameters).

    `rounding` is the norm of the move of those elements whose gradient is mere rounding: an optimiser that scales each
    element by itself makes a full step of it, in any direction. `along` is how far the others moved along the
    parameter, negative towards zero: what weight decay does, and what the length of a move hardly shows. `size` is the
    parameter's norm before the step.
    """

    along: Values
    size: Values
    rounding: Values


@dataclass(frozen=True)
class Training:
    """`scalars` maps names to curves, float64 (steps,).

    `gradients` and `updates` are float64 (steps, parameters): the norm of each parameter's gradient as it was last
    accumulated in a step (0 where there was none), and how far the step moved the parameter. `moves` says more
    of the latter; None in files that are older than it. Without a model there are no `parameters`.
    """

    scalars: Mapping[str, Values]
    parameters: tuple[str, ...] = ()
    gradients: Values = field(default_factory=lambda: _empty(0, 0))
    updates: Values = field(default_factory=lambda: _empty(0, 0))
    values: Bins = field(default_factory=Bins)
    pulls: Bins = field(default_factory=Bins)
    moves: Moves | None = None

    @property
    def steps(self) -> int:
        return len(next(iter(self.scalars.values())))

    @property
    def gradient(self) -> Values:
        """The norm of the whole gradient, (steps,)."""
        return np.asarray(np.linalg.norm(self.gradients, axis=1), np.float64)

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
        scalars = {name: values[: other.steps] for name, values in self.scalars.items() if name in other.scalars}
        return replace(
            self,
            scalars=scalars,
            gradients=self.gradients[: other.steps],
            updates=self.updates[: other.steps],
            moves=None if self.moves is None else Moves(*(table[: other.steps] for table in self.moves)),
        )

    def in_order_of(self, names: tuple[str, ...]) -> Training:
        """The same with its parameters in the order of `names`, which are all of them."""
        if self.parameters == names:
            return self
        order = [self.parameters.index(name) for name in names]
        return replace(
            self,
            parameters=names,
            gradients=self.gradients[:, order],
            updates=self.updates[:, order],
            moves=None if self.moves is None else Moves(*(table[:, order] for table in self.moves)),
        )

    def to_arrays(self) -> dict[str, Array]:
        """Pack into arrays; those of the parameters only where there are any."""
        arrays: dict[str, Array] = {f"{_CURVE}{name}": values for name, values in self.scalars.items()}
        if self.parameters:
            arrays[_NAMES] = np.frombuffer(json.dumps(list(self.parameters)).encode(), np.uint8)
            arrays[_GRADIENTS], arrays[_UPDATES] = self.gradients, self.updates
            if self.moves is not None:
                with np.errstate(over="ignore"):
                    arrays[_MOVES] = np.stack(self.moves).astype(np.float32)
            arrays[_EDGES] = np.stack([self.values.ranges, self.pulls.ranges])
            arrays[_COUNTS] = np.stack([self.values.counts, self.pulls.counts])
        return arrays

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
            return cls(scalars)
        names = _names(arrays[_NAMES])
        count = len(names)
        edges = _shaped(arrays, _EDGES, np.float64, (2, count, 2))
        counts = _shaped(arrays, _COUNTS, np.int64, (2, count, BINS))
        if not np.isfinite(edges).all() or (counts < 0).any():
            raise UnreadableBaselineError("its histograms are damaged")
        return cls(
            scalars,
            names,
            _shaped(arrays, _GRADIENTS, np.float64, (steps, count)),
            _shaped(arrays, _UPDATES, np.float64, (steps, count)),
            Bins(edges[0], counts[0]),
            Bins(edges[1], counts[1]),
            _moves(arrays, (steps, count)),
        )


def _moves(arrays: Mapping[str, Array], shape: tuple[int, int]) -> Moves | None:
    if _MOVES not in arrays:
        return None
    return Moves(*_shaped(arrays, _MOVES, np.float32, (3, *shape)).astype(np.float64))


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


def _shaped(arrays: Mapping[str, Array], key: str, dtype: type[np.generic], shape: tuple[int, ...]) -> npt.NDArray:  # type: ignore[type-arg]  # of the dtype asked for
    values = arrays.get(key)
    if values is None or values.dtype != dtype or values.shape != shape:
        raise UnreadableBaselineError(f"its {key} are damaged")
    return values
