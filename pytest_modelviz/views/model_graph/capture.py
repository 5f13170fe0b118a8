"""What a model computes, operator by operator, whatever modules the operators are called from."""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.pictures.diff import Line, around_changes, text_picture
from pytest_modelviz.pictures.exhibits import Exhibit, Graph, Node
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.forward import prepared, require_model
from pytest_modelviz.probe.modules import opaque_modules, tie_groups
from pytest_modelviz.probe.structure import plain_text
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.views.model_graph.compare import compare_graphs, difference, renamed_back
from pytest_modelviz.views.model_graph.export import exported, warm_calls
from pytest_modelviz.views.model_graph.function_trace import traced
from pytest_modelviz.views.model_graph.records import INPUT, TRACED, Operator, OperatorGraph, unescaped

_LABEL = "operators"
_PATH = re.compile(r"\S*[/\\]\S+")
_ROWS = 48  # of the picture of one graph


class ModelGraphView:
    """`model_graph(model, input_data)`.

    Compares operators, their arguments, shapes and order. The values of weights and activations are no part of it:
    `feature_maps` and `kernel_maps` compare those.
    """

    view = "model_graph"

    def __init__(self, model: torch.nn.Module, input_data: Any) -> None:
        require_model(model)
        if input_data is None:
            raise ModelvizError(
                "model_graph needs an input to follow: pass a tensor, a tuple of positional arguments or a dict of "
                "keyword arguments as input_data"
            )
        self._model, self._input = model, input_data

    @property
    def model(self) -> torch.nn.Module:
        return self._model

    def capture(self) -> Capture:
        graph = self._graph()
        notes = []
        if graph.source == TRACED:
            notes.append(
                f"torch.export cannot follow this model ({graph.reason}): its operators are those of one pass, as its "
                f"code calls them"
            )
            opaque = opaque_modules(self._model)
            if opaque:
                names = "the model" if opaque == [""] else ", ".join(opaque)
                notes.append(f"{names} is TorchScript: it counts as one operator")
        around = environment(self._model, self._input)
        return Capture(
            self.view,
            graph.to_facts(),
            environment=around,
            result=graph,
            notes=tuple(notes),
            layers=tuple(graph.modules),
        )

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        return compare_graphs(
            OperatorGraph.from_facts(baseline.facts, tolerances.ignored),
            OperatorGraph.from_facts(actual.facts, tolerances.ignored),
        )

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        after = OperatorGraph.from_facts(actual.facts)
        if baseline is None:
            headline = f"{len(after.operators)} operators, {after.source}"
            return [text_picture(_LABEL, headline, _overview(after))]
        before = OperatorGraph.from_facts(baseline.facts)
        graph = Graph("graph", tuple(_nodes(after)))
        if before.source != after.source:
            headline = f"actual: {len(after.operators)} operators, {after.source}; the baseline was {before.source}"
            return [text_picture(_LABEL, headline, _overview(after)), graph]
        told = difference(before, renamed_back(before, after)[0])
        headline = f"baseline (-) and actual (+): {len(before.operators)} and {len(after.operators)} operators"
        lines = _inputs(before, after) + [(sign, _brief(one)) for sign, one in told.lines]
        return [text_picture(_LABEL, headline, around_changes(lines)), graph]

    def describe(self, actual: Capture) -> str:
        return str(OperatorGraph.from_facts(actual.facts))

    def _graph(self) -> OperatorGraph:
        # in a block of its own: what modules keep of this pass is put back, only caches outside of them stay warm
        with prepared(self._model, self._input) as model:
            calls = warm_calls(model, self._input)
        return replace(self._followed(), calls=calls, ties=None if calls is None else tie_groups(self._model))

    def _followed(self) -> OperatorGraph:
        try:
            with prepared(self._model, self._input) as model:
                return exported(model, self._input)
        except ModelvizError:
            raise
        except Exception as error:  # whatever export raises for what it cannot follow; a pass that fails as well, tells
            reason = _reason(error)
        with prepared(self._model, self._input) as model:
            return traced(model, self._input, reason)


def _reason(error: Exception) -> str:
    """The first line of an error, without what differs from machine to machine."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = _PATH.sub("...", plain_text(lines[0])) if lines else ""
    text = re.sub(r"0x[0-9a-fA-F]+", "...", text)
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."


def _inputs(before: OperatorGraph, after: OperatorGraph) -> list[Line]:
    lines: list[Line] = []
    for name in dict.fromkeys((*before.inputs, *after.inputs)):
        one, two = before.inputs.get(name), after.inputs.get(name)
        if one == two:
            lines.append((" ", f"{name}: {one}"))
        else:
            lines += [(sign, f"{name}: {text}") for sign, text in (("-", one), ("+", two)) if text is not None]
    return lines


def _brief(one: Operator) -> str:
    """An operator without its weights, whose names would fill the line."""
    kept = (name for name in one.inputs if "/" in name or name.startswith(INPUT) or " " in name)
    return str(replace(one, inputs=tuple(kept)))


def _overview(graph: OperatorGraph) -> list[Line]:
    """One line for each stretch of operators within one module, with as many levels of modules as fit on a page."""
    depths = range(max((one.module.count(".") for one in graph.operators), default=0) + 2, -1, -1)
    rows: list[Line] = []
    for depth in depths:
        outer = (".".join(one.module.split(".")[:depth]) for one in graph.operators)
        stretches = itertools.groupby(zip(outer, graph.operators, strict=True), operator.itemgetter(0))
        rows = [(" ", _stretch(name, [one for _, one in some])) for name, some in stretches]
        if len(rows) <= _ROWS:
            break
    return [*((" ", f"{name}: {text}") for name, text in graph.inputs.items()), *rows]


def _stretch(name: str, operators: list[Operator]) -> str:
    kinds = [(kind, len(list(some))) for kind, some in itertools.groupby(one.kind for one in operators)]
    told = ", ".join(kind if count == 1 else f"{kind} x {count}" for kind, count in kinds)
    return f"{name or MODEL_LABEL}: {operators[-1].output} = {told}"


def _nodes(graph: OperatorGraph) -> list[Node]:
    """Nodes whose names fold by module: `layer1/0/relu_1`."""
    known = {name: _node_name(name) for name in graph.inputs}
    known.update((one.name, _node_name(one.name)) for one in graph.operators)
    nodes = [Node(known[name], "input", shape=_sides(text)) for name, text in graph.inputs.items()]
    for one in graph.operators:
        producers = [re.sub(r"(\[\d+\])+$", "", name.rpartition("=")[2]) for name in one.inputs]
        held = [name for name in producers if name not in known]
        attributes = {**one.arguments, "output": one.output, **({"holds": ", ".join(held)} if held else {})}
        inputs = tuple(known[name] for name in producers if name in known)
        nodes.append(Node(known[one.name], one.kind, inputs, _sides(one.output), attributes))
    return nodes


def _node_name(name: str) -> str:
    module, slash, kind = unescaped(name).rpartition("/")
    path = "/".join(part for part in (*module.split("."), kind) if part) if slash else name.replace(".", "/", 1)
    return re.sub(r"[^\w/.\\-]", "_", path)


def _sides(text: str) -> tuple[int, ...] | None:
    found = re.fullmatch(r"\w+\[([\d, ]*)\]", text)
    return tuple(int(side) for side in found[1].split(",") if side.strip()) if found else None
