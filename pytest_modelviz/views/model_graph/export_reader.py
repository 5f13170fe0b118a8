"""An exported program read into operators, in terms that do not depend on torch's version."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import torch

from pytest_modelviz.probe.torch_internals import schema_of
from pytest_modelviz.views.model_graph.naming import PLACEMENT, Counts, Names, constant, input_text, plain, tensor_text
from pytest_modelviz.views.model_graph.records import INPUT, Operator

# By node: its name, the names of its results, a subgraph, or a plain value.
Known: TypeAlias = dict[object, object]

# Operators that return their input: nothing is computed by them.
TRANSPARENT = frozenset({"detach", "detach_", "alias", "lift", "lift_fresh", "lift_fresh_copy", "contiguous"})
# Operators with equal results; which of them torch's own layers call depends on its version.
_SAME = {"view": "reshape", "_unsafe_view": "reshape"}
_CHECKS = re.compile(r"_assert|sym_|_set_grad_enabled|_(enter|exit)_autocast|_functional_(assert|sym)|_log_api_usage")
_WRAPPERS = frozenset({"wrap_with_set_grad_enabled", "wrap_with_autocast", "wrap"})  # run what is in them, once
_IGNORED = PLACEMENT | {"cudnn_enable", "cudnn_enabled"}
_END = 2**63 - 1
_NUMBER = re.compile(r"constant \w+\[\] \((.*)\)")  # a tensor of one number, as `constant` writes it


class Reader:
    """Walks an exported program's graph, subgraphs included; `held` is the module that was exported.

    Attributes:
        operators: all operators, in the order of execution.
        writing: the names of those that write into what they are given.

    """

    def __init__(self, model: torch.nn.Module, held: torch.nn.Module) -> None:
        self._names, self._counts = Names(model, held), Counts()
        self._owner = ""
        self.operators: list[Operator] = []
        self.writing: set[str] = set()

    def read(
        self, program: torch.export.ExportedProgram, given: Mapping[str, object]
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """List all operators; returns the model's inputs, of those `given`, and what it returns."""
        known: Known = {}
        names = iter(given)
        specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        for node in program.graph.nodes:
            if node.op == "placeholder":
                spec = specs[node.name]
                kind = spec.kind.name
                if kind == "USER_INPUT":
                    known[node] = next(names, f"{INPUT}{node.name}")
                elif kind == "CONSTANT_TENSOR" and spec.target.rpartition(".")[2].startswith("lifted_tensor"):
                    known[node] = constant(program.constants.get(spec.target))
                else:
                    known[node] = self._names.tensor(spec.target or node.name)
        returned = self._walk(program.graph_module, known)
        specs_out = program.graph_signature.output_specs
        if len(specs_out) == len(returned):  # what is written back into buffers is returned, too
            returned = [text for text, spec in zip(returned, specs_out, strict=True) if spec.kind.name == "USER_OUTPUT"]
        return {name: input_text(value) for name, value in given.items()}, tuple(returned)

    def _walk(self, module: torch.fx.GraphModule, known: Known) -> list[str]:
        for node in module.graph.nodes:
            if node.op == "output":
                returned = node.args[0] if isinstance(node.args[0], (list, tuple)) else [node.args[0]]
                return [self._reference(item, known) for item in returned]
            if node.op == "get_attr":
                held = operator.attrgetter(node.target)(module)
                known[node] = (self._names.faked(held) or constant(held)) if isinstance(held, torch.Tensor) else held
            elif node.op == "call_function":
                known[node] = self._call(node, known)
        return []

    def _reference(self, value: object, known: Known) -> str:
        if isinstance(value, torch.fx.Node):
            text = known.get(value, value.name)
            return text if isinstance(text, str) else plain(text)
        return plain(value)

    def _call(self, node: torch.fx.Node, known: Known) -> object:
        if node.target is operator.getitem:
            whole, index = known[node.args[0]], node.args[1]
            return whole[index] if isinstance(whole, list) and isinstance(index, int) else f"{whole}[{index}]"
        kind = _kind(node.target)
        if _CHECKS.match(kind):
            return "none"
        values = dict(_arguments(node))
        if kind in TRANSPARENT or (kind == "slice" and not {"start", "end", "step"} & {name for name, _ in values}):
            return known.get(node.args[0], "none")
        given = [known.get(value) if isinstance(value, torch.fx.Node) else None for value in node.args]
        inner = [value for value in given if isinstance(value, torch.fx.GraphModule)]
        if kind in _WRAPPERS and len(inner) == 1:
            handed_on = node.args[given.index(inner[0]) + 1 :]
            return self._inside(inner[0], [self._reference(value, known) for value in handed_on])
        inputs, arguments = self._given(values, known)
        stack = node.meta.get("nn_module_stack")
        owner = self._names.module(next(reversed(stack.values()))[0]) if stack else self._owner
        name = self._counts.name(owner, kind)
        for at, branch in enumerate(inner):  # of a condition or loop: what it is given, the operator hands it
            count = sum(inner.op == "placeholder" for inner in branch.graph.nodes)
            outer, self._owner = self._owner, owner  # whose code the branch is
            results = self._inside(branch, [f"{name}<{number}>" for number in range(count)])
            self._owner = outer
            inputs = (*inputs, *(f"branch{at}={result}" for result in results))
        self.operators.append(Operator(name, kind, inputs, arguments, tensor_text(node.meta.get("val"))))
        schema = schema_of(node.target)
        if schema is not None and schema.is_mutable:
            self.writing.add(name)
        return name

    def _inside(self, module: torch.fx.GraphModule, given: list[str]) -> list[str]:
        placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
        return self._walk(module, dict(zip(placeholders, given, strict=False)))

    def _given(self, values: Mapping[tuple[str, bool], object], known: Known) -> tuple[tuple[str, ...], dict[str, str]]:
        """Tensors and other arguments, apart."""
        inputs: list[str] = []
        arguments: dict[str, str] = {}
        for (name, optional), value in values.items():
            prefix = f"{name}=" if optional else ""
            if isinstance(value, torch.fx.Node):
                reference = self._reference(value, known)
                number = _NUMBER.fullmatch(reference)
                if number:  # a constant or an argument, depending on torch's version
                    arguments[name] = number[1]
                elif not isinstance(known.get(value), torch.fx.GraphModule):
                    inputs.append(prefix + reference)
            elif isinstance(value, (list, tuple)) and any(isinstance(item, torch.fx.Node) for item in value):
                inputs += [prefix + self._reference(item, known) for item in value]
            else:
                arguments[name] = plain(value)
        return tuple(inputs), arguments


def _kind(target: object) -> str:
    """An operator's name without what depends on overloads; those of other packages keep their namespace."""
    schema = schema_of(target)
    if schema is not None:
        name = str(schema.name).removeprefix("aten::").replace("::", ".")
        return _SAME.get(name, name)
    return str(getattr(target, "__name__", None) or target)


def _arguments(node: torch.fx.Node) -> Iterator[tuple[tuple[str, bool], object]]:
    """((name, may it be left out), value) of what is given and no default."""
    schema = schema_of(node.target)
    if schema is None:
        yield from (((f"argument{at}", False), value) for at, value in enumerate(node.args))
        yield from (((name, True), value) for name, value in node.kwargs.items())
        return
    called = {"size": "shape"} if schema.name.removeprefix("aten::") in _SAME else {}
    for at, argument in enumerate(schema.arguments):
        if at < len(node.args):
            value = node.args[at]
        elif argument.name in node.kwargs:
            value = node.kwargs[argument.name]
        else:
            continue
        optional = argument.has_default_value() or argument.kwarg_only
        if argument.name in _IGNORED or value is None or (optional and _is_default(value, argument)):
            continue
        yield (called.get(argument.name, argument.name), optional), value


def _is_default(value: object, argument: torch.Argument) -> bool:
    default = argument.default_value if argument.has_default_value() else None
    if value == default:
        return True
    if (argument.name, value) in (("start", 0), ("end", _END)):
        return default is None
    if not isinstance(value, (list, tuple)):
        return False
    if isinstance(default, (list, tuple)):
        return list(value) == list(default)
    return bool(value) and all(item == default for item in value)
