"""Whether two gradients of a score on the input are those of one model."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace

from pytest_modelviz.compare.explanations import (
    compare_forward_passes,
    explain_drift,
    gradient_difference,
    is_decisive,
    request_differences,
)
from pytest_modelviz.compare.readable import contradiction, require_rows
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tensors import rms
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.findings import AnyFinding, FactFinding, KinksFinding
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import GRADIENT, ForwardTrace
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.strict_json import JsonValue

_SKETCHED = 2.0  # so much a root mean square taken from a sketch may be off
_ANSWER = ("method", "dtype", "targets", "predicted", "explained")


def compare(baseline: Capture, actual: Capture, tolerances: Tolerances, *, is_target_chosen: bool = False) -> Verdict:
    """Compare two saliency maps.

    Args:
        baseline: the stored capture.
        actual: the capture that is compared with it; what is allowed follows from its facts, not the baseline's.
        tolerances: those of the check.
        is_target_chosen: whether the caller chose the target, which then is part of the request. A target that the
            model chose is its answer.

    Returns:
        The verdict; its error is the relative L2 difference of the gradients, of all samples together.

    Raises:
        UnreadableBaselineError: the baseline is damaged, or its text says another thing than its arrays.

    """
    requested = {"method", *({"targets"} if is_target_chosen else ())}
    refusal, findings = request_differences(baseline, actual, _ANSWER, requested)
    if refusal:
        return refusal
    decisive = any(map(is_decisive, findings))
    verdict = _compare_gradients(baseline, actual, tolerances, findings if decisive else ())
    if verdict.matched or decisive:
        return verdict
    explained = [f for f in findings if isinstance(f, FactFinding) and f.fact == "explained"]
    return replace(verdict, findings=(*explained, *verdict.findings))


def _compare_gradients(
    baseline: Capture, actual: Capture, tolerances: Tolerances, findings: Sequence[AnyFinding]
) -> Verdict:
    old, new = (stored_trace(capture.arrays, tolerances.ignored) for capture in (baseline, actual))
    before, after = _stored_gradient(old), _stored_gradient(new)
    require_rows({"shape": baseline.facts.get("shape")}, {"shape": list(before.shape)}, "gradient's")
    if not _is_peak_of(before, baseline.facts.get("peak")):
        raise contradiction("the gradient's peak")
    # a match asks for no comparison of the forward pass
    forward = functools.cache(functools.partial(compare_forward_passes, old, new, tolerances))

    def kinks() -> bool:
        return not actual.facts.get("smooth") and forward().matched

    own = tolerances.of("")  # the gradient on the input is the whole model's
    dtype = str(actual.facts.get("dtype", "float32"))
    error, allowed = gradient_difference(before, after, dtype, own, kinks=kinks)
    if error <= allowed and not findings:
        jumped = forward.cache_info().currsize > 0  # the strict tolerance was not enough
        return Verdict.match(compared=1, error=error, tolerance=allowed, findings=[KinksFinding()] if jumped else [])
    return explain_drift(error, allowed, findings, forward())


def _is_peak_of(record: TensorRecord, stated: JsonValue) -> bool:
    """Whether the largest magnitude that is stated can be that of a gradient of which there is a sketch."""
    size = rms(record)
    if (
        isinstance(stated, bool)
        or not isinstance(stated, (int, float))
        or record.value_fingerprints
        or not math.isfinite(size)
    ):
        return isinstance(stated, (int, float, str))  # "inf" and "nan" are words
    return stated >= size / _SKETCHED  # numbers may cancel out in a sketch


def _stored_gradient(trace: ForwardTrace) -> TensorRecord:
    if GRADIENT not in trace.gradients:
        raise UnreadableBaselineError("it holds no gradient")
    return trace.gradients[GRADIENT]
