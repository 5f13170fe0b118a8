"""What one tensor is, apart from the values in its memory: to be put back after a block that may have changed it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from pytest_modelviz.probe.attributes import put_back, restore_container
from pytest_modelviz.probe.torch_internals import TENSOR_HOOKS, as_subclass, coordinates, storage_key


def distinct(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Each tensor once."""
    return list({id(tensor): tensor for tensor in tensors}.values())


def has_storage(tensor: torch.Tensor) -> bool:
    if torch.nn.parameter.is_lazy(tensor) or (tensor.is_nested and tensor.layout == torch.strided):
        return False  # the older nested tensors have neither a shape nor strides
    try:
        tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return False  # sparse tensors and some wrapper subclasses have none
    return True


def view_of(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Which memory a tensor looks at, and how."""
    return (storage_key(tensor), tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype)


class TensorState:
    """One parameter, buffer or input, and its gradient: the memory it looks at, its hooks and attributes.

    Of one in coordinate format, which has no memory of its own, there is a copy.
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor
        self._requires_grad, self._is_leaf = tensor.requires_grad, tensor.is_leaf
        self._grad = tensor.grad if tensor.is_leaf else None
        self._of_grad = None if self._grad is None else TensorState(self._grad)
        self._memory = tensor.detach() if has_storage(tensor) else None
        self._sparse = tensor.detach().clone() if tensor.layout == torch.sparse_coo else None
        self._hooks = [(name, _contents(getattr(tensor, name, None))) for name in TENSOR_HOOKS]
        self._attributes = dict(vars(tensor))

    def restore(self) -> None:
        tensor = self._tensor
        before = self._memory_if_changed()
        if before is not None:
            self._look_at(before)
        if self._is_leaf and not tensor.is_leaf:
            tensor.detach_()  # something that requires a gradient was written into it
        if tensor.is_leaf:
            if tensor.requires_grad != self._requires_grad:
                tensor.requires_grad_(self._requires_grad)
            self._restore_grad()
        for name, (hooks, contents) in self._hooks:
            if getattr(tensor, name, None) is not hooks:
                setattr(tensor, name, hooks)
            if hooks is not None:
                restore_container(hooks, contents)
        put_back(vars(tensor), self._attributes)

    def _restore_grad(self) -> None:
        if self._of_grad is not None:
            if self._of_grad._memory_if_changed() is not None:
                self._tensor.grad = None  # what something refers to cannot be swapped
            self._of_grad.restore()
        if self._tensor.grad is not self._grad:
            self._tensor.grad = self._grad

    def _look_at(self, memory: torch.Tensor) -> None:
        with torch.no_grad():
            try:
                self._tensor.data = memory
            except RuntimeError:  # it was swapped for one of another kind, on another device for example
                kind: Any = type(self._tensor)
                torch.utils.swap_tensors(self._tensor, as_subclass(kind, memory, self._requires_grad))

    def _memory_if_changed(self) -> torch.Tensor | None:
        if self._sparse is not None:
            return None if _same_entries(self._tensor, self._sparse) else self._sparse
        if self._memory is None or (has_storage(self._tensor) and view_of(self._tensor) == view_of(self._memory)):
            return None
        return self._memory


def _contents(hooks: Any) -> tuple[Any, Any]:
    return hooks, None if hooks is None else hooks.copy()


def _same_entries(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors in coordinate format hold the same values in the same order."""
    same = (a.layout, a.device, a.shape) == (b.layout, b.device, b.shape) and a.is_coalesced() == b.is_coalesced()
    if not same:
        return False
    (indices, values), (other_indices, other_values) = coordinates(a), coordinates(b)
    return torch.equal(indices, other_indices) and same_bits(values, other_values)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype or a.layout != torch.strided or a.is_quantized:
        return False
    one, two = (t.detach().resolve_conj().resolve_neg().contiguous().view(-1).view(torch.uint8) for t in (a, b))
    return torch.equal(one, two)
