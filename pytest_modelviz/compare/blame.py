"""Which module caused the first difference between two passes, and why.

The module whose code ran before the first event that differs is the suspect. Its configuration explains the drift, or
its weights do, or else its code; but a module before it may have changed by less than its own tolerance, a child that
is never called may hold what changed, and weights that a module was given for a call are its caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pytest_modelviz.compare.evidence import WeightChanges, changed_state, module_findings, order_findings
from pytest_modelviz.compare.lockstep import ComparedEvent, LockstepComparison
from pytest_modelviz.compare.naming import is_within, tie_findings
from pytest_modelviz.compare.ownership import construction_findings, own_modules
from pytest_modelviz.compare.precision import is_exact
from pytest_modelviz.compare.tolerance import significant_weight_change
from pytest_modelviz.records.findings import AttributeFinding, LayerFinding, ModuleFinding, WeightFinding
from pytest_modelviz.records.structure import ATTRIBUTE_SUFFIX, LENT
from pytest_modelviz.records.trace import Event

Explanation = tuple[str, Sequence[LayerFinding]]  # a cause, and the evidence for it

_SUSPICIOUS = 0.1  # the share of the tolerance from which on a module that did change is suspected


class Blame(NamedTuple):
    """The event that revealed a drift, the layer (and which of its calls) that caused it, and why."""

    revealed_by: ComparedEvent
    layer: str
    call: int
    cause: str
    evidence: Sequence[LayerFinding]


def assign_blame(comparison: LockstepComparison, first: ComparedEvent, changed: WeightChanges) -> Blame:
    """Find the module that caused the first event that differs.

    Args:
        comparison: two passes that have been compared.
        first: their first event that differs.
        changed: the weights that changed.

    """
    compared, cause, evidence = _causing_event(comparison, first, changed)
    lent_to = _call_with_lent_weights(comparison, compared.event) if cause == "computation" else None
    if lent_to is not None:  # what a module makes of weights that it was given is its caller's doing
        compared = lent_to._replace(error=compared.error, allowed=compared.allowed)
        cause, evidence = _explanation(comparison, compared.event, changed)
    if cause == "computation":
        cause, evidence = _weak_explanation(comparison, compared.event)
    structures = comparison.baseline.structure, comparison.actual.structure
    if cause == "weights" and any(isinstance(f, WeightFinding) and _is_retied(comparison, f) for f in evidence):
        ties = tie_findings(structures[0].ties, structures[1].ties)
        return Blame(compared, "", 0, "architecture", [*ties, *evidence])  # it no longer is another's weight, or now is
    layer, index = suspect_of(compared.event)
    own = [f for f in evidence if not isinstance(f, ModuleFinding) and _is_inside(f.layer, layer)]
    changed_layers = {finding.layer for finding in own}
    if len(changed_layers) == 1 and layer not in changed_layers and compared.event.kind != "order":
        layer, index = changed_layers.pop(), 0  # the suspect reads a child that it never calls, and that changed
    return Blame(compared, layer, index, cause, evidence)


def suspect_of(event: Event) -> tuple[str, int]:
    """The layer, and which of its calls, whose code ran just before an event."""
    if event.kind == "enter" and event.parent is not None:
        return event.parent.layer, event.parent.index
    return event.call.layer, event.call.index


def _causing_event(
    comparison: LockstepComparison, first: ComparedEvent, changed: WeightChanges
) -> tuple[ComparedEvent, str, Sequence[LayerFinding]]:
    """The first event beyond tolerance, unless an earlier one, within tolerance, explains it.

    A changed weight whose own output stays barely within tolerance may be amplified by an innocent module after it; one
    that changed a lot may leave a trace of any size, where sorting or thresholds make much of little.
    """
    cause, evidence = _explanation(comparison, first.event, changed)
    if cause != "computation":
        return first, cause, evidence
    for least in (_SUSPICIOUS, 0.0):
        for compared in comparison.events:
            if max(compared.error, compared.full_error) > least * compared.allowed:
                earlier_cause, earlier = _explanation(comparison, compared.event, changed)
                if earlier and (least or any(_is_significant(comparison, finding) for finding in earlier)):
                    return compared, earlier_cause, earlier
    unobserved = _unobserved_weights(comparison, first, changed)
    return (first, "weights", unobserved) if unobserved else (first, cause, evidence)


def _explanation(comparison: LockstepComparison, event: Event, changed: WeightChanges) -> Explanation:
    """Cause and evidence: the suspect's own configuration, else its own weights, else its code."""
    if event.kind == "enter" and event.parent is None:
        return "input", []
    baseline, actual, suspect = comparison.baseline, comparison.actual, suspect_of(event)[0]
    configured = construction_findings(suspect, baseline, actual)
    if event.kind == "order":
        modules = module_findings(baseline.structure, actual.structure)
        structure: list[LayerFinding] = [f for f in modules if _is_inside(f.layer, suspect)]
        structure += [f for f in comparison.renamed if _is_inside(f.before, suspect) or _is_inside(f.layer, suspect)]
        known = set(structure)
        evidence = structure + [finding for finding in configured if finding not in known]
        return ("architecture", evidence) if evidence else ("computation", [])
    if not all(isinstance(finding, AttributeFinding) for finding in configured):
        return "architecture", configured
    own = set(own_modules(suspect, baseline))
    weights = [WeightFinding(*key, error) for key, error in changed.items() if key[0] in own]
    if weights:
        return "weights", [*weights, *configured]
    return ("architecture", configured) if configured else ("computation", [])


def _weak_explanation(comparison: LockstepComparison, event: Event) -> Explanation:
    """What else may explain a drift before the code does: buffers that the pass also writes, and orders of texts.

    Such a buffer may be read before it is written, and a list of texts may be the steps that a module takes, in order.
    """
    structures = comparison.baseline.structure, comparison.actual.structure
    own = own_modules(suspect_of(event)[0], comparison.baseline)
    state = changed_state(*structures) if event.kind != "order" else {}
    buffers = [WeightFinding(*key, error) for key, error in state.items() if key[0] in own]
    if buffers:
        return "weights", buffers
    orders = order_findings(own, *structures)
    return ("architecture", orders) if orders else ("computation", [])


def _unobserved_weights(
    comparison: LockstepComparison, first: ComparedEvent, changed: WeightChanges
) -> list[WeightFinding]:
    """Weights inside the suspect that changed a lot and have shown in no call: its own code may read them.

    An embedding's weight used as a matrix, say, or a bias that is subtracted before its layer is called.
    """
    if first.event.kind == "order":
        return []
    suspect = suspect_of(first.event)[0]
    inner = [WeightFinding(*key, error) for key, error in changed.items() if _is_inside(key[0], suspect)]
    return [finding for finding in inner if _is_significant(comparison, finding)]


def _call_with_lent_weights(comparison: LockstepComparison, event: Event) -> ComparedEvent | None:
    """The outermost call around an event for which only one of the passes was given weights, as it was entered."""
    around = comparison.callers_of(event.call if event.kind != "enter" else event.parent)
    entered = {id(compared.event.call): compared for compared in comparison.events if compared.event.kind == "enter"}
    lent = [entered[id(call)] for call in around if id(call) in comparison.lent_calls and id(call) in entered]
    if not lent or lent[-1].event.parent is None:
        return None
    return lent[-1]._replace(path=f"weights{LENT}")


def _is_significant(comparison: LockstepComparison, finding: LayerFinding) -> bool:
    """Whether a parameter changed by far more than the same seed differs between processors."""
    if not isinstance(finding, WeightFinding) or finding.name.endswith(ATTRIBUTE_SUFFIX):
        return False
    record = comparison.baseline.weights[comparison.baseline.modules[finding.layer].weights[finding.name]]
    allowed = significant_weight_change(record.dtype, comparison.tolerances.of(finding.layer))
    return not is_exact(record.dtype) and finding.error > allowed


def _is_retied(comparison: LockstepComparison, finding: WeightFinding) -> bool:
    """Whether a parameter shares its memory with others in only one of the two models, or with different ones."""
    name = f"{finding.layer}.{finding.name}" if finding.layer else finding.name
    groups = set(comparison.baseline.structure.ties) ^ set(comparison.actual.structure.ties)
    return any(name in group for group in groups)


def _is_inside(name: str, layer: str) -> bool:
    return layer == "" or is_within(name, layer)
