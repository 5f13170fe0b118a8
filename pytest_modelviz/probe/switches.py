"""Every switch of the process that changes how torch computes, reports or prints, each with its reader and writer.

What a caller puts on a stack is in `modes`, random states are in `randomness`. Most switches have no public reader;
torch's own names for them are in `switch_names`.
"""

from __future__ import annotations

import functools
import operator
import re
import sys
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import torch

from pytest_modelviz.probe.attributes import restore_container
from pytest_modelviz.probe.switch_names import IN_TORCH_C, OF_AUTOGRAD, PRECISIONS, VARIABLES
from pytest_modelviz.probe.torch_internals import compiler_stance, native, python_dispatch, set_compiler_stance


class Switch(NamedTuple):
    """A value of the process that can be read and written; `name` is for people."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]


_UNREADABLE = object()


class Switches:
    """The values of all switches, and what is in the tables of global hooks."""

    def __init__(self) -> None:
        self._values = [(switch, _try(switch.read)) for switch in all_switches()]
        self._tables = [(table, table.copy() if table else None) for table in _tables()]

    def steps(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """(name, action) of each switch that is to be put back, found as the ones before it have been."""
        changed = yield from _back(self._values)
        if changed:  # coarse switches of precision change fine ones
            yield from _back(self._values)
        for table, contents in self._tables:
            if table or contents:
                yield "torch's global hooks", functools.partial(restore_container, table, contents or {})

    def steps_in_inference_mode(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Those of `steps` that entering or leaving inference mode makes necessary."""
        yield from _back([(switch, before) for switch, before in self._values if switch.name in OF_AUTOGRAD])


def _back(values: list[tuple[Switch, Any]]) -> Generator[tuple[str, Callable[[], Any]], None, bool]:
    changed = False
    for switch, before in values:
        if before is not _UNREADABLE and _differ(before, _try(switch.read)):
            changed = True
            yield switch.name, functools.partial(switch.write, before)
    return changed


def _try(read: Callable[[], Any]) -> Any:
    """A switch's value. Some cannot be read once the user has set precisions backend by backend."""
    try:
        return read()
    except Exception:  # whatever it is: it must neither end a check nor hide what a model has raised
        return _UNREADABLE


def _differ(before: Any, now: Any) -> bool:
    return before is not now and (isinstance(before, dict) or bool(before != now))


@functools.lru_cache(maxsize=1)
def all_switches() -> tuple[Switch, ...]:
    """The switches that this torch has, in the order in which they are put back."""
    switches = [_fine_precision(*pair) for pair in PRECISIONS if hasattr(native, "_get_fp32_precision_getter")]
    switches += [
        Switch("float32 matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        Switch("grad mode", torch.is_grad_enabled, torch.set_grad_enabled),
        Switch("anomaly detection", _anomaly, lambda values: torch.autograd.set_detect_anomaly(*values)),
        Switch("the default tensor type", native._get_default_device, _set_default_tensor_type),
        Switch("the default dtype", torch.get_default_dtype, torch.set_default_dtype),
        Switch("the number of threads", torch.get_num_threads, torch.set_num_threads),
        Switch("the number of inter-op threads", torch.get_num_interop_threads, _set_interop_threads),
        Switch("flushing of denormal numbers", _flushes_denormals, torch.set_flush_denormal),
        Switch("deterministic algorithms", _deterministic, _set_deterministic),
        Switch("the fast path", torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
        Switch("torch.compiler's stance", compiler_stance, set_compiler_stance),
        Switch("dispatch modes that compile", _compiles_inside, _set_compiles_inside),
    ]
    for reader, writer in IN_TORCH_C.items():
        read = _attribute(native, reader)
        write = _attribute(native, writer or reader.replace("_get_", "_set_", 1))
        if read is not None and write is not None:
            switches.append(Switch(reader, read, functools.partial(_write, write)))
    for owner, names in VARIABLES.items():
        switches += [_variable(owner, name) for name in names]
    return (*switches, *_of_device("cuda"), *_of_device("xpu"))


def _fine_precision(backend: str, kind: str) -> Switch:
    """The precision in which one kind of operation computes float32; what it has none of its own, it inherits."""
    read = functools.partial(_attribute(native, "_get_fp32_precision_getter"), backend, kind)
    set_to = functools.partial(_attribute(native, "_set_fp32_precision_setter"), backend, kind)

    def write(value: str) -> None:
        set_to("none")
        if read() != value:
            set_to(value)

    return Switch(f"fp32_precision of {backend}, {kind}", read, write)


def _write(write: Callable[..., Any], value: Any) -> None:
    write(*value) if isinstance(value, tuple) else write(value)


def _attribute(owner: Any, path: str) -> Any:
    try:
        return operator.attrgetter(path)(owner)
    except AttributeError:
        return None


_ABSENT = object()


def _variable(owner: str, name: str) -> Switch:
    """A variable of a module, or of something in it; `owner` is written as an entry point is."""
    home, _, inner = owner.partition(":")
    module = sys.modules.get(home)
    holder: Any = _attribute(module, inner) if inner else module

    def read() -> Any:
        return _ABSENT if holder is None else vars(holder).get(name, _ABSENT)

    def write(value: Any) -> None:
        if value is _ABSENT:
            delattr(holder, name)
        else:
            setattr(holder, name, value)

    return Switch(f"{owner}.{name}", read, write)


def _of_device(backend: str) -> list[Switch]:
    """The current device and stream, and its debug mode; of a device that is not in use what they will be."""
    device: Any = getattr(torch, backend)

    def switch(reader: str, writer: str, unused: Any) -> Switch:
        def read() -> Any:
            used = hasattr(device, reader) and device.is_initialized() and device.is_available()
            return getattr(device, reader)() if used else unused

        def write(value: Any) -> None:
            getattr(device, writer)(device.default_stream() if value is None else value)

        return Switch(f"torch.{backend}.{writer}", read, write)

    return [
        switch("current_stream", "set_stream", None),  # which sets the current device as well
        switch("current_device", "set_device", 0),
        switch("get_sync_debug_mode", "set_sync_debug_mode", 0),
    ]


def _tables() -> list[dict[Any, Any]]:
    """Global hooks, and what parametrizations keep between their uses."""
    cached = vars(torch.nn.utils.parametrize).get("_cache")
    return [*_global_hooks(), cached] if isinstance(cached, dict) else list(_global_hooks())


@functools.lru_cache(maxsize=1)
def _global_hooks() -> tuple[dict[Any, Any], ...]:
    homes = [vars(sys.modules[home]) for home in ("torch.nn.modules.module", "torch.optim.optimizer")]
    tables = [table for home in homes for name, table in home.items() if _GLOBAL_HOOKS.fullmatch(name)]
    return tuple(table for table in tables if isinstance(table, dict))


_GLOBAL_HOOKS = re.compile("_global_.*_hooks.*")


def _anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(values: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(values[0], warn_only=values[1])


def _set_default_tensor_type(device: str) -> None:
    torch.set_default_tensor_type("torch.FloatTensor" if device == "cpu" else f"torch.{device}.FloatTensor")


def _set_interop_threads(number: int) -> None:
    torch.set_num_interop_threads(number)  # torch allows it once in a process: where it was set, this raises


_DENORMAL = 5e-324


def _flushes_denormals() -> bool:
    """Torch does not say; a processor that flushes takes such a number for zero."""
    return _DENORMAL == 0.0


_COMPILES_INSIDE = "_is_in_any_mode_without_ignore_compile_internals"


def _compiles_inside() -> Any:
    return vars(python_dispatch).get(_COMPILES_INSIDE)


def _set_compiles_inside(value: Any) -> None:
    """Torch keeps this twice, once for its compiler."""
    home: Any = python_dispatch
    setattr(home, _COMPILES_INSIDE, value)
    home.set_is_in_mode_without_ignore_compile_internals(value)
