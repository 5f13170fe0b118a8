"""Restoring the attributes of modules: flags, tables, containers, objects, and their contents in turn."""

import collections
import functools
import random
import types
from collections.abc import Callable, Iterable
from typing import Any

import torch

from pytest_modelviz.probe.modules import ATOMS, holding_attributes
from pytest_modelviz.probe.restoring import restore_attributes, restore_container

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
        values = self._attributes.values()
        containers = [value for value in values if type(value) not in ATOMS and isinstance(value, _CONTAINERS)]
        self._empty = [value for value in containers if not value]  # as most are: the tables of hooks
        self._containers = [(value, value.copy()) for value in containers if value]

    def restore(self) -> None:
        module = self._module
        if type(module) is not self._class:
            module.__class__ = self._class
        if self._scripted:
            module.training = self._training
        else:
            restore_attributes(module.__dict__, self._attributes)
        for container, before in self._containers:
            restore_container(container, before)
        if any(self._empty):
            for container in self._empty:
                container.clear()


class NestedState:
    """The contents of containers and plain objects that modules hold in attributes, four levels deep.

    Configuration objects, nested tables, caches and the tensors in them, random generators, and modules in a plain
    list, which `model.modules()` does not reach.

    Attributes:
        modules: the modules that were given, and the hidden ones.
        hidden: modules that `model.modules()` does not reach.
        tensors: tensors that are neither parameters nor buffers.

    """

    def __init__(self, modules: list[torch.nn.Module]) -> None:
        self.modules, self.hidden = list(modules), list[torch.nn.Module]()
        self.tensors: list[torch.Tensor] = []
        self._actions: list[Callable[[], object]] = []
        self._known = {id(module) for module in modules}
        for module in self.modules:  # grows as hidden modules are found
            if holding := holding_attributes(module):
                self._visit([value for _, value in holding])

    def _visit(self, values: list[object]) -> None:
        for depth in range(4):
            inner: list[object] = []
            for value in values:
                if not (type(value) in ATOMS or isinstance(value, _UNINTERESTING) or id(value) in self._known):
                    inner += self._record(value, depth)
            if not inner:
                return
            values = inner

    def _record(self, value: object, depth: int) -> Iterable[object]:
        """Record the state of a value, and return the values in it."""
        if isinstance(value, torch.Tensor):
            self.tensors.append(value)
            return ()
        if isinstance(value, (*_CONTAINERS, tuple)):
            self._known.add(id(value))
            if depth and not isinstance(value, tuple):  # `ModuleState` has those that are attributes themselves
                self._actions.append(functools.partial(restore_container, value, value.copy()))
            return list(value.values() if isinstance(value, dict) else value)
        if isinstance(value, torch.nn.Module):
            new = [module for module in value.modules() if id(module) not in self._known]
            self._known |= {id(module) for module in new}
            self.modules += new
            self.hidden += new
            return ()
        if restore := _generator_state(value):
            self._actions.append(restore)
        elif _is_plain_object(value):
            self._known.add(id(value))
            attributes = dict(vars(value))
            self._actions.append(lambda: restore_attributes(vars(value), attributes))
            return list(attributes.values())
        return ()

    def restore(self) -> None:
        for restore in self._actions:
            restore()


def _generator_state(value: Any) -> Callable[[], object] | None:
    """An action that restores the present state of a random generator; None for anything else."""
    if isinstance(value, torch.Generator):
        return functools.partial(value.set_state, value.get_state())
    if isinstance(value, random.Random):
        return functools.partial(value.setstate, value.getstate())
    if type(value).__module__.startswith("numpy.random"):
        if hasattr(value, "bit_generator"):
            return functools.partial(setattr, value.bit_generator, "state", value.bit_generator.state)
        return functools.partial(value.set_state, value.get_state())
    return None


def _is_plain_object(value: object) -> bool:
    """Whether a value is of a user's class that holds its state in plain attributes."""
    if isinstance(value, types.ModuleType):
        return False
    home = type(value).__module__.partition(".")[0]
    return home not in ("torch", "logging", "threading") and isinstance(getattr(value, "__dict__", None), dict)
