"""Two climbs to what excites a filter most: their first step strictly, the way from there as an optimisation allows."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_modelviz.compare.arrays import has_same_nonfinite
from pytest_modelviz.compare.diagnosis import former_sketches
from pytest_modelviz.compare.explanation_tolerance import climb_tolerance, explanation_tolerance
from pytest_modelviz.compare.explanations import (
    compare_forward_passes,
    explain_drift,
    gradient_difference,
    match,
    worse,
)
from pytest_modelviz.compare.readable import require_rows
from pytest_modelviz.compare.tensors import whole_difference
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.facts import items
from pytest_modelviz.records.findings import AnyFinding, LayerFinding, OutputsFinding, RequestFinding
from pytest_modelviz.records.noise import explanation_noise
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.reports.sentences import differs, sentence
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.text.strict_json import JsonObject
from pytest_modelviz.views.activation_maximization.records import Climb, Curves, climb_rows, stored_climb

_REQUEST = ("layer", "filters", "steps", "seed", "learning_rate", "input", "call", "precision")
_ANSWER = {"call", "precision"}  # what of it the model decides; the caller asked for the rest
_CLIMBING = "mean activation while climbing"


@dataclass(frozen=True)
class ClimbFinding(LayerFinding):
    """A quantity of a climb at `layer` that differs; `before` and `after` are each filter's at the end, if given."""

    quantity: str
    error: float
    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()


@sentence.register
def _(finding: ClimbFinding) -> str:
    before, after = (", ".join(f"{value:.3g}" for value in values) for values in (finding.before, finding.after))
    ends = f", in the end {before} -> {after}" if before else ""
    return f"{finding.layer or MODEL_LABEL}: the {finding.quantity} {differs(finding.error)}{ends}"


def compare(baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
    """Compare two climbs.

    The activation on the start is compared as strictly as maps, the curves as an optimisation allows, the gradient on
    the start as strictly as maps but for what kinks may do to it while the forward pass agrees. The pictures at the end
    are shown and not judged: networks with untrained weights take, from weights that differ in the eighth digit, to
    another one of equal height.

    Args:
        baseline: the stored capture.
        actual: the capture that is compared with it; what is allowed follows from its facts, not the baseline's.
        tolerances: those of the check; the layer's own count.

    Raises:
        UnreadableBaselineError: the baseline is damaged, or its text says another thing than its arrays.

    """
    before, after = (stored_climb(capture, tolerances.ignored) for capture in (baseline, actual))
    require_rows(baseline.facts.get("climbs"), climb_rows(items(baseline.facts, "filters"), before.curves), "filter")
    changed = [kind for kind in _REQUEST if baseline.facts.get(kind) != actual.facts.get(kind)]
    findings = [
        RequestFinding("", kind, str(baseline.facts.get(kind)), str(actual.facts.get(kind))) for kind in changed
    ]
    if set(changed) - _ANSWER:
        return Verdict.drift(findings=findings)
    noises = explanation_noise(baseline, 2 + len(before.gradients))
    verdict = _compare_climbs(before, after, noises, findings, actual.facts, tolerances)
    if verdict.matched and findings:  # what climbs in another precision is no measure of this climb
        return Verdict.drift(findings=findings)
    return verdict


def _compare_climbs(
    before: Climb,
    after: Climb,
    noises: Sequence[float | None],
    findings: Sequence[AnyFinding],
    facts: JsonObject,
    tolerances: Tolerances,
) -> Verdict:
    layer, dtype = str(facts.get("layer")), str(facts.get("precision"))
    own = tolerances.of(layer)
    # a match asks for no comparison of the forward pass
    forward = functools.cache(functools.partial(compare_forward_passes, before.trace, after.trace, own))
    if dtype == "float64":
        # such a climb begins with weights in single precision, which a seed gives as far as a hundred millionth
        own, dtype = replace(own, precision="ieee"), "float32"

    def kinks() -> bool:
        return not facts.get("smooth") and forward().matched

    of_start, of_curve, *of_gradients = noises
    start, curve = _curve_differences(before.curves, after.curves)
    errors = {
        "gradient on the start": _gradients_differ(before, after, of_gradients, dtype, own, kinks),
        "mean activation of the start": (start, explanation_tolerance(own, dtype, of_start)),
        _CLIMBING: (curve, climb_tolerance(own, dtype, of_curve)),
    }
    error, allowed = worse(*errors.values())
    if all(size <= most for size, most in errors.values()):
        needed = forward() if forward.cache_info().currsize else None  # the strict tolerance was not enough
        return match(error, allowed, former_sketches(before.gradients), forward=needed)
    evidence = [*findings]
    for name, (size, most) in errors.items():
        if not size <= most:
            ends = [tuple(map(float, climb.curves[-1])) for climb in (before, after)] if name == _CLIMBING else []
            evidence.append(ClimbFinding(layer, name, size, *ends))
    verdict = explain_drift(error, allowed, evidence, forward())
    # the pass ends at the layer: its outputs are not the model's
    return replace(verdict, findings=tuple(f for f in verdict.findings if not isinstance(f, OutputsFinding)))


def _gradients_differ(
    baseline: Climb,
    actual: Climb,
    noises: Sequence[float | None],
    dtype: str,
    own: Tolerances,
    kinks: Callable[[], bool],
) -> tuple[float, float]:
    """(error, what is allowed) of the filter whose gradient is furthest off."""
    before, after = baseline.gradients, actual.gradients
    if len(before) != len(after) or not before:
        return (math.inf if len(before) != len(after) else 0.0), explanation_tolerance(own, dtype)
    return worse(
        *(
            gradient_difference(old, new, dtype, own, noise=noise, kinks=kinks)
            for old, new, noise in zip(before, after, noises, strict=True)
        )
    )


def climb_noise(baseline: Climb, actual: Climb) -> list[float]:
    """By what climbs are compared, in the order in which a baseline holds its noise."""
    pairs = zip(baseline.gradients, actual.gradients, strict=True)
    return [*_curve_differences(baseline.curves, actual.curves), *(whole_difference(*pair) for pair in pairs)]


def _curve_differences(before: Curves, after: Curves) -> tuple[float, float]:
    """How far the activations on the start are apart, and the curves, as fractions of the actual one's peak."""
    return _curves_differ(before[:1], after[:1], after), _curves_differ(before, after, after)


def _curves_differ(before: Curves, after: Curves, actual: Curves) -> float:
    """As a fraction of each filter's highest point in the actual climb: the start itself may be nearly nothing."""
    if not has_same_nonfinite(before, after):
        return math.inf
    old, new, own = (np.nan_to_num(curves, posinf=0, neginf=0) for curves in (before, after, actual))
    with np.errstate(all="ignore"):
        apart = np.abs(new - old).max(0)
        ratios = apart / np.abs(own).max(0)
    return float(np.where(apart == 0.0, 0.0, np.where(np.isfinite(ratios), ratios, math.inf)).max(initial=0.0))
