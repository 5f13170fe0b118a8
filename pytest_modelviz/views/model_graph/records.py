"""What a model computes, operator by operator, as plain data: captures hold it as facts. Knows no torch.

An operator's name is given by the module whose code runs it and by the operators of that kind before it in that module
(`layer1.0/relu#1`), so that what happens in one module renames nothing in another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pytest_modelviz.compare.ignored import lasting_modules
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.call_order import calls_of, runs_of
from pytest_modelviz.records.facts import rows
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord, require_recordable
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace
from pytest_modelviz.text.strict_json import JsonObject, JsonValue
from pytest_modelviz.views.model_graph.constants import is_without_values

EXPORTED, TRACED = "exported", "traced"
INPUT = "input."  # begins the names of the model's inputs
TENSOR = "<tensor>"  # stands for each tensor in an argument that also holds something else
IN_PART = "<in part>"  # stands for what of an item that a model returns is not compared
DATA_WRITE = "set_data"  # the operator that `x.data = y` is
_ARGUMENT = re.compile(rf"{re.escape(INPUT)}[^.\[]*(\[\d+\])?")  # what comes after is within an argument
_BRACKETS = {"]": "[", ">": "<"}  # around the number of a result, and of what an operator hands to a branch
_TENSOR = re.compile(r"((?:nested )?\w+)\[((?:(?:\d{1,18}|\*)(?:, |(?=\])))*)\]")
_ESCAPED = {"%": "%25", "=": "%3D"}  # of names in references: an argument's name and "=" may stand before them


def escaped(name: str) -> str:
    """The name of a module or tensor as references hold it, without characters that have a meaning there."""
    if "=" in name or name.startswith(INPUT) or unescaped(name) != name:
        name = "".join(_ESCAPED.get(character, character) for character in name)
        name = name.replace(".", "%2E", 1) if name.startswith(INPUT) else name
    return name


def unescaped(name: str) -> str:
    """The name that `escaped` was given."""
    return name.replace("%3D", "=").replace("%2E", ".").replace("%25", "%") if "%" in name else name


def module_of(operator: str) -> str:
    """The module whose code runs an operator, by the operator's name."""
    return unescaped(operator.rpartition("/")[0])


def argument_name(name: str) -> str:
    """The argument that an input is, or is within: `input.x` of `input.x['a']`, `input.x[0]` of `input.x[0].y`."""
    found = _ARGUMENT.match(name)
    return found[0] if found else name


def argument_names(inputs: Iterable[str]) -> list[str]:
    """The arguments of these inputs, in their order."""
    return list(dict.fromkeys(map(argument_name, inputs)))


def split_reference(reference: str) -> tuple[str, str, str]:
    """`x=layer1.0/chunk[0]` as `x=`, `layer1.0/chunk` and `[0]`: an argument, what is referred to, and which result."""
    start, end = reference.rfind("=") + 1, len(reference)
    while end > start and reference[end - 1] in _BRACKETS:
        bracket = reference.rfind(_BRACKETS[reference[end - 1]], start, end - 1)
        if bracket < 0 or not reference[bracket + 1 : end - 1].isdecimal():
            break
        end = bracket
    return reference[:start], reference[start:end], reference[end:]


def producer_of(reference: str) -> str:
    """The operator, tensor or input that a reference is to, without an argument's name and the number of a result."""
    return split_reference(reference)[1]


def with_names(reference: str, names: Mapping[str, str]) -> str:
    """A reference to what may have another name now."""
    argument, producer, result = split_reference(reference)
    return f"{argument}{names.get(producer, producer)}{result}"


def dtype_and_sides(text: str) -> tuple[str, tuple[int, ...]] | None:
    """dtype and shape out of a text such as `float32[64, 3]`, with -1 for a star; None for what is no tensor's."""
    found = _TENSOR.fullmatch(text)
    return found and (found[1], tuple(-1 if side == "*" else int(side) for side in found[2].split(", ") if side))


@dataclass(frozen=True)
class Operator:
    """One operator call.

    `inputs` name operators (`layer1.0/chunk[0]` is one of several results), parameters and buffers
    (`layer1.0.conv1.weight`) or the model's inputs (`input.x`); what may be left out has its argument's name before it
    (`bias=conv1.bias`). `arguments` are those that are no tensors and not the default, `output` is a text such as
    `float32[1, 64, 56, 56]`.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    arguments: Mapping[str, str]
    output: str

    @property
    def module(self) -> str:
        return module_of(self.name)

    @property
    def argument_texts(self) -> tuple[str, ...]:
        """Its arguments that are no tensors, such as `stride=2`."""
        return tuple(f"{key}={text}" for key, text in self.arguments.items())

    @property
    def call(self) -> str:
        """The operator with those of its arguments that are no tensors."""
        return f"{self.kind}({', '.join(self.argument_texts)})" if self.arguments else self.kind

    def renamed(self, rename: Callable[[str], str]) -> Operator:
        """The operator under another name, and so what it is given."""
        return replace(self, name=rename(self.name), inputs=tuple(map(rename, self.inputs)))

    def to_row(self) -> dict[str, JsonValue]:
        """As facts hold it, below its name: what is empty is left out."""
        inputs, arguments = list(self.inputs), dict(self.arguments)
        return _filled({"operator": self.kind, "in": inputs, "arguments": arguments, "out": self.output})

    @classmethod
    def from_row(cls, name: str, row: JsonObject) -> Operator:
        """The operator that facts hold as a row; raises UnreadableBaselineError for what is none."""
        inputs, arguments = _texts(row.get("in", [])), _table(row.get("arguments", {}))
        return cls(name, _text(row, "operator"), inputs, arguments, _text(row, "out"))

    def __str__(self) -> str:
        return f"{self.name}: {self.output} = {self.kind}({', '.join((*self.inputs, *self.argument_texts))})"


@dataclass(frozen=True)
class ModuleRow:
    """One module: its class, its configuration and the shapes of its own parameters and buffers."""

    class_name: str
    config: Mapping[str, str] = field(default_factory=dict)
    tensors: Mapping[str, str] = field(default_factory=dict)

    def to_row(self) -> dict[str, JsonValue]:
        """As facts hold it, below the module's name: what is empty is left out."""
        return _filled({"class": self.class_name, "config": dict(self.config), "tensors": dict(self.tensors)})


@dataclass(frozen=True)
class OperatorGraph:
    """What `model_graph` returns: the operators in the order of execution. `str()` lists them.

    `source` is "exported" or, where `torch.export` failed for the `reason` given, "traced". `inputs` maps names such as
    `input.x` to shapes; the names are the caller's where they were given `by_name`. `outputs` name what the model
    returns. `calls` are those of a pass, without what was given, and `ties` names that stand for one parameter or
    module; both are None where they were not recorded. `returned` lists the items of what the model returns, with their
    paths and with the values of those that are no tensors; it is None in baselines of earlier versions (see `earlier`).
    """

    source: str
    reason: str
    inputs: Mapping[str, str]
    operators: tuple[Operator, ...]
    outputs: tuple[str, ...]
    modules: Mapping[str, ModuleRow]
    calls: tuple[Call, ...] | None = None
    ties: tuple[tuple[str, ...], ...] | None = None
    by_name: bool = False
    returned: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return "\n".join(
            [
                *(f"{name}: {text}" for name, text in self.inputs.items()),
                *map(str, self.operators),
                f"returns {', '.join(self.outputs) or 'nothing'}",
            ]
        )

    def to_facts(self) -> JsonObject:
        """As JSON can hold it: one operator, one module a line."""
        runs = {} if self.calls is None else runs_of(self.calls, self.modules)
        return {
            "source": self.source,
            **({"reason": self.reason} if self.reason else {}),
            "inputs": dict(self.inputs),
            **({"by_name": True} if self.by_name else {}),
            "outputs": list(self.outputs),
            **({"returned": list(self.returned)} if self.returned is not None else {}),
            "operators": {operator.name: operator.to_row() for operator in self.operators},
            "modules": {
                name: row.to_row() | ({"runs": runs[name]} if name in runs else {})
                for name, row in self.modules.items()
            },
            **({"ties": [list(group) for group in self.ties]} if self.ties else {}),
        }

    @classmethod
    def from_facts(cls, facts: JsonObject, ignored: Sequence[str] = ()) -> OperatorGraph:
        """Read what `to_facts` made, without attributes that match a glob in `ignored`.

        Raises UnreadableBaselineError for anything else.
        """
        source = facts.get("source")
        if source not in (EXPORTED, TRACED):
            raise UnreadableBaselineError(f"its graph has an unknown source: {source!r}")
        operators = tuple(Operator.from_row(name, row) for name, row in rows(facts, "operators").items())
        module_rows, inputs = rows(facts, "modules"), _table(facts.get("inputs"))
        require_recordable([*module_rows, *(operator.module for operator in operators)])
        _require_names(operators, inputs, module_rows)
        configs = lasting_modules({name: _table(row.get("config", {})) for name, row in module_rows.items()}, ignored)
        modules = {
            name: ModuleRow(_text(row, "class"), configs[name], _table(row.get("tensors", {})))
            for name, row in module_rows.items()
        }
        reason = _text({"reason": "", **facts}, "reason")
        outputs = _texts(facts.get("outputs"))
        runs = {name: row["runs"] for name, row in module_rows.items() if "runs" in row}
        calls = calls_of(runs, modules, needed=len(operators))
        groups = facts.get("ties", [])
        if not isinstance(groups, (list, tuple)):
            raise UnreadableBaselineError("its graph's shared parameters are not a list of names")
        ties = None if calls is None else tuple(_texts(group) for group in groups)
        recorded = None if calls is None else tuple(calls)
        by_name = facts.get("by_name") is True
        returned = _texts(facts["returned"]) if "returned" in facts else None
        return cls(source, reason, inputs, operators, outputs, modules, recorded, ties, by_name, returned)

    @property
    def references(self) -> tuple[str, ...]:
        """What operators are given, and what the model returns."""
        return (*(name for operator in self.operators for name in operator.inputs), *self.outputs)

    def uncompared(self) -> list[str]:
        """The constants, and the items of what the model returns, of whose values the graph says nothing."""
        constants = dict.fromkeys(name.rpartition("=")[2] for name in self.references if is_without_values(name))
        items = (text for text in self.returned or () if text.partition(": ")[2].startswith("<"))
        return [*constants, *(text.removesuffix(f": {IN_PART}") for text in items)]

    def structure(self) -> ModelStructure:
        """The modules, with the shapes of what they hold and without its values."""
        weights: dict[str, TensorRecord] = {}
        modules = {}
        for name, row in self.modules.items():
            keys = {local: f"{name}.{local}" if name else local for local in row.tensors}
            for local, text in row.tensors.items():
                weights[keys[local]] = TensorRecord(*_shape(text), np.zeros(0, np.float32))
            modules[name] = ModuleRecord(row.class_name, row.config, keys)
        return ModelStructure(modules, weights, self.ties or ())

    def as_trace(self) -> ForwardTrace:
        """The modules and their calls; where those were not recorded, those that run operators count as called."""
        owners = dict.fromkeys(operator.module for operator in self.operators)
        calls = [Call(name, 0, 0, {}) for name in owners] if self.calls is None else list(self.calls)
        return ForwardTrace(self.structure(), calls)


def _require_names(operators: Sequence[Operator], inputs: Mapping[str, str], modules: Mapping[str, JsonObject]) -> None:
    """Make sure that no name can be taken for another's: of an operator, an input, a weight or one of several results.

    Raises UnreadableBaselineError.
    """
    names = {operator.name for operator in operators}
    tensors = {
        escaped(f"{name}.{local}" if name else local)
        for name, row in modules.items()
        for local in _table(row.get("tensors", {}))
    }
    for name in names:
        _, slash, kind = name.rpartition("/")
        if not slash or not kind or split_reference(name)[2] or "=" in name or name in tensors:
            raise UnreadableBaselineError(f"its graph has an operator with an impossible name: {name[:80]!r}")
    for name in inputs:
        if not name.startswith(INPUT) or name in names or name in tensors:
            raise UnreadableBaselineError(f"its graph has an input with an impossible name: {name[:80]!r}")


def _filled(row: JsonObject) -> dict[str, JsonValue]:
    return {key: value for key, value in row.items() if value}


def _text(row: JsonObject, key: str) -> str:
    text = row.get(key)
    if not isinstance(text, str):
        raise UnreadableBaselineError(f"its graph's {key!r} is not a string")
    return text


def _texts(value: JsonValue) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise UnreadableBaselineError("its graph's inputs or outputs are not a list of names")
    return tuple(value)


def _table(value: JsonValue) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
        raise UnreadableBaselineError("its graph's inputs, arguments or modules are not a table of strings")
    return {str(key): str(item) for key, item in value.items()}


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    found = dtype_and_sides(text)
    if found is None and "[" in text:
        raise UnreadableBaselineError(f"its graph holds a tensor with an unreadable shape: {text[:80]!r}")
    return found or (text, ())
