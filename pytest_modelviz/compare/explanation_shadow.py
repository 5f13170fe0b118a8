"""Explanations in lower precision beside each other, by their float32 shadows: rounding turns a gradient far.

The shadows are compared as explanations in single precision are. Where they agree, the explanations themselves may be
as far apart as their dtype allows, or this run's as far from its own shadow as twice the distance of the baseline's, at
most by half. If this run has no shadow, since it computes in single precision, they may be as far apart as that allows
or, with a note, as the precision does that the baseline states.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from pytest_modelviz.compare.precision import coarser, low_dtypes, precision_of
from pytest_modelviz.compare.readable import contradiction
from pytest_modelviz.compare.shadow import may_have_shadow, shadow_tolerances, with_findings
from pytest_modelviz.compare.tolerance import MOST, Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.explanation_shadow import explanation_shadow, without_shadow
from pytest_modelviz.records.findings import DtypeFinding, FactFinding, Role, ShadowFinding
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_arrays import unpack_trace
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.strict_json import JsonValue


class Compare(Protocol):
    """How two explanations are compared as they are."""

    def __call__(
        self, baseline: Capture, actual: Capture, tolerances: Tolerances, *, is_target_chosen: bool
    ) -> Verdict: ...


Distances = Callable[[Capture, Capture], Sequence[float]]

_LOWEST = "lowest_dtype"  # a fact
_REQUEST = ("method", "layer", "call", "dtype", "targets", "shape")  # facts that make explanations comparable
_ANSWERS = ("predicted", "explained")  # facts that are reported with a match
_TIMES_AS_FAR = 2.0  # from its shadow an explanation may be on another device


def compare_explanations(
    baseline: Capture,
    actual: Capture,
    tolerances: Tolerances,
    *,
    compare: Compare,
    distances: Distances,
    is_target_chosen: bool = False,
) -> Verdict:
    """Compare two explanations, by their shadows where they are of lower precision.

    Args:
        baseline: the stored capture.
        actual: the capture that is compared with it.
        tolerances: those of the check.
        compare: compares two explanations as they are.
        distances: how far two explanations are apart, by each quantity that they are compared by.
        is_target_chosen: whether the caller chose the target, as `compare` takes it.

    Returns:
        The verdict on the shadows; where those agree, that on the explanations themselves.

    Raises:
        UnreadableBaselineError: the baseline is damaged.

    """
    compare = functools.partial(compare, is_target_chosen=is_target_chosen)
    _require_lowest(baseline)
    shadows = [explanation_shadow(capture) for capture in (baseline, actual)]
    if shadows == [None, None]:
        return compare(baseline, actual, tolerances)
    old, new = without_shadow(baseline), without_shadow(actual)
    if old.facts.get("dtype") != new.facts.get("dtype"):
        return compare(old, new, tolerances)  # nothing else needs to be known
    before_pass, after_pass = (unpack_trace(capture.arrays) for capture in (old, new))
    if shadows[0] is not None:
        _require_weights(shadows[0], before_pass)
    before, after = map(_in_single_precision, (baseline, actual), shadows)
    if before is None or after is None:
        verdict = compare(old, new, tolerances)
        return with_findings(verdict, ShadowFinding("baseline" if before is None else "actual", role=Role.ALSO))
    stated = precision_of(baseline.environment)
    if after is actual and not may_have_shadow(before_pass, stated):
        return compare(old, new, tolerances)  # no run has recorded such a shadow
    verdict = compare(before, after, shadow_tolerances(before_pass, after_pass, tolerances))
    if not verdict.matched:
        return with_findings(verdict, ShadowFinding("differs", role=Role.ALSO))
    native = compare(old, new, tolerances)
    lowest = [str(precision_facts(trace).get(_LOWEST, "float32")) for trace in (before_pass, after_pass)]
    if lowest[0] != lowest[1]:
        changed = DtypeFinding("", "lowest dtype", *lowest)
        native = native if not native.matched else Verdict.drift(compared=1, drifted=1, cause="computation")
        return with_findings(native, changed, ShadowFinding("agrees"))
    if native.matched:
        return with_findings(verdict, *native.findings)
    if after is actual:  # which is as far from its shadow as nothing
        coarse = compare(old, new, replace(tolerances, precision=stated))
        if coarse.matched:
            return with_findings(verdict, *coarse.findings, ShadowFinding("stated", role=Role.ALSO))
        return with_findings(native, ShadowFinding("agrees"))
    is_same_request = all(old.facts.get(key) == new.facts.get(key) for key in _REQUEST)
    explained = ("", *str(new.facts.get("layer", "")).split(", "))
    asked = [tolerances.of(layer) for layer in explained]
    is_default = all(own.rtol is None and own.atol is None for own in asked)  # what a user allows is all
    if is_same_request and is_default and _is_as_far(distances(old, before), distances(new, after)):
        return with_findings(verdict, *_other_answers(old, new))
    return with_findings(native, ShadowFinding("agrees"))


def _require_lowest(baseline: Capture) -> None:
    """Raises UnreadableBaselineError where the text says another lowest dtype than the arrays."""
    if _LOWEST in baseline.facts:
        stated = precision_facts(unpack_trace(without_shadow(baseline).arrays)).get(_LOWEST)
        if baseline.facts[_LOWEST] != stated:
            raise contradiction("the lowest dtype")


def _require_weights(shadow: Capture, trace: ForwardTrace) -> None:
    """Raises UnreadableBaselineError where a baseline's shadow is of other weights than its pass."""
    before, after = trace.structure, unpack_trace(shadow.arrays).structure
    is_same = before.modules == after.modules and before.ties == after.ties
    if not is_same or any(not record.is_bitwise(after.weights[key]) for key, record in before.weights.items()):
        raise UnreadableBaselineError("its explanation in float32 is of another model than its forward pass")


def _other_answers(baseline: Capture, actual: Capture) -> list[FactFinding]:
    before, after = ({key: str(capture.facts.get(key, "-")) for key in _ANSWERS} for capture in (baseline, actual))
    return [FactFinding(key, before[key], after[key]) for key in _ANSWERS if before[key] != after[key]]


def precision_facts(trace: ForwardTrace) -> dict[str, JsonValue]:
    """The coarsest dtype in a pass of lower precision, as under autocast, where an explanation itself is in float32."""
    return {_LOWEST: functools.reduce(coarser, low)} if (low := low_dtypes(trace)) else {}


def explanation_dtype(baseline: Capture, actual: Capture) -> str:
    """The coarsest dtype that an explanation was computed in, as far as its baseline was computed in that, too."""
    own, lowest = str(actual.facts.get("dtype", "float32")), actual.facts.get(_LOWEST)
    return own if lowest is None or baseline.facts.get(_LOWEST) != lowest else coarser(own, str(lowest))


def _is_as_far(baseline: Sequence[float], actual: Sequence[float]) -> bool:
    """Whether distances from their shadows, quantity by quantity, are what rounding on another device may do."""
    if len(baseline) != len(actual) or max(baseline, default=0.0) > MOST:  # which no run has recorded
        return False
    return all(new <= min(_TIMES_AS_FAR * old, MOST) for old, new in zip(baseline, actual, strict=True))


def _in_single_precision(capture: Capture, shadow: Capture | None) -> Capture | None:
    """The explanation in single precision: its shadow, or the explanation itself where that is in no lower one."""
    if shadow is not None:
        return shadow
    is_lower = may_have_shadow(unpack_trace(capture.arrays), precision_of(capture.environment))
    return None if is_lower else capture
