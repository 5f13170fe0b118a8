"""How far rounding alone takes each tensor of a pass: measured by passes that round otherwise.

Another processor, kernel, memory format or number of threads rounds otherwise, and what that does to a layer differs by
a thousandfold: little after a normalisation, much where large numbers cancel. So it is measured: the pass is made again
with every number of the inputs, the weights and each layer's results moved up or down by four units in the last place,
by signs that are the same each time; the results of long sums by more.

That is some twenty times the rounding of a processor, and covers what two of them differ by. From AVX-512 to no vector
instructions at all, which also gives other weights for the same seed, nine networks differ at any layer by at most 1.6
times what is measured here (average pooling in a ResNet-50), mostly by 0.3 to 0.6 times; between a CPU and a GPU (an
H100, products in full precision, with channels_last and cudnn.benchmark) 26 networks by 0.6 times, mostly 0.1 to 0.4.
Only cuDNN's recurrent layers compute less exactly.

Method: results perturbed by random rounding, as in CESTAC (Vignes 1993), at the boundaries of layers.
"""

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeGuard

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from pytest_modelviz.compare.precision import MOVE
from pytest_modelviz.compare.tensors import whole_difference
from pytest_modelviz.probe.containers import rebuild
from pytest_modelviz.probe.fake import only_shapes
from pytest_modelviz.probe.forward import ModelInput, call, prepared
from pytest_modelviz.probe.modules import all_tensors, observed_modules
from pytest_modelviz.probe.pass_recorder import CallObserver, PassRecorder
from pytest_modelviz.probe.plain_numbers import is_plain_type
from pytest_modelviz.probe.purity import untouched
from pytest_modelviz.probe.refusals import without_noise
from pytest_modelviz.probe.shadow import in_single_precision
from pytest_modelviz.probe.torch_internals import parameter_table, without_dispatch_modes
from pytest_modelviz.records.tensors import TensorRecord, random_signs
from pytest_modelviz.records.trace import Call, ForwardTrace

Conversion = Callable[[torch.nn.Module, ModelInput], contextlib.AbstractContextManager[ModelInput]]
_RECURRENT = 8.0  # times as much: cuDNN's recurrent layers differ from a CPU's by 18 times as much as all others do
_FEW_ROUNDINGS = 16.0  # the square root of the terms of a sum up to which it is no less exact than other operations
_SIGNS = 2**20 + 7  # prime to the sizes of layers
_FEW = 16  # numbers of which two passes say little: their noise is at least that of the usual tensor of the pass
_NO_SUMS = (torch.nn.Embedding, torch.nn.LayerNorm, torch.nn.RMSNorm)
_NOISY_DTYPES = {torch.float32, torch.complex64}


def with_noise(trace: ForwardTrace, model: torch.nn.Module, input_data: ModelInput) -> ForwardTrace:
    """Measure the noise of each tensor that a pass has recorded.

    Args:
        trace: the pass; if it has a shadow, the noise of that is measured.
        model: the model that it is of.
        input_data: what the model was given.

    Returns:
        The trace with the noise of its tensors of single precision: a relative L2 difference, infinite where another
        rounding takes another way through the model. Others get none. Where the model refuses to be run for that, a
        note of the trace says so.

    Example:
        >>> with_noise(recorder.trace, model, image).tensors["conv1"].noise
        8.1e-07

    """
    if trace.shadow is not None:
        shadow = _with_noise(trace.shadow, model, input_data, in_single_precision, [True])  # one pass, to save time
        refused = shadow.notes[len(trace.shadow.notes) :]
        return replace(trace, shadow=shadow, notes=(*trace.notes, *refused))
    return _with_noise(trace, model, input_data, lambda _, data: contextlib.nullcontext(data), [False, True])


def _with_noise(
    trace: ForwardTrace, model: torch.nn.Module, input_data: ModelInput, conversion: Conversion, by_row: Sequence[bool]
) -> ForwardTrace:
    measurable = {key: r for key, r in trace.tensors.items() if r.dtype in ("float32", "complex64") and r.sketch.size}
    if not measurable:
        return trace
    try:
        passes = _moved_passes(model, input_data, conversion, by_row)
    except Exception as error:  # a model may refuse such an input, as one that is beyond 1
        return replace(trace, notes=(*trace.notes, without_noise(error)))
    roundings = _roundings_of_results(trace, dict(observed_modules(model)))
    noises: dict[str, float] = {}
    for key, record in measurable.items():
        measured = max(_distance(record, other.tensors.get(key)) for other in passes)
        noises[key] = math.hypot(measured, MOVE * roundings.get(key, 1.0)) * (1 + 4 / record.numbers)
    usual = float(np.median(list(noises.values())))
    noises.update((key, max(noises[key], usual)) for key, record in measurable.items() if record.numbers < _FEW)
    records = {key: replace(r, noise=noises[key]) if key in noises else r for key, r in trace.tensors.items()}
    return replace(trace, tensors=records)


def _distance(record: TensorRecord, other: TensorRecord | None) -> float:
    """How far apart two records are, a worst bucket counted as where they are compared."""
    return math.inf if other is None else whole_difference(record, other)


def _roundings(module: torch.nn.Module) -> float:
    """How many times as much as a single operation a layer rounds: sums of many products are rounded many times."""
    if isinstance(module, torch.nn.RNNBase):
        return _RECURRENT
    if isinstance(module, _NO_SUMS):
        return 1.0
    weights = [weight for weight in parameter_table(module).values() if weight is not None and not is_lazy(weight)]
    side = 1 if getattr(module, "transposed", False) else 0  # of a weight, the one that is not summed over
    terms = [weight.numel() // max(1, weight.shape[side]) for weight in weights if weight.dim() > 1]
    return max(1.0, math.sqrt(max(terms, default=1)) / _FEW_ROUNDINGS)


def _roundings_of_results(trace: ForwardTrace, modules: Mapping[str, torch.nn.Module]) -> dict[str, float]:
    """The same for what each innermost call of a pass returned, by the tensor's key."""
    following = itertools.zip_longest(trace.calls, trace.calls[1:])
    inner = [call for call, after in following if call is not None and (after is None or after.depth <= call.depth)]
    return {
        leaf.tensor: _roundings(modules[call.layer])
        for call in inner
        for leaf in (call.outputs or {}).values()
        if leaf.tensor is not None and call.layer in modules
    }


def _moved_passes(
    model: torch.nn.Module, input_data: ModelInput, conversion: Conversion, by_row: Sequence[bool]
) -> list[ForwardTrace]:
    traces = []
    with prepared(model, input_data) as ready, only_shapes(ready), conversion(ready, input_data) as data:
        Rounding().move_weights(ready)
        for moves_rows in by_row:
            rounding = Rounding(by_row=moves_rows)
            recorder = PassRecorder(ready, [rounding], weight_width=None)
            with untouched(ready, data), recorder.recording():
                call(ready, rounding.moved(data))
            traces.append(recorder.trace)
    return traces


class Rounding(CallObserver):
    """Moves numbers up or down: those of weights, of inputs, and of what innermost calls return.

    Args:
        times: by how many times four units in the last place.
        by_row: whether all numbers with the same first two indices are moved alike, so that nothing is lost where they
            are averaged: those of a channel, or of a token in (batch, tokens, channels).

    """

    def __init__(self, times: float = 1.0, *, by_row: bool = False) -> None:
        self._times, self._by_row = times, by_row
        self._start = 0
        self._calls_inside = [0]

    def enter(self, call: Call) -> None:
        self._calls_inside[-1] += 1
        self._calls_inside.append(0)

    def leave(self, call: Call, module: torch.nn.Module, output: object) -> object:
        if self._calls_inside.pop():
            return output
        return self.moved(output, _roundings(module))

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
        with torch.no_grad():
            for tensor in all_tensors(model):
                if not _is_noisy(tensor) or _holds_integers(tensor):
                    continue
                with contextlib.suppress(RuntimeError):  # several of its elements share memory, or it is read-only
                    pieces = tensor.view(-1).split(_SIGNS) if tensor.is_contiguous() else [tensor]
                    for piece in pieces:  # factors of a whole large tensor would take as much memory again
                        piece.mul_(self._factors(piece))

    def _factors(self, tensor: torch.Tensor, times: float = 1.0) -> torch.Tensor:
        """Factors next to 1, for each number or row of a tensor; each call begins elsewhere in the table."""
        shape = tensor.shape
        if self._by_row and tensor.dim() > 2:
            shape = torch.Size([*shape[:2], *[1] * (tensor.dim() - 2)])
        count, signs = shape.numel(), _signs(tensor.device)
        self._start = (self._start + 104_729) % _SIGNS
        if count > _SIGNS:
            signs = signs.repeat(count // _SIGNS // 2 + 2)
        signs = signs[self._start : self._start + count]
        return (signs * (MOVE * self._times * times) + 1).view(shape)


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
