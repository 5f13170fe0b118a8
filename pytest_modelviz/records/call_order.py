"""Which module calls which, in what order, as plain data that stands beside each module in a summary or a graph.

A caller lists what it calls: `.conv1` is its own child of that name, `act` without a dot another module of the model. A
caller that does not do the same at each of its calls has a list of lists. One that calls each of its children once, in
the order in which people count, has none: most do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.trace import Call
from pytest_modelviz.text.natural import natural

Runs: TypeAlias = list[str] | list[list[str]]
_MOST_CALLS, _LEAST_CALLS, _TIMES = 1_000_000, 100_000, 4


def runs_of(calls: Sequence[Call], layers: Iterable[str]) -> dict[str, Runs]:
    """What each of the `layers` that was called calls, where that is not what is assumed of it.

    The model itself is always listed: a summary without it was recorded before calls were.
    """
    if len(calls) > _MOST_CALLS:
        return {}
    made: dict[str, list[list[str]]] = {}
    stack: list[tuple[Call, list[str]]] = []
    for call in calls:
        while stack and stack[-1][0].depth >= call.depth:
            stack.pop()
        if stack:
            stack[-1][1].append(_relative(call.layer, stack[-1][0].layer))
        own: list[str] = []
        made.setdefault(call.layer, []).append(own)
        stack.append((call, own))
    usual = _usual(layers)
    found: dict[str, Runs] = {}
    for layer, lists in made.items():
        alike = all(one == lists[0] for one in lists)
        if layer == "" or not alike or lists[0] != usual.get(layer, []):
            found[layer] = lists[0] if alike else lists
    return found


def calls_of(runs: Mapping[str, Any], layers: Iterable[str], *, needed: int = _MOST_CALLS) -> list[Call] | None:
    """The calls of a pass, in the order of entering, without what they were given; None where none are recorded.

    A few lists that name each other can stand for millions of calls: there may be four times as many as are `needed`,
    or as a small file may hold. Raises UnreadableBaselineError for what `runs_of` cannot have made.
    """
    layers = list(layers)
    if "" not in runs:
        return None
    lists = {layer: _lists(value) for layer, value in runs.items()}
    known, usual = set(layers), _usual(layers)
    calls: list[Call] = []
    counts: dict[str, int] = {}
    waiting = [("", 0)]
    most = min(max(_TIMES * needed, _LEAST_CALLS), _MOST_CALLS)
    while waiting:
        layer, depth = waiting.pop()
        if layer not in known or len(calls) + len(waiting) >= most:
            raise UnreadableBaselineError("the order of its calls is damaged")
        index = counts.get(layer, 0)
        counts[layer] = index + 1
        calls.append(Call(layer, index, depth, {}, {}))
        own = lists.get(layer, [usual.get(layer, [])])
        following = own[min(index, len(own) - 1)] if own else []
        waiting += [(_absolute(name, layer), depth + 1) for name in reversed(following)]
    return calls


def _usual(layers: Iterable[str]) -> dict[str, list[str]]:
    """The children of each module, as people count."""
    children: dict[str, list[str]] = {}
    for name in sorted(layers, key=natural):
        if name:
            parent = name.rpartition(".")[0]
            children.setdefault(parent, []).append(_relative(name, parent))
    return children


def _lists(value: Any) -> list[list[str]]:
    rows = value if isinstance(value, (list, tuple)) else None
    if rows is not None and all(isinstance(name, str) for name in rows):
        return [list(rows)]
    if rows is None or not all(isinstance(row, (list, tuple)) and all(isinstance(n, str) for n in row) for row in rows):
        raise UnreadableBaselineError("the order of its calls is no list of names")
    return [list(row) for row in rows]


def _relative(layer: str, caller: str) -> str:
    return layer[len(caller) :] if caller and layer.startswith(f"{caller}.") else layer


def _absolute(name: str, caller: str) -> str:
    return caller + name if name.startswith(".") else name
