"""Every switch of the process that changes how torch computes, reports or prints, each with its reader and writer.

Stacks are restored by `modes`, random states by `randomness`. Most switches have no public reader; their private names
are in `switch_names`.
"""

import functools
import operator
import re
import sys
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import torch

from pytest_modelviz.probe.restoring import Step, restore_container
from pytest_modelviz.probe.switch_names import IN_TORCH_C, OF_AUTOGRAD, PRECISIONS, VARIABLES
from pytest_modelviz.probe.torch_internals import compiler_stance, native, python_dispatch, set_compiler_stance


class Switch(NamedTuple):
    """A value of the process that can be read and written; `name` is for people."""

    name: str
    read: Callable[[], object]
    write: Callable[..., object]  # takes what `read` returns


_UNREADABLE = object()
_Table = dict[object, object]


class Switches:
    """The values of all switches and the contents of the tables of global hooks."""

    def __init__(self) -> None:
        self._values = [(switch, _read(switch.read)) for switch in all_switches()]
        self._tables = [(table, table.copy() if table else None) for table in _tables()]

    def steps(self) -> Iterator[Step]:
        """The steps that restore changed switches; each switch is read after the steps before it were taken."""
        changed = yield from _restoring_steps(self._values)
        if changed:  # coarse switches of precision change fine ones
            yield from _restoring_steps(self._values)
        for table, contents in self._tables:
            if table or contents:
                yield "torch's global hooks", functools.partial(restore_container, table, contents or {})

    def steps_in_inference_mode(self) -> Iterator[Step]:
        """Those of `steps` for switches that entering or leaving inference mode changes."""
        yield from _restoring_steps([pair for pair in self._values if pair[0].name in OF_AUTOGRAD])


def _restoring_steps(values: list[tuple[Switch, object]]) -> Generator[Step, None, bool]:
    changed = False
    for switch, before in values:
        if before is not _UNREADABLE and _differ(before, _read(switch.read)):
            changed = True
            yield switch.name, functools.partial(switch.write, before)
    return changed


def _read(read: Callable[[], object]) -> object:
    """A switch's value. Some cannot be read once the user has set precisions backend by backend."""
    try:
        return read()
    except Exception:  # of any kind: it must neither end a check nor hide an exception of the model
        return _UNREADABLE


def _differ(before: object, current: object) -> bool:
    return before is not current and (isinstance(before, dict) or bool(before != current))


@functools.lru_cache(maxsize=1)
def all_switches() -> tuple[Switch, ...]:
    """The switches that this torch has, in the order in which they are restored."""
    switches = [_fine_precision(*pair) for pair in PRECISIONS if hasattr(native, "_get_fp32_precision_getter")]
    switches += [
        Switch("float32 matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        Switch("grad mode", torch.is_grad_enabled, torch.set_grad_enabled),
        Switch(
            "anomaly detection",
            lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
            lambda values: torch.autograd.set_detect_anomaly(*values),
        ),
        Switch("the default tensor type", native._get_default_device, _set_default_tensor_type),
        Switch("the default dtype", torch.get_default_dtype, torch.set_default_dtype),
        Switch("the number of threads", torch.get_num_threads, torch.set_num_threads),
        # torch sets it once in a process, so that restoring it raises where it was set
        Switch("the number of inter-op threads", torch.get_num_interop_threads, torch.set_num_interop_threads),
        # torch has no reader; a processor that flushes treats a denormal number as zero
        Switch("flushing of denormal numbers", lambda: _DENORMAL == 0.0, torch.set_flush_denormal),
        Switch("deterministic algorithms", _deterministic, _set_deterministic),
        Switch("the fast path", torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
        Switch("torch.compiler's stance", compiler_stance, set_compiler_stance),
        Switch("dispatch modes that compile", lambda: vars(python_dispatch).get(_COMPILING), _set_compiles_inside),
    ]
    for reader, writer in IN_TORCH_C.items():
        read = _attribute(native, reader)
        write = _attribute(native, writer or reader.replace("_get_", "_set_", 1))
        if read is not None and write is not None:
            switches.append(Switch(reader, read, functools.partial(_write, write)))
    for owner, names in VARIABLES.items():
        switches += [_variable(owner, name) for name in names]
    return (*switches, *_device_switches("cuda"), *_device_switches("xpu"))


def _fine_precision(backend: str, kind: str) -> Switch:
    """The precision in which a kind of operation computes float32; it is inherited where none is set."""
    read = functools.partial(_attribute(native, "_get_fp32_precision_getter"), backend, kind)
    set_to = functools.partial(_attribute(native, "_set_fp32_precision_setter"), backend, kind)

    def write(value: str) -> None:
        set_to("none")
        if read() != value:
            set_to(value)

    return Switch(f"fp32_precision of {backend}, {kind}", read, write)


def _write(write: Callable[..., object], value: object) -> None:
    write(*value) if isinstance(value, tuple) else write(value)


def _attribute(owner: object, path: str) -> Any:  # of torch's private names
    try:
        return operator.attrgetter(path)(owner)
    except AttributeError:
        return None


_ABSENT = object()


def _variable(owner: str, name: str) -> Switch:
    """A variable of a module or of an object in it; `owner` is written like an entry point, `module:object`."""
    home, _, inner = owner.partition(":")
    module = sys.modules.get(home)
    holder = _attribute(module, inner) if inner else module

    def read() -> object:
        return _ABSENT if holder is None else vars(holder).get(name, _ABSENT)

    def write(value: object) -> None:
        if value is _ABSENT:
            delattr(holder, name)
        else:
            setattr(holder, name, value)

    return Switch(f"{owner}.{name}", read, write)


def _device_switches(backend: str) -> list[Switch]:
    """The current device, its stream and debug mode; for a device that is not initialised the defaults."""
    device = getattr(torch, backend)

    def switch(reader: str, writer: str, unused: object) -> Switch:
        def read() -> object:
            used = hasattr(device, reader) and device.is_initialized() and device.is_available()
            return getattr(device, reader)() if used else unused

        def write(value: object) -> None:
            getattr(device, writer)(device.default_stream() if value is None else value)

        return Switch(f"torch.{backend}.{writer}", read, write)

    return [
        switch("current_stream", "set_stream", None),  # which sets the current device as well
        switch("current_device", "set_device", 0),
        switch("get_sync_debug_mode", "set_sync_debug_mode", 0),
    ]


def _tables() -> list[_Table]:
    """The tables of global hooks and the cache of parametrizations."""
    cached = vars(torch.nn.utils.parametrize).get("_cache")
    return [*_global_hooks(), cached] if isinstance(cached, dict) else list(_global_hooks())


@functools.lru_cache(maxsize=1)
def _global_hooks() -> tuple[_Table, ...]:
    homes = [vars(sys.modules[home]) for home in ("torch.nn.modules.module", "torch.optim.optimizer")]
    tables = [table for home in homes for name, table in home.items() if _GLOBAL_HOOKS.fullmatch(name)]
    return tuple(table for table in tables if isinstance(table, dict))


_GLOBAL_HOOKS = re.compile("_global_.*_hooks.*")


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(values: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(values[0], warn_only=values[1])


def _set_default_tensor_type(device: str) -> None:
    torch.set_default_tensor_type("torch.FloatTensor" if device == "cpu" else f"torch.{device}.FloatTensor")


_DENORMAL = 5e-324
_COMPILING = "_is_in_any_mode_without_ignore_compile_internals"


def _set_compiles_inside(value: object) -> None:
    """Set both copies that torch has, the second of which is its compiler's."""
    variables = vars(python_dispatch)
    variables[_COMPILING] = value
    variables["set_is_in_mode_without_ignore_compile_internals"](value)
