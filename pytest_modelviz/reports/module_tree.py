"""The modules of a model as a tree, with the layers that drifted marked, from the dotted names of its layers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from pytest_modelviz.records.verdict import LayerError
from pytest_modelviz.text.dotted import MODEL_LABEL

_MOST_DEPTH = 24  # levels; deeper names stay in one piece


@dataclass
class ModuleNode:
    """A module: its own worst call, if it has been compared, and the modules inside."""

    name: str
    worst: LayerError | None = None
    children: dict[str, ModuleNode] = field(default_factory=dict)
    compared: int = 0  # modules from here on that were compared
    drifted: int = 0
    size: int = 1  # modules from here on, compared or not
    lines: int = 1  # those of them that are listed where modules without a drift are not taken apart
    is_first: bool = False  # whether the drift begins here
    holds_first: bool = False  # whether it begins here or inside

    @property
    def error(self) -> float:
        return 0.0 if self.worst is None else self.worst.error


@dataclass(frozen=True)
class TreeLine:
    """A line of the tree as it is written, with the facts of its module.

    `opens` says that the lines up to the one that `closes` are inside of this one.
    """

    name: str
    worst: LayerError | None
    compared: int
    drifted: int
    is_first: bool
    holds_first: bool
    opens: bool
    closes: int = 0
    omitted: int = 0  # modules inside that are not listed


def module_tree(layers: Sequence[LayerError], first: str | None = None) -> ModuleNode:
    """The tree; its root is the model.

    Args:
        layers: the error of each call of each layer.
        first: the layer where the drift begins.

    """
    root = ModuleNode(MODEL_LABEL)
    for layer in layers:
        node = root
        for name in layer.layer.split(".", _MOST_DEPTH) if layer.layer else ():
            node = node.children.setdefault(name, ModuleNode(name))
        node.is_first = node.is_first or layer.layer == first
        if node.worst is None or (layer.drifted, layer.error) > (node.worst.drifted, node.worst.error):
            node.worst = layer
    _count(root)
    return root


def _count(node: ModuleNode) -> None:
    node.compared, node.drifted = (0, 0) if node.worst is None else (1, int(node.worst.drifted))
    node.holds_first = node.is_first
    for child in node.children.values():
        _count(child)
        node.compared += child.compared
        node.drifted += child.drifted
        node.size += child.size
        node.lines += child.lines
        node.holds_first = node.holds_first or child.holds_first
    if not node.drifted:
        node.lines = 1


def tree_lines(root: ModuleNode, most: int) -> list[TreeLine]:
    """The tree line by line; where it has more than so many, modules without a drift inside are not taken apart.

    Where that is still too much, those that come last are counted only.
    """
    fits = root.size <= most
    lines = list(itertools.islice(_lines(root, fits, 0), most))
    return _closed(lines, root.lines - most) if not fits and root.lines > most else lines


def _lines(node: ModuleNode, whole: bool, closes: int) -> Iterator[TreeLine]:
    children = list(node.children.values()) if whole or node.drifted else []
    omitted = 0 if children else node.compared - (node.worst is not None)
    yield TreeLine(
        name=node.name,
        worst=node.worst,
        compared=node.compared,
        drifted=node.drifted,
        is_first=node.is_first,
        holds_first=node.holds_first,
        opens=bool(children),
        closes=0 if children else closes,
        omitted=omitted,
    )
    for at, child in enumerate(children):
        yield from _lines(child, whole, closes + 1 if at == len(children) - 1 else 0)


def _closed(lines: Sequence[TreeLine], omitted: int) -> list[TreeLine]:
    """The first lines of a tree, with what they open closed, and how many more there are."""
    depth = sum(line.opens for line in lines) - sum(line.closes for line in lines)
    last = lines[-1]
    closes = last.closes + depth - last.opens
    return [*lines[:-1], replace(last, opens=False, closes=closes, omitted=omitted + last.omitted)]


def times(layer: LayerError) -> str:
    """An error and how many times it is what is allowed, in a few characters."""
    if math.isinf(layer.error):
        return "cannot be subtracted"
    ratio = f", {layer.error / layer.tolerance:,.0f} x allowed" if layer.drifted and layer.tolerance else ""
    return f"{layer.error:.2g}{ratio}"
