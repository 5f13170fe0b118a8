"""Operators as they are compared: neither a dimension counted from the end nor another name makes another operator."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from pytest_modelviz.views.model_graph.records import Operator, OperatorGraph, dtype_and_sides

# Other names under which torch has an operator, with the same arguments.
_ALIASES = {
    "absolute": "abs",
    "clip": "clamp",
    "concat": "cat",
    "concatenate": "cat",
    "divide": "div",
    "multiply": "mul",
    "negative": "neg",
    "subtract": "sub",
}
_DIMENSIONS = frozenset({"dim", "dims", "dim0", "dim1", "dim2", "start_dim", "end_dim"})  # names of arguments
_OF_RESULT = frozenset({"cat", "diag_embed", "stack", "unsqueeze"})  # operators whose dimensions are their results'
_INTEGERS = re.compile(r"[(\[]?-?\d+(, -?\d+)*,?[)\]]?")


def canonical(graph: OperatorGraph) -> OperatorGraph:
    """A graph whose operators have torch's usual names, and dimensions that are counted from the start."""
    outputs = {**graph.inputs, **{operator.name: operator.output for operator in graph.operators}}
    return replace(graph, operators=tuple(_canonical(operator, outputs) for operator in graph.operators))


def _canonical(operator: Operator, outputs: Mapping[str, str]) -> Operator:
    function = operator.kind.removesuffix("_")
    usual = _ALIASES.get(function, function)
    arguments = operator.arguments
    if not _DIMENSIONS.isdisjoint(arguments):
        tensors = [outputs.get(name, "") for name in operator.inputs]
        ranks = set(map(_rank, [operator.output] if usual in _OF_RESULT else tensors))
        if len(ranks) == 1 and (rank := ranks.pop()) is not None:  # dimensions of several ranks may be broadcast
            arguments = {
                key: _from_start(text, rank) if key in _DIMENSIONS else text for key, text in arguments.items()
            }
    return replace(operator, kind=usual + operator.kind[len(function) :], arguments=arguments)


def _rank(text: str) -> int | None:
    found = dtype_and_sides(text)
    return found and len(found[1])


def _from_start(text: str, rank: int) -> str:
    """A dimension, or several, of a tensor of so many, counted from the start."""
    if "-" not in text or not _INTEGERS.fullmatch(text):
        return text
    return re.sub(r"-(\d+)", lambda found: str(rank - int(found[1])) if int(found[1]) <= rank else found[0], text)
