"""Passes of models on the meta device whose code reads values: parameters are fake tensors, the input is real.

Tensors computed from the input alone, such as masks, lengths and positions, have values then; those that depend on a
parameter have a shape. With fake inputs too, as in `torch.export`, fewer models could run: a length that is read from a
tensor, for example, would have no value.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe import torch_internals as internals
from pytest_modelviz.probe.nested_values import tensors
from pytest_modelviz.probe.torch_internals import Args, Kwargs, Operator


def needs_values(error: Exception) -> bool:
    """Whether a pass on the meta device failed because a tensor has no values, and not by a fault of the model."""
    return isinstance(error, NotImplementedError) or "meta tensor" in str(error)


@contextlib.contextmanager
def only_shapes(model: torch.nn.Module) -> Iterator[None]:
    """Raise ModelvizError with advice where a model on the meta device fails because a tensor has no values."""
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
def faked(model: torch.nn.Module, input_data: object) -> Iterator[object]:
    """Replace every tensor of the model on the meta device by a fake one for the length of a block.

    The fake tensors are on the input's device.

    Yields:
        The input to call the model with: `input_data` with its tensors on the meta device replaced as well.

    """
    device = next((tensor.device for tensor in tensors(input_data) if not tensor.is_meta), torch.device("cpu"))
    mode = internals.FakeTensorMode(allow_non_fake_inputs=True)
    fakes: dict[int, torch.Tensor] = {}  # one for each real tensor, so that shared tensors stay shared

    def fake_of(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in fakes:
            with mode:
                fake = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
            is_parameter = isinstance(tensor, torch.nn.Parameter)
            fakes[id(tensor)] = torch.nn.Parameter(fake, tensor.requires_grad) if is_parameter else fake
        return fakes[id(tensor)]

    with contextlib.ExitStack() as restoring:
        for module in model.modules():
            for holder in _holders(module):
                for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
                    if isinstance(value, torch.Tensor) and value.is_meta:
                        restoring.callback(holder.__setitem__, key, value)
                        holder[key] = fake_of(value)
        data = internals.tree_map_only(
            torch.Tensor, lambda tensor: fake_of(tensor) if tensor.is_meta else tensor, input_data
        )
        with _RealArithmetic(mode):
            yield data


def _holders(module: torch.nn.Module) -> Iterator[Any]:  # dicts by attribute, lists by position
    """The containers of a module that hold tensors: its tables, its attributes, and lists and dictionaries there."""
    if not isinstance(module, torch.jit.ScriptModule):
        yield from (internals.parameter_table(module), internals.buffer_table(module), vars(module))
        for name, value in vars(module).items():
            if type(value) is list or (type(value) is dict and name[:1] != "_"):
                yield value


class _RealArithmetic(internals.TorchDispatchMode):
    """Computes operators on real tensors as usual, and those with a fake argument as shapes alone."""

    def __init__(self, mode: internals.FakeTensorMode) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
        self._mode = mode

    def __torch_dispatch__(self, op: Operator, types: object, args: Args = (), kwargs: Kwargs | None = None) -> object:
        kwargs = kwargs or {}
        has_fake = any(isinstance(leaf, internals.FakeTensor) for leaf in internals.tree_leaves((args, kwargs)))
        with self._mode if has_fake else contextlib.nullcontext():
            return op(*args, **kwargs)
