"""Two lists of operators side by side: what was replaced, removed, added and changed, as a diff lists it."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

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
    split_result,
)

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
    before, after = baseline.operators, actual.operators
    unpaired: set[str] = set()  # what has no counterpart, by names of the baseline and (marked) of the actual graph
    for block in align([_key(operator) for operator in before], [_key(operator) for operator in after]):
        old, new = [before[at] for at in block.before], [after[at] for at in block.after]
        if block.equal:
            for pair in zip(old, new, strict=True):
                _pair(*pair, result, unpaired)
        else:
            _gap(old, new, result, unpaired)
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


def _key(operator: Operator) -> tuple[str, ...]:
    return (operator.module, operator.kind, *(f"{name}={text}" for name, text in operator.arguments.items()))


def _gap(old: list[Operator], new: list[Operator], result: Difference, unpaired: set[str]) -> None:
    """A stretch in which no two operators are equal: first those that only have other arguments are paired."""
    for block in align([(op.module, op.kind) for op in old], [(op.module, op.kind) for op in new]):
        removed, added = [old[at] for at in block.before], [new[at] for at in block.after]
        if block.equal or [op.module for op in removed] == [op.module for op in added]:
            for pair in zip(removed, added, strict=True):
                _pair(*pair, result, unpaired)
        else:
            _unmatched(removed, added, result, unpaired)


def _unmatched(removed: list[Operator], added: list[Operator], result: Difference, unpaired: set[str]) -> None:
    if removed and added and len({op.module for op in (*removed, *added)}) == 1:
        before, after = (", ".join(op.call for op in stretch) for stretch in (removed, added))
        result.findings.append(findings.OperatorFinding(removed[0].module, before, after, _predecessor(removed[0])))
    else:
        for op in removed:
            result.findings.append(findings.OperatorFinding(op.module, op.call, "", _predecessor(op)))
        for op in added:
            result.findings.append(findings.OperatorFinding(op.module, "", op.call, _predecessor(op, result.pairs)))
    result.lines += [("-", op) for op in removed] + [("+", op) for op in added]
    unpaired.update(op.name for op in removed)
    unpaired.update(f"+{op.name}" for op in added)


def _predecessor(operator: Operator, pairs: Mapping[str, str] | None = None) -> str:
    """What an operator comes after: its first input."""
    producers = [name for name in operator.inputs if "/" in name or name.startswith(INPUT)]
    name = producers[0].rpartition("=")[2] if producers else ""
    return _reference(name, pairs or {})


def _pair(before: Operator, after: Operator, result: Difference, unpaired: set[str]) -> None:
    """Two operators that stand for one another: what is different about them."""
    result.pairs[after.name] = before.name
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


def _reference(name: str, pairs: Mapping[str, str]) -> str:
    """A reference of the actual graph in the names of the baseline."""
    prefix, equals, given = name.rpartition("=")
    stem, result = split_result(given)
    return f"{prefix}{equals}{pairs.get(stem, stem)}{result}"


def _references(before: tuple[str, ...], after: tuple[str, ...], pairs: Mapping[str, str]) -> tuple[str, ...]:
    """References of the actual graph in the names of the baseline; equal constants as they are written there."""
    names = [_reference(name, pairs) for name in after]
    if len(before) != len(names):
        return tuple(names)
    return tuple(old if same_constant(old, new) else new for old, new in zip(before, names, strict=True))


def _touches(unpaired: set[str], before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    """Whether any of these comes from an operator that the other graph does not have."""
    names = [*((name, "") for name in before), *((name, "+") for name in after)]
    return any(f"{mark}{split_result(name.rpartition('=')[2])[0]}" in unpaired for name, mark in names)
