"""Sketches of parameters and buffers as they were before a pass, each taken when it costs least."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

import torch

from pytest_modelviz.probe.modules import loose_tensors, own_tensors, packed_tensors
from pytest_modelviz.probe.purity import value_at_entry
from pytest_modelviz.probe.sketch import WEIGHT_WIDTH, record_tensor, record_together
from pytest_modelviz.records.structure import ATTRIBUTE_SUFFIX
from pytest_modelviz.records.tensors import TensorRecord


class Weights:
    """The parameters, buffers and other tensors of a model's modules, shared ones once.

    Small ones and all buffers are sketched before the pass, many at a time. A large parameter is sketched right after
    the first call of its module, which has just brought it into the processor's cache; from main memory it would cost
    as much as a good part of the pass. What the pass wrote into by then is sketched as it was before.
    """

    def __init__(self, modules: Iterable[tuple[str, torch.nn.Module]], width: int | None = WEIGHT_WIDTH) -> None:
        self._width = width
        self._records: dict[str, TensorRecord | None] = {}
        self._waiting: dict[int, list[tuple[str, torch.Tensor]]] = {}
        self._names: dict[int, dict[str, str]] = {}
        known: dict[int, str] = {}
        owners: dict[str, int] = {}
        held: list[tuple[str, torch.Tensor]] = []
        named = list(modules)
        holders = functools.cache(lambda: _holders(named))  # most models keep no tensors in lists
        for name, module in named:
            own = self._names[id(module)] = {}
            for local, tensor in (*own_tensors(module), *packed_tensors(module), *loose_tensors(module)):
                if width is None or torch.nn.parameter.is_lazy(tensor):
                    continue
                if local.endswith(ATTRIBUTE_SUFFIX) and (name, id(tensor)) in holders():
                    continue  # a list of the module's own parameters, or of those inside of it
                if id(tensor) not in known:
                    key = known[id(tensor)] = f"{name}.{local}" if name else local
                    owners[key] = id(module)
                    held.append((key, tensor))
                own[local] = known[id(tensor)]
        together = record_together((tensor for _, tensor in held), width or 0)
        for key, tensor in held:
            self._records[key] = together.get(id(tensor))
            if self._records[key] is None:
                if isinstance(tensor, torch.nn.Parameter):
                    self._waiting.setdefault(owners[key], []).append((key, tensor.detach()))
                else:
                    self._records[key] = self._record(tensor)

    def names(self, module: torch.nn.Module) -> Mapping[str, str]:
        """A module's own parameters and buffers: local name -> the name it is recorded under."""
        return self._names[id(module)]

    def called(self, module: torch.nn.Module) -> None:
        """The module's call has ended: what it computed with is at hand."""
        for key, tensor in self._waiting.pop(id(module), ()):
            self._records[key] = self._record(value_at_entry(tensor))

    def records(self) -> dict[str, TensorRecord]:
        """All of them, in the order of registration."""
        for key, tensor in [one for waiting in self._waiting.values() for one in waiting]:
            self._records[key] = self._record(value_at_entry(tensor))
        self._waiting.clear()
        return {key: record for key, record in self._records.items() if record is not None}

    def _record(self, tensor: torch.Tensor) -> TensorRecord:
        return record_tensor(tensor, self._width or 0, statistics=False)


def _holders(modules: list[tuple[str, torch.nn.Module]]) -> set[tuple[str, int]]:
    """(module, tensor) of every tensor and each module that it is registered in or inside of."""
    registered = {(name, id(tensor)) for name, module in modules for _, tensor in own_tensors(module)}
    found = set(registered)
    for name, tensor in registered:
        outer = name
        while outer and (outer.rpartition(".")[0], tensor) not in found:
            outer = outer.rpartition(".")[0]
            found.add((outer, tensor))
    return found
