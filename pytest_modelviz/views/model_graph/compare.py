"""Two lists of operators side by side: what was replaced, removed, added and changed, told as a diff is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pytest_modelviz.compare.evidence import config_findings, module_findings
from pytest_modelviz.compare.naming import baseline_name, is_within, with_baseline_names
from pytest_modelviz.compare.texts import same_text
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.structure import ModelStructure
from pytest_modelviz.records.verdict import Divergence, Finding, Verdict
from pytest_modelviz.views.model_graph.align import align
from pytest_modelviz.views.model_graph.blame import blame
from pytest_modelviz.views.model_graph.records import (
    INPUT,
    Operator,
    OperatorGraph,
    escaped,
    module_of,
    split_result,
    unescaped,
)

# What these say follows from the shapes of what they are given.
_SHAPES = frozenset({"shape", "size", "sizes", "split_sizes", "normalized_shape", "output_size", "end"})


@dataclass
class Difference:
    """What two graphs do not share, in the order of execution.

    `findings` name the places, `follows` the operators that differ only because of an earlier one, `pairs` maps names
    of the actual graph to those of the baseline, `lines` are the rows of a diff: (sign, operator).
    """

    findings: list[Finding] = field(default_factory=list)
    follows: list[str] = field(default_factory=list)
    pairs: dict[str, str] = field(default_factory=dict)
    lines: list[tuple[str, Operator]] = field(default_factory=list)


def compare_graphs(baseline: OperatorGraph, actual: OperatorGraph) -> Verdict:
    """Say whether, where and why two graphs part. Graphs made in different ways cannot be compared."""
    if baseline.source != actual.source:
        return _made_otherwise(baseline, actual)
    actual, renamed = renamed_back(baseline, actual)
    _refuse_aliases(baseline, actual)
    found = difference(baseline, actual)
    owners = dict.fromkeys(one.module for one in (*baseline.operators, *actual.operators))
    renamed = [one for one in renamed if any(is_within(owner, one.before) for owner in owners)]
    if not found.findings and not renamed:
        return Verdict(True, len(owners), 0, 0.0, 0.0)
    before, after = baseline.structure(), actual.structure()
    if found.findings:
        layer, cause, evidence = blame(baseline, actual, found.findings[0])
        first = _divergence(layer, before, after)
    else:
        first, cause, evidence = _divergence(renamed[0].before, before, after), "architecture", list[Finding]()
        first = replace(first, layer=renamed[0].after)
    also = [one for one in module_findings(before, after) if one not in evidence]
    for name in before.modules:
        also += [one for one in config_findings(name, before, after) if one not in evidence]
    touched = {one.layer for one in found.findings} | {module_of(name) for name in found.follows}
    if not found.findings:
        evidence = renamed
    else:
        also += renamed
    findings = [*found.findings[:1], *evidence, *found.findings[1:]]
    if found.follows:
        findings.append(Finding("graph:follows", module_of(found.follows[0]), str(len(found.follows))))
    findings += [replace(one, kind=f"also:{one.kind}") for one in also]
    count = max(len(baseline.operators), len(actual.operators), 1)
    changed = len(found.findings) + len(found.follows)
    return Verdict(
        matched=False,
        compared=len(owners),
        drifted=len(touched & set(owners)) or len(renamed),
        error=min(changed / count, 1.0),
        tolerance=0.0,
        first=first,
        cause=cause,
        findings=tuple(findings),
    )


def _refuse_aliases(baseline: OperatorGraph, actual: OperatorGraph) -> None:
    """No operator of a baseline is called as the actual graph calls something else: a weight, a constant, an input.

    Raises UnreadableBaselineError.
    """
    made = {one.name for one in actual.operators}
    given = [name for one in actual.operators for name in one.inputs] + [*actual.outputs, *actual.inputs]
    held: set[str] = set()
    for reference in given:
        name = reference.rpartition("=")[2]
        held |= {name, split_result(name, ("[]", "<>"))[0]} - made
    for one in baseline.operators:
        if one.name in held:
            raise UnreadableBaselineError(f"its graph has an operator of an impossible name: {one.name[:80]!r}")


def _made_otherwise(baseline: OperatorGraph, actual: OperatorGraph) -> Verdict:
    finding = Finding("graph:source", "", actual.reason or baseline.reason, baseline.source, actual.source)
    root = actual.modules.get("")
    first = Divergence("", root.class_name if root else "", 0, 1.0, 0.0)
    return Verdict(False, 1, 1, 1.0, 0.0, first, None, (finding,))


def renamed_back(baseline: OperatorGraph, actual: OperatorGraph) -> tuple[OperatorGraph, list[Finding]]:
    """The actual graph with renamed modules, and inputs of another name, called as in the baseline."""
    old, renamed = with_baseline_names(baseline.structure(), actual.structure())
    inputs: dict[str, str] = {}
    # where only their order differs, names tell which is which
    other = baseline.inputs.keys() != actual.inputs.keys()
    if other and list(baseline.inputs.values()) == list(actual.inputs.values()):
        inputs = dict(zip(actual.inputs, baseline.inputs, strict=True))
    if not renamed and all(new == old for new, old in inputs.items()):
        return actual, renamed

    def module(name: str) -> str:
        return baseline_name(name, renamed)

    def reference(text: str) -> str:
        prefix, equals, given = text.rpartition("=")
        if given.startswith(INPUT):
            return f"{prefix}{equals}{inputs.get(given, given)}"
        owner, slash, rest = given.partition("/")
        return f"{prefix}{equals}{escaped(module(unescaped(owner)))}{slash}{rest}"

    operators = tuple(
        replace(one, name=reference(one.name), inputs=tuple(reference(name) for name in one.inputs))
        for one in actual.operators
    )
    modules = {module(name): row for name, row in actual.modules.items()}
    names = {inputs.get(name, name): text for name, text in actual.inputs.items()}
    outputs = tuple(reference(name) for name in actual.outputs)
    calls = actual.calls and tuple(replace(call, layer=module(call.layer)) for call in actual.calls)
    ties = None if actual.ties is None else old.ties
    made = replace(actual, inputs=names, operators=operators, outputs=outputs, modules=modules, calls=calls, ties=ties)
    return made, renamed


def difference(baseline: OperatorGraph, actual: OperatorGraph) -> Difference:
    """Everything that differs between two graphs that were made in the same way."""
    told = Difference()
    for name in dict.fromkeys((*baseline.inputs, *actual.inputs)):
        one, two = baseline.inputs.get(name, ""), actual.inputs.get(name, "")
        if one != two:
            told.findings.append(Finding("graph:input", "", name, one, two))
    told.pairs.update((name, name) for name in actual.inputs)
    before, after = baseline.operators, actual.operators
    unpaired: set[str] = set()  # what has no counterpart, by names of the baseline and (marked) of the actual graph
    for block in align([_key(one) for one in before], [_key(one) for one in after]):
        old, new = [before[at] for at in block.before], [after[at] for at in block.after]
        if block.equal:
            for pair in zip(old, new, strict=True):
                _pair(*pair, told, unpaired)
        else:
            _gap(old, new, told, unpaired)
    returned = [_reference(name, told.pairs) for name in actual.outputs]
    if returned != list(baseline.outputs) and not _touches(unpaired, baseline.outputs, actual.outputs):
        told.findings.append(Finding("graph:returns", "", "", ", ".join(baseline.outputs), ", ".join(returned)))
    return told


def _key(one: Operator) -> tuple[str, ...]:
    return (one.module, one.kind, *(f"{name}={text}" for name, text in one.arguments.items()))


def _gap(old: list[Operator], new: list[Operator], told: Difference, unpaired: set[str]) -> None:
    """A stretch in which no two operators are equal: first those that only have other arguments are paired."""
    for block in align([(one.module, one.kind) for one in old], [(one.module, one.kind) for one in new]):
        gone, come = [old[at] for at in block.before], [new[at] for at in block.after]
        if block.equal or (len(gone) == len(come) and [o.module for o in gone] == [o.module for o in come]):
            for one, two in zip(gone, come, strict=True):
                _pair(one, two, told, unpaired)
        else:
            _apart(gone, come, told, unpaired)


def _apart(gone: list[Operator], come: list[Operator], told: Difference, unpaired: set[str]) -> None:
    if gone and come and len({one.module for one in (*gone, *come)}) == 1:
        before, after = (", ".join(one.call for one in some) for some in (gone, come))
        told.findings.append(Finding("graph:replaced", gone[0].module, _place(gone[0]), before, after))
    else:
        told.findings += [Finding("graph:removed", one.module, _place(one), before=one.call) for one in gone]
        told.findings += [Finding("graph:added", one.module, _place(one, told.pairs), after=one.call) for one in come]
    told.lines += [("-", one) for one in gone] + [("+", one) for one in come]
    unpaired.update(one.name for one in gone)
    unpaired.update(f"+{one.name}" for one in come)


def _place(one: Operator, pairs: Mapping[str, str] | None = None) -> str:
    """After what an operator stands: its first input."""
    producers = [name for name in one.inputs if "/" in name or name.startswith("input.")]
    name = producers[0].rpartition("=")[2] if producers else ""
    return _reference(name, pairs or {})


def _pair(one: Operator, two: Operator, told: Difference, unpaired: set[str]) -> None:
    """Two operators that stand for one another: what is different about them."""
    told.pairs[two.name] = one.name
    given = tuple(_reference(name, told.pairs) for name in two.inputs)
    arguments = {
        key: (one.arguments.get(key, ""), two.arguments.get(key, ""))
        for key in dict.fromkeys((*one.arguments, *two.arguments))
        if not same_text(one.arguments.get(key, ""), two.arguments.get(key, ""))
    }
    same = one.kind == two.kind
    if same and not arguments and given == one.inputs and one.output == two.output:
        told.lines.append((" ", one))
        return
    told.lines += [("-", one), ("+", two)]
    count = len(told.findings)
    if not same:
        told.findings.append(Finding("graph:replaced", one.module, _place(one), *(_calls(one, two, arguments))))
    elif arguments and not (set(arguments) <= _SHAPES and one.output != two.output and told.findings):
        told.findings += [
            Finding("graph:argument", one.module, f"{one.name} {key}", *arguments[key]) for key in arguments
        ]
    if given != one.inputs and not _touches(unpaired, one.inputs, two.inputs):
        changed = [pair for pair in zip(one.inputs, given, strict=False) if pair[0] != pair[1]]
        changed = changed if len(one.inputs) == len(given) else [(", ".join(one.inputs), ", ".join(given))]
        told.findings += [Finding("graph:receives", one.module, one.name, old, new) for old, new in changed]
    if len(told.findings) == count:
        if not told.findings:
            told.findings.append(Finding("graph:output", one.module, one.name, one.output, two.output))
        else:
            told.follows.append(one.name)


def _calls(one: Operator, two: Operator, arguments: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    """Both with the arguments in which they differ; only the names where there are none."""
    texts = []
    for operator in (one, two):
        own = {key: text for key, text in operator.arguments.items() if key in arguments}
        texts.append(replace(operator, arguments=own).call)
    return texts[0], texts[1]


def _reference(name: str, pairs: Mapping[str, str]) -> str:
    """A reference of the actual graph in the names of the baseline."""
    prefix, equals, given = name.rpartition("=")
    stem, result = split_result(given)
    return f"{prefix}{equals}{pairs.get(stem, stem)}{result}"


def _touches(unpaired: set[str], before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    """Whether one of these comes from an operator that the other graph does not have."""
    names = [*((name, "") for name in before), *((name, "+") for name in after)]
    return any(f"{mark}{split_result(name.rpartition('=')[2])[0]}" in unpaired for name, mark in names)


def _divergence(layer: str, before: ModelStructure, after: ModelStructure) -> Divergence:
    module = before.modules.get(layer) or after.modules.get(layer)
    return Divergence(layer, module.class_name if module else "", 0, 1.0, 0.0)
