"""Leave everything as it was found: the model, the caller's tensors and the process's global state.

Nothing is copied in advance but buffers and small containers. Parameters are copied at the moment something is about to
write into them (a dispatch mode sees every mutating operation, also one that goes through `.data`), so the price of the
promise is a few microseconds an operation and not a second copy of the model.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import random
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pytest_modelviz.probe.modules import OWN_OF_MODULE, parameters_and_buffers
from pytest_modelviz.probe.structure import tensors

_PLAIN = (torch.Tensor, torch.nn.Buffer)
_UNINTERESTING = (str, bytes, int, float, complex, type(None), type, types.FunctionType, types.MethodType)
_CONTAINERS = (list, dict, set, collections.deque)


@contextlib.contextmanager
def untouched(model: torch.nn.Module, input_data: Any = None) -> Iterator[None]:
    """Run a block after which model, inputs and global state are bit for bit what they were before it.

    Covers per-module train/eval flags, gradients, `requires_grad`, parameters, buffers, hooks, plain attributes
    (four levels of containers and objects) and the modules' classes; random states of Python, NumPy and torch on
    every device; grad mode, default dtype and device, threads and backend flags.
    """
    inner = _InnerState(list(model.modules()))
    modules = [_ModuleState(module) for module in inner.modules]
    parameters, buffers = (list(table.values()) for table in parameters_and_buffers(model))
    for module in inner.hidden:
        buffers += [tensor for tensor in module._buffers.values() if tensor is not None]
        parameters += [tensor for tensor in module._parameters.values() if tensor is not None]
    held = [*parameters, *buffers]
    states = [_TensorState(tensor) for tensor in held if _has_storage(tensor)]
    values = _BufferValues([buffer for buffer in buffers if not torch.nn.parameter.is_lazy(buffer)])
    gradients = [tensor.grad for tensor in held if tensor.is_leaf and tensor.grad is not None]
    writes = _SaveBeforeWrite([*held, *gradients, *tensors(input_data), *inner.tensors])
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


@contextlib.contextmanager
def process_untouched() -> Iterator[None]:
    """Put back random states, modes, threads and backend flags after the block."""
    state = _GlobalState()
    try:
        with torch.random.fork_rng(devices=_cuda_devices()):
            yield
    finally:
        state.restore()


@contextlib.contextmanager
def other_randomness() -> Iterator[None]:
    """Run a block from random states that no caller has: what it draws is not what it would have drawn."""
    seed = 0x6D6F64656C76697A
    with process_untouched():
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)
        random.seed(seed)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(seed % 2**32)
        yield


def state_of(tensor: torch.Tensor) -> Any:
    """Equal for one tensor at two moments if it looks at the same memory, and nothing was written there in between.

    Also what goes through `.data` counts, since the innermost `untouched` block began.
    """
    writes = _SaveBeforeWrite.active[-1].count(tensor) if _SaveBeforeWrite.active else 0
    return (_view(tensor), writes) if _has_storage(tensor) else writes


def as_found(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with the values it had when the innermost `untouched` block began."""
    return _SaveBeforeWrite.active[-1].before(tensor) if _SaveBeforeWrite.active else tensor


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


def _view(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Which memory a tensor looks at, and how."""
    return (tensor.untyped_storage()._cdata, tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype)


class _TensorState:
    """One parameter or buffer: the memory it looks at, its gradient and its trainability."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor
        self._requires_grad = tensor.requires_grad
        self._grad = tensor.grad if tensor.is_leaf else None
        self._memory = tensor.detach()

    def restore(self) -> None:
        tensor = self._tensor
        if _view(tensor) != _view(self._memory):
            with torch.no_grad():
                tensor.data = self._memory
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


class _ModuleState:
    """One module's class, attributes and containers."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._class = type(module)
        self._training = module.training
        self._scripted = isinstance(module, torch.jit.ScriptModule)
        self._attributes = {} if self._scripted else dict(module.__dict__)
        self._containers = [
            (value, value.copy() if value else None)
            for value in self._attributes.values()
            if isinstance(value, _CONTAINERS)
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
            if before is not None:
                _restore_container(container, before)
            elif container:
                container.clear()


class _InnerState:
    """What attributes hold inside of containers and plain objects, to the fourth level.

    Configuration objects, tables of tables, caches and the tensors in them, random generators, and modules that are
    kept in a plain list, where `model.modules()` does not see them (`hidden`).
    """

    def __init__(self, modules: list[torch.nn.Module]) -> None:
        self.modules, self.hidden = list(modules), list[torch.nn.Module]()
        self.tensors: list[torch.Tensor] = []
        self._states: list[tuple[Any, Any]] = []
        self._generators: list[Callable[[], Any]] = []
        self._known = {id(module) for module in modules}
        for module in self.modules:  # grows while hidden ones are found
            if not isinstance(module, torch.jit.ScriptModule):
                self._visit([value for name, value in vars(module).items() if name not in OWN_OF_MODULE])

    def _visit(self, values: list[Any]) -> None:
        for depth in range(4):
            inner: list[Any] = []
            for value in values:
                if not isinstance(value, _UNINTERESTING) and id(value) not in self._known:
                    inner += self._keep(value, depth)
            values = inner

    def _keep(self, value: Any, depth: int) -> Iterable[Any]:
        """Remember one value, and return what is in it."""
        if isinstance(value, torch.Tensor):
            self.tensors.append(value)
            return ()
        if isinstance(value, (*_CONTAINERS, tuple)):
            self._known.add(id(value))
            if depth and not isinstance(value, tuple):  # those that are attributes themselves are kept already
                self._states.append((value, value.copy()))
            return list(value.values() if isinstance(value, dict) else value)
        if isinstance(value, torch.nn.Module):
            new = [module for module in value.modules() if id(module) not in self._known]
            self._known |= {id(module) for module in new}
            self.modules += new
            self.hidden += new
            return ()
        restore = _generator_state(value)
        if restore is not None:
            self._generators.append(restore)
        elif _is_plain_object(value):
            self._known.add(id(value))
            self._states.append((value, dict(vars(value))))
            return list(vars(value).values())
        return ()

    def restore(self) -> None:
        for holder, state in self._states:
            if isinstance(holder, _CONTAINERS):
                _restore_container(holder, state)
            else:
                _put_back(vars(holder), state)
        for restore in self._generators:
            restore()


def _generator_state(value: Any) -> Callable[[], Any] | None:
    """What puts a random generator back to where it is now; None for anything else."""
    if isinstance(value, torch.Generator):
        return functools.partial(value.set_state, value.get_state())
    if isinstance(value, random.Random):
        return functools.partial(value.setstate, value.getstate())
    if type(value).__module__.startswith("numpy.random"):
        if hasattr(value, "bit_generator"):
            return functools.partial(setattr, value.bit_generator, "state", value.bit_generator.state)
        return functools.partial(value.set_state, value.get_state())
    return None


def _is_plain_object(value: Any) -> bool:
    """An object of somebody's own class that keeps its state in plain attributes."""
    if isinstance(value, types.ModuleType):
        return False
    home = type(value).__module__.partition(".")[0]
    return home not in ("torch", "logging", "threading") and isinstance(getattr(value, "__dict__", None), dict)


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


@functools.lru_cache(maxsize=4096)
def _written_by(func: Any) -> tuple[tuple[int, str], ...]:
    """Position and name of the arguments that an operator writes into."""
    schema = getattr(func, "_schema", None)  # higher-order operators have none
    if schema is None or not schema.is_mutable:
        return ()
    arguments = enumerate(schema.arguments)
    return tuple((at, a.name) for at, a in arguments if a.alias_info is not None and a.alias_info.is_write)


class _GlobalState:
    """Random states outside torch, modes, threads and backend flags."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy = sys.modules["numpy"].random.get_state() if "numpy" in sys.modules else None
        self._flags = [(read, write, _try(read)) for read, write in _flags()]

    def restore(self) -> None:
        random.setstate(self._python)
        if self._numpy is not None:
            sys.modules["numpy"].random.set_state(self._numpy)
        for read, write, before in self._flags:
            if before is not _UNREADABLE and _try(read) != before:
                write(before)


_UNREADABLE = object()


def _try(read: Callable[[], Any]) -> Any:
    """A flag's value. Some cannot be read once the user has set precisions backend by backend."""
    try:
        return read()
    except RuntimeError:
        return _UNREADABLE


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _flags() -> list[tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """Pairs of (read, write) for every switch of the process that changes how torch computes."""
    cuda = torch.backends.cuda
    pairs: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.get_default_device, torch.set_default_device),
        (torch.get_num_threads, torch.set_num_threads),
        (_deterministic, lambda both: torch.use_deterministic_algorithms(both[0], warn_only=both[1])),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
        (cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
        (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
        (cuda.math_sdp_enabled, cuda.enable_math_sdp),
    ]
    for owner, name in (
        (torch.backends.cudnn, "enabled"),
        (torch.backends.cudnn, "benchmark"),
        (torch.backends.cudnn, "deterministic"),
        (torch.backends.cudnn, "allow_tf32"),
        (torch.backends.mkldnn, "enabled"),
    ):
        pairs.append((lambda o=owner, n=name: getattr(o, n), lambda value, o=owner, n=name: setattr(o, n, value)))  # type: ignore[misc]
    return pairs
