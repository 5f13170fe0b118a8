"""The modules of a model as a tree, with the layers that drifted marked, from the dotted names of its layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pytest_modelviz.records.verdict import LayerError, WorstCall, worst_calls
from pytest_modelviz.text.dotted import INPUT_LABEL, MODEL_LABEL

_MOST_DEPTH = 24  # levels; deeper names stay in one piece


@dataclass
class ModuleNode:
    """A module and those inside of it.

    Attributes:
        name: the last part of its name.
        kind: `first` where the drift begins, `drifted`, `holds` a module that drifted, or `agrees`.
        error: how far it is off, for people; empty where it agrees or was not compared by itself.
        children: the modules inside that are listed, each where it first drifted, else where it was first called.
        compared: how many modules from here on were compared.
        drifted: how many of them drifted.
        omitted: how many that were compared are not listed.
        holds_first: whether the drift begins here or inside.

    """

    name: str
    kind: str = "agrees"
    error: str = ""
    children: dict[str, ModuleNode] = field(default_factory=dict)
    compared: int = 0
    drifted: int = 0
    omitted: int = 0
    holds_first: bool = False

    @property
    def lines(self) -> int:
        return 1 + sum(child.lines for child in self.children.values())


def module_tree(layers: Sequence[LayerError], first: tuple[str, int] | None, most: int) -> ModuleNode:
    """The tree; its root is the model.

    Args:
        layers: the error of each call of each layer, in the order of execution.
        first: the layer and call where the drift begins: it is this call whose error is written there.
        most: lines. Where there are more, modules without a drift inside are not taken apart, and if that is still too
            much, those that come last are counted only.

    """
    worst, numbered = worst_calls(layers), list(enumerate(layers))[::-1]
    if first is not None and first[0] in worst:
        begins = (layer for layer in layers if (layer.layer, layer.call) == first)
        worst[first[0]] = WorstCall(next(begins, worst[first[0]].error), worst[first[0]].calls)
    order = {layer.layer: at for at, layer in numbered} | {layer.layer: at for at, layer in numbered if layer.drifted}
    root = ModuleNode(MODEL_LABEL)
    for layer in sorted(order, key=order.__getitem__):
        node, is_drifted = _node(root, layer), worst[layer].error.drifted
        node.compared, node.drifted = int(layer != INPUT_LABEL), int(is_drifted and layer != INPUT_LABEL)
        if is_drifted:
            node.kind, node.error = "drifted", times(worst[layer])
    if first is not None:
        _node(root, first[0]).kind = "first"
    _count(root)
    if root.lines > most:
        _fold(root)
        _cut(root, most)
    return root


def _node(root: ModuleNode, layer: str) -> ModuleNode:
    node = root
    for name in layer.split(".", _MOST_DEPTH) if layer else ():
        node = node.children.setdefault(name, ModuleNode(name))
    return node


def _count(node: ModuleNode) -> None:
    node.holds_first = node.kind == "first"
    for child in node.children.values():
        _count(child)
        node.compared += child.compared
        node.drifted += child.drifted
        node.holds_first = node.holds_first or child.holds_first
    if node.kind == "agrees" and node.drifted:
        node.kind = "holds"


def _fold(node: ModuleNode) -> None:
    """Leave out what is inside of modules without a drift."""
    if not node.drifted:
        node.omitted = sum(child.compared for child in node.children.values())
        node.children = {}
    for child in node.children.values():
        _fold(child)


def _cut(node: ModuleNode, most: int) -> int:
    """Leave out what comes after so many lines; returns how many are left."""
    most -= 1
    for name, child in list(node.children.items()):
        if most > 0:
            most = _cut(child, most)
        else:
            node.omitted += node.children.pop(name).compared
    return most


def times(worst: WorstCall) -> str:
    """An error, how many times it is what is allowed, and the call where there are several, in a few characters."""
    layer = worst.error
    if math.isinf(layer.error):
        return f"cannot be subtracted{worst.which}"
    ratio = f", {layer.error / layer.tolerance:,.0f} x allowed" if layer.tolerance else ""
    return f"{layer.error:.2g}{ratio}{worst.which}"
