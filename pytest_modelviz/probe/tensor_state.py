"""The state of a tensor apart from the values in its memory, recorded so that it can be restored."""

import copy
from typing import TypeAlias

import torch

from pytest_modelviz.probe.restoring import restore_attributes, restore_container
from pytest_modelviz.probe.torch_internals import TENSOR_HOOKS, as_subclass, coordinates, key_of

View: TypeAlias = tuple[int, torch.Size, tuple[int, ...], int | torch.SymInt, torch.dtype]
_INITIALISED = (torch.Tensor, torch.nn.Parameter)  # classes whose tensors are not lazy


def storage_of(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    """The memory that a tensor is a view of; None for sparse and nested tensors and some subclasses, which are none."""
    if type(tensor) not in _INITIALISED and torch.nn.parameter.is_lazy(tensor):
        return None
    if tensor.is_nested and tensor.layout == torch.strided:
        return None  # the older ones have neither a shape nor strides
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return None


def view_of(tensor: torch.Tensor) -> View | None:
    """The memory that a tensor views, with shape, strides, offset and dtype; None where it views none."""
    storage = storage_of(tensor)
    if storage is None:
        return None
    return (key_of(storage), tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype)


class TensorState:
    """The state of a parameter, buffer or input and of its gradient: the memory it views, its hooks and attributes.

    A tensor in coordinate format, which has no memory of its own, is copied.
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor
        self._requires_grad, self._is_leaf = tensor.requires_grad, tensor.is_leaf
        self._grad = tensor.grad if tensor.is_leaf else None
        self._grad_state = None if self._grad is None else TensorState(self._grad)
        self._viewed = view_of(tensor)
        self._memory = None if self._viewed is None else tensor.detach()
        self._sparse = tensor.detach().clone() if tensor.layout == torch.sparse_coo else None
        self._hooks = [
            (name, hooks, None if hooks is None else copy.copy(hooks))
            for name in TENSOR_HOOKS
            for hooks in [getattr(tensor, name, None)]
        ]
        self._attributes = dict(vars(tensor))

    def restore(self) -> None:
        tensor = self._tensor
        before = self._memory_if_changed()
        if before is not None:
            self._view(before)
        if self._is_leaf and not tensor.is_leaf:
            tensor.detach_()  # something that requires a gradient was written into it
        if tensor.is_leaf:
            if tensor.requires_grad != self._requires_grad:
                tensor.requires_grad_(self._requires_grad)
            self._restore_grad()
        for name, hooks, contents in self._hooks:
            if getattr(tensor, name, None) is not hooks:
                setattr(tensor, name, hooks)
            if hooks is not None:
                restore_container(hooks, contents)
        current = vars(tensor)
        if current or self._attributes:
            restore_attributes(current, self._attributes)

    def _restore_grad(self) -> None:
        if self._grad_state is not None:
            if self._grad_state._memory_if_changed() is not None:
                self._tensor.grad = None  # a tensor with further references cannot be swapped
            self._grad_state.restore()
        if self._tensor.grad is not self._grad:
            self._tensor.grad = self._grad

    def _view(self, memory: torch.Tensor) -> None:
        with torch.no_grad():
            try:
                self._tensor.data = memory
            except RuntimeError:  # it was swapped for a tensor of another kind, on another device for example
                torch.utils.swap_tensors(self._tensor, as_subclass(type(self._tensor), memory, self._requires_grad))

    def _memory_if_changed(self) -> torch.Tensor | None:
        if self._sparse is not None:
            return None if _same_entries(self._tensor, self._sparse) else self._sparse
        return None if self._memory is None or view_of(self._tensor) == self._viewed else self._memory


def _same_entries(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors in coordinate format hold the same values in the same order."""
    if (a.layout, a.device, a.shape) != (b.layout, b.device, b.shape) or a.is_coalesced() != b.is_coalesced():
        return False
    (a_indices, a_values), (b_indices, b_values) = coordinates(a), coordinates(b)
    return torch.equal(a_indices, b_indices) and same_bits(a_values, b_values)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two strided tensors have the same bytes, so that NaN equals NaN and -0.0 differs from 0.0."""
    if a.shape != b.shape or a.dtype != b.dtype or a.layout != torch.strided or a.is_quantized:
        return False
    return torch.equal(
        *(t.detach().resolve_conj().resolve_neg().contiguous().view(-1).view(torch.uint8) for t in (a, b))
    )
