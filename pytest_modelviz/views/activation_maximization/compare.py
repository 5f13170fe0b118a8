"""Two climbs to what excites a filter most: their first step strictly, the way from there as an optimisation allows."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.explained import by_forward_pass, forward_verdict
from pytest_modelviz.compare.gradients import gradient_difference, worse
from pytest_modelviz.compare.places import same_places
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.verdict import Finding, Verdict

Rows = npt.NDArray[np.float64]


class Climb(NamedTuple):
    """`curves` (steps + 1, filters), for each filter the gradient of the first step, and the forward pass to there."""

    curves: Rows
    gradients: tuple[TensorRecord, ...]
    trace: ForwardTrace


def gradient_key(at: int) -> str:
    """The key of a filter's gradient among those of the trace."""
    return f"(gradient {at})"


def compare_climbs(
    before: Climb,
    after: Climb,
    findings: Sequence[Finding],
    facts: Mapping[str, Any],
    own: Tolerances,
) -> Verdict:
    """The activation on the start as strictly as maps, the curves as an optimisation allows.

    `facts` are those of the capture that is compared, `own` the layer's tolerances.

    The gradient on the start as strictly as maps, but for what kinks may do to it while the forward pass agrees. The
    pictures at the end are shown and not judged: networks with untrained weights take, from weights that differ in
    the eighth digit, to another one of equal height.
    """
    dtype = str(facts.get("precision"))
    # what climbs in double precision begins with weights in single, which one seed gives as parts in a hundred million
    # a match asks for no comparison of the forward pass
    forward = functools.cache(functools.partial(forward_verdict, before.trace, after.trace, own))
    own = own.in_full_precision() if dtype == "float64" else own
    dtype = "float32" if dtype == "float64" else dtype
    strict, loose = own.explanation(dtype), own.climb
    errors = {
        "gradient on the start": _gradients_differ(before, after, dtype, own, lambda: forward().matched),
        "mean activation of the start": (_curves_differ(before.curves[:1], after.curves[:1], after.curves), strict),
        "mean activation while climbing": (_curves_differ(before.curves, after.curves, after.curves), loose),
    }
    what = max(errors, key=lambda key: _excess(*errors[key]))
    error, allowed = errors[what]
    if all(one <= most for one, most in errors.values()):
        return Verdict(True, 1, 0, error, allowed)
    drifted = [key for key, (one, most) in errors.items() if not one <= most]
    layer, climbing = str(facts.get("layer")), "mean activation while climbing"
    told = [*findings]
    for key in drifted:
        ends = _ends(before, after) if key == climbing else ("", "")
        told.append(Finding("climb", layer, key, *ends, error=errors[key][0]))
    verdict = by_forward_pass(error, allowed, told, forward())
    # the pass ends at the layer: what it says of the model's output is about none
    return replace(verdict, findings=tuple(one for one in verdict.findings if one.kind != "outputs"))


def _excess(error: float, allowed: float) -> float:
    return error / allowed if allowed else (math.inf if error else 0.0)


def _ends(before: Climb, after: Climb) -> tuple[str, str]:
    one, two = (", ".join(f"{value:.3g}" for value in climb.curves[-1]) for climb in (before, after))
    return one, two


def _gradients_differ(
    one: Climb, other: Climb, dtype: str, own: Tolerances, kinks: Callable[[], bool]
) -> tuple[float, float]:
    """(error, what is allowed) of the filter whose gradient is furthest off."""
    before, after = one.gradients, other.gradients
    if len(before) != len(after) or not before:
        return (math.inf if len(before) != len(after) else 0.0), own.explanation(dtype)
    pairs = zip(before, after, strict=True)
    return worse(*(gradient_difference(*pair, dtype, own, kinks=kinks) for pair in pairs))


def _curves_differ(before: Rows, after: Rows, actual: Rows) -> float:
    """As a fraction of each filter's highest point in the actual climb: the start itself may be nearly nothing."""
    if not same_places(before, after):
        return math.inf
    one, two = np.nan_to_num(before, posinf=0, neginf=0), np.nan_to_num(after, posinf=0, neginf=0)
    size = np.abs(np.nan_to_num(actual, posinf=0, neginf=0)).max(0)
    with np.errstate(all="ignore"):
        apart = np.abs(two - one).max(0)
    return max((_ratio(float(a), float(s)) for a, s in zip(apart, size, strict=True)), default=0.0)


def _ratio(apart: float, size: float) -> float:
    if apart == 0.0:
        return 0.0
    return apart / size if size > 0.0 and math.isfinite(apart / size) else math.inf
