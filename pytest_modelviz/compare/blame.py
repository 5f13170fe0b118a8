"""Which module caused the first difference between two passes, and why.

The module whose code ran before the first event that differs is the suspect. Its configuration explains the drift, or
its weights do, or else its code; but a module before it may have changed by less than its own tolerance, a child that
is never called may hold what changed, and weights that a module was given for a call are its caller's.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from pytest_modelviz.compare.evidence import (
    WeightChanges,
    changed_state,
    is_change_of_dtype,
    module_findings,
    order_findings,
    significant_change,
)
from pytest_modelviz.compare.lockstep import ComparedEvent, LockstepComparison, executing_call
from pytest_modelviz.compare.naming import is_within, tie_findings
from pytest_modelviz.compare.ownership import ConstructionComparison
from pytest_modelviz.records.findings import AttributeFinding, LayerFinding, ModuleFinding, WeightFinding
from pytest_modelviz.records.structure import LENT
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
    return _Investigation(comparison, first, changed).blame()


class _Investigation:
    """Two passes, their first event that differs, and what may explain it."""

    def __init__(self, comparison: LockstepComparison, first: ComparedEvent, changed: WeightChanges) -> None:
        self._comparison, self._first = comparison, first
        self._structures = comparison.structures
        self._construction = ConstructionComparison(comparison.baseline, comparison.actual)
        self._changed: dict[str, list[WeightFinding]] = {}
        for key, error in changed.items():
            self._changed.setdefault(key[0], []).append(WeightFinding(*key, error))

    def blame(self) -> Blame:
        compared, cause, evidence = self._causing_event()
        lent_to = self._call_with_lent_weights(compared.event) if cause == "computation" else None
        if lent_to is not None:  # what a module makes of weights that it was given is its caller's doing
            compared = lent_to._replace(error=compared.error, allowed=compared.allowed)
            cause, evidence = self._explanation(compared.event)
        if cause == "computation":
            cause, evidence = self._weak_explanation(compared.event)
        if cause == "weights" and self._is_any_retied(evidence):
            ties = tie_findings(*(structure.ties for structure in self._structures))
            return Blame(compared, "", 0, "architecture", [*ties, *evidence])  # no longer another's weight, or now one
        suspect = executing_call(compared.event)
        layer, index = suspect.layer, suspect.index
        own = [f for f in evidence if not isinstance(f, ModuleFinding) and _is_inside(f.layer, layer)]
        changed_layers = {finding.layer for finding in own}
        if len(changed_layers) == 1 and layer not in changed_layers and compared.event.kind != "order":
            layer, index = changed_layers.pop(), 0  # the suspect reads a child that it never calls, and that changed
        return Blame(compared, layer, index, cause, evidence)

    def _causing_event(self) -> tuple[ComparedEvent, str, Sequence[LayerFinding]]:
        """The first event beyond tolerance, unless an earlier one, within tolerance, explains it.

        A changed weight whose own output stays barely within tolerance may be amplified by an innocent module after
        it; one that changed a lot may leave a trace of any size, where sorting or thresholds make much of little.
        """
        cause, evidence = self._explanation(self._first.event)
        if cause != "computation":
            return self._first, cause, evidence
        for least in (_SUSPICIOUS, 0.0):
            for compared in self._comparison.events:
                if max(compared.error, compared.full_error) > least * compared.allowed:
                    earlier_cause, earlier = self._explanation(compared.event)
                    if earlier and (least or any(map(self._is_significant, earlier))):
                        return compared, earlier_cause, earlier
        unobserved = self._unobserved_weights()
        return (self._first, "weights", unobserved) if unobserved else (self._first, cause, evidence)

    def _explanation(self, event: Event) -> Explanation:
        """Cause and evidence: the suspect's own configuration, else its own weights, else its code."""
        if event.kind == "enter" and event.parent is None:
            return "input", []
        suspect = executing_call(event).layer
        configured = self._construction.findings(suspect)
        if event.kind == "order":
            modules = module_findings(*self._structures)
            structure: list[LayerFinding] = [f for f in modules if _is_inside(f.layer, suspect)]
            renamed = self._comparison.renamed
            structure += [f for f in renamed if _is_inside(f.before, suspect) or _is_inside(f.layer, suspect)]
            known = set(structure)
            evidence = structure + [finding for finding in configured if finding not in known]
            return ("architecture", evidence) if evidence else ("computation", [])
        if not all(isinstance(finding, AttributeFinding) for finding in configured):
            return "architecture", configured
        own = set(self._construction.own_modules(suspect))
        weights = [finding for name, changed in self._changed.items() if name in own for finding in changed]
        if weights:
            return "weights", [*weights, *configured]
        return ("architecture", configured) if configured else ("computation", [])

    def _weak_explanation(self, event: Event) -> Explanation:
        """What else may explain a drift before the code does: buffers that the pass also writes, and orders of texts.

        Such a buffer may be read before it is written, and a list of texts may be the steps that a module takes, in
        order. Or the module that is called has weights of another dtype.
        """
        own = self._construction.own_modules(executing_call(event).layer)
        state = changed_state(*self._structures) if event.kind != "order" else {}
        buffers = [WeightFinding(*key, error) for key, error in state.items() if key[0] in own]
        if buffers:
            return "weights", buffers
        orders = order_findings(own, *self._structures)
        if orders:
            return "architecture", orders
        asked = self._dtypes_of_callee(event)
        return ("architecture", asked) if asked else ("computation", [])

    def _dtypes_of_callee(self, event: Event) -> list[LayerFinding]:
        """The dtypes of weights that a caller may ask for, and convert to, before it calls their module."""
        if event.kind != "enter" or math.isfinite(self._first.error):
            return []
        return [finding for finding in self._construction.findings(event.call.layer) if is_change_of_dtype(finding)]

    def _unobserved_weights(self) -> list[WeightFinding]:
        """Weights inside the suspect that changed a lot and have shown in no call: its own code may read them.

        An embedding's weight used as a matrix, say, or a bias that is subtracted before its layer is called.
        """
        if self._first.event.kind == "order":
            return []
        suspect = executing_call(self._first.event).layer
        inner = [finding for name, changed in self._changed.items() if _is_inside(name, suspect) for finding in changed]
        return list(filter(self._is_significant, inner))

    def _call_with_lent_weights(self, event: Event) -> ComparedEvent | None:
        """The outermost call around an event for which only one of the passes was given weights, as it was entered."""
        comparison = self._comparison
        around = comparison.callers_of(event.call if event.kind != "enter" else event.parent)
        entered = {
            id(compared.event.call): compared for compared in comparison.events if compared.event.kind == "enter"
        }
        lent = [entered[id(call)] for call in around if id(call) in comparison.lent_calls and id(call) in entered]
        if not lent or lent[-1].event.parent is None:
            return None
        return lent[-1]._replace(path=f"weights{LENT}")

    def _is_significant(self, finding: LayerFinding) -> bool:
        """Whether a parameter changed by far more than the same seed differs between processors."""
        if not isinstance(finding, WeightFinding):
            return False
        module = self._structures[0].modules[finding.layer]
        record = self._structures[0].weights[module.weights[finding.name]]
        own = self._comparison.tolerances.of(finding.layer)
        return finding.error > significant_change(finding.name, record.dtype, own)

    def _is_any_retied(self, evidence: Sequence[LayerFinding]) -> bool:
        """Whether a parameter shares its memory with others in only one of the two models, or with different ones."""
        retied = {name for group in set(self._structures[0].ties) ^ set(self._structures[1].ties) for name in group}
        weights = [finding for finding in evidence if isinstance(finding, WeightFinding)]
        return any((f"{f.layer}.{f.name}" if f.layer else f.name) in retied for f in weights)


def _is_inside(name: str, layer: str) -> bool:
    return layer == "" or is_within(name, layer)
