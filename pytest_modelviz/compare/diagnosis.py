"""Whether two passes of a model part, and if so where and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from pytest_modelviz.compare.evidence import (
    built_otherwise,
    changed_state,
    changed_weights,
    config_findings,
    first_built,
    module_findings,
    order_findings,
    own_modules,
    under_old_names,
)
from pytest_modelviz.compare.naming import below, tie_findings
from pytest_modelviz.compare.spread import drifted_layers
from pytest_modelviz.compare.tensors import difference, mismatch
from pytest_modelviz.compare.tolerance import Tolerances, is_exact, significant_weight_change
from pytest_modelviz.compare.walk import Seen, Walk, what
from pytest_modelviz.records.trace import LENT, LOOSE, Event, Trace
from pytest_modelviz.records.verdict import UNCOMPARED, Divergence, Finding, LayerError, Verdict

Changed = Mapping[tuple[str, str], float]  # of weights, by module and local name

_SUSPICIOUS = 0.1  # the part of the tolerance from which on a module that did change is suspected


class Blame(NamedTuple):
    """The event that gave a drift away, the layer (and which of its calls) that made it, and why."""

    seen: Seen
    layer: str
    call: int
    cause: str
    evidence: list[Finding]


def compare_traces(baseline: Trace, actual: Trace, tolerances: Tolerances) -> Verdict:
    """Walk two passes of a model and say whether, where and why they part."""
    actual, renamed = under_old_names(baseline, actual)
    walk = Walk(baseline, actual, tolerances, renamed)
    walk.run()
    changed = changed_weights(baseline, actual)
    if walk.first is None:
        verdict = _unseen_in_outputs(walk, changed, tolerances)
        return _only_renamed(verdict, actual, renamed) if verdict.matched and renamed else _with(verdict, renamed)
    blame = blamed(walk, walk.first, changed)
    seen, suspect, index, cause, evidence = blame
    event, error, allowed, path = seen[:4]
    layers = {call.layer for call in baseline.calls} - walk.passed_over
    first = Divergence(suspect, _class_of(suspect, baseline, actual), index, error, allowed)
    kind = "event:input" if event.kind == "enter" and event.parent is None else f"event:{event.kind}"
    before, after = ("", "") if math.isfinite(error) else _mismatch(walk, event, path)
    findings = [Finding(kind, event.call.layer, path, before, after, error), *evidence]
    if cause == "computation" and event.kind != "order":
        findings.append(_whose_code(seen))
    findings += _order_findings(walk) + _outputs(walk)
    findings += _other_findings(baseline, actual, changed, evidence)
    verdict = Verdict(
        matched=False,
        compared=len(layers),
        drifted=len(layers & drifted_layers(walk)),
        error=walk.first.error,
        tolerance=walk.first.allowed,
        first=first,
        cause=cause,
        findings=tuple(findings),
        layers=tuple(walk.layers),
    )
    return _with(verdict, renamed)


def _with(verdict: Verdict, renamed: list[Finding]) -> Verdict:
    if verdict.matched:
        return verdict
    others = [replace(one, kind=f"also:{one.kind}") for one in renamed if one not in verdict.findings]
    return replace(verdict, findings=(*verdict.findings, *others))


def _only_renamed(verdict: Verdict, actual: Trace, renamed: list[Finding]) -> Verdict:
    """Every number agrees, and yet nobody's checkpoints or layer names fit this model any more."""
    module = actual.modules[renamed[0].before]
    first = Divergence(renamed[0].after, module.class_name, 0, 0.0, 0.0)
    findings = (Finding("event:none"), *renamed)
    return replace(verdict, matched=False, tolerance=0.0, first=first, cause="architecture", findings=findings)


def _whose_code(blamed: Seen) -> Finding:
    """Between which of the suspect's calls its code computes something else; both empty for one that calls none."""
    event = blamed.event
    following = event.call.layer if event.kind == "enter" else ""
    return Finding("code", _suspect(event)[0], "between", blamed.previous or "", following)


def _outputs(walk: Walk) -> list[Finding]:
    """Which parts of the model's output drifted, of how many."""
    if walk.outputs is None:
        return []
    leaves = walk.baseline.calls[0].outputs or {}
    return [Finding("outputs", before=str(len(leaves)), after=", ".join(path or "output" for path in walk.outputs))]


def _mismatch(walk: Walk, event: Event, path: str) -> tuple[str, str]:
    for other in walk.actual.events():
        if event.kind != "order" and what(other) == what(event):
            one, two = event.leaves.get(path), other.leaves.get(path)
            return mismatch(one, two, walk.baseline.tensors, walk.actual.tensors)
    return "", ""


def _unseen_in_outputs(walk: Walk, changed: Changed, tolerances: Tolerances) -> Verdict:
    """All events agree. A parameter that changed by more than an activation may is a drift all the same."""
    worst = max(walk.layers, key=lambda layer: layer.error, default=LayerError("", 0, 0.0, 0.0))
    count = len({call.layer for call in walk.baseline.calls})
    heavy: dict[tuple[str, str], float] = {}
    for name, local in changed:
        before = walk.baseline.weights[walk.baseline.modules[name].weights[local]]
        after = walk.actual.weights[walk.actual.modules[name].weights[local]]
        allowed = significant_weight_change(before.dtype, tolerances.of(name))
        error = difference(before, after, atol=tolerances.of(name).absolute, allowed=allowed)
        if not is_exact(before.dtype) and not error <= allowed and not local.endswith(LOOSE):
            heavy[name, local] = error
    built = module_findings(walk.baseline, walk.actual)
    for name in walk.actual.modules:
        built += [one for one in config_findings(name, walk.baseline, walk.actual) if one.kind == "shape"]
    built += tie_findings(walk.baseline.ties, walk.actual.ties)
    if not heavy and not built:
        left = _uncompared(walk)
        return Verdict(True, count, 0, worst.error, worst.tolerance, findings=left, layers=tuple(walk.layers))
    if heavy:
        owner, local = max(heavy, key=lambda key: heavy[key])
        dtype = walk.baseline.weights[walk.baseline.modules[owner].weights[local]].dtype
        allowed = significant_weight_change(dtype, tolerances.of(owner))
        error, cause = heavy[owner, local], "weights"
    else:
        owner, error, allowed = first_built(built, walk.baseline, walk.actual), math.inf, 0.0
        cause = "architecture"
    findings = [Finding("event:none")]
    findings += [Finding("weights", name, local, error=size) for (name, local), size in heavy.items()]
    findings += built
    first = Divergence(owner, _class_of(owner, walk.baseline, walk.actual), 0, error, allowed)
    return Verdict(False, count, 0, error, allowed, first, cause, tuple(findings), tuple(walk.layers))


def _uncompared(walk: Walk) -> tuple[Finding, ...]:
    """What differs, or was not there, and was passed over for what the baseline says of it."""
    differ = dict.fromkeys(changed_state(walk.baseline, walk.actual))
    for name in walk.baseline.modules.keys() & walk.actual.modules.keys():
        before, after = walk.baseline.modules[name], walk.actual.modules[name]
        differ.update(dict.fromkeys((name, local) for local in after.weights.keys() - before.weights.keys()))
    found = [
        Finding(UNCOMPARED, name, f"buffer {local}")
        for name, local in sorted(differ)
        if local in walk.actual.modules[name].state(walk.baseline.modules[name]) - walk.actual.modules[name].rewritten
    ]
    lent = {call.layer for call in walk.baseline.calls if id(call) in walk.lent}
    found += [Finding(UNCOMPARED, name, f"weights{LENT}") for name in sorted(lent)]
    return tuple(found)


def _suspect(event: Event) -> tuple[str, int]:
    if event.kind == "enter" and event.parent is not None:
        return event.parent.layer, event.parent.index
    return event.call.layer, event.call.index


def blamed(walk: Walk, first: Seen, changed: Changed) -> Blame:
    """Which module made the first event that differs, and why."""
    seen, cause, evidence = _blame(walk, first, changed)
    lent = _lent_to(walk, seen.event) if cause == "computation" else None
    if lent is not None:  # what a module makes of weights that it was given is its caller's doing
        seen = lent._replace(error=seen.error, allowed=seen.allowed)
        cause, evidence = _explain(walk, seen.event, _suspect(seen.event)[0], changed)
    if cause == "computation":
        cause, evidence = _weakly_explained(walk, seen.event, _suspect(seen.event)[0])
    ties = tie_findings(walk.baseline.ties, walk.actual.ties)
    if cause == "weights" and any(_is_tied(walk, one) for one in evidence):
        return Blame(seen, "", 0, "architecture", [*ties, *evidence])  # it no longer is, or now is, another's weight
    suspect, index = _suspect(seen.event)
    own = [one for one in evidence if one.kind not in ("removed", "added") and _inside(one.layer, suspect)]
    holders = {one.layer for one in own}
    if len(holders) == 1 and suspect not in holders and seen.event.kind != "order":
        suspect, index = holders.pop(), 0  # the suspect reads a child that it never calls, and that is what changed
    return Blame(seen, suspect, index, cause, evidence)


def _is_tied(walk: Walk, finding: Finding) -> bool:
    """Whether a parameter shares its memory with others in only one of the two models, or with other ones."""
    name = f"{finding.layer}.{finding.what}" if finding.layer else finding.what
    return any(name in group for group in set(walk.baseline.ties) ^ set(walk.actual.ties))


def _lent_to(walk: Walk, event: Event) -> Seen | None:
    """The outermost call around an event for which only one of the two passes was given weights, as it was entered."""
    around = walk.callers_of(event.call if event.kind != "enter" else event.parent)
    entered = {id(seen.event.call): seen for seen in walk.seen if seen.event.kind == "enter"}
    found = [entered[id(call)] for call in around if id(call) in walk.lent and id(call) in entered]
    outermost = found[-1] if found else None
    return None if outermost is None or outermost.event.parent is None else outermost._replace(path=f"weights{LENT}")


def _blame(walk: Walk, first: Seen, changed: Changed) -> tuple[Seen, str, list[Finding]]:
    """Where the drift came from: the first event beyond tolerance, unless a change just below it explains that.

    A changed weight whose own output stays barely within tolerance may be amplified by an innocent module after it;
    one that changed a lot may leave a trace of any size, where sorting or thresholds make much of little.
    """
    cause, evidence = _explain(walk, first.event, _suspect(first.event)[0], changed)
    if cause != "computation":
        return first, cause, evidence
    for least in (_SUSPICIOUS, 0.0):
        for seen in walk.seen:
            if max(seen.error, seen.full) > least * seen.allowed:
                earlier, found = _explain(walk, seen.event, _suspect(seen.event)[0], changed)
                if found and (least or any(_is_heavy(walk, finding) for finding in found)):
                    return seen, earlier, found
    read = _read_by(walk, first, changed)
    return (first, "weights", read) if read else (first, cause, evidence)


def _read_by(walk: Walk, first: Seen, changed: Changed) -> list[Finding]:
    """Weights inside of the suspect that changed a lot and have shown in no call: its own code may read them.

    An embedding's weight used as a matrix, say, or a bias that is subtracted before its layer is called.
    """
    if first.event.kind == "order":
        return []
    suspect = _suspect(first.event)[0]
    inner = [Finding("weights", *key, error=error) for key, error in changed.items() if _inside(key[0], suspect)]
    return [finding for finding in inner if _is_heavy(walk, finding)]


def _is_heavy(walk: Walk, finding: Finding) -> bool:
    """Whether a parameter changed by far more than processors change one seed."""
    if finding.kind != "weights" or finding.what.endswith(LOOSE):
        return False
    record = walk.baseline.weights[walk.baseline.modules[finding.layer].weights[finding.what]]
    allowed = significant_weight_change(record.dtype, walk.tolerances.of(finding.layer))
    return not is_exact(record.dtype) and finding.error > allowed


def _explain(walk: Walk, event: Event, suspect: str, changed: Changed) -> tuple[str, list[Finding]]:
    """Cause and evidence: the suspect's own configuration, then its own weights, else its code."""
    if event.kind == "enter" and event.parent is None:
        return "input", []
    baseline, actual = walk.baseline, walk.actual
    configured = built_otherwise(suspect, baseline, actual)
    if event.kind == "order":
        structure = [f for f in module_findings(baseline, actual) if _inside(f.layer, suspect)]
        structure += [f for f in walk.renamed if _inside(f.before, suspect) or _inside(f.after, suspect)]
        known = set(structure)
        configured = [finding for finding in configured if finding not in known]
        if structure or configured:
            return "architecture", structure + configured
        return "computation", []
    if any(finding.kind != "attribute" for finding in configured):
        return "architecture", configured
    own = set(own_modules(suspect, baseline))
    weighed = [Finding("weights", *key, error=error) for key, error in changed.items() if key[0] in own]
    if weighed:
        return "weights", weighed + configured
    return ("architecture", configured) if configured else ("computation", [])


def _weakly_explained(walk: Walk, event: Event, suspect: str) -> tuple[str, list[Finding]]:
    """What else may explain a drift before it is the code's: buffers that the pass also writes, orders of texts.

    Such a buffer may be read before it is written, and a list of texts may be what a module is to do, in that order.
    """
    own = own_modules(suspect, walk.baseline)
    state = changed_state(walk.baseline, walk.actual) if event.kind != "order" else {}
    read = [Finding("weights", *key, error=error) for key, error in state.items() if key[0] in own]
    if read:
        return "weights", read
    orders = order_findings(own, walk.baseline, walk.actual)
    return ("architecture", orders) if orders else ("computation", [])


def _inside(name: str, outer: str) -> bool:
    return outer == "" or below(name, outer)


def _order_findings(walk: Walk) -> list[Finding]:
    if walk.parted is None:
        return []
    before, after = (f"{event.kind} {event.call.layer}" if event else "end" for event in walk.parted)
    later = walk.first is not None and walk.first.event.kind != "order"
    return [Finding("order", what="later" if later else "", before=before, after=after)]


def _other_findings(baseline: Trace, actual: Trace, changed: Changed, evidence: list[Finding]) -> list[Finding]:
    """What else differs, beyond the evidence against the suspect."""
    told = {(finding.kind, finding.layer, finding.what) for finding in evidence}
    others = [f for f in module_findings(baseline, actual) if (f.kind, f.layer, f.what) not in told]
    for name in baseline.modules:
        others += [f for f in config_findings(name, baseline, actual) if (f.kind, f.layer, f.what) not in told]
    weights = {**changed, **changed_state(baseline, actual)}
    others += [Finding("weights", *key, error=e) for key, e in weights.items() if ("weights", *key) not in told]
    others += [f for f in tie_findings(baseline.ties, actual.ties) if (f.kind, f.layer, f.what) not in told]
    return [Finding(f"also:{f.kind}", f.layer, f.what, f.before, f.after, f.error) for f in others]


def _class_of(name: str, baseline: Trace, actual: Trace) -> str:
    module = baseline.modules.get(name) or actual.modules.get(name)
    return module.class_name if module else ""
