"""Whose code the first difference between two operator graphs belongs to.

An operator stands in the module whose code runs it. Where that module is called more or less often, or is handed
something else, the change was made by the module that calls it.
"""

import collections
from collections.abc import Mapping, Sequence

from pytest_modelviz.compare.blame import assign_blame
from pytest_modelviz.compare.evidence import module_findings, order_findings
from pytest_modelviz.compare.lockstep import LockstepComparison
from pytest_modelviz.compare.naming import is_within, tie_findings
from pytest_modelviz.compare.ownership import MODULE_CONTAINERS, ConstructionComparison, calling_layer
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import LayerFinding
from pytest_modelviz.records.trace import Call, ForwardTrace
from pytest_modelviz.text.dotted import enclosing
from pytest_modelviz.views.model_graph.align import count_equal
from pytest_modelviz.views.model_graph.findings import InputFinding, OperatorFinding, ReceivesFinding
from pytest_modelviz.views.model_graph.records import INPUT, OperatorGraph, module_of, producer_of, unescaped


def blame(
    baseline: OperatorGraph, actual: OperatorGraph, first: LayerFinding
) -> tuple[str, str, Sequence[LayerFinding]]:
    """Layer, cause and evidence of the first difference; the actual graph has the names of the baseline."""
    if isinstance(first, InputFinding):
        return "", "input", []
    before, after = _traces(baseline, actual)
    comparison = LockstepComparison(before, after, Tolerances())
    comparison.run()
    if comparison.first is not None:
        diverging = filter(None, comparison.order_divergence or ())
        entered = [event.call.layer for event in diverging if event.kind == "enter"]
        if any(layer and is_within(first.layer, layer) for layer in entered):
            blamed = assign_blame(comparison, comparison.first, {})
            return blamed.layer, blamed.cause, blamed.evidence
    layer = first.layer
    if baseline.ties is not None and actual.ties is not None and isinstance(first, ReceivesFinding):
        ties = tie_findings(baseline.ties, actual.ties)
        if ties and holder_of(first.before, baseline) != holder_of(first.after, actual):
            return "", "architecture", ties
    if layer not in before.modules or layer not in after.modules:
        layer = calling_layer(layer, before.structure, after.structure)
    construction = ConstructionComparison(before, after)
    evidence = construction.findings(layer)
    if isinstance(first, ReceivesFinding) and not evidence:
        layer = _giver(first, baseline, before, after)
        evidence = construction.findings(layer)
    if isinstance(first, OperatorFinding):
        changed = module_findings(before.structure, after.structure)
        inner = [finding for finding in changed if layer == "" or is_within(finding.layer, layer)]
        known = set(evidence)
        evidence += [finding for finding in inner if finding not in known]
    evidence = evidence or [*order_findings(construction.own_modules(layer), before.structure, after.structure)]
    return layer, "architecture" if evidence else "computation", evidence


def _traces(baseline: OperatorGraph, actual: OperatorGraph) -> tuple[ForwardTrace, ForwardTrace]:
    """Both with their calls; where either was recorded without them, both with those that their operators imply."""
    before, after = baseline.as_trace(), actual.as_trace()
    if baseline.calls is None or actual.calls is None:
        called = collections.Counter(call.layer for call in baseline.calls or actual.calls or ())
        before.calls, after.calls = (_implied_calls(graph, called) for graph in (baseline, actual))
    return before, after


def _implied_calls(graph: OperatorGraph, called: Mapping[str, int]) -> list[Call]:
    """The calls that follow from whose code runs which operator.

    A module without children that runs its first kind of operator again is `called` again, if it ever is.
    """
    holding = {name.rpartition(".")[0] for name in graph.modules if name}
    calls: list[Call] = []
    counts: collections.Counter[str] = collections.Counter()
    stack: list[str] = []
    kind = ""  # of operator, with which the innermost call began
    for operator in graph.operators:
        module = operator.module
        path = _path(module, graph)
        again = stack == path and operator.kind == kind and module not in holding and called.get(module, 0) > 1
        shared = len(path) - 1 if again else count_equal(stack, path)
        if path[shared:]:
            kind = operator.kind
        for depth, layer in enumerate(path[shared:], shared):
            calls.append(Call(layer, counts[layer], depth, {}, {}))
            counts[layer] += 1
        stack = path
    return calls


def _path(module: str, graph: OperatorGraph) -> list[str]:
    """The modules around an operator, as far as their names say, from the model itself on."""
    outer = [*enclosing(module), module]
    mere = {name for name in outer if name in graph.modules and graph.modules[name].class_name in MODULE_CONTAINERS}
    return [name for name in outer if name == module or name not in mere]


def _giver(first: ReceivesFinding, baseline: OperatorGraph, before: ForwardTrace, after: ForwardTrace) -> str:
    """The module whose code hands an operator something else: its own, unless it was handed both things itself."""
    layer = first.layer
    inside = [operator for operator in baseline.operators if is_within(operator.module, layer)]
    known = {producer_of(name) for operator in inside for name in operator.inputs}
    old, new = producer_of(first.before), producer_of(first.after)
    if new in known:  # it had both before, and now uses the other
        return layer
    weight = holder_of(first.before, baseline)
    if weight is not None and weight[0] == layer and not _inside(new, layer):
        return calling_layer(layer, before.structure, after.structure)  # its weights were given to it for this call
    while layer and not _inside(old, layer) and not _inside(new, layer):
        layer = calling_layer(layer, before.structure, after.structure)
    return layer


def _inside(producer: str, layer: str) -> bool:
    """Whether something is made, or held, within a module."""
    if producer.startswith(INPUT):
        return layer == ""
    owner = module_of(producer) if "/" in producer else unescaped(producer).rpartition(".")[0]
    return layer == "" or is_within(owner, layer)


def holder_of(reference: str, graph: OperatorGraph) -> tuple[str, str] | None:
    """The module that holds a parameter or buffer, and its name there; None for what was computed."""
    owner, _, local = unescaped(producer_of(reference)).rpartition(".")
    row = graph.modules.get(owner)
    return (owner, local) if row is not None and local in row.tensors else None
