"""Whose code the first difference between two operator graphs belongs to.

An operator stands in the module whose code runs it. Where that module is called more or less often, or is handed
something else, the change was made by the module that calls it.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence

from pytest_modelviz.compare.diagnosis import blamed
from pytest_modelviz.compare.evidence import built_otherwise, caller_of, module_findings
from pytest_modelviz.compare.naming import below, tie_findings
from pytest_modelviz.compare.shapes import likely_calls
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.compare.walk import Walk
from pytest_modelviz.graph import INPUT, OperatorGraph
from pytest_modelviz.trace import Call, Trace
from pytest_modelviz.verdict import Finding

_OTHERS = ("graph:replaced", "graph:removed", "graph:added")
_RESULT = re.compile(r"(\[\d+\]|<\d+>)+$")


def blame(baseline: OperatorGraph, actual: OperatorGraph, first: Finding) -> tuple[str, str, list[Finding]]:
    """Layer, cause and evidence of the first difference; the actual graph has the names of the baseline."""
    if first.kind == "graph:input":
        return "", "input", []
    before, after = _traces(baseline, actual)
    walk = Walk(before, after, Tolerances())
    walk.run()
    if walk.first is not None and walk.parted is not None:
        entered = [event.call.layer for event in walk.parted if event is not None and event.kind == "enter"]
        if any(layer and below(first.layer, layer) for layer in entered):
            found = blamed(walk, walk.first, {})
            return found.layer, found.cause, found.evidence
    layer = first.layer
    if baseline.ties is not None and actual.ties is not None and first.kind == "graph:receives":
        ties = tie_findings(baseline.ties, actual.ties)
        if ties and _holder(first.before, baseline) != _holder(first.after, actual):
            return "", "architecture", ties
    if layer not in before.modules or layer not in after.modules:
        layer = caller_of(layer, before, after)
    evidence = built_otherwise(layer, before, after)
    if first.kind == "graph:receives" and not evidence:
        layer = _giver(first, baseline, actual, before, after)
        evidence = built_otherwise(layer, before, after)
    if first.kind in _OTHERS:
        inner = [one for one in module_findings(before, after) if layer == "" or below(one.layer, layer)]
        evidence += [one for one in inner if one not in evidence]
    return layer, "architecture" if evidence else "computation", evidence


def _traces(baseline: OperatorGraph, actual: OperatorGraph) -> tuple[Trace, Trace]:
    """Both with their calls; those of a graph that was recorded without them as in the other, as far as that fits."""
    before, after = baseline.as_trace(), actual.as_trace()
    if baseline.calls is None and actual.calls is not None:
        before.calls = likely_calls(after.calls, _counts(baseline, actual, after.calls))
    elif actual.calls is None and baseline.calls is not None:
        after.calls = likely_calls(before.calls, _counts(actual, baseline, before.calls))
    elif baseline.calls is None:  # who runs operators is all that is known of either
        before.calls = after.calls = []
    return before, after


def _counts(graph: OperatorGraph, other: OperatorGraph, calls: Sequence[Call]) -> dict[str, int]:
    """How often modules are called, judging by how often their operators are run; `calls` are the other graph's."""
    called = collections.Counter(call.layer for call in calls)
    own, others = (collections.Counter(one.module for one in some.operators) for some in (graph, other))
    counts = {}
    for name in graph.modules:
        times = called[name]
        if others[name] and times:
            each = max(others[name] // times, 1)
            times = own[name] // each if own[name] % each == 0 else times
        elif own[name] and not times:
            times = 1
        counts[name] = times
    return counts


def _giver(first: Finding, baseline: OperatorGraph, actual: OperatorGraph, before: Trace, after: Trace) -> str:
    """The module whose code hands an operator something else: its own, unless it was handed both things itself."""
    layer = first.layer
    known = {_producer(name) for one in baseline.operators if below(one.module, layer) for name in one.inputs}
    old, new = _producer(first.before), _producer(first.after)
    if new in known:  # it had both before, and now uses the other
        return layer
    weight = _holder(first.before, baseline)
    if weight is not None and weight[0] == layer and not _inside(new, layer):
        return caller_of(layer, before, after)  # its weights were given to it for this call
    while layer and not _inside(old, layer) and not _inside(new, layer):
        layer = caller_of(layer, before, after)
    return layer


def _producer(reference: str) -> str:
    """What a reference is to, without which argument it is given as and which of several results it is."""
    return _RESULT.sub("", reference.rpartition("=")[2])


def _inside(producer: str, layer: str) -> bool:
    """Whether something is made, or held, within a module."""
    if producer.startswith(INPUT):
        return layer == ""
    owner = producer.rpartition("/")[0] if "/" in producer else producer.rpartition(".")[0]
    return layer == "" or below(owner, layer)


def _holder(reference: str, graph: OperatorGraph) -> tuple[str, str] | None:
    """The module that holds a parameter or buffer, and its name there; None for what was computed."""
    owner, _, local = _producer(reference).rpartition(".")
    row = graph.modules.get(owner)
    return (owner, local) if row is not None and local in row.tensors else None
