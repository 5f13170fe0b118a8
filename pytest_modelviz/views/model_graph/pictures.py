"""An operator graph as text, as the rows of a diff, and as nodes for TensorBoard. Knows no torch."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter

from pytest_modelviz.pictures.exhibits import Exhibit, Graph, Node
from pytest_modelviz.pictures.text_diff import Line, around_changes, text_picture
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.views.model_graph.compare import renamed_back
from pytest_modelviz.views.model_graph.difference import Difference, difference
from pytest_modelviz.views.model_graph.records import (
    INPUT,
    Operator,
    OperatorGraph,
    dtype_and_sides,
    producer_of,
    unescaped,
)

_LABEL = "operators"
_ROWS = 48  # of the picture of one graph


def picture(actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None) -> Sequence[Exhibit]:
    """One text; with a baseline, its difference, and the actual graph."""
    after = OperatorGraph.from_facts(actual.facts)
    summary = f"{counted(len(after.operators), 'operator')}, {after.source}"
    if baseline is None:
        return [text_picture(_LABEL, summary, _overview(after))]
    before = OperatorGraph.from_facts(baseline.facts)
    if before.source != after.source:
        headline = f"actual: {summary}; the baseline was {before.source}"
        return [text_picture(_LABEL, headline, _overview(after)), Graph("graph", tuple(_nodes(after)))]
    renamed = renamed_back(before, after)[0]
    differing = difference(before, renamed)
    graph = Graph("graph", tuple(_nodes(after, _changes(before, renamed, differing))))
    headline = f"baseline (-) and actual (+): {len(before.operators)} and {len(after.operators)} operators"
    lines = _inputs(before, after) + [(sign, _brief(operator)) for sign, operator in differing.lines]
    return [text_picture(_LABEL, headline, around_changes(lines)), graph]


def describe(actual: Capture) -> str:
    """A line for each operator."""
    return str(OperatorGraph.from_facts(actual.facts))


def _inputs(before: OperatorGraph, after: OperatorGraph) -> list[Line]:
    lines: list[Line] = []
    for name in dict.fromkeys((*before.inputs, *after.inputs)):
        old, new = before.inputs.get(name), after.inputs.get(name)
        if old == new:
            lines.append((" ", f"{name}: {old}"))
        else:
            lines += [(sign, f"{name}: {text}") for sign, text in (("-", old), ("+", new)) if text is not None]
    return lines


def _brief(operator: Operator) -> str:
    """An operator without its weights, whose names would fill the line."""
    inputs = (name for name in operator.inputs if "/" in name or name.startswith(INPUT) or " " in name)
    return str(replace(operator, inputs=tuple(inputs)))


def _overview(graph: OperatorGraph) -> list[Line]:
    """One line for each stretch of operators within one module, with as many levels of modules as fit on a page."""
    deepest = max((operator.module.count(".") for operator in graph.operators), default=0) + 2
    rows: list[Line] = []
    for depth in range(deepest, -1, -1):
        owners = (".".join(operator.module.split(".")[:depth]) for operator in graph.operators)
        stretches = itertools.groupby(zip(owners, graph.operators, strict=True), itemgetter(0))
        rows = [(" ", _stretch(owner, [operator for _, operator in stretch])) for owner, stretch in stretches]
        if len(rows) <= _ROWS:
            break
    return [*((" ", f"{name}: {text}") for name, text in graph.inputs.items()), *rows]


def _stretch(name: str, operators: list[Operator]) -> str:
    kinds = [(kind, len(list(run))) for kind, run in itertools.groupby(operator.kind for operator in operators)]
    text = ", ".join(kind if count == 1 else f"{kind} x {count}" for kind, count in kinds)
    return f"{name or MODEL_LABEL}: {operators[-1].output} = {text}"


def _changes(before: OperatorGraph, renamed: OperatorGraph, differing: Difference) -> dict[int, str]:
    """Which operators of the actual graph are not as in the baseline, by their position, and what they were there.

    What differs only because of an earlier operator is none of them.
    """
    earlier = {operator.name: operator for operator in before.operators}
    added = {operator.name for sign, operator in differing.lines if sign == "+"}
    changes = {}
    for at, operator in enumerate(renamed.operators):
        name = differing.pairs.get(operator.name)
        if operator.name in added and name not in differing.follows:
            changes[at] = "not in the baseline" if name is None else f"was {earlier[name]}"
    return changes


def _nodes(graph: OperatorGraph, changes: Mapping[int, str] | None = None) -> list[Node]:
    """Nodes whose names fold by module: `layer1/0/relu_1`."""
    changes = changes or {}
    known = {name: _node_name(name) for name in graph.inputs}
    known.update((operator.name, _node_name(operator.name)) for operator in graph.operators)
    nodes = [Node(known[name], "input", shape=_sides(text)) for name, text in graph.inputs.items()]
    for at, operator in enumerate(graph.operators):
        producers = list(map(producer_of, operator.inputs))
        held = [name for name in producers if name not in known]
        attributes = {**operator.arguments, "output": operator.output, **({"holds": ", ".join(held)} if held else {})}
        attributes |= {"change": changes[at]} if at in changes else {}
        inputs = tuple(known[name] for name in producers if name in known)
        shape = _sides(operator.output)
        nodes.append(Node(known[operator.name], operator.kind, inputs, shape, attributes, changed=at in changes))
    return nodes


def _node_name(name: str) -> str:
    module, slash, kind = unescaped(name).rpartition("/")
    path = "/".join(step for step in (*module.split("."), kind) if step) if slash else name.replace(".", "/", 1)
    return re.sub(r"[^\w/.\\-]", "_", path)


def _sides(text: str) -> tuple[int, ...] | None:
    found = dtype_and_sides(text)
    return found[1] if found and -1 not in found[1] else None
