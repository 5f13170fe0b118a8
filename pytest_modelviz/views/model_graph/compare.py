"""Two operator graphs side by side: whether, where and why they differ. Knows no torch."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_modelviz.compare.evidence import beside, construction_changes
from pytest_modelviz.compare.naming import baseline_namer, is_within, tie_findings, with_baseline_names
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records import findings as kinds
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.structure import ModelStructure, class_name_of
from pytest_modelviz.records.verdict import Divergence, Verdict
from pytest_modelviz.views.model_graph.blame import blame, holder_of
from pytest_modelviz.views.model_graph.constants import is_sketched_narrowly
from pytest_modelviz.views.model_graph.difference import difference
from pytest_modelviz.views.model_graph.earlier import as_earlier_versions
from pytest_modelviz.views.model_graph.findings import FollowingFinding, SourceFinding
from pytest_modelviz.views.model_graph.records import (
    INPUT,
    OperatorGraph,
    argument_name,
    argument_names,
    escaped,
    module_of,
    producer_of,
    unescaped,
)

# By versions that did not say what a graph returns.
NOT_RECORDED = kinds.UnstatedFinding(
    "which values larger constants have, what stands beside tensors in an argument, which keys and numbers the model "
    "returns, and what it writes into its arguments"
)

# By versions that sketched constants in seven sums.
NARROW_SKETCHES = kinds.UnstatedFinding("which values larger constants have beyond seven sums of them")


def compare(baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
    """Compare two captures of `model_graph`. Raises UnreadableBaselineError for a damaged baseline."""
    if json.dumps(baseline.facts) == json.dumps(actual.facts):
        return _match_with_itself(OperatorGraph.from_facts(actual.facts, tolerances.ignored))
    graphs = (OperatorGraph.from_facts(capture.facts, tolerances.ignored) for capture in (baseline, actual))
    return compare_graphs(*graphs)


def _match_with_itself(graph: OperatorGraph) -> Verdict:
    """What `compare_graphs` says of a graph beside the same. Raises UnreadableBaselineError as that does."""
    graph.structure()
    uncompared = [NARROW_SKETCHES] if any(map(is_sketched_narrowly, graph.references)) else []
    return Verdict.match(compared=len({operator.module for operator in graph.operators}), findings=uncompared)


def compare_graphs(baseline: OperatorGraph, actual: OperatorGraph) -> Verdict:
    """Say whether, where and why two graphs differ. Graphs made in different ways cannot be compared."""
    if baseline.source != actual.source:
        finding = SourceFinding(baseline.source, actual.source, actual.reason or baseline.reason)
        return Verdict.drift(error=1.0, first=_divergence("", actual.structure()), findings=[finding])
    uncompared: list[kinds.AnyFinding] = []
    if baseline.returned is None and actual.returned is not None:
        actual = as_earlier_versions(actual)
        uncompared = [NOT_RECORDED]
    actual, all_renamed = renamed_back(baseline, actual)
    _refuse_aliases(baseline, actual)
    differing = difference(baseline, actual)
    owners = dict.fromkeys(operator.module for operator in (*baseline.operators, *actual.operators))
    read = _read_modules(actual)
    renamed = [finding for finding in all_renamed if any(is_within(name, finding.before) for name in (*owners, *read))]
    before, after = baseline.structure(), actual.structure()
    built = construction_changes(before, after)
    lacking = [finding for finding in built if isinstance(finding, kinds.ModuleFinding) and finding.layer in read]
    if not differing.findings and not renamed and not lacking:
        ties = tie_findings(before.ties, after.ties) if None not in (baseline.ties, actual.ties) else []
        if baseline.ties is None and actual.ties is not None:
            uncompared.append(kinds.UnstatedFinding("which weights are shared"))
        if any(map(is_sketched_narrowly, baseline.references)):
            uncompared.append(NARROW_SKETCHES)
        reported = [finding for finding in built if not isinstance(finding, kinds.AttributeFinding)]
        return Verdict.match(compared=len(owners), findings=[*reported, *all_renamed, *ties, *uncompared])
    evidence: Sequence[kinds.LayerFinding] = [*renamed, *lacking]
    if differing.findings:
        layer, cause, evidence = blame(baseline, actual, differing.findings[0])
        first = _divergence(layer, before, after)
    else:
        layer, cause = evidence[0].layer, "architecture"
        first = replace(_divergence(renamed[0].before if renamed else layer, before, after), layer=layer)
    touched = {finding.layer for finding in differing.findings} | {module_of(name) for name in differing.follows}
    findings: list[kinds.AnyFinding] = [*differing.findings[:1], *evidence, *differing.findings[1:]]
    if differing.follows:
        findings.append(FollowingFinding(module_of(differing.follows[0]), len(differing.follows)))
    findings += beside(evidence, [*built, *all_renamed])
    count = max(len(baseline.operators), len(actual.operators), 1)
    changed = len(differing.findings) + len(differing.follows)
    return Verdict.drift(
        compared=len(owners),
        drifted=len(touched & set(owners)) or len(renamed) + len(lacking),
        error=min(changed / count, 1.0),
        tolerance=0.0,
        first=first,
        cause=cause,
        findings=findings,
    )


def _refuse_aliases(baseline: OperatorGraph, actual: OperatorGraph) -> None:
    """No operator of a baseline is called as the actual graph calls something else: a weight, a constant, an input.

    Raises UnreadableBaselineError.
    """
    names = {operator.name for operator in actual.operators}
    held: set[str] = set()
    for reference in (*actual.references, *actual.inputs):
        held |= {reference.rpartition("=")[2], producer_of(reference)} - names
    for operator in baseline.operators:
        if operator.name in held:
            raise UnreadableBaselineError(f"its graph has an operator with an impossible name: {operator.name[:80]!r}")


def _read_modules(graph: OperatorGraph) -> set[str]:
    """The modules whose parameters and buffers are read or returned, by whichever module's code."""
    return {holder[0] for reference in graph.references if (holder := holder_of(reference, graph)) is not None}


def renamed_back(baseline: OperatorGraph, actual: OperatorGraph) -> tuple[OperatorGraph, list[kinds.RenameFinding]]:
    """The actual graph with renamed modules, and inputs of another name, called as in the baseline."""
    old, renamed = with_baseline_names(baseline.structure(), actual.structure())
    inputs = {} if actual.by_name else _renamed_inputs(baseline.inputs, actual.inputs)
    if not renamed and not inputs:
        return actual, renamed

    module = baseline_namer(renamed)

    def reference(text: str) -> str:
        prefix, equals, given = text.rpartition("=")
        if given.startswith(INPUT):
            return f"{prefix}{equals}{inputs.get(given, given)}"
        owner, slash, rest = given.partition("/")
        return f"{prefix}{equals}{escaped(module(unescaped(owner)))}{slash}{rest}"

    operators = tuple(operator.renamed(reference) for operator in actual.operators)
    modules = {module(name): row for name, row in actual.modules.items()}
    names = {inputs.get(name, name): text for name, text in actual.inputs.items()}
    outputs = tuple(map(reference, actual.outputs))
    calls = actual.calls and tuple(replace(call, layer=module(call.layer)) for call in actual.calls)
    ties = None if actual.ties is None else old.ties
    renamed_graph = replace(
        actual, inputs=names, operators=operators, outputs=outputs, modules=modules, calls=calls, ties=ties
    )
    return renamed_graph, renamed


def _renamed_inputs(baseline: Mapping[str, str], actual: Mapping[str, str]) -> dict[str, str]:
    """The baseline's names of inputs that are called otherwise now, if there is nothing else about the inputs.

    An argument has another name where only one of the graphs knows each of the names at its position. A name that the
    caller gave, such as the key of a dict, stands for itself.
    """
    before, after = argument_names(baseline), argument_names(actual)
    if len(before) != len(after) or not (_are_counted(before) and _are_counted(after)):
        return {}
    pairs = zip(after, before, strict=True)
    arguments = {new: old for new, old in pairs if new not in before and old not in after}
    names = {
        name: f"{arguments[argument]}{name.removeprefix(argument)}"
        for name in actual
        if (argument := argument_name(name)) in arguments
    }
    return names if {names.get(name, name): text for name, text in actual.items()} == dict(baseline) else {}


def _are_counted(arguments: Sequence[str]) -> bool:
    """Whether indices count positions, as those of a list do: integers may also be the keys of a dict, in any order."""
    counts: Counter[str] = Counter()
    for argument in arguments:
        root, bracket, index = argument.partition("[")
        if bracket and index != f"{counts[root]}]":
            return False
        counts[root] += 1
    return True


def _divergence(layer: str, *structures: ModelStructure) -> Divergence:
    return Divergence(layer, class_name_of(layer, *structures), 0, 1.0, 0.0)
