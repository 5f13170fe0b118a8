"""Leave everything as it was found: the model, the caller's tensors and the process's global state.

Nothing is copied in advance but buffers and small containers. Parameters are copied at the moment something is about to
write into them (a dispatch mode sees every mutating operation, also one that goes through `.data`), so the price of the
promise is a few microseconds an operation and not a second copy of the model.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pytest_modelviz.probe.attributes import InnerState, ModuleState
from pytest_modelviz.probe.modules import parameters_and_buffers
from pytest_modelviz.probe.process import process_untouched
from pytest_modelviz.probe.structure import tensors

_PLAIN = (torch.Tensor, torch.nn.Buffer)


@contextlib.contextmanager
def untouched(model: torch.nn.Module, input_data: Any = None) -> Iterator[None]:
    """Run a block after which model, inputs and global state are bit for bit what they were before it.

    Covers per-module train/eval flags, gradients, `requires_grad`, parameters, buffers, hooks, plain attributes
    (four levels of containers and objects) and the modules' classes; random states of Python, NumPy and torch on
    every device; grad mode, default dtype and device, threads and backend flags.
    """
    inner = InnerState(list(model.modules()))
    modules = [ModuleState(module) for module in inner.modules]
    parameters, buffers = (list(table.values()) for table in parameters_and_buffers(model))
    for module in inner.hidden:
        buffers += [tensor for tensor in module._buffers.values() if tensor is not None]
        parameters += [tensor for tensor in module._parameters.values() if tensor is not None]
    given = list(tensors(input_data))
    held = [*parameters, *buffers, *given]
    plain = [*parameters, *buffers, *(tensor for tensor in given if _is_plain(tensor))]
    states = [_TensorState(tensor) for tensor in plain if _has_storage(tensor)]
    values = _BufferValues([buffer for buffer in buffers if not torch.nn.parameter.is_lazy(buffer)])
    gradients = [tensor.grad for tensor in held if tensor.is_leaf and tensor.grad is not None]
    writes = _SaveBeforeWrite([*held, *gradients, *inner.tensors])
    try:
        with process_untouched(), writes:
            yield
    finally:
        # who belongs to whom comes before what a tensor looks at, and that before what it holds
        steps = [*(m.restore for m in modules), inner.restore, *(s.restore for s in states)]
        _all_of([*steps, writes.restore, values.restore])


def _all_of(steps: list[Callable[[], None]]) -> None:
    """Run every step, also after one has failed; then raise the first failure."""
    with contextlib.ExitStack() as stack:
        for step in reversed(steps):
            stack.callback(step)


def state_of(tensor: torch.Tensor) -> Any:
    """Equal for one tensor at two moments if it looks at the same memory, and nothing was written there in between.

    Also what goes through `.data` counts, since the innermost `untouched` block began.
    """
    writes = _SaveBeforeWrite.active[-1].count(tensor) if _SaveBeforeWrite.active else 0
    return (_view(tensor), writes) if _has_storage(tensor) else writes


def as_found(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with the values it had when the innermost `untouched` block began."""
    return _SaveBeforeWrite.active[-1].before(tensor) if _SaveBeforeWrite.active else tensor


def _has_storage(tensor: torch.Tensor) -> bool:
    if torch.nn.parameter.is_lazy(tensor) or (tensor.is_nested and tensor.layout == torch.strided):
        return False  # the older nested tensors have neither a shape nor strides
    try:
        tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return False  # sparse tensors and some wrapper subclasses have none
    return True


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_nested


def _view(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Which memory a tensor looks at, and how."""
    return (tensor.untyped_storage()._cdata, tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype)


class _TensorState:
    """One parameter, buffer or input: the memory it looks at, its gradient and its trainability."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor
        self._requires_grad, self._is_leaf = tensor.requires_grad, tensor.is_leaf
        self._grad = tensor.grad if tensor.is_leaf else None
        self._memory = tensor.detach()

    def restore(self) -> None:
        tensor = self._tensor
        if _view(tensor) != _view(self._memory):
            with torch.no_grad():
                tensor.data = self._memory
        if self._is_leaf and not tensor.is_leaf:
            tensor.detach_()  # something that requires a gradient was written into it
        if tensor.is_leaf:
            if tensor.requires_grad != self._requires_grad:
                tensor.requires_grad_(self._requires_grad)
            if tensor.grad is not self._grad:
                tensor.grad = self._grad


class _BufferValues:
    """Copies of all buffers: batch norms write theirs in a way that no operation's schema tells.

    Those of one kind are copied and compared in one go.
    """

    def __init__(self, buffers: list[torch.Tensor]) -> None:
        groups: dict[Any, list[torch.Tensor]] = {}
        for buffer in buffers:
            if not buffer.is_meta:
                alone = buffer.layout != torch.strided or buffer.is_quantized or type(buffer) not in _PLAIN
                groups.setdefault(id(buffer) if alone else (buffer.dtype, buffer.device), []).append(buffer)
        self._groups = [(group, _joined(group)) for group in groups.values()]

    def restore(self) -> None:
        for group, before in self._groups:
            if not _same_bits(_joined(group), before):
                with torch.no_grad():
                    shares = [before] if len(group) == 1 else before.split([buffer.numel() for buffer in group])
                    for buffer, values in zip(group, shares, strict=True):
                        if not _same_bits(buffer, values.view_as(buffer)):
                            buffer.copy_(values.view_as(buffer))


def _joined(group: list[torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return group[0].detach().clone() if len(group) == 1 else torch.cat([tensor.reshape(-1) for tensor in group])


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype or a.layout != torch.strided or a.is_quantized:
        return False
    one, two = (t.detach().resolve_conj().resolve_neg().contiguous().view(-1).view(torch.uint8) for t in (a, b))
    return torch.equal(one, two)


class _SaveBeforeWrite(TorchDispatchMode):
    """Copies a protected tensor's memory right before the first operation that writes into it; counts all writes."""

    supports_higher_order_operators = True
    active: list[_SaveBeforeWrite] = []  # noqa: RUF012  # the blocks entered, innermost last

    def __init__(self, protected: list[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
        self._storages = {
            tensor.untyped_storage()._cdata: tensor.untyped_storage()
            for tensor in protected
            if not tensor.is_meta and _has_storage(tensor)
        }
        self._saved: dict[int, torch.UntypedStorage] = {}
        self._counts: dict[int, int] = {}

    def __enter__(self) -> Any:
        _allow_higher_order_operators()
        self.active.append(self)
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *raised: Any) -> Any:
        self.active.remove(self)
        return super().__exit__(*raised)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for position, name in _written_by(func):
            value = args[position] if position < len(args) else kwargs.get(name)
            for tensor in value if isinstance(value, (list, tuple)) else [value]:
                self._save(tensor)
        return func(*args, **kwargs)

    def _save(self, tensor: Any) -> None:
        if isinstance(tensor, torch.Tensor) and not tensor.is_meta and _has_storage(tensor):
            key = tensor.untyped_storage()._cdata
            self._counts[key] = self._counts.get(key, 0) + 1
            if key in self._storages and key not in self._saved:
                self._saved[key] = self._storages[key].clone()

    def count(self, tensor: torch.Tensor) -> int:
        return self._counts.get(tensor.untyped_storage()._cdata, 0) if _has_storage(tensor) else 0

    def before(self, tensor: torch.Tensor) -> torch.Tensor:
        saved = self._saved.get(tensor.untyped_storage()._cdata) if self._saved and _has_storage(tensor) else None
        if saved is None:
            return tensor
        with torch.no_grad(), torch._C._DisableTorchDispatch():
            return tensor.new_empty(0).set_(saved, tensor.storage_offset(), tensor.shape, tensor.stride())

    def restore(self) -> None:
        for key, before in self._saved.items():
            self._storages[key].copy_(before)


def _allow_higher_order_operators() -> None:
    """Before 2.7 torch does not ask `supports_higher_order_operators`: each of them (torch.cond) must know the mode."""
    if hasattr(TorchDispatchMode, "supports_higher_order_operators"):
        return
    for one in cast(Any, torch._ops)._higher_order_ops.values():  # they appear as torch imports them
        if _SaveBeforeWrite not in one.python_key_table:
            one.py_impl(_SaveBeforeWrite)(functools.partial(_higher_order, one))


def _higher_order(func: Any, mode: _SaveBeforeWrite, *args: Any, **kwargs: Any) -> Any:
    return mode.__torch_dispatch__(func, (), args, kwargs)


@functools.lru_cache(maxsize=4096)
def _written_by(func: Any) -> tuple[tuple[int, str], ...]:
    """Position and name of the arguments that an operator writes into."""
    schema = getattr(func, "_schema", None)  # higher-order operators have none
    if schema is None or not schema.is_mutable:
        return ()
    arguments = enumerate(schema.arguments)
    return tuple((at, a.name) for at, a in arguments if a.alias_info is not None and a.alias_info.is_write)
