"""Run a user's training steps and record scalars, gradients as they are accumulated, and how far parameters move.

No other capture changes a model; this leaves nothing of its own behind.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, SupportsFloat, TypeAlias

import numpy as np
import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.modules import parameters_and_buffers
from pytest_modelviz.probe.plain_numbers import dtype_name
from pytest_modelviz.probe.process import modes_untouched, seeded
from pytest_modelviz.views.training_curve.optimizer_recorder import OptimizerRecorder
from pytest_modelviz.views.training_curve.records import BINS, Training, Values

LOSS = "loss"  # what a scalar is called that has no name
# What a step returns: a loss, or scalars by name; numbers, or tensors of one element.
StepResult: TypeAlias = SupportsFloat | Mapping[str, SupportsFloat]
Step: TypeAlias = Callable[[int], StepResult]
_FAINT = 1e-5  # of the root mean square of a gradient: what is smaller may be rounding


def train(
    step: Step, steps: int, model: torch.nn.Module | None, seed: int, optimizers: OptimizerRecorder | None = None
) -> tuple[Training, str]:
    """Call `step(0)` to `step(steps - 1)`, seeded, with gradients; returns the training and the coarsest dtype.

    `optimizers` are recorded before each step and after the last.
    Random states, modes, flags and global hooks of the process are put back, and the hooks on parameters removed, also
    when a step raises; what it raises is passed on. Raises ModelvizError for what is no scalar.
    """
    recorder = _ParameterRecorder({} if model is None else parameters_and_buffers(model)[0])
    rows: list[dict[str, float]] = []
    dtypes: set[torch.dtype] = set()
    with seeded(seed), torch.inference_mode(False), torch.enable_grad(), modes_untouched():
        for number in range(steps):
            if optimizers is not None:
                optimizers.record()
            with recorder.step(last=number == steps - 1):
                returned = step(number)
            rows.append(_scalars(returned, number, dtypes))
            if set(rows[0]) != set(rows[number]):
                raise ModelvizError(
                    f"step({number}) returned the scalars {_listed(rows[number])}, but step(0) {_listed(rows[0])}: "
                    f"return the same names at every step (NaN for what a step does not have)"
                )
    if optimizers is not None:
        optimizers.record()
    curves = {name: np.array([row[name] for row in rows], np.float64) for name in rows[0]}
    dtypes.update(parameter.dtype for parameter in recorder.parameters.values())
    return recorder.training(curves), _coarsest(dtypes)


class _ParameterRecorder:
    """The parameters of a model during a training, shared ones once."""

    def __init__(self, parameters: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in parameters.items():
            if torch.nn.parameter.is_lazy(parameter):
                raise ModelvizError(
                    f"the parameter {name!r} is not initialised yet: call the model once before training_curve"
                )
            if parameter.is_meta:
                raise ModelvizError(f"the parameter {name!r} is on the meta device, which cannot be trained")
        self.parameters = parameters
        self._rows: list[list[tuple[float, ...]]] = []  # a step each: of each parameter its gradient and its move
        self._histograms: list[list[_Histogram]] = []  # of the parameters after the last step, and of their gradients

    @contextmanager
    def step(self, *, last: bool) -> Iterator[None]:
        """Record a step. A gradient is read when it is accumulated: the step may throw it away at its end."""
        gradients: dict[str, _Gradient] = {}

        def record_gradient(name: str, parameter: torch.Tensor) -> None:
            if parameter.grad is not None:  # else another hook has already used it up
                gradient = numbers(parameter.grad)
                norm = _norm(gradient)
                gradients[name] = _Gradient(norm, _faint(gradient, norm), _histogram(gradient) if last else _NONE)

        handles = {}
        before = {name: numbers(parameter).clone() for name, parameter in self.parameters.items()}
        try:
            for name, parameter in self._trainable():
                handles[name] = parameter.register_post_accumulate_grad_hook(functools.partial(record_gradient, name))
            yield
        finally:
            for handle in handles.values():
                handle.remove()
        for name, parameter in self._trainable():
            if name not in handles:
                record_gradient(name, parameter)  # which the step itself has made trainable
        row: list[tuple[float, ...]] = []
        for name, parameter in self.parameters.items():
            norm, faint, _ = gradients.get(name, _NO_GRADIENT)
            row.append((float(norm), *_move(before[name], numbers(parameter), faint)))
        self._rows.append(row)
        if last:
            parameters = [_histogram(numbers(parameter)) for parameter in self.parameters.values()]
            self._histograms = [parameters, [gradients.get(name, _NO_GRADIENT).histogram for name in self.parameters]]

    def _trainable(self) -> Iterator[tuple[str, torch.Tensor]]:
        yield from ((name, p) for name, p in self.parameters.items() if p.requires_grad and p.is_leaf)

    def training(self, curves: Mapping[str, Values]) -> Training:
        if not self.parameters:
            return Training.of_scalars(curves)
        tables = np.moveaxis(np.array(self._rows, np.float64), -1, 0).copy()  # (5, steps, parameters)
        ranges = np.array([[ends for ends, _ in each] for each in self._histograms], np.float64)
        counts = np.array([[bins for _, bins in each] for each in self._histograms], np.int64)
        return Training(curves, tuple(self.parameters), tables[0], tables[1], tables[2:], ranges, counts)


def numbers(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor's values in one dimension, float32 or float64; of a sparse one those that it holds."""
    tensor = tensor.detach()
    if tensor.layout == torch.sparse_coo:
        tensor = tensor.coalesce().values()
    elif tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    if tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.to(torch.float32)
    return tensor.reshape(-1)


def _norm(values: torch.Tensor) -> torch.Tensor:
    wide = None if values.device.type == "mps" else torch.float64
    scale = torch.ones((), dtype=values.dtype, device=values.device)
    if values.dtype == (wide or values.dtype) and values.numel():  # whose squares may be no numbers
        largest = values.abs().max()
        scale = torch.where((largest > 0) & largest.isfinite(), largest, scale)
        values = values / scale
    norm: torch.Tensor = torch.linalg.vector_norm(values, dtype=wide) * scale
    return norm


_Histogram: TypeAlias = tuple[tuple[float, float], list[int]]  # the lowest value, the highest, and counts
_NONE: _Histogram = (0.0, 0.0), [0] * BINS


class _Gradient(NamedTuple):
    norm: torch.Tensor | float
    faint: torch.Tensor | None  # which of its elements are mere rounding
    histogram: _Histogram


_NO_GRADIENT = _Gradient(0.0, None, _NONE)


def _move(before: torch.Tensor, after: torch.Tensor, faint: torch.Tensor | None) -> tuple[float, float, float, float]:
    """How far a step moved a parameter, and `Training.moves`; infinitely far where it has got another size.

    An optimiser that scales each element by itself makes a full step of a `faint` one, in any direction.
    """
    if before.shape != after.shape:
        return math.inf, 0.0, 0.0, 0.0
    before = before.to(after.device)
    move = after - before
    distance, rounding = float(_norm(move)), 0.0
    if faint is not None and faint.shape == move.shape and bool(faint.any()):
        faint = faint.to(move.device)
        rounding = float(_norm(move[faint]))
        move = move.masked_fill(faint, 0.0)
    size = float(_norm(before))
    wide = move.dtype if move.device.type == "mps" else torch.float64
    along = float(torch.dot(move.to(wide), before.to(wide) / size)) if size > 0 else 0.0
    return distance, along, size, rounding


def _faint(gradient: torch.Tensor, norm: torch.Tensor) -> torch.Tensor:
    """Which elements of a gradient are so small beside the others that they may be rounding; exact zeros are not."""
    least = norm.to(gradient.dtype) * (_FAINT / math.sqrt(max(gradient.numel(), 1)))
    return (gradient != 0) & (gradient.abs() <= least)


def _histogram(values: torch.Tensor) -> _Histogram:
    finite = values[torch.isfinite(values)]
    if not finite.numel():
        return _NONE
    wide = finite.cpu().numpy().astype(np.float64)
    low, high = float(wide.min()), float(wide.max())
    # np.histogram refuses ranges that it cannot cut into so many bins, and those whose width is no number
    unit = 1.0 if math.isfinite(high - low) else 0.5
    width = high * unit - low * unit
    at = (wide * unit - low * unit) / width * BINS if width > 0 else np.full(len(wide), BINS / 2)
    counts = np.bincount(np.minimum(at.astype(np.int64), BINS - 1), minlength=BINS)
    return (low, high), counts.tolist()


def _scalars(returned: StepResult, step: int, dtypes: set[torch.dtype]) -> dict[str, float]:
    """What a step returned, as numbers by name."""
    if not isinstance(returned, Mapping):
        return {LOSS: _number(returned, f"step({step}) returned", dtypes)}
    if not returned:
        raise ModelvizError(f"step({step}) returned an empty dict: return the loss, or a dict of scalars")
    for name in returned:
        if not isinstance(name, str) or not name or not name.isprintable():
            raise ModelvizError(f"step({step}) returned a scalar named {name!r}: names must be printable strings")
    return {name: _number(value, f"step({step}) returned for {name!r}", dtypes) for name, value in returned.items()}


def _number(value: object, where: str, dtypes: set[torch.dtype]) -> float:
    if isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
        return float(value)
    if not isinstance(value, torch.Tensor):
        raise ModelvizError(f"{where} a {type(value).__name__}: return the loss, a number or a tensor of one element")
    if value.is_meta or value.numel() != 1 or value.is_complex():
        device = f"{value.device}{', which holds no numbers' if value.is_meta else ''}"
        raise ModelvizError(
            f"{where} a {dtype_name(value.dtype)} tensor of shape {list(value.shape)} on {device}: "
            f"return one real number, for example loss.mean()"
        )
    if value.is_floating_point():
        dtypes.add(value.dtype)
    return float(value.detach())


def _coarsest(dtypes: set[torch.dtype]) -> str:
    """The dtype with the fewest digits; that of Python's numbers says nothing of what they were computed in."""
    real = [dtype for dtype in dtypes if dtype.is_floating_point or dtype.is_complex]
    return dtype_name(max(real, key=lambda dtype: (torch.finfo(dtype).eps, str(dtype)), default=torch.float32))


def _listed(row: Mapping[str, float]) -> str:
    return ", ".join(repr(name) for name in sorted(row))
