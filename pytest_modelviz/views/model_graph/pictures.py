"""An operator graph as text, as the rows of a diff, and as nodes for TensorBoard. Knows no torch."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter

from pytest_modelviz.pictures.exhibits import Exhibit, Graph, Node
from pytest_modelviz.pictures.text_diff import Line, around_changes, text_picture
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.views.model_graph.compare import renamed_back
from pytest_modelviz.views.model_graph.difference import difference
from pytest_modelviz.views.model_graph.records import INPUT, Operator, OperatorGraph, split_result, unescaped

_LABEL = "operators"
_ROWS = 48  # of the picture of one graph


def picture(actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None) -> Sequence[Exhibit]:
    """One text; with a baseline, its difference, and the actual graph."""
    after = OperatorGraph.from_facts(actual.facts)
    if baseline is None:
        headline = f"{counted(len(after.operators), 'operator')}, {after.source}"
        return [text_picture(_LABEL, headline, _overview(after))]
    before = OperatorGraph.from_facts(baseline.facts)
    graph = Graph("graph", tuple(_nodes(after)))
    if before.source != after.source:
        headline = (
            f"actual: {counted(len(after.operators), 'operator')}, {after.source}; the baseline was {before.source}"
        )
        return [text_picture(_LABEL, headline, _overview(after)), graph]
    differing = difference(before, renamed_back(before, after)[0])
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


def _nodes(graph: OperatorGraph) -> list[Node]:
    """Nodes whose names fold by module: `layer1/0/relu_1`."""
    known = {name: _node_name(name) for name in graph.inputs}
    known.update((operator.name, _node_name(operator.name)) for operator in graph.operators)
    nodes = [Node(known[name], "input", shape=_sides(text)) for name, text in graph.inputs.items()]
    for operator in graph.operators:
        producers = [split_result(name.rpartition("=")[2])[0] for name in operator.inputs]
        held = [name for name in producers if name not in known]
        attributes = {**operator.arguments, "output": operator.output, **({"holds": ", ".join(held)} if held else {})}
        inputs = tuple(known[name] for name in producers if name in known)
        nodes.append(Node(known[operator.name], operator.kind, inputs, _sides(operator.output), attributes))
    return nodes


def _node_name(name: str) -> str:
    module, slash, kind = unescaped(name).rpartition("/")
    path = "/".join(step for step in (*module.split("."), kind) if step) if slash else name.replace(".", "/", 1)
    return re.sub(r"[^\w/.\\-]", "_", path)


def _sides(text: str) -> tuple[int, ...] | None:
    match = re.fullmatch(r"\w+\[([\d, ]*)\]", text)
    return tuple(int(side) for side in match[1].split(",") if side.strip()) if match else None
