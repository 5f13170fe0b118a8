"""How far rounding may take a gradient: explanations of a model, and an input, that are moved by a little.

A rectifier whose input is next to zero opens on one processor and not on another, and the gradient jumps. Whether one
is so near depends on chance, and numbers moved by as little as processors differ by mostly miss it. Moved by 1024 units
in the last place, a thousand times as many rectifiers switch, and a gradient that can jump does.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import torch

from pytest_modelviz.compare.precision import MOVE, is_exact
from pytest_modelviz.probe.forward import ModelInput, prepared
from pytest_modelviz.probe.refusals import without_noise
from pytest_modelviz.probe.rounding import Rounding
from pytest_modelviz.probe.shadow import in_single_precision
from pytest_modelviz.records.capture import Capture, Result_co
from pytest_modelviz.records.explanation_shadow import explanation_shadow
from pytest_modelviz.records.noise import EXPLANATIONS_MOVED, with_explanation_noise
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_arrays import unpack_trace

T = TypeVar("T")
InputT = TypeVar("InputT", bound=ModelInput)

_REPEATS = 2


def with_measured_noise(
    capture: Capture[Result_co],
    model: torch.nn.Module,
    input_data: InputT,
    explain: Callable[[torch.nn.Module, InputT], T],
    differences: Callable[[T], Sequence[float]],
    *,
    runs_often: bool = False,
) -> Capture[Result_co]:
    """Explain a model whose weights and input are moved up or down by 1024 units in the last place.

    Args:
        capture: of the explanation as it is; if it has a shadow, the noise of that is measured.
        model: the user's model, which is left as it was.
        input_data: its input.
        explain: is given the prepared model and the input, both moved.
        differences: by how much each quantity of such an explanation differs from that of the capture, or its shadow.
        runs_often: whether it runs the model many times, so that a single move is measured, and not two.

    Returns:
        The capture with the noise of each quantity, the largest that was measured; without it where anything was
        computed in another precision, whose rounding is not that of single precision; without it, and with a note on
        that, where the model refuses such an input.

    """
    shadow = explanation_shadow(capture)
    if shadow is None and not _is_in_single_precision(unpack_trace(capture.arrays)):
        return capture
    conversion = in_single_precision if shadow is not None else _as_it_is
    rounding, measured = Rounding(EXPLANATIONS_MOVED / MOVE), []
    try:
        for _ in range(1 if runs_often or shadow is not None else _REPEATS):
            with prepared(model, input_data, grad=True) as ready, conversion(ready, input_data) as data:
                rounding.move_weights(ready)
                measured.append(differences(explain(ready, cast("InputT", rounding.moved(data)))))
    except Exception as error:
        return with_explanation_noise(capture, [], without_noise(error))
    return with_explanation_noise(capture, measured)


def _as_it_is(model: torch.nn.Module, input_data: ModelInput) -> contextlib.AbstractContextManager[ModelInput]:
    return contextlib.nullcontext(input_data)


def _is_in_single_precision(trace: ForwardTrace) -> bool:
    records = (*trace.tensors.values(), *trace.weights.values())
    tensors = (record for record in records if record.shape or record.dtype != "float64")  # not Python's numbers
    return all(record.dtype in ("float32", "complex64") or is_exact(record.dtype) for record in tensors)
