"""What a summary says of a model without running it: classes, configuration, parameters, buffers, ties, totals.

It is taken before a pass, since that may change the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from pytest_modelviz.probe.configuration import Describer, parameters_of
from pytest_modelviz.probe.modules import (
    all_modules,
    is_of_quantised,
    observed_modules,
    own_tensors,
    packed_tensors,
    tie_groups,
    unsaved_buffers,
)
from pytest_modelviz.probe.plain_numbers import dtype_name
from pytest_modelviz.probe.sketch import record_shape
from pytest_modelviz.probe.torch_internals import buffer_table, parameter_table, unsaved_buffer_names
from pytest_modelviz.records.structure import NOT_SAVED, ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import dtype_and_shape


class LayerContents(NamedTuple):
    """One module, as `records.LayerSummary` holds it.

    `unsaved` are the shapes of the buffers that are in no state dict, `signature` the parameters of its forward;
    `is_of_torch` says whether torch itself defines its class.
    """

    class_name: str
    config: str
    parameters: Mapping[str, str]
    buffers: Mapping[str, str]
    frozen: tuple[str, ...]
    unsaved: Mapping[str, str]
    signature: str
    is_of_torch: bool


@dataclass(frozen=True)
class Contents:
    """A model's modules by name, with their records, and totals of elements; shared tensors count once."""

    layers: Mapping[str, LayerContents]
    structure: ModelStructure
    parameters: int
    trainable: int
    buffers: int
    parameter_bytes: int

    def caches(self, model: torch.nn.Module) -> dict[str, Sequence[str]]:
        """By layer, the unsaved buffers that have another shape now, or that were not there or no longer are.

        The recorder of a pass marks those that it writes (`structure.REWRITTEN`); what was not there before is in no
        trace.
        """
        before = {name: layer.unsaved for name, layer in self.layers.items() if layer.unsaved}
        after = {name: unsaved for name, module in observed_modules(model) if (unsaved := _unsaved_shapes(module))}
        caches: dict[str, Sequence[str]] = {}
        for name in sorted({*before, *after}):
            old, new = before.get(name, {}), after.get(name, {})
            if names := [local for local in sorted({*old, *new}) if old.get(local) != new.get(local)]:
                caches[name] = names
        return caches


def contents_of(model: torch.nn.Module, structure: ModelStructure | None = None) -> Contents:
    """Describe a model, with the records of its modules where a recorder has made them already."""
    named = dict(observed_modules(model))
    if structure is None:
        describer = Describer()
        records = {name: describer.describe(module, {}) for name, module in named.items()}
        structure = ModelStructure(records, ties=tie_groups(model))
    signatures: dict[type[torch.nn.Module], str] = {}
    layers = {name: _layer(module, structure.modules[name], signatures) for name, module in named.items()}
    modules = all_modules(model)
    parameters = {id(p): p for module in modules for p in parameter_table(module).values() if p is not None}
    buffers = {id(b): b for module in modules for b in buffer_table(module).values() if b is not None}
    counts = [(_numel(p), p.requires_grad, p.dtype.itemsize) for p in parameters.values()]
    return Contents(
        layers=layers,
        structure=structure,
        parameters=sum(count for count, _, _ in counts),
        trainable=sum(count for count, is_trainable, _ in counts if is_trainable),
        buffers=sum(map(_numel, buffers.values())),
        parameter_bytes=sum(count * size for count, _, size in counts),
    )


def _layer(
    module: torch.nn.Module, record: ModuleRecord, signatures: dict[type[torch.nn.Module], str]
) -> LayerContents:
    """`signatures` are those of the classes that were met before."""
    kind = type(module)
    if kind not in signatures:
        signatures[kind] = parameters_of(module).signature
    own = dict(own_tensors(module))
    if is_of_quantised(module):
        own |= dict(packed_tensors(module))
    parameters = {n: t for n, t in own.items() if isinstance(t, torch.nn.Parameter)} if own else {}
    unsaved = unsaved_buffer_names(module) if own else ()
    return LayerContents(
        class_name=record.class_name,
        config=record.config.get("repr") or record.config["extra_repr"],
        parameters={n: _text(t) for n, t in parameters.items()},
        buffers={n: _text(t) + (NOT_SAVED if n in unsaved else "") for n, t in own.items() if n not in parameters},
        frozen=tuple([n for n, p in parameters.items() if not p.requires_grad]),
        unsaved=_unsaved_shapes(module),
        signature=signatures[kind],
        is_of_torch=kind.__module__.startswith("torch.nn."),
    )


def _unsaved_shapes(module: torch.nn.Module) -> dict[str, str]:
    unsaved = unsaved_buffers(module)
    return {local: _text(buffer) for local, buffer in unsaved} if unsaved else {}


def _text(tensor: torch.Tensor) -> str:
    if torch.nn.parameter.is_lazy(tensor):
        return "uninitialized"
    if tensor.is_nested:
        return record_shape(tensor).dtype_and_shape
    return dtype_and_shape(dtype_name(tensor.dtype), tuple(tensor.shape))


def _numel(tensor: torch.Tensor) -> int:
    return 0 if torch.nn.parameter.is_lazy(tensor) else tensor.numel()
