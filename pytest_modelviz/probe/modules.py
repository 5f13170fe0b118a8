"""The contents of a model, without a pass: names, classes, parameters and buffers, ties."""

import functools
import itertools
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import cast

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe import torch_internals as internals
from pytest_modelviz.probe.torch_internals import buffer_table, child_table, parameter_table
from pytest_modelviz.records.limits import LONGEST_NAME, MOST_NESTED, is_recordable
from pytest_modelviz.records.structure import ATTRIBUTE_SUFFIX

# Wrappers that add a segment to every name and nothing to the model itself, by class name: some are in packages that
# need not be installed.
_WRAPPERS = {
    "OptimizedModule": internals.ORIGINAL_OF_COMPILED,
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "CheckpointWrapper": "_checkpoint_wrapped_module",
}
_OWN_IN_ORDER = tuple(torch.nn.Module().__dict__)
_INITIALISED = (torch.Tensor, torch.nn.Parameter)  # classes of tensors that are not lazy
OWN_OF_MODULE = frozenset(_OWN_IN_ORDER)  # the attributes that every module has
ATOMS = frozenset({bool, int, float, complex, str, bytes, type(None)})  # types of values that hold no others


def unwrap(module: torch.nn.Module) -> torch.nn.Module:
    """The module inside `torch.compile`, DataParallel and similar wrappers."""
    while (name := _WRAPPERS.get(type(module).__name__)) and isinstance(
        inner := getattr(module, name, None), torch.nn.Module
    ):
        module = inner
    return module


def observed_modules(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """(name, module) of every module once, in registration order, without wrappers and their name segments.

    Raises:
        ModelvizError: the model is nested more deeply than a baseline can store.

    Example:
        >>> [name for name, _ in observed_modules(torch.nn.Sequential(torch.nn.ReLU()))]
        ['', '0']

    """
    named = [(name, module) for name, module, is_first in _all_names(model) if is_first]
    for name, _ in named:
        if len(name) > MOST_NESTED and not is_recordable(name):  # shorter ones need not be looked through
            raise ModelvizError(
                f"the module {name[:80]!r} and so on lies too deep: a baseline holds at most {MOST_NESTED} levels "
                f"and names of {LONGEST_NAME} characters. Check a part of the model"
            )
    return named


def _all_names(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module, bool]]:
    """(name, module, whether it is its first) for every name of each module, and of its children under the first."""
    named: list[tuple[str, torch.nn.Module, bool]] = []
    visited: set[int] = set()
    waiting = [("", model)]
    while waiting:
        name, module = waiting.pop()
        if type(module).__name__ in _WRAPPERS:
            module = unwrap(module)
        is_first = id(module) not in visited
        named.append((name, module, is_first))
        if is_first:
            visited.add(id(module))
            if table := child_table(module):
                prefix = f"{name}." if name else ""
                waiting += reversed([(prefix + local, child) for local, child in table.items() if child is not None])
    return named


def all_modules(model: torch.nn.Module) -> list[torch.nn.Module]:
    """What `model.modules()` yields, in that order, without its generators, which go through all levels each time."""
    found: list[torch.nn.Module] = []
    visited: set[int] = set()
    waiting = [model]
    while waiting:
        module = waiting.pop()
        if id(module) not in visited:
            visited.add(id(module))
            found.append(module)
            if children := child_table(module):
                waiting += reversed([child for child in children.values() if child is not None])
    return found


def class_name(module: torch.nn.Module) -> str:
    """The name of a module's class, for a scripted module that of the original."""
    original = getattr(module, "original_name", None) if has_attribute(module, "original_name") else None
    return str(original or type(module).__name__)


def has_attribute(module: torch.nn.Module, name: str) -> bool:
    """Whether a module has an attribute, without the exception that torch raises, slowly, where it has none."""
    kind = type(module)
    if isinstance(module, torch.jit.ScriptModule) or kind.__getattr__ is not torch.nn.Module.__getattr__:
        return hasattr(module, name)
    if name in vars(module) or hasattr(kind, name):
        return True
    return name in parameter_table(module) or name in buffer_table(module) or name in child_table(module)


def is_namesake(module: torch.nn.Module) -> bool:
    """Whether a module is called like a class of `torch.nn` and need not compute what that does.

    Its class is not torch's, as a subclass of the same name, or it has a method or a hook of its own.
    """
    if isinstance(module, torch.jit.ScriptModule):
        return hasattr(torch.nn, class_name(module))
    methods = _methods_of_torch(cast("Hashable", type(module)))
    if not methods:
        return methods is not None
    return not (methods.isdisjoint(vars(module)) and all(map(_is_of_torch, internals.hooks_around(module))))


@functools.lru_cache(maxsize=1024)
def _methods_of_torch(kind: Hashable) -> frozenset[str] | None:
    """The methods of a class of torch's; empty for another class of the name of one, None for any other."""
    if not isinstance(kind, type) or not hasattr(torch.nn, kind.__name__):
        return None
    return frozenset(name for name in dir(kind) if callable(getattr(kind, name, None)) and _is_of_torch(kind))


def _is_of_torch(value: object) -> bool:
    home = getattr(value, "__module__", None) or type(value).__module__  # of an object, that of its class
    return str(home).startswith("torch.")


def own_attributes(module: torch.nn.Module) -> dict[str, object]:
    """The attributes that a module has beside those of every module, in the order in which they were set.

    Example:
        >>> own_attributes(torch.nn.Dropout(0.5))
        {'p': 0.5, 'inplace': False}

    """
    attributes = vars(module)
    if len(attributes) == len(_OWN_IN_ORDER) and attributes.keys() == OWN_OF_MODULE:
        return {}
    names = tuple(attributes)
    if names[: len(_OWN_IN_ORDER)] == _OWN_IN_ORDER:  # as where a class calls `super().__init__()` first
        return {name: attributes[name] for name in names[len(_OWN_IN_ORDER) :]}
    return {name: value for name, value in attributes.items() if name not in OWN_OF_MODULE}


def holding(attributes: Mapping[str, object]) -> list[tuple[str, object]]:
    """(name, value) of those attributes that may hold further values: most are atoms, or tuples of atoms."""
    return [
        (name, value)
        for name, value in attributes.items()
        if type(value) not in ATOMS and not (type(value) is tuple and ATOMS.issuperset(map(type, value)))
    ]


def holding_attributes(module: torch.nn.Module) -> list[tuple[str, object]]:
    """The same of a module's own attributes; none of a scripted module."""
    return [] if isinstance(module, torch.jit.ScriptModule) else holding(own_attributes(module))


def own_tensors(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    """(name, tensor) of a module's own parameters and buffers, without its children's."""
    tables = [table for table in (parameter_table(module), buffer_table(module)) if table]
    return [(name, tensor) for table in tables for name, tensor in table.items() if tensor is not None]


def unsaved_buffers(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    """(name, buffer) of the buffers that are in no state dict."""
    table = buffer_table(module)
    names = internals.unsaved_buffer_names(module) if table else ()
    return [(name, buffer) for name, buffer in table.items() if name in names and buffer is not None] if names else []


def loose_tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (name with `ATTRIBUTE_SUFFIX`, tensor) for tensors in plain attributes and in lists and dicts there."""
    for name, value in holding_attributes(module):
        if isinstance(value, torch.Tensor):
            yield f"{name}{ATTRIBUTE_SUFFIX}", value
        elif isinstance(value, (list, tuple, dict)):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                if isinstance(item, torch.Tensor):
                    yield f"{name}[{key!r}]{ATTRIBUTE_SUFFIX}", item


def is_of_quantised(module: torch.nn.Module) -> bool:
    """Whether a module is one of torch's quantised ones."""
    return type(module).__module__.startswith("torch.ao.nn.")


def packed_tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (name, tensor) for weight and bias of torch's quantised modules, which hold them packed."""
    if is_of_quantised(module):
        for name in ("weight", "bias"):
            method = getattr(module, name, None)
            value = method() if callable(method) else None
            if isinstance(value, torch.Tensor):
                yield name, value


def opaque_modules(model: torch.nn.Module) -> list[str]:
    """Names of the outermost TorchScript modules: calls inside of them cannot be observed."""
    outermost: list[str] = []
    for name in [name for name, module in observed_modules(model) if isinstance(module, torch.jit.ScriptModule)]:
        if not any(not outer or name.startswith(f"{outer}.") for outer in outermost):
            outermost.append(name)
    return outermost


def parameters_and_buffers(model: torch.nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """All parameters and all buffers of a model by name, shared ones once.

    They are collected in a single walk; the model's own iterators would each make their own.
    """
    parameters: dict[str, torch.Tensor] = {}
    buffers: dict[str, torch.Tensor] = {}
    visited: set[int] = set()
    for prefix, module in observed_modules(model):
        for tensors, table in ((parameters, parameter_table(module)), (buffers, buffer_table(module))):
            for name, tensor in table.items():
                if tensor is not None and id(tensor) not in visited:
                    visited.add(id(tensor))
                    tensors[qualified_name(prefix, name)] = tensor
    return parameters, buffers


def tensors_without_names(model: torch.nn.Module) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The same in lists, for those who need no names, which take longer than all the rest of the walk."""
    parameters: dict[int, torch.Tensor] = {}
    buffers: dict[int, torch.Tensor] = {}
    visited: set[int] = set()
    waiting = [model]
    while waiting:
        module = waiting.pop()
        if type(module).__name__ in _WRAPPERS:
            module = unwrap(module)
        if id(module) in visited:
            continue
        visited.add(id(module))
        for parameter in parameter_table(module).values():
            if parameter is not None and id(parameter) not in buffers:
                parameters.setdefault(id(parameter), parameter)
        for buffer in buffer_table(module).values():
            if buffer is not None and id(buffer) not in parameters:
                buffers.setdefault(id(buffer), buffer)
        if children := child_table(module):
            waiting += reversed([child for child in children.values() if child is not None])
    return list(parameters.values()), list(buffers.values())


def uninitialised(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Those tensors that lazy modules have yet to make."""
    return [t for t in tensors if type(t) not in _INITIALISED and torch.nn.parameter.is_lazy(t)]


def all_tensors(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    """The parameters and then the buffers of a model, shared ones once."""
    return itertools.chain(*tensors_without_names(model))


def tie_groups(model: torch.nn.Module) -> tuple[tuple[str, ...], ...]:
    """Sorted groups of the names of the same parameter or module.

    Buffers do not count: they may share memory by chance, and no longer do when a model has changed its device.
    """
    names: dict[int, set[str]] = {}
    for prefix, module, _ in _all_names(model):
        names.setdefault(id(module), set()).add(prefix)
        for local, parameter in parameter_table(module).items():
            if parameter is not None:
                names.setdefault(id(parameter), set()).add(qualified_name(prefix, local))
    return tuple(sorted(tuple(sorted(group)) for group in names.values() if len(group) > 1))


def qualified_name(prefix: str, name: str) -> str:
    """The name of a module's child or tensor, given the module's name, empty for the root."""
    return f"{prefix}.{name}" if prefix else name
