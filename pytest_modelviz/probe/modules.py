"""What a model is made of: names, classes, configuration, parameters and buffers, ties. No pass is needed."""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch

from pytest_modelviz.compare.bracketed import in_one_order
from pytest_modelviz.compare.ignored import lasting_config
from pytest_modelviz.compare.shared_objects import object_text, settings_by_attribute
from pytest_modelviz.compare.volatile import is_machinery, is_volatile, lasting, normalised
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.structure import plain_text
from pytest_modelviz.probe.torch_internals import (
    ORIGINAL_OF_COMPILED,
    buffer_table,
    child_table,
    parameter_table,
    unsaved_buffer_names,
)
from pytest_modelviz.records.limits import LONGEST_NAME, MOST_NESTED, is_recordable
from pytest_modelviz.records.structure import ATTRIBUTE_SUFFIX, ModuleRecord

# Wrappers that add a segment to every name and nothing to what the model is, by class name: some live in packages
# that need not be installed.
_WRAPPERS = {
    "OptimizedModule": ORIGINAL_OF_COMPILED,
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "CheckpointWrapper": "_checkpoint_wrapped_module",
}
_TENSOR = re.compile(r"tensor\((?:[^()]|\([^()]*\))*\)")
_LISTED, _MOST_ITEMS = 64, 100_000  # so many items are written out, so many are looked at
_PLAIN = (bool, int, float, complex, str, type(None), torch.dtype, torch.device, torch.Size, enum.Enum)
OWN_OF_MODULE = frozenset(torch.nn.Module().__dict__)  # what every module has
_NO_CONFIGURATION = OWN_OF_MODULE | {"forward"}  # a replaced forward is code


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """The module inside `torch.compile`, DataParallel and similar wrappers."""
    inner = _WRAPPERS.get(type(module).__name__)
    while inner is not None and isinstance(getattr(module, inner, None), torch.nn.Module):
        module = getattr(module, inner)
        inner = _WRAPPERS.get(type(module).__name__)
    return module


def compiled_modules(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The wrappers that `torch.compile` puts around modules: they call what they wrap in a way of their own."""
    return [module for module in model.modules() if type(module).__name__ == "OptimizedModule"]


def observed_modules(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """(name, module) of every module once, in registration order, without wrappers and their name segments.

    Raises ModelvizError for a model that is nested more deeply than baselines are read.
    """
    seen: set[int] = set()
    waiting = [("", model)]
    while waiting:
        name, module = waiting.pop()
        module = unwrapped(module)
        if id(module) not in seen:
            seen.add(id(module))
            if not is_recordable(name):
                raise ModelvizError(
                    f"the module {name[:80]!r} and so on lies too deep: a baseline holds {MOST_NESTED} levels and "
                    f"{LONGEST_NAME} letters of a name at most. Look at a part of the model"
                )
            yield name, module
            children = [(local, child) for local, child in child_table(module).items() if child is not None]
            waiting += [(f"{name}.{local}" if name else local, child) for local, child in reversed(children)]


def class_name(module: torch.nn.Module) -> str:
    return str(getattr(module, "original_name", None) or type(module).__name__)


def configuration(module: torch.nn.Module) -> dict[str, str]:
    """Everything plain that sets a module apart: `extra_repr`, an overridden `repr`, and simple attributes.

    What two processes that build the same model do not share is left out (see `compare.volatile`).
    """
    config: dict[str, str] = {}
    try:
        config["extra_repr"] = _without_numbers(plain_text(module.extra_repr()))
        if type(module).__repr__ is not torch.nn.Module.__repr__ and not any(module.children()):
            config["repr"] = _without_numbers(plain_text(repr(module)))
    except Exception as error:  # a user's own code: what it raises must not end the check
        config.setdefault("extra_repr", f"<raised {type(error).__name__}>")
    for name, value in sorted(item for item in vars(module).items() if item[0] not in _NO_CONFIGURATION):
        text = None if is_volatile(name) else _plain(value)
        if text is not None:
            config[name] = text
    return lasting_config(config)


def _without_numbers(text: str) -> str:
    """A tensor's values are weights, no configuration, and their last digits are the processor's."""
    return _TENSOR.sub("tensor(...)", text) if "tensor(" in text else text


def _plain(value: Any, depth: int = 0) -> str | None:
    """A text for a value that is configuration, or None for state and machinery."""
    if type(value) in (bool, int, float, type(None)):
        return repr(value)
    if isinstance(value, _PLAIN):
        return plain_text(repr(value))
    if isinstance(value, (np.bool_, np.number)):
        return repr(value.item())
    if isinstance(value, (list, tuple)) and depth < 3:
        parts = [_plain(item, depth + 1) for item in value[:_MOST_ITEMS]]
        if None in parts:
            return None
        text = f"({', '.join(str(part) for part in parts)})"
        return text if len(value) <= _LISTED else f"({len(value)} items, {digest(_sorted_texts(value, text))})"
    if isinstance(value, dict) and depth < 3 and len(value) <= _MOST_ITEMS:
        pairs = [(plain_text(repr(key)), _plain(item, depth + 1)) for key, item in value.items()]
        if any(text is None for _, text in pairs):
            return None
        text = f"{{{', '.join(f'{k}: {t}' for k, t in pairs)}}}"
        return text if len(value) <= _LISTED else f"{{{len(value)} items, {digest(text)}}}"
    if isinstance(value, functools.partial):
        return f"partial({_plain(value.func)}, {_plain(value.args)}, {_plain(value.keywords)})"
    if inspect.isroutine(value) or inspect.isclass(value):
        return f"<{getattr(value, '__qualname__', type(value).__name__)}>"
    return None


def _sorted_texts(value: Any, text: str) -> str:
    """The text of a long list; one of texts may have been a set."""
    return in_one_order(normalised(text)) if all(isinstance(item, str) for item in value) else text


def digest(text: str) -> str:
    """Eight letters that stand for a long text."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _settings_of(value: Any, prefix: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """What a configuration object says, attribute by attribute, to the second level."""
    held = getattr(value, "__dict__", None)
    if not isinstance(held, dict) or isinstance(value, (torch.nn.Module, torch.Tensor)) or callable(value):
        return
    if is_machinery(type(value)):
        return
    for name, item in sorted(held.items(), key=lambda pair: str(pair[0])):
        if is_volatile(str(name)):
            continue
        text = _plain(item)
        if text is None and depth < 1:
            yield from _settings_of(item, f"{prefix}.{name}", depth + 1)
        elif text is not None and "version" not in str(name):
            yield f"{prefix}.{name}", text


def attribute_names(model: torch.nn.Module) -> Iterator[tuple[str, str]]:
    """(layer, attribute) of all that a user may want to ignore, also in objects and dictionaries that modules hold."""
    for layer, module in observed_modules(model):
        shown = configuration(module)
        arguments = re.findall(r"(\w+)=", f"{shown.get('extra_repr', '')} {shown.get('repr', '')}")
        own = [name for name in vars(module) if name not in _NO_CONFIGURATION]
        inner = [f"{name}.{path}" for name in own for path in _inner_names(vars(module)[name], 2)]
        yield from ((layer, name) for name in ("extra_repr", "repr", *arguments, *own, *inner))


def _inner_names(value: Any, depth: int) -> Iterator[str]:
    held = value if isinstance(value, dict) else getattr(value, "__dict__", None)
    if depth and isinstance(held, dict) and not isinstance(value, (torch.nn.Module, torch.Tensor, type)):
        for name, item in held.items():
            yield str(name)
            yield from (f"{name}.{inner}" for inner in _inner_names(item, depth - 1))


class Describer:
    """Describes modules one after the other; an object that many of them share is written out where it is first met."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def describe(self, module: torch.nn.Module, weights: Mapping[str, str]) -> ModuleRecord:
        """Describe one module; `weights` are the names under which its own parameters and buffers are recorded."""
        config = configuration(module)
        for name, value in vars(module).items():
            if name not in config and name not in _NO_CONFIGURATION and not is_volatile(name):
                self._shared(config, name, value)
        parameters = parameters_of(module)
        config["forward"] = str(parameters)
        defaults = [
            f"{name}={text}" for name, value in parameters.defaults.items() if (text := _plain(value)) is not None
        ]
        if defaults:
            config["defaults"] = "\n".join(defaults)
        return ModuleRecord(class_name(module), config, dict(weights))

    def _shared(self, config: dict[str, str], name: str, value: Any) -> None:
        if id(value) not in self._known:
            settings = lasting(dict(_settings_of(value, name)))
            if not settings:
                return
            self._known[id(value)] = object_text(type(value).__name__, settings_by_attribute(settings, [name])[name])
            config.update(settings)
        config[name] = self._known[id(value)]


def own_tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """A module's own parameters and buffers, without its children's."""
    for table in (parameter_table(module), buffer_table(module)):
        yield from ((name, tensor) for name, tensor in table.items() if tensor is not None)


def unsaved_buffers(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Buffers that are in no state dict."""
    names = unsaved_buffer_names(module)
    return [(name, buffer) for name, buffer in buffer_table(module).items() if name in names and buffer is not None]


def loose_tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors that a module keeps in plain attributes, or in lists and dicts there: (name marked as such, tensor)."""
    if isinstance(module, torch.jit.ScriptModule):
        return
    for name, value in vars(module).items():
        if name in OWN_OF_MODULE:
            continue
        if isinstance(value, torch.Tensor):
            yield f"{name}{ATTRIBUTE_SUFFIX}", value
        elif isinstance(value, (list, tuple)):
            yield from (
                (f"{name}[{at}]{ATTRIBUTE_SUFFIX}", one)
                for at, one in enumerate(value)
                if isinstance(one, torch.Tensor)
            )
        elif isinstance(value, dict):
            yield from (
                (f"{name}[{key!r}]{ATTRIBUTE_SUFFIX}", v) for key, v in value.items() if isinstance(v, torch.Tensor)
            )


def packed_tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Weight and bias of torch's own quantised modules, which hand them out by a method, packed inside."""
    if type(module).__module__.startswith("torch.ao.nn."):
        for name in ("weight", "bias"):
            method = getattr(module, name, None)
            value = method() if callable(method) else None
            if isinstance(value, torch.Tensor):
                yield name, value


def opaque_modules(model: torch.nn.Module) -> list[str]:
    """Names of the outermost TorchScript modules: what they call inside cannot be observed."""
    found: list[str] = []
    for name, module in observed_modules(model):
        if isinstance(module, torch.jit.ScriptModule) and not any(_inside(name, outer) for outer in found):
            found.append(name)
    return found


def _inside(name: str, outer: str) -> bool:
    return outer == "" or name.startswith(f"{outer}.")


def parameters_and_buffers(model: torch.nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """All of them by name, shared ones once. In one walk: the model's own iterators make one each."""
    found: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]] = ({}, {})
    seen: set[int] = set()
    for prefix, module in observed_modules(model):
        for into, table in ((found[0], parameter_table(module)), (found[1], buffer_table(module))):
            for name, tensor in table.items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    into[f"{prefix}.{name}" if prefix else name] = tensor
    return found


def tie_groups(model: torch.nn.Module) -> tuple[tuple[str, ...], ...]:
    """Names that stand for one and the same parameter or module, in sorted groups.

    Buffers may share memory by chance, and lose it when a model changes its device.
    """
    names: dict[int, set[str]] = {}
    for prefix, module in _every_name(model):
        names.setdefault(id(module), set()).add(prefix)
        for local, parameter in parameter_table(module).items():
            if parameter is not None:
                names.setdefault(id(parameter), set()).add(f"{prefix}.{local}" if prefix else local)
    return tuple(sorted(tuple(sorted(group)) for group in names.values() if len(group) > 1))


def _every_name(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """Like `observed_modules`, but a shared module under each of its names (and not below its second one)."""
    seen: set[int] = set()

    def walk(module: torch.nn.Module, name: str) -> Iterator[tuple[str, torch.nn.Module]]:
        module = unwrapped(module)
        yield name, module
        if id(module) in seen:
            return
        seen.add(id(module))
        for child_name, child in child_table(module).items():
            if child is not None:
                yield from walk(child, f"{name}.{child_name}" if name else child_name)

    yield from walk(model, "")


class Parameters(NamedTuple):
    """How forward may be called: names by position, of what takes the rest, by name only, and default values."""

    names: tuple[str, ...] = ()
    rest: str = "args"
    only_by_name: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = MappingProxyType({})
    is_variadic: bool = False
    keywords: str | None = None  # the name of what takes all others by name

    def __str__(self) -> str:
        """As traces hold it, which call what no parameter takes `args`."""
        return self._listed(f"*{self.rest}")

    @property
    def signature(self) -> str:
        """The parameters that there are."""
        return self._listed(f"*{self.rest}" if self.is_variadic else "")

    def _listed(self, rest: str) -> str:
        others = "" if self.keywords is None else f"**{self.keywords}"
        return ", ".join(filter(None, [*self.names, rest, *self.only_by_name, others]))


def parameters_of(module: torch.nn.Module) -> Parameters:
    """The parameters of a module's forward."""
    for base in type(module).__mro__:
        if "forward" in vars(base):  # looked up without descriptors: a scripted class's raises
            return _parameters_of(vars(base)["forward"])
    return Parameters()


@functools.lru_cache(maxsize=1024)
def _parameters_of(forward: Callable[..., Any]) -> Parameters:
    try:
        parameters = list(inspect.signature(forward).parameters.values())[1:]
    except (TypeError, ValueError):
        return Parameters()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return Parameters(
        tuple(p.name for p in parameters if p.kind in positional),
        next((p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL), "args"),
        tuple(p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY),
        {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty},
        any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters),
        next((p.name for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD), None),
    )
