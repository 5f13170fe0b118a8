"""The first event that differs: two passes side by side, in the order in which things happened.

A pass is a sequence of events: a module is entered with inputs, a module is left with outputs. The first event that
differs says whose code ran in between, and that module's own configuration and weights say why.

| the first differing event | the suspect |
|---|---|
| entering the model itself | nobody: the input changed |
| leaving M, all inside it agreed | M |
| entering M, all before agreed | M's parent, between its children |
| another module is entered or left here | the innermost module open at that moment |
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from pytest_modelviz.compare.tensors import difference, leaf_difference, mismatch, rms, weight_difference
from pytest_modelviz.compare.tolerance import Tolerances, coarser, is_exact, significant_weight_change
from pytest_modelviz.trace import Call, Event, Leaves, Trace
from pytest_modelviz.verdict import Divergence, Finding, LayerError, Verdict

_SUSPICIOUS = 0.1  # the part of the tolerance from which on a module that did change is suspected
_LARGEST_SCALE = 1e8  # masks hold -1e9 and -3.4e38; they say nothing about the size of what is computed


class _Seen(NamedTuple):
    """One event of both passes: the error of its worst leaf, what is allowed, and that leaf's path."""

    event: Event
    error: float
    allowed: float
    path: str


@dataclass
class _Walk:
    baseline: Trace
    actual: Trace
    tolerances: Tolerances
    dtype: str = "float64"
    layers: list[LayerError] = field(default_factory=list)
    seen: list[_Seen] = field(default_factory=list)
    first: _Seen | None = None
    callers: set[int] = field(default_factory=set)
    parted: tuple[Event | None, Event | None] | None = None

    def run(self) -> None:
        """Compare event by event until the order of events itself differs."""
        following = zip(self.baseline.calls, self.baseline.calls[1:], strict=False)
        self.callers = {id(call) for call, after in following if after.depth > call.depth}
        left, right = self.baseline.events(), self.actual.events()
        open_calls: list[Call] = []
        while True:
            before, after = next(left, None), next(right, None)
            if before is None and after is None:
                return
            if before is None or after is None or _what(before) != _what(after):
                self.parted = (before, after)
                if self.first is None:
                    culprit = open_calls[-1] if open_calls else Call("", 0, 0, {})
                    self.first = _Seen(Event("order", culprit, None), math.inf, 0.0, "")
                return
            if before.kind == "enter":
                open_calls.append(before.call)
            self._compare(before, after)
            if before.kind == "leave":
                open_calls.pop()

    def _compare(self, before: Event, after: Event) -> None:
        for leaf in before.leaves.values():
            if leaf.tensor is not None:
                self.dtype = coarser(self.dtype, self.baseline.tensors[leaf.tensor].dtype)
        error, allowed, path = leaf_difference(
            before.leaves,
            self._by_old_names(before, after),
            self.baseline.tensors,
            self.actual.tensors,
            dtype=self.dtype,
            tolerances=self.tolerances,
            scale=self._scale(before),
        )
        if before.kind == "leave":
            self.layers.append(LayerError(before.call.layer, before.call.index, error, allowed))
        if self.first is None:
            seen = _Seen(before, error, allowed, path)
            self.seen.append(seen)
            if not error <= allowed:
                self.first = seen

    def _by_old_names(self, before: Event, after: Event) -> Leaves:
        """A call's arguments under the names that the baseline has for them.

        Where forward's own parameters were renamed, they are matched by their order: that is no other input. Where
        they were not, another name is another argument.
        """
        layer, leaves = before.call.layer, after.leaves
        if before.kind != "enter" or list(leaves) == list(before.leaves) or len(leaves) != len(before.leaves):
            return leaves
        old, new = (trace.modules[layer].config.get("forward") for trace in (self.baseline, self.actual))
        return leaves if old == new else dict(zip(before.leaves, leaves.values(), strict=True))

    def _scale(self, event: Event) -> float:
        """The size of the inputs of a module that calls no other, as it is left; of anything else zero.

        A single operation may cancel its inputs down to their rounding. Over several modules a signal may just as well
        fade, every digit of it meant.
        """
        if event.kind != "leave" or id(event.call) in self.callers:
            return 0.0
        leaves = event.call.inputs.values()
        records = [self.baseline.tensors[leaf.tensor] for leaf in leaves if leaf.tensor is not None]
        sizes = [rms(record) for record in records if not is_exact(record.dtype) and record.shape]
        return max((size for size in sizes if size < _LARGEST_SCALE), default=0.0)


def compare_traces(baseline: Trace, actual: Trace, tolerances: Tolerances) -> Verdict:
    """Walk two passes of a model and say whether, where and why they part."""
    walk = _Walk(baseline, actual, tolerances)
    walk.run()
    changed = _changed_weights(baseline, actual)
    if walk.first is None:
        return _unseen_in_outputs(walk, changed, tolerances)
    blamed, cause, evidence = _blame(walk, walk.first, changed)
    event, error, allowed, path = blamed
    suspect, index = _suspect(event)
    holders = {finding.layer for finding in evidence}
    if len(holders) == 1 and suspect not in holders and cause in ("weights", "architecture") and event.kind != "order":
        suspect, index = holders.pop(), 0  # the suspect reads a child that it never calls, and that is what changed
    layers = {call.layer for call in baseline.calls}
    agreed = {layer.layer for layer in walk.layers} - {layer.layer for layer in walk.layers if layer.drifted}
    first = Divergence(suspect, _class_of(suspect, baseline, actual), index, error, allowed)
    kind = "event:input" if event.kind == "enter" and event.parent is None else f"event:{event.kind}"
    before, after = ("", "") if math.isfinite(error) else _mismatch(walk, event, path)
    findings = [Finding(kind, event.call.layer, path, before, after, error), *evidence]
    findings += _order_findings(walk) + _other_findings(baseline, actual, changed, evidence)
    return Verdict(
        matched=False,
        compared=len(layers),
        drifted=len(layers - agreed),
        error=walk.first.error,
        tolerance=walk.first.allowed,
        first=first,
        cause=cause,
        findings=tuple(findings),
        layers=tuple(walk.layers),
    )


def _mismatch(walk: _Walk, event: Event, path: str) -> tuple[str, str]:
    for other in walk.actual.events():
        if event.kind != "order" and _what(other) == _what(event):
            one, two = event.leaves.get(path), other.leaves.get(path)
            return mismatch(one, two, walk.baseline.tensors, walk.actual.tensors)
    return "", ""


def _unseen_in_outputs(walk: _Walk, changed: dict[str, float], tolerances: Tolerances) -> Verdict:
    """All events agree. A parameter that changed by more than an activation may is a drift all the same."""
    worst = max(walk.layers, key=lambda layer: layer.error, default=LayerError("", 0, 0.0, 0.0))
    count = len({call.layer for call in walk.baseline.calls})
    heavy = {}
    for name in changed:
        before, after = walk.baseline.weights[name], walk.actual.weights[name]
        allowed = significant_weight_change(before.dtype, tolerances)
        error = difference(before, after, atol=tolerances.absolute, allowed=allowed)
        if not is_exact(before.dtype) and not error <= allowed:
            heavy[name] = error
    appeared = set(walk.baseline.modules) ^ set(walk.actual.modules)
    if not heavy and not appeared:
        return Verdict(True, count, 0, worst.error, worst.tolerance, layers=tuple(walk.layers))
    if heavy:
        name = max(heavy, key=lambda key: heavy[key])
        owner = next((o for o, module in walk.baseline.modules.items() if name in module.weights.values()), "")
        dtype = walk.baseline.weights[name].dtype
        error, allowed, cause = heavy[name], significant_weight_change(dtype, tolerances), "weights"
    else:
        owner, error, allowed, cause = min(appeared), math.inf, 0.0, "architecture"
    findings = [Finding("event:none")] + [Finding("weights", owner, name, error=e) for name, e in heavy.items()]
    findings += _module_findings(walk.baseline, walk.actual)
    first = Divergence(owner, _class_of(owner, walk.baseline, walk.actual), 0, error, allowed)
    return Verdict(False, count, 0, error, allowed, first, cause, tuple(findings), tuple(walk.layers))


def _what(event: Event) -> tuple[str, str, int]:
    return event.kind, event.call.layer, event.call.index


def _suspect(event: Event) -> tuple[str, int]:
    if event.kind == "enter" and event.parent is not None:
        return event.parent.layer, event.parent.index
    return event.call.layer, event.call.index


def _blame(walk: _Walk, first: _Seen, changed: dict[str, float]) -> tuple[_Seen, str, list[Finding]]:
    """Where the drift came from: the first event beyond tolerance, unless a change just below it explains that.

    A changed weight whose own output stays barely within tolerance may be amplified by an innocent module after it.
    """
    cause, evidence = _explain(walk, first.event, _suspect(first.event)[0], changed)
    if cause == "computation":
        for seen in walk.seen:
            if seen.error > _SUSPICIOUS * seen.allowed:
                earlier, found = _explain(walk, seen.event, _suspect(seen.event)[0], changed)
                if found:
                    return seen, earlier, found
    return first, cause, evidence


def _explain(walk: _Walk, event: Event, suspect: str, changed: dict[str, float]) -> tuple[str, list[Finding]]:
    """Cause and evidence: the suspect's own configuration, then its own weights, else its code."""
    if event.kind == "enter" and event.parent is None:
        return "input", []
    baseline, actual = walk.baseline, walk.actual
    own = _own_modules(suspect, baseline)
    configured = [finding for name in own for finding in _config_findings(name, baseline, actual)]
    if event.kind == "order":
        structure = [f for f in _module_findings(baseline, actual) if _inside(f.layer, suspect)]
        if structure or configured:
            return "architecture", structure + configured
        return "computation", []
    if any(finding.kind != "attribute" for finding in configured):
        return "architecture", configured
    weighed = [
        Finding("weights", name, weight, error=changed[key])
        for name in own
        for weight, key in baseline.modules[name].weights.items()
        if key in changed
    ]
    if weighed:
        return "weights", weighed + configured
    return ("architecture", configured) if configured else ("computation", [])


def _own_modules(suspect: str, trace: Trace) -> list[str]:
    """The suspect and those below it that were never called: it can only read them itself.

    What lies below another module that was called is that one's to read.
    """
    called = {call.layer for call in trace.calls} - {suspect}
    own: list[str] = []
    readable = {suspect}
    for name in trace.modules:  # parents come before their children
        if name == suspect:
            own.append(name)
        elif name and name not in called and _parent(name, readable):
            own.append(name)
            readable.add(name)
    return own


def _parent(name: str, known: set[str]) -> bool:
    """Whether the module that holds `name` is among `known`."""
    return (name.rpartition(".")[0]) in known


def _inside(name: str, outer: str) -> bool:
    return outer == "" or name == outer or name.startswith(f"{outer}.")


def _config_findings(name: str, baseline: Trace, actual: Trace) -> list[Finding]:
    if name not in baseline.modules or name not in actual.modules:
        return []
    before, after = baseline.modules[name], actual.modules[name]
    found = []
    if before.class_name != after.class_name:
        found.append(Finding("class", name, "class", before.class_name, after.class_name))
    keys = [key for key in sorted({*before.config, *after.config}) if before.config.get(key) != after.config.get(key)]
    keys = [key for key in keys if key != "forward"]  # the names of its parameters are code
    named = [key for key in keys if key not in ("extra_repr", "repr")]  # they repeat what attributes say
    # an attribute that extra_repr does not show may be configuration or mere state: weaker evidence
    kind = "config" if len(named) < len(keys) else "attribute"
    found += [Finding(kind, name, key, before.config.get(key, ""), after.config.get(key, "")) for key in named or keys]
    for key in sorted({*before.weights, *after.weights}):
        old = _shape(baseline, before.weights.get(key))
        new = _shape(actual, after.weights.get(key))
        if old != new:
            found.append(Finding("shape", name, key, old, new))
    return found


def _shape(trace: Trace, key: str | None) -> str:
    if key is None:
        return ""
    record = trace.weights[key]
    return f"{record.dtype}{list(record.shape)}"


def _changed_weights(baseline: Trace, actual: Trace) -> dict[str, float]:
    """Relative change of every weight of equal shape that changed."""
    changed = {}
    for name, record in baseline.weights.items():
        other = actual.weights.get(name)
        if other is not None and (record.dtype, record.shape) == (other.dtype, other.shape):
            error = weight_difference(record, other)
            if error:
                changed[name] = error
    return changed


def _module_findings(baseline: Trace, actual: Trace) -> list[Finding]:
    gone = [n for n in baseline.modules if n not in actual.modules]
    new = [n for n in actual.modules if n not in baseline.modules]
    return [Finding("removed", n, before=baseline.modules[n].class_name) for n in gone] + [
        Finding("added", n, after=actual.modules[n].class_name) for n in new
    ]


def _order_findings(walk: _Walk) -> list[Finding]:
    if walk.parted is None:
        return []
    before, after = (f"{event.kind} {event.call.layer}" if event else "end" for event in walk.parted)
    return [Finding("order", before=before, after=after)]


def _other_findings(
    baseline: Trace, actual: Trace, changed: dict[str, float], evidence: list[Finding]
) -> list[Finding]:
    """What else differs, beyond the evidence against the suspect."""
    told = {(finding.kind, finding.layer, finding.what) for finding in evidence}
    others = [f for f in _module_findings(baseline, actual) if (f.kind, f.layer, f.what) not in told]
    for name in baseline.modules:
        others += [f for f in _config_findings(name, baseline, actual) if (f.kind, f.layer, f.what) not in told]
        for weight, key in baseline.modules[name].weights.items():
            if key in changed and ("weights", name, weight) not in told:
                others.append(Finding("weights", name, weight, error=changed[key]))
    if baseline.ties != actual.ties:
        others.append(Finding("ties", before=str(baseline.ties), after=str(actual.ties)))
    return [Finding(f"also:{f.kind}", f.layer, f.what, f.before, f.after, f.error) for f in others]


def _class_of(name: str, baseline: Trace, actual: Trace) -> str:
    module = baseline.modules.get(name) or actual.modules.get(name)
    return module.class_name if module else ""
