"""The float32 shadow of an explanation: the same explanation of the same model, computed in single precision.

In bfloat16 rounding turns the gradient of a ResNet-18 on its input by fifteen per cent, of a RegNet by thirty: nothing
smaller can be seen there. The shadows are compared as explanations in single precision are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypeVar, cast

import torch

from pytest_modelviz.probe.forward import ModelInput, prepared
from pytest_modelviz.probe.refusals import refusal
from pytest_modelviz.probe.shadow import in_single_precision, left_out, reason_against
from pytest_modelviz.records.capture import Capture, Result_co
from pytest_modelviz.records.explanation_shadow import with_explanation_shadow
from pytest_modelviz.records.shadow import Shadow
from pytest_modelviz.records.trace_arrays import pack_trace, unpack_trace

InputT = TypeVar("InputT", bound=ModelInput)


def explain_in_float32(
    capture: Capture[Result_co],
    model: torch.nn.Module,
    input_data: InputT,
    explain: Callable[[torch.nn.Module, InputT], Capture],
    *,
    compared: Collection[str] = (),
    shadow: Shadow = Shadow.AUTO,
    seconds: float = 0.0,
) -> Capture[Result_co]:
    """Explain a model once more in single precision, if it was explained in a lower one.

    Args:
        capture: of the explanation.
        model: the user's model, which is left as it was.
        input_data: its input.
        explain: captures the explanation of a prepared model and an input, both converted.
        compared: the names of the arrays that are compared, beside those of the trace.
        shadow: whether to do so, as for a pass (see `probe.shadow`).
        seconds: how long the explanation took.

    Returns:
        The capture with its shadow, or with a note on why it has none where it should.

    """
    trace = unpack_trace(capture.arrays)
    reason = reason_against(trace, model, input_data, shadow, seconds)
    if reason is None:
        try:
            with prepared(model, input_data, grad=True) as ready, in_single_precision(ready, input_data) as converted:
                shadow_capture = explain(ready, cast("InputT", converted))
            # the weights as the model has them: one seed's, rounded to bfloat16, differ by more than float32's
            own = replace(unpack_trace(shadow_capture.arrays), structure=trace.structure)
            arrays = {**shadow_capture.arrays, **pack_trace(own)}
            return with_explanation_shadow(capture, replace(shadow_capture, arrays=arrays), compared)
        except Exception as error:  # of the model's own
            reason = left_out(f"there {refusal(error)}")
    return replace(capture, notes=(*capture.notes, reason)) if reason else capture
