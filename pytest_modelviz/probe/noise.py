"""How far rounding alone takes each tensor of a pass: measured by passes that round otherwise.

Another processor, kernel, memory format or number of threads rounds otherwise, and what that does to a layer differs by
a thousandfold: little after a normalisation, much where large numbers cancel. So it is measured: the pass is made again
with every number of the inputs, the weights and each layer's results moved up or down by four units in the last place,
by signs that are the same each time; the results of long sums by more. Of two signs that are independent, one is that
of a whole channel or token, so that something is left where its numbers are averaged. Together they move a layer as far
as the larger of two passes with a sign each: in the median of 14 networks 0.85 to 1.15 times. Between oneDNN and none,
memory formats, threads and instruction sets these differ by at most 0.52 times what is measured so, as they do of those
two passes.

That is some twenty times the rounding of a processor, and covers what two of them differ by. From AVX-512 to no vector
instructions at all, which also gives other weights for the same seed, nine networks differ at any layer by at most 1.6
times what is measured here (average pooling in a ResNet-50), mostly by 0.3 to 0.6 times; between a CPU and a GPU (an
H100, products in full precision, with channels_last and cudnn.benchmark) 26 networks by 0.6 times, mostly 0.1 to 0.4.
Only cuDNN's recurrent layers compute less exactly.

Method: results perturbed by random rounding, as in CESTAC (Vignes 1993), at the boundaries of layers.
"""

import itertools
import math
import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from pytest_modelviz.compare.precision import MOVE
from pytest_modelviz.compare.tensors import whole_difference
from pytest_modelviz.probe.fake import only_shapes
from pytest_modelviz.probe.forward import ModelInput, call, prepared
from pytest_modelviz.probe.modules import observed_modules
from pytest_modelviz.probe.pass_recorder import PassRecorder
from pytest_modelviz.probe.purity import untouched
from pytest_modelviz.probe.refusals import without_noise
from pytest_modelviz.probe.rounding import Rounding, WeightsOfCalls, roundings_of
from pytest_modelviz.probe.shadow import in_single_precision, shadow_pass
from pytest_modelviz.probe.sketch_queue import SketchQueue
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import ForwardTrace

_FEW = 16  # numbers of which a pass says little: their noise is at least that of the usual tensor of the pass

# A pass that rounds otherwise, or a note on why there is none: a model may refuse such an input.
MovedPass = ForwardTrace | str


def with_noise(
    trace: ForwardTrace, model: torch.nn.Module, input_data: ModelInput, moved: MovedPass | None = None
) -> ForwardTrace:
    """Measure the noise of each tensor that a pass has recorded.

    Args:
        trace: the pass; if it has a shadow, the noise of that is measured.
        model: the model that it is of.
        input_data: what the model was given.
        moved: the pass that rounds otherwise, if it was made already (`repeat_shadow`).

    Returns:
        The trace with the noise of its tensors of single precision: a relative L2 difference, infinite where another
        rounding takes another way through the model. Others get none. Where the model refuses to be run for that, a
        note of the trace says so.

    Example:
        >>> with_noise(recorder.trace, model, image).tensors["conv1"].noise
        8.1e-07

    """
    own = trace if trace.shadow is None else trace.shadow
    measurable = {key: r for key, r in own.tensors.items() if r.dtype in ("float32", "complex64") and r.sketch.size}
    if not measurable:
        return trace
    if moved is None:
        moved = _moved_alone(trace, model, input_data)
    if isinstance(moved, str):
        return replace(trace, notes=(*trace.notes, moved))
    noises = _noises(own, measurable, moved, dict(observed_modules(model)))
    records = {key: replace(r, noise=noises[key]) if key in noises else r for key, r in own.tensors.items()}
    measured = replace(own, tensors=records)
    return measured if trace.shadow is None else replace(trace, shadow=measured)


def repeat_shadow(
    trace: ForwardTrace, model: torch.nn.Module, input_data: ModelInput
) -> tuple[ForwardTrace, MovedPass]:
    """Make a pass's shadow once more, and then the pass that rounds otherwise, of a model that is converted once.

    Args:
        trace: the pass.
        model: the model as it was before that pass, outside of a `prepared` block.
        input_data: what it was given.

    Returns:
        The shadow, and the pass that rounds otherwise. What the model raises in the shadow is raised here.

    """
    with prepared(model, input_data) as ready, in_single_precision(ready, input_data) as converted:
        queue = SketchQueue()
        with untouched(ready, converted):
            shadow = shadow_pass(trace, ready, converted, queue)
        if not queue.is_complete:
            with untouched(ready, converted):
                shadow = shadow_pass(trace, ready, converted)
        return shadow, _moved_pass(trace, ready, converted)


def _moved_alone(trace: ForwardTrace, model: torch.nn.Module, input_data: ModelInput) -> MovedPass:
    try:
        with prepared(model, input_data) as ready:
            if trace.shadow is None:
                return _moved_pass(trace, ready, input_data)
            with in_single_precision(ready, input_data) as converted:
                return _moved_pass(trace, ready, converted)
    except Exception as error:
        return without_noise(error)


def _moved_pass(trace: ForwardTrace, model: torch.nn.Module, input_data: ModelInput) -> MovedPass:
    """The pass that rounds otherwise, of a model that is `prepared`."""
    try:
        rounding = Rounding(with_rows=True)
        observers = [WeightsOfCalls(model, {call.layer for call in trace.calls}), rounding]
        recorder = PassRecorder(model, observers, weight_width=None, structure=trace.structure)
        with only_shapes(model), warnings.catch_warnings(), recorder.recording():
            # of weights that are not where they were, and what the first pass warned of
            warnings.simplefilter("ignore")
            call(model, rounding.moved(input_data))
    except Exception as error:
        return without_noise(error)
    return recorder.trace


def _noises(
    trace: ForwardTrace,
    measurable: Mapping[str, TensorRecord],
    moved: ForwardTrace,
    modules: Mapping[str, torch.nn.Module],
) -> dict[str, float]:
    roundings = _roundings_of_results(trace, modules)
    noises: dict[str, float] = {}
    for key, record in measurable.items():
        measured = _distance(record, moved.tensors.get(key))
        noises[key] = math.hypot(measured, MOVE * roundings.get(key, 1.0)) * (1 + 4 / record.numbers)
    usual = float(np.median(list(noises.values())))
    return noises | {key: max(noises[key], usual) for key, record in measurable.items() if record.numbers < _FEW}


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
