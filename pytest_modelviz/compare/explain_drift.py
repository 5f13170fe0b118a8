"""Why an explanation drifted: by its forward pass, if that is another one, else by its gradient."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_modelviz.compare.diagnosis import compare_traces
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import AnyFinding
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.verdict import Verdict


def compare_forward_passes(baseline: ForwardTrace, actual: ForwardTrace, tolerances: Tolerances) -> Verdict:
    """Compare two forward passes, whatever tolerance the explanation itself was given.

    Raises UnreadableBaselineError for a damaged trace.
    """
    defaults = Tolerances(device=tolerances.device, precision=tolerances.precision)
    return compare_traces(baseline, actual, defaults)


def explain_drift(error: float, allowed: float, findings: Sequence[AnyFinding], forward: Verdict) -> Verdict:
    """Give the verdict on something that drifted by `error`, whose forward passes were compared.

    Layer and cause are those of the forward pass; where that agrees, the cause is "gradient".
    """
    if forward.matched:
        return Verdict.drift(error=error, tolerance=allowed, cause="gradient", findings=findings)
    return Verdict.drift(
        compared=forward.compared,
        drifted=forward.drifted,
        error=error,
        tolerance=allowed,
        first=forward.first,
        cause=forward.cause,
        findings=(*findings, *forward.findings),
    )
