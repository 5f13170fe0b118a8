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
import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from pytest_modelviz.compare.precision import MOVE
from pytest_modelviz.compare.tensors import whole_difference
from pytest_modelviz.probe.fake import only_shapes
from pytest_modelviz.probe.forward import ModelInput, call, prepared
from pytest_modelviz.probe.modules import all_tensors, observed_modules
from pytest_modelviz.probe.pass_recorder import CallObserver, PassRecorder
from pytest_modelviz.probe.purity import untouched
from pytest_modelviz.probe.refusals import without_noise
from pytest_modelviz.probe.rounding import Rounding, WeightsOfCalls, roundings_of
from pytest_modelviz.probe.shadow import in_single_precision
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import ForwardTrace

Conversion = Callable[[torch.nn.Module, ModelInput], contextlib.AbstractContextManager[ModelInput]]
_MOST_BYTES = 2**29  # of weights; more of them are moved call by call, as moving them in place takes twice their memory
_FEW = 16  # numbers of which two passes say little: their noise is at least that of the usual tensor of the pass


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
        passes = _moved_passes(model, input_data, conversion, by_row, {call.layer for call in trace.calls})
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


def _roundings_of_results(trace: ForwardTrace, modules: Mapping[str, torch.nn.Module]) -> dict[str, float]:
    """The same for what each innermost call of a pass returned, by the tensor's key."""
    following = itertools.zip_longest(trace.calls, trace.calls[1:])
    inner = [call for call, after in following if call is not None and (after is None or after.depth <= call.depth)]
    return {
        leaf.tensor: roundings_of(modules[call.layer])
        for call in inner
        for leaf in (call.outputs or {}).values()
        if leaf.tensor is not None and call.layer in modules
    }


def _moved_passes(
    model: torch.nn.Module,
    input_data: ModelInput,
    conversion: Conversion,
    by_row: Sequence[bool],
    called: Collection[str],
) -> list[ForwardTrace]:
    traces = []
    with prepared(model, input_data) as ready, only_shapes(ready), conversion(ready, input_data) as data:
        weights: list[CallObserver] = []
        if sum(tensor.nbytes for tensor in all_tensors(ready) if not is_lazy(tensor)) > _MOST_BYTES:
            weights.append(WeightsOfCalls(ready, called))
        else:
            Rounding().move_weights(ready)
        for moves_rows in by_row:
            rounding = Rounding(by_row=moves_rows)
            recorder = PassRecorder(ready, [*weights, rounding], weight_width=None)
            with untouched(ready, data), recorder.recording():
                call(ready, rounding.moved(data))
            traces.append(recorder.trace)
    return traces
