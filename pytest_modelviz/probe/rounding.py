"""Passes that round otherwise: every number is moved by a few units in the last place, by signs that stay the same."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Collection
from typing import TypeGuard

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from pytest_modelviz.compare.precision import MOVE
from pytest_modelviz.probe.containers import rebuild
from pytest_modelviz.probe.modules import all_tensors, observed_modules, own_tensors
from pytest_modelviz.probe.pass_recorder import CallObserver
from pytest_modelviz.probe.plain_numbers import is_plain_type
from pytest_modelviz.probe.torch_internals import parameter_table, without_dispatch_modes
from pytest_modelviz.records.tensors import random_signs
from pytest_modelviz.records.trace import Call
from pytest_modelviz.text.dotted import enclosing

_RECURRENT = 8.0  # times as much: cuDNN's recurrent layers differ from a CPU's by 18 times as much as all others do
_FEW_ROUNDINGS = 16.0  # the square root of the terms of a sum up to which it is no less exact than other operations
_SIGNS = 2**20 + 7  # prime to the sizes of layers
_STRIDE = 104_729  # between the beginnings of two tensors' factors
_NO_SUMS = (torch.nn.Embedding, torch.nn.LayerNorm, torch.nn.RMSNorm)
_NOISY_DTYPES = {torch.float32, torch.complex64}


def roundings_of(module: torch.nn.Module) -> float:
    """How many times as much as a single operation a layer rounds: sums of many products are rounded many times."""
    if isinstance(module, torch.nn.RNNBase):
        return _RECURRENT
    if isinstance(module, _NO_SUMS):
        return 1.0
    weights = [weight for weight in parameter_table(module).values() if weight is not None and not is_lazy(weight)]
    side = 1 if getattr(module, "transposed", False) else 0  # of a weight, the one that is not summed over
    terms = [weight.numel() // max(1, weight.shape[side]) for weight in weights if weight.dim() > 1]
    return max(1.0, math.sqrt(max(terms, default=1)) / _FEW_ROUNDINGS)


class Rounding(CallObserver):
    """Moves numbers up or down: those of weights, of inputs, and of what innermost calls return.

    Args:
        times: by how many times four units in the last place.
        by_row: whether all numbers with the same first two indices are moved alike, so that nothing is lost where they
            are averaged: those of a channel, or of a token in (batch, tokens, channels).

    """

    def __init__(self, times: float = 1.0, *, by_row: bool = False, start: int = 0) -> None:
        self._times, self._by_row = times, by_row
        self._start = start
        self._calls_inside = [0]

    def enter(self, call: Call) -> None:
        self._calls_inside[-1] += 1
        self._calls_inside.append(0)

    def leave(self, call: Call, module: torch.nn.Module, output: object) -> object:
        if self._calls_inside.pop():
            return output
        return self.moved(output, roundings_of(module))

    def abandon(self, call: Call) -> None:
        self._calls_inside.pop()

    def moved(self, value: object, times: float = 1.0) -> object:
        """A copy of a nested value whose numbers are moved."""
        return rebuild(value, lambda item: self._moved(item, times) if _is_noisy(item) else item)

    def _moved(self, tensor: torch.Tensor, times: float) -> torch.Tensor:
        if _holds_integers(tensor):
            return tensor
        with _unobserved(tensor):
            return tensor * self._factors(tensor, times)

    def move_weights(self, model: torch.nn.Module) -> None:
        """Move the weights of a model that is `prepared`, which restores them."""
        for tensor in all_tensors(model):
            if _is_moved(tensor):
                with contextlib.suppress(RuntimeError):  # several of its elements share memory, or it is read-only
                    self.move_weight(tensor, tensor)

    def move_weight(self, tensor: torch.Tensor, target: torch.Tensor) -> None:
        """Write the moved numbers of a weight into another tensor, or into itself."""
        with torch.no_grad():
            pairs = [(tensor, target)]
            if tensor.is_contiguous():  # factors of a whole large tensor would take as much memory again
                pairs = list(zip(tensor.view(-1).split(_SIGNS), target.view(-1).split(_SIGNS), strict=True))
            for numbers, moved in pairs:
                torch.mul(numbers, self._factors(numbers), out=moved)

    def skip_weight(self, tensor: torch.Tensor) -> int:
        """Where the factors of this weight begin; those of the next one begin where they would if it were moved."""
        start = self._start
        pieces = max(1, -(-tensor.numel() // _SIGNS)) if tensor.is_contiguous() else 1
        self._start = (start + pieces * _STRIDE) % _SIGNS
        return start

    def _factors(self, tensor: torch.Tensor, times: float = 1.0) -> torch.Tensor:
        """Factors next to 1, for each number or row of a tensor; each call begins elsewhere in the table."""
        shape = tensor.shape
        if self._by_row and tensor.dim() > 2:
            shape = torch.Size([*shape[:2], *[1] * (tensor.dim() - 2)])
        count, signs = shape.numel(), _signs(tensor.device)
        self._start = (self._start + _STRIDE) % _SIGNS
        if count > _SIGNS:
            signs = signs.repeat(count // _SIGNS // 2 + 2)
        signs = signs[self._start : self._start + count]
        return (signs * (MOVE * self._times * times) + 1).view(shape)


class WeightsOfCalls(CallObserver):
    """Moves the weights of each module for the length of its calls, by the factors that `Rounding.move_weights` takes.

    The weights may be larger than the memory, as those of a file that is mapped into it.

    Args:
        model: the model, which is `prepared`.
        called: the names of the modules that a pass calls. Others hold weights for the module around them to read.

    """

    def __init__(self, model: torch.nn.Module, called: Collection[str]) -> None:
        rounding = Rounding()
        self._starts = {id(t): rounding.skip_weight(t) for t in all_tensors(model) if _is_moved(t)}
        self._weights: dict[str, list[torch.Tensor]] = {}
        for name, module in observed_modules(model):
            reader = next((outer for outer in (name, *reversed(list(enclosing(name)))) if outer in called), "")
            weights = [tensor for _, tensor in own_tensors(module) if id(tensor) in self._starts]
            self._weights.setdefault(reader, []).extend(weights)
        self._moved: set[int] = set()
        self._open: list[list[tuple[torch.Tensor, torch.Tensor]]] = []  # of each call the tensors and their own memory

    def enter(self, call: Call) -> None:
        moved: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._open.append(moved)
        for tensor in self._weights.get(call.layer, ()):
            if id(tensor) not in self._moved:
                with _unobserved(tensor), torch.inference_mode(tensor.is_inference()):
                    memory = tensor.data
                    target = torch.empty_like(memory)
                    Rounding(start=self._starts[id(tensor)]).move_weight(memory, target)
                    tensor.data = target
                self._moved.add(id(tensor))
                moved.append((tensor, memory))

    def leave(self, call: Call, module: torch.nn.Module, output: object) -> object:
        self._restore()
        return output

    def abandon(self, call: Call) -> None:
        self._restore()

    def _restore(self) -> None:
        for tensor, memory in self._open.pop():
            with torch.inference_mode(tensor.is_inference()):
                tensor.data = memory
            self._moved.remove(id(tensor))


def _is_moved(weight: torch.Tensor) -> bool:
    return _is_noisy(weight) and not _holds_integers(weight)


def _holds_integers(tensor: torch.Tensor) -> bool:
    """Whether all numbers are integers, as of masks, indices and counters, which no processor rounds."""
    if tensor.is_complex() or not tensor.numel():
        return False
    with torch.no_grad(), _unobserved(tensor):
        return all(bool((values == values.round()).all()) for values in (tensor.reshape(-1)[:64], tensor))


def _unobserved(tensor: torch.Tensor) -> contextlib.AbstractContextManager[None]:
    """Hide arithmetic on a tensor from modes that observe the model, which also makes it faster."""
    return without_dispatch_modes() if is_plain_type(tensor) else contextlib.nullcontext()


def _is_noisy(tensor: object) -> TypeGuard[torch.Tensor]:
    if not isinstance(tensor, torch.Tensor):
        return False
    plain = tensor.layout == torch.strided and not tensor.is_nested and not tensor.is_meta
    return plain and tensor.dtype in _NOISY_DTYPES and not is_lazy(tensor)


@functools.lru_cache(maxsize=4)
def _signs(device: torch.device) -> torch.Tensor:
    signs = random_signs(np.arange(1, _SIGNS + 1, dtype=np.uint64), 5).astype(np.float32)
    with torch.inference_mode(False):
        return torch.from_numpy(np.concatenate([signs, signs])).to(device)
