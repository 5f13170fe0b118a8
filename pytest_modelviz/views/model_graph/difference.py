"""Two lists of operators side by side: what was replaced, removed, added and changed, as a diff lists it."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from pytest_modelviz.compare.texts import same_text
from pytest_modelviz.records.findings import LayerFinding
from pytest_modelviz.records.structure import WRITTEN
from pytest_modelviz.views.model_graph import findings
from pytest_modelviz.views.model_graph.align import align
from pytest_modelviz.views.model_graph.constants import same_constant
from pytest_modelviz.views.model_graph.dimensions import canonical
from pytest_modelviz.views.model_graph.records import (
    IN_PART,
    INPUT,
    Operator,
    OperatorGraph,
    argument_names,
    producer_of,
    with_names,
)

Operators: TypeAlias = Sequence[Operator]
# Arguments whose values follow from the shapes of the inputs.
_SHAPES = frozenset({"shape", "size", "sizes", "split_sizes", "normalized_shape", "output_size", "end"})


@dataclass
class Difference:
    """What two graphs do not share, in the order of execution.

    `findings` say where, `follows` names the operators that differ only because of an earlier one, `pairs` maps names
    of the actual graph to those of the baseline, `lines` are the rows of a diff: (sign, operator).
    """

    findings: list[LayerFinding] = field(default_factory=list)
    follows: list[str] = field(default_factory=list)
    pairs: dict[str, str] = field(default_factory=dict)
    lines: list[tuple[str, Operator]] = field(default_factory=list)


def difference(baseline: OperatorGraph, actual: OperatorGraph) -> Difference:
    """Everything that differs between two graphs that were made in the same way."""
    baseline, actual, result = canonical(baseline), canonical(actual), Difference()
    for name in dict.fromkeys((*baseline.inputs, *actual.inputs)):
        texts = baseline.inputs.get(name, ""), actual.inputs.get(name, "")
        if texts[0] != texts[1]:
            result.findings.append(findings.InputFinding("", name, *texts))
    arguments = [argument_names(graph.inputs) for graph in (baseline, actual)]
    if not (result.findings or actual.by_name) and _by_position(arguments[0]) != _by_position(arguments[1]):
        orders = [", ".join(name.removeprefix(INPUT) for name in names) for names in arguments]
        result.findings.append(findings.InputFinding("", "order", *orders))
    result.pairs.update((name, name) for name in actual.inputs)
    unpaired: set[str] = set()  # what has no counterpart, by names of the baseline and (marked) of the actual graph
    stretches = list(_stretches(baseline.operators, actual.operators))
    for paired, old, new in stretches:  # all at once: what is in a branch comes before the operator that hands it on
        if paired:
            result.pairs.update((after.name, before.name) for before, after in zip(old, new, strict=True))
        else:
            unpaired.update([*(op.name for op in old), *(f"+{op.name}" for op in new)])
    for paired, old, new in stretches:
        if not paired:
            _unmatched(old, new, result)
        for pair in zip(old, new, strict=True) if paired else ():
            _pair(*pair, result, unpaired)
    returned = _references(baseline.outputs, actual.outputs, result.pairs)
    items = _differing_items(baseline.returned or (), actual.returned or ())
    if returned != baseline.outputs and not _touches(unpaired, baseline.outputs, actual.outputs):
        outputs = _with_paths(baseline.outputs, baseline.returned), _with_paths(returned, actual.returned)
        result.findings.append(findings.ReturnsFinding("", *outputs))
    elif baseline.returned is not None and any(items):
        result.findings.append(findings.ReturnsFinding("", *items))
    return result


def _with_paths(outputs: tuple[str, ...], returned: tuple[str, ...] | None) -> tuple[str, ...]:
    """References to what a model returns, with the paths of what it writes into its arguments."""
    paths = [path for path, _, text in (item.rpartition(": ") for item in returned or ()) if text == "tensor"]
    if len(paths) != len(outputs):
        return outputs
    pairs = zip(paths, outputs, strict=True)
    return tuple(f"{path}: {name}" if path.endswith(WRITTEN) else name for path, name in pairs)


def _differing_items(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a model returned beside tensors, without the items that both have."""
    before, after = (tuple(item for item in items if not item.endswith(IN_PART)) for items in (before, after))
    if len(before) == len(after):
        pairs = [pair for pair in zip(before, after, strict=True) if not same_text(*pair)]
        return tuple(old for old, _ in pairs), tuple(new for _, new in pairs)
    counts = Counter(before), Counter(after)
    return tuple((counts[0] - counts[1]).elements()), tuple((counts[1] - counts[0]).elements())


def _by_position(arguments: Sequence[str]) -> list[str]:
    """The arguments in their order, but with the indices of each in order: those may be the keys of a dict."""
    indices: dict[str, list[str]] = {}
    for argument in sorted(arguments, reverse=True):
        indices.setdefault(argument.partition("[")[0], []).append(argument)
    return [indices[argument.partition("[")[0]].pop() for argument in arguments]


def _stretches(before: Operators, after: Operators) -> Iterator[tuple[bool, Operators, Operators]]:
    """Both lists in stretches, and of each whether its operators stand for one another, one by one.

    Where no two operators are equal, those that only have other arguments are paired.
    """
    for equal, old, new in _aligned(before, after, lambda op: (op.module, op.kind, *op.argument_texts)):
        if equal:
            yield True, old, new
            continue
        for alike, removed, added in _aligned(old, new, lambda op: (op.module, op.kind)):
            yield alike or [op.module for op in removed] == [op.module for op in added], removed, added


def _aligned(
    before: Operators, after: Operators, key: Callable[[Operator], tuple[str, ...]]
) -> Iterator[tuple[bool, Operators, Operators]]:
    for equal, old, new in align(list(map(key, before)), list(map(key, after))):
        yield equal, before[old.start : old.stop], after[new.start : new.stop]


def _unmatched(removed: Operators, added: Operators, result: Difference) -> None:
    if removed and added and len({op.module for op in (*removed, *added)}) == 1:
        before, after = (", ".join(op.call for op in stretch) for stretch in (removed, added))
        result.findings.append(findings.OperatorFinding(removed[0].module, before, after, _predecessor(removed[0])))
    else:
        for op in removed:
            result.findings.append(findings.OperatorFinding(op.module, op.call, "", _predecessor(op)))
        for op in added:
            result.findings.append(findings.OperatorFinding(op.module, "", op.call, _predecessor(op, result.pairs)))
    result.lines += [("-", op) for op in removed] + [("+", op) for op in added]


def _predecessor(operator: Operator, pairs: Mapping[str, str] | None = None) -> str:
    """What an operator comes after: its first input."""
    producers = [name for name in operator.inputs if "/" in name or name.startswith(INPUT)]
    name = producers[0].rpartition("=")[2] if producers else ""
    return with_names(name, pairs or {})


def _pair(before: Operator, after: Operator, result: Difference, unpaired: set[str]) -> None:
    """Two operators that stand for one another: what is different about them."""
    inputs = _references(before.inputs, after.inputs, result.pairs)
    arguments = {
        key: (before.arguments.get(key, ""), after.arguments.get(key, ""))
        for key in dict.fromkeys((*before.arguments, *after.arguments))
        if not same_text(before.arguments.get(key, ""), after.arguments.get(key, ""))
    }
    same_kind = before.kind == after.kind
    if same_kind and not arguments and inputs == before.inputs and before.output == after.output:
        result.lines.append((" ", before))
        return
    result.lines += [("-", before), ("+", after)]
    count = len(result.findings)
    if not same_kind:
        calls = _call(before, arguments), _call(after, arguments)
        result.findings.append(findings.OperatorFinding(before.module, *calls, _predecessor(before)))
    elif arguments and not (set(arguments) <= _SHAPES and before.output != after.output and result.findings):
        result.findings += [
            findings.ArgumentFinding(before.module, before.name, key, *arguments[key]) for key in arguments
        ]
    if inputs != before.inputs and not _touches(unpaired, before.inputs, after.inputs):
        changed = [pair for pair in zip(before.inputs, inputs, strict=False) if pair[0] != pair[1]]
        if len(before.inputs) != len(inputs):
            changed = [(", ".join(before.inputs), ", ".join(inputs))]
        result.findings += [findings.ReceivesFinding(before.module, before.name, *pair) for pair in changed]
    if len(result.findings) == count:
        if not result.findings:
            result.findings.append(findings.ResultFinding(before.module, before.name, before.output, after.output))
        else:
            result.follows.append(before.name)


def _call(operator: Operator, changed: Collection[str]) -> str:
    """An operator with the arguments that changed; only its name where there are none."""
    return replace(operator, arguments={key: text for key, text in operator.arguments.items() if key in changed}).call


def _references(before: tuple[str, ...], after: tuple[str, ...], pairs: Mapping[str, str]) -> tuple[str, ...]:
    """References of the actual graph in the names of the baseline; equal constants as they are written there."""
    names = [with_names(name, pairs) for name in after]
    if len(before) != len(names):
        return tuple(names)
    return tuple(old if same_constant(old, new) else new for old, new in zip(before, names, strict=True))


def _touches(unpaired: set[str], before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    """Whether any of these comes from an operator that the other graph does not have."""
    names = [*((name, "") for name in before), *((name, "+") for name in after)]
    return any(f"{mark}{producer_of(name)}" in unpaired for name, mark in names)
