"""Which module calls which, in what order, as plain data that a summary or a graph lists beside each module.

A caller lists what it calls: `.conv1` is its own child of that name, `act` without a dot any other module. A caller
whose calls differ has a list of lists. A caller that calls each of its children once, in natural order, as most do, has
none.
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.trace import Call
from pytest_modelviz.text.natural import natural
from pytest_modelviz.text.strict_json import JsonObject, JsonValue

Runs: TypeAlias = list[str] | list[list[str]]
_MAX_CALLS, _MIN_LIMIT, _LIMIT_FACTOR = 1_000_000, 100_000, 4


def runs_of(calls: Sequence[Call], layers: Iterable[str]) -> dict[str, Runs]:
    """What each of the `layers` calls, where that is not what is assumed of a layer without a list.

    The model itself is always listed, which tells this from a recording of before call orders were recorded.
    """
    if len(calls) > _MAX_CALLS:
        return {}
    lists_by_layer: dict[str, list[list[str]]] = {}
    stack: list[tuple[Call, list[str]]] = []
    for call in calls:
        while stack and stack[-1][0].depth >= call.depth:
            stack.pop()
        if stack:
            stack[-1][1].append(_relative(call.layer, stack[-1][0].layer))
        own: list[str] = []
        lists_by_layer.setdefault(call.layer, []).append(own)
        stack.append((call, own))
    default = _children(layers)
    runs: dict[str, Runs] = {}
    for layer, lists in lists_by_layer.items():
        alike = len(lists) == 1 or all(callees == lists[0] for callees in lists)
        if layer == "" or not alike or lists[0] != default.get(layer, []):
            runs[layer] = lists[0] if alike else lists
    return runs


def calls_of(runs: JsonObject, layers: Iterable[str], *, needed: int = _MAX_CALLS) -> list[Call] | None:
    """The calls of a pass in the order of entering, without inputs and outputs; None where none are recorded.

    A few lists that name each other can stand for millions of calls, so their number is limited to four times what is
    `needed`.

    Raises:
        UnreadableBaselineError: `runs` cannot have been made by `runs_of`.

    """
    layers = list(layers)
    if "" not in runs:
        return None
    lists = {layer: _lists(value) for layer, value in runs.items()}
    known, default = {layer: layer for layer in layers}, _children(layers)
    calls: list[Call] = []
    counts: dict[str, int] = {}
    waiting = [(known.get(""), 0)]
    most = min(max(_LIMIT_FACTOR * needed, _MIN_LIMIT), _MAX_CALLS)
    while waiting:
        layer, depth = waiting.pop()
        if layer is None or len(calls) + len(waiting) >= most:
            raise UnreadableBaselineError("the order of its calls is damaged")
        index = counts.get(layer, 0)
        counts[layer] = index + 1
        calls.append(Call(layer, index, depth, {}, {}))
        own = lists.get(layer, [default.get(layer, [])])
        following = own[min(index, len(own) - 1)] if own else []
        # a few letters may stand for a long name many times over: it takes its room once
        waiting += [(known.get(_absolute(name, layer)), depth + 1) for name in reversed(following)]
    return calls


def _children(layers: Iterable[str]) -> dict[str, list[str]]:
    """The children of each module, in natural order."""
    children: dict[str, list[str]] = {}
    for name in sorted(layers, key=natural):
        if name:
            parent = name.rpartition(".")[0]
            children.setdefault(parent, []).append(_relative(name, parent))
    return children


def _lists(value: JsonValue) -> list[list[str]]:
    rows = value if isinstance(value, (list, tuple)) else None
    if rows is not None and all(isinstance(name, str) for name in rows):
        return [list(rows)]
    if rows is None or not all(isinstance(row, (list, tuple)) and all(isinstance(n, str) for n in row) for row in rows):
        raise UnreadableBaselineError("the order of its calls is not a list of names")
    return [list(row) for row in rows]


def _relative(layer: str, caller: str) -> str:
    return layer[len(caller) :] if caller and layer.startswith(f"{caller}.") else layer


def _absolute(name: str, caller: str) -> str:
    return caller + name if name.startswith(".") else name
