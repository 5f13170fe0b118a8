"""Taking nested values apart, and putting them together again with something changed."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, MutableMapping, MutableSequence
from typing import Any

import numpy as np
import torch

from pytest_modelviz.probe.structure import DEEPEST, LITERALS, attributes_of, parts_of

Put = Callable[[Any], Any]


def ends(value: Any, depth: int = 0) -> Iterator[Any]:
    """What tuples, lists, mappings and dataclasses hold that is no such container itself."""
    parts = parts_of(value) if depth < DEEPEST and not isinstance(value, torch.Tensor) else None
    if parts is None:
        yield value
    for _, item in parts or ():
        yield from ends(item, depth + 1)


def rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    """The value with each end that is no container replaced by what `change` makes of it.

    Tuples, lists, mappings and dataclasses are made anew; one that cannot be written to stays as it is.
    """
    if isinstance(value, (tuple, list)):
        return getattr(value, "_make", type(value))([rebuilt(item, change) for item in value])
    if isinstance(value, Mapping):
        made: Any = copy.copy(value)
        if isinstance(made, MutableMapping):
            for key in list(value.keys()):
                made[key] = rebuilt(value[key], change)
        return made
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        made = copy.copy(value)
        for field in dataclasses.fields(value):
            _set(made, field.name, rebuilt(getattr(value, field.name, None), change))
        return made
    return change(value)


def tensors_to_replace(value: Any, outer: tuple[int, ...] = ()) -> Iterator[tuple[torch.Tensor, Put]]:
    """Each tensor of a nested value, and what makes such a value with another tensor in its place.

    The value itself is left alone: what leads to the tensor is copied. `outer` are the identities of what holds it.
    """
    if isinstance(value, torch.Tensor):
        yield value, lambda new: new
    elif id(value) not in outer and len(outer) < DEEPEST and not isinstance(value, (np.ndarray, *LITERALS)):
        for item, put_item in _items(value):
            for tensor, put in tensors_to_replace(item, (*outer, id(value))):
                yield tensor, _chained(put_item, put)


def _chained(outer: Put, inner: Put) -> Put:
    return lambda new: outer(inner(new))


def _items(value: Any) -> Iterator[tuple[Any, Put]]:
    """What a container or object holds, and what makes one that holds something else there."""
    if isinstance(value, (tuple, list)):
        for at, item in enumerate(value):
            yield item, _with_item(value, at)
    elif isinstance(value, Mapping):
        for key in list(value.keys()):
            yield value[key], _with_key(value, key)
    else:
        for at, (name, item) in enumerate(parts_of(value) or attributes_of(value)):
            if name.startswith("."):
                yield item, _with_attribute(value, name[1:])
            elif isinstance(value, MutableSequence):
                yield item, _with_key(value, at)


def _with_item(value: Any, at: int) -> Put:
    make = getattr(value, "_make", type(value))  # of a named tuple
    return lambda new: make([*value[:at], new, *value[at + 1 :]])


def _with_key(value: Any, key: Any) -> Put:
    def put(new: Any) -> Any:
        if type(value) is dict or not isinstance(value, (MutableMapping, MutableSequence)):
            return {**value, key: new}
        made = copy.copy(value)
        made[key] = new
        return made

    return put


def _with_attribute(value: Any, name: str) -> Put:
    def put(new: Any) -> Any:
        made = copy.copy(value)
        _set(made, name, new)
        return made

    return put


def _set(value: Any, name: str, new: Any) -> None:
    if name in getattr(value, "__dict__", ()):
        object.__setattr__(value, name, new)  # whatever the class makes of it: it may be frozen, or pass it on
    else:
        setattr(value, name, new)


def modules_in(value: Any) -> Iterator[torch.nn.Module]:
    """The modules that a nested value holds."""
    known: set[int] = set()
    waiting = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, torch.nn.Module):
            yield item
        elif depth < DEEPEST and id(item) not in known and not isinstance(item, (torch.Tensor, np.ndarray, *LITERALS)):
            known.add(id(item))
            waiting += [(inner, depth + 1) for _, inner in parts_of(item) or attributes_of(item)]
