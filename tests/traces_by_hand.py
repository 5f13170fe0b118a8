"""Tensors and traces of few numbers, written down so that what is made of them can be worked out by hand."""

import numpy as np

from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf


def tensor(*values: float, dtype: str = "float32") -> TensorRecord:
    return TensorRecord(dtype, (len(values),), np.array(values, np.float32))


def trace(**changed: float) -> ForwardTrace:
    """input -> [block: a -> b] -> head, each a scalar; keywords change what a tensor or weight holds."""
    values = {"in": 1.0, "a": 2.0, "b<": 2.0, "b": 3.0, "block": 4.0, "head": 5.0, "wa": 1.0, "wb": 1.0, "wblock": 1.0}
    values.update(changed)

    def module(class_name: str, weight: str | None = None) -> ModuleRecord:
        return ModuleRecord(class_name, {"extra_repr": ""}, {} if weight is None else {"weight": weight})

    modules = {
        "": module("Net"),
        "block": module("Block", "wblock"),
        "block.a": module("Linear", "wa"),
        "block.b": module("Linear", "wb"),
        "head": module("Linear"),
    }
    tensors = {key: tensor(value) for key, value in values.items() if not key.startswith("w")}
    weights = {key: tensor(value) for key, value in values.items() if key.startswith("w")}

    def call(layer: str, depth: int, entered: str, left: str) -> Call:
        return Call(layer, 0, depth, {"x": Leaf(tensor=entered)}, {"": Leaf(tensor=left)})

    calls = [
        call("", 0, "in", "head"),
        call("block", 1, "in", "block"),
        call("block.a", 2, "in", "a"),
        call("block.b", 2, "b<", "b"),
        call("head", 1, "block", "head"),
    ]
    return ForwardTrace(ModelStructure(modules, weights), calls, tensors)
