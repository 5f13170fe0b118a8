"""Sketches of parameters and buffers as they were before a pass, each taken when it costs least."""

import functools
import itertools
from collections.abc import Iterable, Mapping

import torch

from pytest_modelviz.probe.modules import (
    holding_attributes,
    is_of_quantised,
    loose_tensors,
    own_tensors,
    packed_tensors,
    qualified_name,
)
from pytest_modelviz.probe.purity import value_at_entry
from pytest_modelviz.probe.quantised import packed_tensors_of, quantised_values, with_exact_integers
from pytest_modelviz.probe.sketch import record_tensor, record_together
from pytest_modelviz.probe.sketch_queue import SketchQueue
from pytest_modelviz.records.structure import ATTRIBUTE_SUFFIX
from pytest_modelviz.records.tensors import WEIGHT_WIDTH, TensorRecord

_ORDINARY = (torch.Tensor, torch.nn.Parameter)  # classes of tensors that are neither lazy nor of a library's own kind


class Weights:
    """The parameters, buffers and other tensors of a model's modules, shared ones once.

    Small tensors and all buffers are sketched before the pass, many at a time. A large parameter is sketched right
    after the first call of its module, which has just brought it into the processor's cache; reading it from main
    memory would cost a large fraction of the pass. Parameters that the pass has written into by then are sketched with
    their earlier values.

    Args:
        modules: (name, module) of the model's modules.
        width: the width of the sketches; None records nothing.
        queue: where sketches of large parameters wait on their device.

    """

    def __init__(
        self,
        modules: Iterable[tuple[str, torch.nn.Module]],
        width: int | None = WEIGHT_WIDTH,
        queue: SketchQueue | None = None,
    ) -> None:
        self._width, self._queue = width, queue
        self._records: dict[str, TensorRecord | None] = {}
        self._waiting: dict[int, list[tuple[str, torch.Tensor]]] = {}
        self._names: dict[int, dict[str, str]] = {}
        keys: dict[int, str] = {}
        owners: dict[str, int] = {}
        distinct: list[tuple[str, torch.Tensor]] = []
        named = list(modules)
        holders = functools.cache(lambda: _holders(named))  # needed only where modules hold tensors in lists
        for name, module in named:
            own = self._names[id(module)] = {}
            if width is None:
                continue
            held = own_tensors(module)
            if holding_attributes(module) or is_of_quantised(module):
                held += [*packed_tensors(module), *packed_tensors_of(module), *loose_tensors(module)]
            for local, tensor in held:
                is_ordinary = type(tensor) in _ORDINARY
                if not is_ordinary and torch.nn.parameter.is_lazy(tensor):
                    continue
                is_loose = local.endswith(ATTRIBUTE_SUFFIX)
                if is_loose and (name, id(tensor)) in holders():
                    continue  # a list of parameters of the module or of its descendants
                key = keys.get(id(tensor))
                if key is None:
                    key = keys[id(tensor)] = qualified_name(name, local)
                    owners[key] = id(module)
                    distinct.append((key, tensor))
                    self._records[key] = None  # in the order of registration
                own[local] = key
                if not is_loose and (not is_ordinary or tensor.is_quantized):  # what is loose may be a mere cache
                    self._add_quantised_values(own, local, tensor)
        together = record_together((tensor for _, tensor in distinct), width or 0)
        for key, tensor in distinct:
            record = together.get(id(tensor))
            if record is not None:
                self._records[key] = record if tensor.is_floating_point() else with_exact_integers(record, tensor)
            elif isinstance(tensor, torch.nn.Parameter):
                self._waiting.setdefault(owners[key], []).append((key, tensor.detach()))
            else:
                self._records[key] = self._record(tensor)

    def names(self, module: torch.nn.Module) -> Mapping[str, str]:
        """A module's own parameters and buffers: local name -> the name it is recorded under."""
        return self._names[id(module)]

    def record_waiting(self, module: torch.nn.Module) -> None:
        """Sketch the large parameters of a module whose call has ended."""
        for key, tensor in self._waiting.pop(id(module), ()):
            self._record_parameter(key, tensor)

    def records(self) -> dict[str, TensorRecord]:
        """The records of all tensors by name, in the order of registration."""
        for key, tensor in itertools.chain.from_iterable(self._waiting.values()):
            self._record_parameter(key, tensor)
        self._waiting.clear()
        if self._queue is not None:
            self._queue.settle()
        return {key: record for key, record in self._records.items() if record is not None}

    def _add_quantised_values(self, own: dict[str, str], local: str, tensor: torch.Tensor) -> None:
        """Add the integers, scale and zero point of a quantised tensor to what its module holds."""
        key = own[local]
        for suffix, record in quantised_values(tensor):
            own[f"{local}{suffix}"] = f"{key}{suffix}"
            self._records.setdefault(f"{key}{suffix}", record)

    def _record_parameter(self, key: str, parameter: torch.Tensor) -> None:
        value = value_at_entry(parameter)
        if self._queue is None:
            self._records[key] = self._record(value)
        else:
            keep = functools.partial(self._records.__setitem__, key)
            record = self._queue.record(value, self._width or 0, keep, is_kept=True)
            self._records[key] = with_exact_integers(record, value)

    def _record(self, tensor: torch.Tensor) -> TensorRecord:
        return with_exact_integers(record_tensor(tensor, self._width or 0), tensor)


def _holders(modules: list[tuple[str, torch.nn.Module]]) -> set[tuple[str, int]]:
    """(module, tensor) for every tensor, with the module that it is registered in and each ancestor."""
    registered = {(name, id(tensor)) for name, module in modules for _, tensor in own_tensors(module)}
    holders = set(registered)
    for name, tensor in registered:
        outer = name
        while outer and (outer.rpartition(".")[0], tensor) not in holders:
            outer = outer.rpartition(".")[0]
            holders.add((outer, tensor))
    return holders
