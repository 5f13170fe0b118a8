"""A pass of a model on the meta device whose code reads values: fake tensors for parameters, real ones for its input.

What is computed from the input alone, such as masks, lengths and positions, has values then; what a parameter took part
in has a shape. Fake tensors for the input too, as `torch.export` has them, would answer fewer models: lengths out of a
tensor, for one, have no value there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.structure import tensors
from pytest_modelviz.probe.torch_internals import (
    FakeTensor,
    FakeTensorMode,
    TorchDispatchMode,
    buffer_table,
    parameter_table,
    tree_leaves,
    tree_map_only,
)


def needs_values(error: Exception) -> bool:
    """Whether a pass on the meta device failed for want of a tensor's values, and not by a fault of the model."""
    return isinstance(error, NotImplementedError) or "meta tensor" in str(error)


@contextlib.contextmanager
def only_shapes(model: torch.nn.Module) -> Iterator[None]:
    """Say what can be done where a model on the meta device fails for want of a tensor's values."""
    try:
        yield
    except Exception as error:
        if needs_values(error) and any(parameter.is_meta for parameter in model.parameters()):
            raise ModelvizError(
                f"the model's forward reads values of tensors, which are on the meta device and have none ({error}): "
                f"give it some with model.to_empty(device='cpu') and load its weights (model_summary can do without)"
            ) from error
        raise


@contextlib.contextmanager
def faked(model: torch.nn.Module, input_data: Any) -> Iterator[Any]:
    """Stand fake tensors in for all that the model holds on the meta device, and put it back afterwards.

    They are where the input is. Gives the input to call the model with: what of it is on meta has stand-ins as well.
    """
    device = next((tensor.device for tensor in tensors(input_data) if not tensor.is_meta), torch.device("cpu"))
    stand_ins = _StandIns(device)
    replaced: list[tuple[Any, Any, Any]] = []
    try:
        for module in model.modules():
            for held in _holders(module):
                for key, value in list(held.items() if isinstance(held, dict) else enumerate(held)):
                    if isinstance(value, torch.Tensor) and value.is_meta:
                        replaced.append((held, key, value))
                        held[key] = stand_ins.of(value)
        data = tree_map_only(
            torch.Tensor, lambda tensor: stand_ins.of(tensor) if tensor.is_meta else tensor, input_data
        )
        with _Known(stand_ins.mode):
            yield data
    finally:
        for held, key, value in reversed(replaced):
            held[key] = value


def _holders(module: torch.nn.Module) -> Iterator[Any]:
    """Where a module keeps tensors: its tables, its attributes, and lists and dictionaries there."""
    if not isinstance(module, torch.jit.ScriptModule):
        yield from (parameter_table(module), buffer_table(module), vars(module))
        yield from (value for name, value in vars(module).items() if type(value) in (list, dict) and name[:1] != "_")
        yield from (value for name, value in vars(module).items() if type(value) is list and name[:1] == "_")


class _StandIns:
    """A fake tensor for each real one, the same for all who share it."""

    def __init__(self, device: torch.device) -> None:
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._device = device
        self._made: dict[int, torch.Tensor] = {}

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in self._made:
            with self.mode:
                made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=self._device)
            is_parameter = isinstance(tensor, torch.nn.Parameter)
            self._made[id(tensor)] = torch.nn.Parameter(made, tensor.requires_grad) if is_parameter else made
        return self._made[id(tensor)]


class _Known(TorchDispatchMode):
    """Computes what only real tensors go into, and follows the shapes of all else."""

    def __init__(self, mode: FakeTensorMode) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
        self._mode = mode

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(isinstance(leaf, FakeTensor) for leaf in tree_leaves((args, kwargs))):
            with self._mode:
                return func(*args, **kwargs)
        return func(*args, **kwargs)
