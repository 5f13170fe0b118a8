"""How far rounding may take a gradient: explanations of a model, and an input, that are moved by a little.

A rectifier whose input is next to zero opens on one processor and not on another, and the gradient jumps. Whether one
is so near depends on chance, and numbers moved by as little as processors differ by mostly miss it. Moved by 1024 units
in the last place, a thousand times as many rectifiers switch, and a gradient that can jump does.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import torch

from pytest_modelviz.compare.precision import is_exact
from pytest_modelviz.probe.forward import prepared
from pytest_modelviz.probe.noise import MOVE, Rounding
from pytest_modelviz.probe.refusals import without_noise
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.noise import EXPLANATIONS_MOVED
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_arrays import unpack_trace

T = TypeVar("T")
InputT = TypeVar("InputT")

_REPEATS = 2


def explain_moved(
    capture: Capture,
    model: torch.nn.Module,
    input_data: InputT,
    explain: Callable[[torch.nn.Module, InputT], T],
    *,
    runs_often: bool = False,
) -> tuple[list[T], str]:
    """Explain a model whose weights and input are moved up or down by 1024 units in the last place.

    Args:
        capture: of the explanation as it is.
        model: the user's model, which is left as it was.
        input_data: its input.
        explain: is given the prepared model and the input, both moved.
        runs_often: whether it runs the model many times, so that a single move is measured, and not two.

    Returns:
        What `explain` returns, for each such move, and an empty text; nothing where anything was computed in another
        precision, whose rounding is not that of single precision; nothing, and a note on it, where the model refuses
        such an input.

    """
    if not _is_in_single_precision(unpack_trace(capture.arrays)):
        return [], ""
    rounding, explanations = Rounding(EXPLANATIONS_MOVED / MOVE), []
    try:
        for _ in range(1 if runs_often else _REPEATS):
            with prepared(model, input_data, grad=True) as ready:
                rounding.move_weights(ready)
                explanations.append(explain(ready, cast("InputT", rounding.moved(input_data))))
    except Exception as error:
        return [], without_noise(error)
    return explanations, ""


def _is_in_single_precision(trace: ForwardTrace) -> bool:
    records = (*trace.tensors.values(), *trace.weights.values())
    tensors = (record for record in records if record.shape or record.dtype != "float64")  # not Python's numbers
    return all(record.dtype in ("float32", "complex64") or is_exact(record.dtype) for record in tensors)
