"""Whether two gradients on an input are those of one model."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_modelviz.capture import Capture
from pytest_modelviz.compare.explained import by_forward_pass, forward_verdict
from pytest_modelviz.compare.tensors import difference
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.trace import TensorRecord, Trace
from pytest_modelviz.verdict import Finding, Verdict

GRADIENT = "(gradient)"  # its key among the tensors of the trace; no layer can be called that


def compare_gradients(
    baseline: Capture, actual: Capture, tolerances: Tolerances, findings: Sequence[Finding] = ()
) -> Verdict:
    """Compare by relative L2 difference.

    A rectifier whose input is next to zero may open on one processor and not on another, and then the gradient jumps
    where the forward pass does not. So more is allowed while the forward pass agrees.
    Raises UnreadableBaselineError for a damaged baseline.
    """
    one, two = Trace.from_arrays(baseline.arrays), Trace.from_arrays(actual.arrays)
    before, after = _gradient(one), _gradient(two)
    forward = forward_verdict(one, two, tolerances)
    dtype = str(actual.facts.get("dtype", "float32"))
    allowed = tolerances.differentiated(dtype) if forward.matched else tolerances.explanation(dtype)
    error = difference(before, after, allowed=allowed)
    if error <= allowed and not findings:
        return Verdict(True, 1, 0, error, allowed)
    return by_forward_pass(error, allowed, findings, forward)


def _gradient(trace: Trace) -> TensorRecord:
    if GRADIENT not in trace.tensors:
        raise UnreadableBaselineError("it holds no gradient")
    return trace.tensors[GRADIENT]
