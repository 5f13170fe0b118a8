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
_ROWS_SHARE = 0.8  # of a move, for each of two together: as large as the larger of both alone (see `probe.noise`)
_ROW_DIMS = 2  # the first of a tensor, which say in which row a number is
_STRIDE = 104_729  # between the beginnings of two tensors' signs
_FEW_NUMBERS = 64  # that are looked at before all of a tensor
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
        with_rows: whether numbers are also moved together that have the same first two indices, as those of a channel,
            or of a token in (batch, tokens, channels): what differs from number to number is lost where they are
            averaged, and what is common to a token where it is normalised.
        start: where in the table of signs those of the first tensor begin.

    """

    def __init__(self, times: float = 1.0, *, with_rows: bool = False, start: int = 0) -> None:
        self._times, self._with_rows = times, with_rows
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
            if not self._with_rows or tensor.dim() <= _ROW_DIMS:
                return self._shifted(tensor, tensor.shape, times)
            moved = self._shifted(tensor, tensor.shape, _ROWS_SHARE * times)
            rows = torch.Size([*tensor.shape[:_ROW_DIMS], *[1] * (tensor.dim() - _ROW_DIMS)])
            return self._shifted(moved, rows, _ROWS_SHARE * times)

    def move_weights(self, model: torch.nn.Module) -> None:
        """Move the weights of a model that is `prepared`, which restores them."""
        for tensor in all_tensors(model):
            if _is_moved(tensor):
                with contextlib.suppress(RuntimeError), torch.inference_mode(tensor.is_inference()):
                    tensor.data = self.moved_weight(tensor.data)

    def moved_weight(self, tensor: torch.Tensor) -> torch.Tensor:
        """A weight whose numbers are moved, in memory of its own."""
        target = torch.empty_like(tensor)
        with torch.no_grad():
            pairs = [(tensor, target)]
            if tensor.numel() > _SIGNS and tensor.is_contiguous():  # signs of all would take as much memory again
                pairs = list(zip(tensor.view(-1).split(_SIGNS), target.view(-1).split(_SIGNS), strict=True))
            for numbers, moved in pairs:
                self._shifted(numbers, numbers.shape, out=moved)
        return target

    def skip_weight(self, tensor: torch.Tensor) -> int:
        """Where the signs of this weight begin; those of the next one begin where they would if it were moved."""
        start = self._start
        pieces = max(1, -(-tensor.numel() // _SIGNS)) if tensor.is_contiguous() else 1
        self._start = (start + pieces * _STRIDE) % _SIGNS
        return start

    def _shifted(
        self, tensor: torch.Tensor, shape: torch.Size, times: float = 1.0, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """A tensor moved by signs of this shape; those of each call begin elsewhere in the table."""
        count, signs = shape.numel(), _signs(tensor.device)
        self._start = (self._start + _STRIDE) % _SIGNS
        if count > _SIGNS:
            signs = signs.repeat(count // _SIGNS // 2 + 2)
        signs = signs[self._start : self._start + count].view(shape)
        return torch.addcmul(tensor, tensor, signs, value=MOVE * self._times * times, out=out)


class WeightsOfCalls(CallObserver):
    """Moves the weights of each module for the length of its calls.

    They are still in the processor's cache when the call reads them, and may be larger than the memory, as those of a
    file that is mapped into it.

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
                    tensor.data = Rounding(start=self._starts[id(tensor)]).moved_weight(memory)
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
        return all(bool((values == values.round()).all()) for values in (_some(tensor), tensor))


def _some(tensor: torch.Tensor) -> torch.Tensor:
    """A few numbers of a tensor, from all of it where that takes no copy."""
    if tensor.is_contiguous():
        return tensor.view(-1)[:: -(-tensor.numel() // _FEW_NUMBERS)]
    return tensor[(0,) * (tensor.dim() - 1)][:_FEW_NUMBERS]


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
