"""Put back what modules keep in attributes: flags, tables, containers, objects, and what hides in those."""

from __future__ import annotations

import collections
import functools
import random
import types
from collections.abc import Callable, Iterable
from typing import Any

import torch

from pytest_modelviz.probe.modules import OWN_OF_MODULE

_UNINTERESTING = (str, bytes, int, float, complex, type(None), type, types.FunctionType, types.MethodType)
_CONTAINERS = (list, dict, set, collections.deque)


class ModuleState:
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
            put_back(module.__dict__, self._attributes)
        for container, before in self._containers:
            if before is not None:
                restore_container(container, before)
            elif container:
                container.clear()


class InnerState:
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
                restore_container(holder, state)
            else:
                put_back(vars(holder), state)
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


def put_back(now: dict[str, Any], before: dict[str, Any]) -> None:
    """Give the table of an object's attributes the entries it had."""
    for name in [name for name in now if name not in before]:
        del now[name]
    for name, value in before.items():
        if name not in now or now[name] is not value:
            now[name] = value


def restore_container(container: Any, before: Any) -> None:
    """Give a list, dict, set or deque the items it had, if it has others."""
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
