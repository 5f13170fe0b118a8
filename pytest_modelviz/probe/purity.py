"""Running a model without lasting effects: the model, the caller's tensors and the process's state are restored.

Only buffers and small containers are copied in advance. A parameter is copied right before an operation writes into it
(a dispatch mode sees every mutating operation, also those that go through `.data`), so the guarantee costs a few
microseconds an operation and not a second copy of the model.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import torch

from pytest_modelviz.probe import torch_internals as internals
from pytest_modelviz.probe.context_stacks import DISPATCH_MODES
from pytest_modelviz.probe.module_state import ModuleState, NestedState
from pytest_modelviz.probe.modules import all_modules, tensors_without_names, uninitialised
from pytest_modelviz.probe.nested_values import tensors
from pytest_modelviz.probe.process import process_untouched
from pytest_modelviz.probe.restoring import Step
from pytest_modelviz.probe.tensor_state import TensorState, same_bits, storage_of, view_of
from pytest_modelviz.probe.torch_internals import Args, Kwargs, Operator, TorchDispatchMode

_PLAIN = (torch.Tensor, torch.nn.Buffer)


@contextlib.contextmanager
def untouched(model: torch.nn.Module, input_data: object = None) -> Iterator[None]:
    """Run a block and restore the model, its inputs and the global state bit for bit after it.

    Covers per-module train/eval flags, gradients, `requires_grad`, parameters, buffers, hooks, plain attributes
    (four levels of containers and objects) and the modules' classes; of tensors their hooks and attributes too; random
    states of Python, NumPy and torch on every device; grad mode, default dtype and device, autocast, modes, global
    hooks, threads and backend flags. docs/guide.md has the whole list, and the exceptions.

    Example:
        >>> with untouched(model):
        ...     model.eval()(image)

    """
    inner = NestedState(all_modules(model))
    modules = [(module, ModuleState(module)) for module in inner.modules]
    parameters, buffers = tensors_without_names(model)
    for module in inner.hidden:
        buffers += [tensor for tensor in internals.buffer_table(module).values() if tensor is not None]
        parameters += [tensor for tensor in internals.parameter_table(module).values() if tensor is not None]
    candidates = (*parameters, *buffers, *inner.tensors, *tensors(input_data))
    protected = list({id(tensor): tensor for tensor in candidates}.values())
    gradients = [tensor.grad for tensor in protected if tensor.is_leaf and tensor.grad is not None]
    states = [TensorState(tensor) for tensor in protected]
    lazy = set(map(id, uninitialised(buffers)))
    values = _BufferValues([buffer for buffer in buffers if id(buffer) not in lazy])
    writes = _SaveBeforeWrite([*protected, *gradients])
    # attributes before the memory that tensors view, and that before the values in it
    steps: list[Step] = [(f"attributes of {type(module).__name__}", state.restore) for module, state in modules]
    steps.append(("what attributes hold", inner.restore))
    steps += [("a parameter, buffer or input", state.restore) for state in states]
    steps += [("what was written into tensors", writes.restore), ("the values of buffers", values.restore)]
    with process_untouched(steps), writes:
        yield


def state_of(tensor: torch.Tensor) -> object:
    """A value that is equal at two moments if the tensor views the same memory and that was not written to in between.

    Within an `untouched` block writes through `.data` count as well.
    """
    view = view_of(tensor)
    if view is None:
        return 0
    return view, _SaveBeforeWrite.active[-1].counts.get(view[0], 0) if _SaveBeforeWrite.active else 0


def value_at_entry(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with the values it had when the innermost `untouched` block began."""
    return _SaveBeforeWrite.active[-1].before(tensor) if _SaveBeforeWrite.active else tensor


class _BufferValues:
    """Copies of all buffers: the schemas of batch norms do not say that these write into theirs.

    Buffers of one dtype and device are copied and compared together.
    """

    def __init__(self, buffers: list[torch.Tensor]) -> None:
        groups: dict[object, list[torch.Tensor]] = {}
        for buffer in buffers:
            if not buffer.is_meta:
                alone = buffer.layout != torch.strided or buffer.is_quantized or type(buffer) not in _PLAIN
                groups.setdefault(id(buffer) if alone else (buffer.dtype, buffer.device), []).append(buffer)
        self._groups = [(group, _concatenate(group)) for group in groups.values()]

    def restore(self) -> None:
        for group, before in self._groups:
            if not same_bits(_concatenate(group), before):
                with torch.no_grad():
                    shares = [before] if len(group) == 1 else before.split([buffer.numel() for buffer in group])
                    for buffer, values in zip(group, shares, strict=True):
                        if not same_bits(buffer, values.view_as(buffer)):
                            buffer.copy_(values.view_as(buffer))


def _concatenate(group: list[torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return group[0].detach().clone() if len(group) == 1 else torch.cat([tensor.reshape(-1) for tensor in group])


class _SaveBeforeWrite(TorchDispatchMode):
    """Copies a protected tensor's memory right before the first operation that writes into it; counts all writes."""

    supports_higher_order_operators = True
    active: list[_SaveBeforeWrite] = []  # noqa: RUF012  # the blocks entered, innermost last

    def __init__(self, protected: list[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
        storages = [storage_of(tensor) for tensor in protected if not tensor.is_meta]
        self._storages = {internals.key_of(storage): storage for storage in storages if storage is not None}
        self._saved: dict[int, torch.UntypedStorage] = {}
        self.counts: dict[int, int] = {}  # how many operations have written into the memory of a key

    def __enter__(self) -> _SaveBeforeWrite:
        _allow_higher_order_operators()
        self.active.append(self)
        super().__enter__()  # type: ignore[no-untyped-call]
        self._entered = DISPATCH_MODES.read()
        return self

    def __exit__(self, *raised: object) -> None:
        self.active.remove(self)
        DISPATCH_MODES.restore(self._entered)  # modes that the block left above would be popped instead of this
        super().__exit__(*raised)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, op: Operator, types: object, args: Args = (), kwargs: Kwargs | None = None) -> object:
        try:
            is_writing = internals.is_mutable(op)
        except AttributeError:  # what takes functions has no schema
            is_writing = False
        if is_writing:
            for tensor in written_tensors(op, args, kwargs or {}):
                self._save(tensor)
        return op(*args, **kwargs) if kwargs else op(*args)

    def _save(self, tensor: torch.Tensor) -> None:
        storage = None if tensor.is_meta else storage_of(tensor)
        if storage is not None:
            key = internals.key_of(storage)
            self.counts[key] = self.counts.get(key, 0) + 1
            if key in self._storages and key not in self._saved:
                self._saved[key] = self._storages[key].clone()

    def before(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = storage_of(tensor) if self._saved else None
        saved = None if storage is None else self._saved.get(internals.key_of(storage))
        if saved is None:
            return tensor
        with torch.no_grad(), internals.without_dispatch_modes():
            return tensor.new_empty(0).set_(saved, tensor.storage_offset(), tensor.shape, tensor.stride())

    def restore(self) -> None:
        for key, before in self._saved.items():
            self._storages[key].copy_(before)


def _allow_higher_order_operators() -> None:
    """Register the mode with each of them (torch.cond): before 2.7 torch ignores `supports_higher_order_operators`."""
    if hasattr(TorchDispatchMode, "supports_higher_order_operators"):
        return
    for operator in internals.higher_order_operators():  # they appear as torch imports them
        if _SaveBeforeWrite not in operator.python_key_table:
            operator.py_impl(_SaveBeforeWrite)(functools.partial(_dispatch_higher_order, operator))


def _dispatch_higher_order(operator: Operator, mode: _SaveBeforeWrite, *args: object, **kwargs: object) -> object:
    return mode.__torch_dispatch__(operator, (), args, kwargs)


def written_tensors(op: Operator, args: Args, kwargs: Kwargs) -> Iterator[torch.Tensor]:
    """Yield the tensors among an operator's arguments that it writes into."""
    for position, name in _mutated_arguments(op):
        value = args[position] if position < len(args) else kwargs.get(name)
        for tensor in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(tensor, torch.Tensor):
                yield tensor


@functools.lru_cache(maxsize=4096)
def _mutated_arguments(func: Operator) -> tuple[tuple[int, str], ...]:
    """Position and name of the arguments that an operator writes into."""
    schema = internals.schema_of(func)
    if schema is None or not schema.is_mutable:
        return ()
    arguments = enumerate(schema.arguments)
    return tuple((at, a.name) for at, a in arguments if a.alias_info is not None and a.alias_info.is_write)
