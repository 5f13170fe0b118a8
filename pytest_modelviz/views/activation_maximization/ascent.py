"""Climbing from a fixed start to the input that excites a filter of a layer most.

Method: activation maximisation by gradient ascent on the input (Erhan, Bengio, Courville and Vincent 2009; Simonyan,
Vedaldi and Zisserman 2013), each step as long as the last whatever the gradient's size (Mordvintsev et al. 2015,
"deep dream", who start from a photograph; FlashTorch's `GradientAscent`), with a mild Gaussian blur every few steps
against high frequencies (Yosinski, Clune, Nguyen, Fuchs and Lipson 2015). Nothing is drawn while it climbs.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.attribution.explain import TRACE_WEIGHT_WIDTH, TRACE_WIDTH
from pytest_modelviz.attribution.kinks import is_smooth
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.forward import ModelOutput
from pytest_modelviz.probe.modules import parameters_and_buffers
from pytest_modelviz.probe.nested_values import tensors
from pytest_modelviz.probe.pass_recorder import CallObserver, PassRecorder
from pytest_modelviz.probe.plain_numbers import dtype_name
from pytest_modelviz.probe.process import modes_untouched
from pytest_modelviz.probe.sketch import record_shape, record_tensor
from pytest_modelviz.probe.torch_internals import StatisticsNorm
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace

BLUR_EVERY, BLUR_WIDTH = 4, 0.5  # steps, and pixels of standard deviation
_START = 0.1  # the largest magnitude of the noise, where images have a standard deviation of about one
_Measure: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Ascent:
    """What the climb gave, on the CPU, one row a filter.

    `images` and `gradients` (of the first step) are float32 (filters, *input), `curves` float64 (steps + 1, filters):
    each filter's mean activation before the first step and after each. `call` is the layer's call that is maximised,
    `precision` the dtype that it climbed in, `trace` the model's own pass from the start up to that call, `smooth`
    whether nothing on that way has a kink.
    """

    images: torch.Tensor
    gradients: torch.Tensor
    curves: npt.NDArray[np.float64]
    call: int
    precision: str
    trace: ForwardTrace
    smooth: bool


class _Reached(BaseException):  # no error, so that no model that catches errors catches it
    """The layer's output is there."""


def noise(shape: Sequence[int], seed: int) -> npt.NDArray[np.float32]:
    """Uniform noise about zero, the same on every machine: NumPy promises the bits of PCG64, not its distributions."""
    bits = np.random.PCG64(seed).random_raw(math.prod(shape)) >> np.uint64(40)
    unit = bits.astype(np.float64) / 2.0**23 - 1.0
    start: npt.NDArray[np.float32] = (_START * unit).reshape(shape).astype(np.float32)
    return start


def ascend(
    model: torch.nn.Module, layer: str, filters: Sequence[int], start: torch.Tensor, steps: int, rate: float
) -> Ascent:
    """Climb `steps` steps from `start`, (*input), with one copy for each filter; inside `prepared(grad=True)`.

    Of a layer that is called several times it is the last call. What comes after it is not run again.

    It climbs on a copy of the model in double precision: at kinks (ReLU, max pooling) rounding turns the gradient by
    parts in a thousand, and a few steps later two climbs in single precision have nothing in common. A model that
    cannot be copied or run so climbs as it is.
    """
    images = start.detach().expand(len(filters), *start.shape).contiguous()
    with _enough_memory():
        call, trace = _last_call(model, layer, images)
        measure, leaf, objective = _start_climb(model, layer, call, filters, images)
        smooth = is_smooth([objective])
        curves = np.zeros((steps + 1, len(filters)))
        first = gradient = _gradient(objective, leaf, layer)
        for step in range(steps):
            if step:
                leaf = images.detach().requires_grad_()
                objective = measure(leaf)
                gradient = _gradient(objective, leaf, layer)
            curves[step] = objective.detach().cpu().double().numpy()
            images = leaf.detach() + rate * _unit(gradient)
            if (step + 1) % BLUR_EVERY == 0 and step + 1 < steps:
                images = _blurred(images)
        with torch.no_grad():
            curves[steps] = measure(images).cpu().double().numpy()
    return Ascent(images.float().cpu(), first.float().cpu(), curves, call, dtype_name(leaf.dtype), trace, smooth)


@contextlib.contextmanager
def _enough_memory() -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise ModelvizError(
            f"the climb does not fit into memory: pass a smaller input_size= or image=, or fewer filters ({reason})"
        ) from error


def _start_climb(
    model: torch.nn.Module, layer: str, call: int, filters: Sequence[int], images: torch.Tensor
) -> tuple[_Measure, torch.Tensor, torch.Tensor]:
    """`_measure` on a model, the images it begins with and the result; in double precision where possible."""

    def start(running: torch.nn.Module) -> tuple[_Measure, torch.Tensor, torch.Tensor]:
        measure = functools.partial(_measure, running, layer, call, filters)
        leaf = images.to(_dtype_of(running)).detach().requires_grad_()
        return measure, leaf, measure(leaf)

    try:
        return start(copy.deepcopy(model).double())
    except (ModelvizError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception:  # tensors that are no buffers, code that asks for single precision, what cannot be copied
        return start(model)


def _measure(
    model: torch.nn.Module, layer: str, call: int, filters: Sequence[int], images: torch.Tensor
) -> torch.Tensor:
    """Each filter's mean activation (filters,), differentiable by the images where those ask for it."""
    objective = _Objective(layer, call, filters)
    recorder = PassRecorder(model, [objective], record=record_shape, weight_width=None)
    with contextlib.suppress(_Reached), recorder.recording(), modes_untouched():
        model(images)  # up to that call
    if objective.value is None:
        raise ModelvizError(f"layer {layer!r} is called in one pass and not in the next: name another layer")
    return objective.value


class _Objective(CallObserver):
    """Takes what is maximised from one call of a layer, and ends the pass there."""

    def __init__(self, layer: str, call: int, filters: Sequence[int]) -> None:
        self._layer, self._call, self._filters = layer, call, filters
        self.value: torch.Tensor | None = None

    def leave(self, call: Call, module: torch.nn.Module, output: ModelOutput) -> ModelOutput:
        if (call.layer, call.index) != (self._layer, self._call):
            return output
        self.value = _objective(self._layer, module, output, self._filters)
        raise _Reached


def _dtype_of(model: torch.nn.Module) -> torch.dtype:
    kinds = (p.dtype for p in parameters_and_buffers(model)[0].values() if p.is_floating_point())
    return next(kinds, torch.float32)


def _gradient(objective: torch.Tensor, leaf: torch.Tensor, layer: str) -> torch.Tensor:
    gradient = None
    if objective.requires_grad:
        (gradient,) = torch.autograd.grad(objective.sum(), leaf, allow_unused=True)
    if gradient is None:
        raise ModelvizError(
            f"the output of layer {layer!r} does not depend on the input in a differentiable way: name another layer, "
            f"or look for no_grad, detach or argmax on the way"
        )
    return gradient.detach()


def _unit(gradient: torch.Tensor) -> torch.Tensor:
    """Each filter's gradient with a root mean square of one; zero stays zero."""
    wide = gradient if gradient.device.type == "mps" else gradient.double()  # which has no double precision
    size = wide.square().flatten(1).mean(1).sqrt().to(gradient.dtype)
    size = torch.where(size > 0, size, torch.ones_like(size))
    return gradient / size.view(-1, *[1] * (gradient.dim() - 1))


def _blurred(images: torch.Tensor) -> torch.Tensor:
    """Images (n, channels, h, w) under a small Gaussian; inputs of another kind as they are."""
    if images.dim() != 4 or min(images.shape[2:]) < 3:
        return images
    side = math.exp(-0.5 / BLUR_WIDTH**2)
    row = torch.tensor([side, 1.0, side], dtype=images.dtype, device=images.device) / (1 + 2 * side)
    kernel = (row[:, None] * row[None, :]).expand(images.shape[1], 1, 3, 3)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    return torch.nn.functional.conv2d(padded, kernel, groups=images.shape[1])


def _last_call(model: torch.nn.Module, layer: str, images: torch.Tensor) -> tuple[int, ForwardTrace]:
    """Which call of the layer is its last one, and the pass up to its end.

    What the model raises after a call of the layer is ignored: a size may not fit there.
    """
    last = _LastCall(layer)
    record = functools.partial(record_tensor, width=TRACE_WIDTH)
    recorder = last.recorder = PassRecorder(model, [last], record=record, weight_width=TRACE_WEIGHT_WIDTH)
    try:
        with torch.no_grad(), recorder.recording(), modes_untouched():
            model(images.to(_dtype_of(model)))
    except Exception:
        if last.end is None:
            raise
    if last.end is None:
        raise ModelvizError(f"layer {layer!r} is never called in this pass; name one that is")
    index, calls, recorded = last.end
    return index, _trace_until(recorder.trace, calls, recorded)


class _LastCall(CallObserver):
    """Copies what is recorded by the end of each call of a layer."""

    recorder: PassRecorder

    def __init__(self, layer: str) -> None:
        self._layer = layer
        self.end: tuple[int, list[Call], dict[str, TensorRecord]] | None = None

    def leave(self, call: Call, module: torch.nn.Module, output: ModelOutput) -> ModelOutput:
        if call.layer == self._layer:
            self.end = call.index, [replace(each) for each in self.recorder.calls], dict(self.recorder.tensors)
        return output


def _trace_until(trace: ForwardTrace, calls: list[Call], recorded: dict[str, TensorRecord]) -> ForwardTrace:
    """The pass up to a moment, and of the modules those that had a part in it.

    A module that was not called by then may have been read by one whose call had ended.
    """
    called = {call.layer for call in calls}
    ended = {call.layer for call in calls if call.outputs is not None}
    modules: dict[str, ModuleRecord] = {}
    for name, module in trace.modules.items():  # parents come before their children
        parent = name.rpartition(".")[0]
        if name in called or (parent in modules and (parent in ended or parent not in called)):
            modules[name] = module
    weights = {key: trace.weights[key] for module in modules.values() for key in module.weights.values()}
    own = {*modules, *weights}
    ties = tuple(group for group in trace.structure.ties if own.issuperset(group))
    return ForwardTrace(ModelStructure(modules, weights, ties), calls, recorded)


def _objective(layer: str, module: torch.nn.Module, output: ModelOutput, filters: Sequence[int]) -> torch.Tensor:
    """Each sample's mean activation of its own filter, float32 or float64."""
    tensor = output if isinstance(output, torch.Tensor) else next(tensors(output), None)
    if tensor is None or tensor.dim() < 2 or tensor.shape[0] != len(filters):
        kind = type(output).__name__ if tensor is None else str(list(tensor.shape))
        raise ModelvizError(
            f"layer {layer!r} returns {kind} for a batch of {len(filters)}; name one that returns a tensor (batch, "
            f"filters, ...) or (batch, tokens, features)"
        )
    if not tensor.is_floating_point():
        raise ModelvizError(f"layer {layer!r} returns {tensor.dtype}, which has no gradient; name another layer")
    if tensor.dim() == 3 and not _has_channels(module):
        tensor = tensor.transpose(1, 2)
    count = tensor.shape[1]
    for number in filters:
        if number >= count:
            raise ModelvizError(f"filter {number} is out of range: layer {layer!r} has {count}, from 0")
    wide = tensor if tensor.dtype == torch.float64 else tensor.float()
    chosen = wide[torch.arange(len(filters), device=wide.device), list(filters)]
    return chosen.flatten(1).mean(1) if chosen.dim() > 1 else chosen


def _has_channels(module: torch.nn.Module) -> bool:
    """Whether (batch, x, y) of this module is channels and positions; of all others it is tokens and features."""
    norms = (StatisticsNorm, torch.nn.GroupNorm)
    return hasattr(module, "kernel_size") or isinstance(module, norms)
