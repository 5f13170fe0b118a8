"""How explanations are compared: CAMs, saliency maps, images that were climbed to, and the gradients that make them.

Two of them can be compared only if they answer one request; where they differ, their forward passes say whether the
model itself does.
"""

import math
from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.diagnosis import compare_traces
from pytest_modelviz.compare.dtype_findings import under_other_conditions
from pytest_modelviz.compare.explanation_tolerance import explanation_tolerance, jump_tolerance, resizing_tolerance
from pytest_modelviz.compare.shadow import without_autocast
from pytest_modelviz.compare.tensors import difference, sketched_alike
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.findings import AnyFinding, DtypeFinding, FactFinding, KinksFinding
from pytest_modelviz.records.norms import on_common_scale
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.verdict import Verdict

_LATER = ("explained",)  # facts that baselines of older versions lack, and outputs of a single tensor


def request_differences(
    baseline: Capture, actual: Capture, kinds: Collection[str], requested: Set[str]
) -> tuple[Verdict | None, list[DtypeFinding | FactFinding]]:
    """Find which facts differ, and whether the two captures can be compared at all.

    Args:
        baseline: the stored capture.
        actual: the capture that is compared with it.
        kinds: the facts to look at.
        requested: those of them that the caller chose. Where one of these differs there is nothing to compare, and
            nobody to blame.

    Returns:
        A verdict if any requested fact differs, else None; and a finding for each fact that differs.

    """
    differing = [
        kind
        for kind in kinds
        if baseline.facts.get(kind) != actual.facts.get(kind) and (kind not in _LATER or kind in actual.facts)
    ]
    findings: list[DtypeFinding | FactFinding] = []
    for kind in differing:
        before, after = (str(capture.facts.get(kind, "-")) for capture in (baseline, actual))
        is_dtype = kind == "dtype"
        findings.append(DtypeFinding("", kind, before, after) if is_dtype else FactFinding(kind, before, after))
    return (None if requested.isdisjoint(differing) else Verdict.drift(findings=findings)), findings


def is_decisive(finding: DtypeFinding | FactFinding) -> bool:
    """Whether explanations cannot match that differ in this fact: another target, or another dtype."""
    return isinstance(finding, DtypeFinding) or finding.fact == "targets"


def match(error: float, allowed: float, findings: Sequence[AnyFinding], *, forward: Verdict | None) -> Verdict:
    """The verdict on explanations that agree; what else differs decides nothing and is reported with it, as kinks are.

    If that needed `forward` passes that agree, what was not compared of those is reported as well.
    """
    kinks = [] if forward is None else [KinksFinding(), *forward.findings]
    reported = dict.fromkeys([*kinks, *findings])
    return Verdict.match(compared=1, error=error, tolerance=allowed, findings=list(reported))


def compare_forward_passes(
    baseline: ForwardTrace, actual: ForwardTrace, tolerances: Tolerances, around: Sequence[AnyFinding] = ()
) -> Verdict:
    """Compare two forward passes, whatever tolerance the explanation itself was given.

    Raises UnreadableBaselineError for a damaged trace. `around` is what has changed around the model (see
    `changes_around`): it only says what a drift comes from.
    """
    if tolerances.shadow_of:
        baseline, actual = without_autocast(baseline), without_autocast(actual)
    defaults = replace(tolerances, rtol=None, atol=None, scale=1.0, layers=(), ignored=())
    return under_other_conditions(compare_traces(baseline, actual, defaults), around)


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


def gradient_difference(
    before: TensorRecord,
    after: TensorRecord,
    dtype: str,
    tolerances: Tolerances,
    *,
    noise: float | None,
    kinks: Callable[[], bool],
) -> tuple[float, float]:
    """Compare two gradients by their relative L2 difference.

    A rectifier whose input is next to zero may open on one processor and not on another; the gradient then jumps where
    the forward pass does not. Where the actual pass has such kinks and the forward passes agree, more is therefore
    allowed, but less of that to a gradient that has kept its direction and changed its size, which kinks do not cause.

    Args:
        before: the baseline's gradient.
        after: the actual gradient.
        dtype: what the gradients were computed in.
        tolerances: what is allowed.
        noise: how far rounding takes the gradient, as a relative L2 difference; None where that was not measured.
        kinks: whether the actual pass has kinks and the forward passes agree; only called if need be.

    Returns:
        (error, tolerance)

    """
    strict = explanation_tolerance(tolerances, dtype, noise)
    error = difference(before, after, allowed=strict)
    if error <= strict or tolerances.rtol is not None or not kinks():
        return error, strict
    loose = jump_tolerance(tolerances, dtype, noise)
    turned = difference(before, after, allowed=loose), loose
    sketches = (record.bulk_sketch.astype(np.float64) for record in sketched_alike(before, after))
    return worse(turned, (size_difference(*sketches), resizing_tolerance(tolerances, dtype, noise)))


def size_difference(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> float:
    """How far the factor that best fits one gradient to the other is from 1; zero where there is no such factor."""
    if before.shape != after.shape or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return 0.0
    (before, after), _ = on_common_scale(before, after)
    square = float((before * before).sum())
    return abs(float((before * after).sum()) / square - 1) if square > 0.0 else 0.0


def worse(*pairs: tuple[float, float]) -> tuple[float, float]:
    """The (error, tolerance) pair whose error is largest for its tolerance."""
    return max(pairs, key=lambda pair: pair[0] / pair[1] if pair[1] else (math.inf if pair[0] else 0.0))
