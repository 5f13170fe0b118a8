"""Leave everything as it was found: the model, the caller's tensors and the process's global state.

Nothing is copied in advance but buffers and small containers. Parameters are copied at the moment something is about to
write into them (a dispatch mode sees every mutating operation, also one that goes through `.data`), so the price of the
promise is a few microseconds an operation and not a second copy of the model.
"""

from __future__ import annotations

import collections
import contextlib
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pytest_modelviz.probe.structure import tensors

_CONTAINERS = (list, dict, set, collections.deque)


@contextlib.contextmanager
def untouched(model: torch.nn.Module, input_data: Any = None, *, watch_writes: bool = True) -> Iterator[None]:
    """Run a block after which model, inputs and global state are bit for bit what they were before it.

    Covers per-module train/eval flags, gradients, `requires_grad`, parameters, buffers, hooks, plain attributes
    (one level of containers) and the modules' classes; random states of Python, NumPy and torch on every device;
    grad mode, default dtype, threads and backend flags.
    """
    modules = [_ModuleState(module) for module in model.modules()]
    held = [*model.parameters(), *model.buffers()]
    parameters = [_TensorState(tensor) for tensor in held if _has_storage(tensor)]
    protected = [*held, *(p.grad for p in held if p.grad is not None), *tensors(input_data)]
    writes = _SaveBeforeWrite(protected) if watch_writes else contextlib.nullcontext()
    try:
        with process_untouched(), writes:
            yield
    finally:
        if isinstance(writes, _SaveBeforeWrite):
            writes.restore()
        for module in modules:
            module.restore()
        for parameter in parameters:
            parameter.restore()


@contextlib.contextmanager
def process_untouched() -> Iterator[None]:
    """Put back random states, modes, threads and backend flags after the block."""
    state = _GlobalState()
    try:
        with torch.random.fork_rng(devices=_cuda_devices()):
            yield
    finally:
        state.restore()


def _cuda_devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []


def _has_storage(tensor: torch.Tensor) -> bool:
    if torch.nn.parameter.is_lazy(tensor):
        return False
    try:
        tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return False  # sparse tensors and some wrapper subclasses have none
    return True


class _TensorState:
    """One parameter or buffer: the memory it looks at, its gradient and its trainability."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor
        self._requires_grad = tensor.requires_grad
        self._grad = tensor.grad if tensor.is_leaf else None
        self._memory = tensor.detach()

    def restore(self) -> None:
        tensor = self._tensor
        if tensor.is_meta != self._memory.is_meta or (
            not tensor.is_meta and tensor.untyped_storage()._cdata != self._memory.untyped_storage()._cdata
        ):
            with torch.no_grad():
                tensor.data = self._memory
        if tensor.is_leaf:
            if tensor.requires_grad != self._requires_grad:
                tensor.requires_grad_(self._requires_grad)
            if tensor.grad is not self._grad:
                tensor.grad = self._grad


class _ModuleState:
    """One module's class, attributes and containers, and the values of its own buffers."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._class = type(module)
        self._training = module.training
        self._scripted = isinstance(module, torch.jit.ScriptModule)
        self._attributes = {} if self._scripted else dict(module.__dict__)
        self._containers = [
            (value, value.copy()) for value in self._attributes.values() if isinstance(value, _CONTAINERS)
        ]
        self._buffers = [
            (buffer, buffer.detach().clone())
            for buffer in module.buffers(recurse=False)
            if not torch.nn.parameter.is_lazy(buffer) and not buffer.is_meta
        ]

    def restore(self) -> None:
        module = self._module
        if type(module) is not self._class:
            module.__class__ = self._class
        if self._scripted:
            module.training = self._training
        else:
            _put_back(module.__dict__, self._attributes)
        for container, before in self._containers:
            _restore_container(container, before)
        with torch.no_grad():
            for buffer, values in self._buffers:
                if not _same_bits(buffer, values):
                    buffer.copy_(values)


def _put_back(now: dict[str, Any], before: dict[str, Any]) -> None:
    for name in [name for name in now if name not in before]:
        del now[name]
    for name, value in before.items():
        if name not in now or now[name] is not value:
            now[name] = value


def _restore_container(container: Any, before: Any) -> None:
    if isinstance(container, dict):
        if list(container) != list(before) or any(container[key] is not before[key] for key in before):
            container.clear()
            container.update(before)
    elif isinstance(container, set):
        if container != before:
            container.clear()
            container.update(before)
    elif len(container) != len(before) or any(a is not b for a, b in zip(container, before, strict=True)):
        container.clear()
        container.extend(before)


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.layout != torch.strided or a.is_quantized:
        return False
    return torch.equal(a.detach().contiguous().view(-1).view(torch.uint8), b.contiguous().view(-1).view(torch.uint8))


class _SaveBeforeWrite(TorchDispatchMode):
    """Copies a protected tensor's memory right before the first operation that writes into it."""

    def __init__(self, protected: list[torch.Tensor]) -> None:
        super().__init__()
        self._storages = {
            tensor.untyped_storage()._cdata: tensor.untyped_storage()
            for tensor in protected
            if not tensor.is_meta and _has_storage(tensor)
        }
        self._saved: dict[int, torch.UntypedStorage] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._schema.is_mutable:
            for position, argument in enumerate(func._schema.arguments):
                if argument.alias_info is not None and argument.alias_info.is_write:
                    value = args[position] if position < len(args) else kwargs.get(argument.name)
                    for tensor in value if isinstance(value, (list, tuple)) else [value]:
                        self._save(tensor)
        return func(*args, **kwargs)

    def _save(self, tensor: Any) -> None:
        if isinstance(tensor, torch.Tensor) and not tensor.is_meta and _has_storage(tensor):
            key = tensor.untyped_storage()._cdata
            if key in self._storages and key not in self._saved:
                self._saved[key] = self._storages[key].clone()

    def restore(self) -> None:
        for key, before in self._saved.items():
            self._storages[key].copy_(before)


class _GlobalState:
    """Random states outside torch, modes, threads and backend flags."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy = sys.modules["numpy"].random.get_state() if "numpy" in sys.modules else None
        self._flags = [(write, read()) for read, write in _flags()]

    def restore(self) -> None:
        random.setstate(self._python)
        if self._numpy is not None:
            sys.modules["numpy"].random.set_state(self._numpy)
        for (read, _), (write, before) in zip(_flags(), self._flags, strict=True):
            if read() != before:
                write(before)


def _flags() -> list[tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """Pairs of (read, write) for every switch of the process that changes how torch computes."""
    pairs: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
    ]
    for owner, name in (
        (torch.backends.cudnn, "enabled"),
        (torch.backends.cudnn, "benchmark"),
        (torch.backends.cudnn, "deterministic"),
        (torch.backends.mkldnn, "enabled"),
    ):
        pairs.append((lambda o=owner, n=name: getattr(o, n), lambda value, o=owner, n=name: setattr(o, n, value)))  # type: ignore[misc]
    return pairs
