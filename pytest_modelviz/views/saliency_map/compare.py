"""Whether two gradients of a score on the input are those of one model."""

import functools

from pytest_modelviz.compare.diagnosis import former_sketches
from pytest_modelviz.compare.dtype_findings import changes_around
from pytest_modelviz.compare.explanation_shadow import compare_explanations, explanation_dtype
from pytest_modelviz.compare.explanations import (
    compare_forward_passes,
    explain_drift,
    gradient_difference,
    is_decisive,
    match,
    request_differences,
)
from pytest_modelviz.compare.readable import contradiction, require_rows
from pytest_modelviz.compare.stored import trace_pair
from pytest_modelviz.compare.tensors import rms, whole_difference
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.facts import number
from pytest_modelviz.records.findings import FactFinding
from pytest_modelviz.records.noise import explanation_noise
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import GRADIENT, ForwardTrace
from pytest_modelviz.records.trace_arrays import unpack_trace
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
    old, new = trace_pair(baseline.arrays, actual.arrays, tolerances.ignored)
    before, after = _gradient_of(old), _gradient_of(new)
    require_rows({"shape": baseline.facts.get("shape")}, {"shape": list(before.shape)}, "gradient's")
    if not _is_peak_of(before, baseline.facts.get("peak")):
        raise contradiction("the gradient's peak")
    # a match asks for no comparison of the forward pass
    around = changes_around(baseline.environment, actual.environment)
    forward = functools.cache(functools.partial(compare_forward_passes, old, new, tolerances, around))

    def kinks() -> bool:
        return not actual.facts.get("smooth") and forward().matched

    own = tolerances.of("")  # the gradient on the input is the whole model's
    dtype = explanation_dtype(baseline, actual)
    (noise,) = explanation_noise(baseline, 1)
    error, allowed = gradient_difference(before, after, dtype, own, noise=noise, kinks=kinks)
    decisive = any(map(is_decisive, findings))
    if error <= allowed and not decisive:
        needed = forward() if forward.cache_info().currsize else None  # the strict tolerance was not enough
        return match(error, allowed, [*findings, *former_sketches([before])], forward=needed)
    if not decisive:
        findings = [finding for finding in findings if isinstance(finding, FactFinding) and finding.fact == "explained"]
    return explain_drift(error, allowed, findings, forward())


def _is_peak_of(record: TensorRecord, stated: JsonValue) -> bool:
    """Whether the largest magnitude that is stated can be that of a gradient of which there is a sketch."""
    size = rms(record)
    if isinstance(stated, str):  # what JSON has no number for
        odd = {"inf": {"+inf", "-inf"}, "nan": {"nan"}}.get(stated, set())
        return bool(odd & record.value_fingerprints.keys())
    return number(stated) >= size / _SKETCHED  # numbers may cancel out in a sketch


def gradient_distances(baseline: Capture, actual: Capture) -> list[float]:
    """How far the gradients of two captures are apart."""
    return [whole_difference(stored_gradient(baseline), stored_gradient(actual))]


def stored_gradient(capture: Capture) -> TensorRecord:
    """The gradient that a capture holds; raises UnreadableBaselineError where there is none."""
    return _gradient_of(unpack_trace(capture.arrays))


def _gradient_of(trace: ForwardTrace) -> TensorRecord:
    if GRADIENT not in trace.gradients:
        raise UnreadableBaselineError("it holds no gradient")
    return trace.gradients[GRADIENT]


# `compare`, by the float32 shadows of explanations that are of lower precision.
compare_in_float32 = functools.partial(compare_explanations, compare=compare, distances=gradient_distances)
