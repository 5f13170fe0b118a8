"""Collects the profiles of what the calls of a pass return, and of what the model is given."""

from typing import TypeGuard

import torch

from pytest_modelviz.attribution.spatial_layout import SpatialLayout, SpatialLayoutTracker
from pytest_modelviz.probe.configuration import parameters_of
from pytest_modelviz.probe.forward import ModelInput, arguments_of
from pytest_modelviz.probe.nested_values import leaves
from pytest_modelviz.probe.pass_recorder import CallObserver
from pytest_modelviz.probe.profiles import has_profile, profile_of
from pytest_modelviz.probe.torch_internals import compiled_from
from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.profiles import Position, Profile, pack_profiles
from pytest_modelviz.records.trace import Call, ForwardTrace

_MOST = 4  # tensors that a call returns


class ProfileCollector(CallObserver):
    """Observes a pass; each tensor that is handed on has one profile."""

    def __init__(self, model: torch.nn.Module, input_data: ModelInput) -> None:
        self._tracker = SpatialLayoutTracker(input_data)
        arguments = parameters_of(compiled_from(model)).named(*arguments_of(input_data))
        given = [leaf for name, value in arguments.items() for leaf in leaves(value, name)]
        self._inputs = {path: _profile(item, None) for path, item in given if _is_readable(item)}
        self._keys: set[str | None] = {None}
        self._outputs: dict[tuple[str, int, str], Profile | None] = {}  # by layer, call and path

    def leave(self, call: Call, module: torch.nn.Module, output: object) -> object:
        found = [(path, item) for path, item in leaves(output) if isinstance(item, torch.Tensor)]
        for path, tensor in found[:_MOST]:
            key = call.outputs[path].tensor if call.outputs and path in call.outputs else None
            if key not in self._keys and _is_readable(tensor):
                self._keys.add(key)
                self._outputs[call.layer, call.index, path] = _profile(tensor, self._tracker.track(module, tensor))
        return output

    def arrays(self, trace: ForwardTrace) -> dict[str, Array]:
        """The profiles as arrays, for the trace of a pass that was the same."""
        found: dict[str | None, tuple[Position, Profile]] = {}
        for at, (path, leaf) in enumerate(trace.calls[0].inputs.items()):
            profile = self._inputs.get(path)
            if profile is not None:
                found[leaf.tensor] = (0, -1 - at), profile
        for number, call in enumerate(trace.calls):
            for at, (path, leaf) in enumerate((call.outputs or {}).items()):
                profile = self._outputs.get((call.layer, call.index, path))
                if profile is not None:
                    found.setdefault(leaf.tensor, ((number, at), profile))
        return pack_profiles(dict(found.values()))


def _is_readable(value: object) -> TypeGuard[torch.Tensor]:
    return isinstance(value, torch.Tensor) and has_profile(value)


def _profile(tensor: torch.Tensor, layout: SpatialLayout | None) -> Profile | None:
    """The profile of a tensor; without a layout, (batch, positions, channels) or (batch, channels, rows, columns)."""
    if layout is not None:
        is_last = layout.form != "channels first"
        return profile_of(tensor.movedim(-1, 1) if is_last else tensor, layout.grid, layout.before)
    if tensor.dim() == 3:
        return profile_of(tensor.transpose(1, 2), tensor.shape[1:2])
    return profile_of(tensor.reshape(1, -1) if tensor.dim() < 2 else tensor, tensor.shape[2:])
