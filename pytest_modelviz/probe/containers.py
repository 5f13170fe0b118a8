"""Walking nested values, and copying them with some of their items replaced."""

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np
import torch

from pytest_modelviz.probe.nested_values import DEEPEST, LITERALS, attributes_of, items_of

Put = Callable[[object], object]  # from a new item to a copy of the value that holds it


def innermost_items(value: object, depth: int = 0) -> Iterator[object]:
    """Yield the items of nested tuples, lists, mappings and dataclasses that are no such container themselves."""
    items = items_of(value) if depth < DEEPEST and not isinstance(value, torch.Tensor) else None
    if items is None:
        yield value
    for _, item in items or ():
        yield from innermost_items(item, depth + 1)


def rebuild(value: object, change: Callable[[object], object]) -> object:
    """Copy a nested value with `change` applied to every item that is no container.

    Tuples, lists, mappings and dataclasses are copied; a mapping that cannot be written to is returned as it is.

    Example:
        >>> rebuild({"scores": [1, 2]}, lambda item: item + 1)
        {'scores': [2, 3]}

    """
    if isinstance(value, (tuple, list)):
        return with_items(value, [rebuild(item, change) for item in value])
    if isinstance(value, Mapping):
        mapping = copy.copy(value)
        if isinstance(mapping, MutableMapping):
            for key in list(value.keys()):
                mapping[key] = rebuild(value[key], change)
        return mapping
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = copy.copy(value)
        for field in dataclasses.fields(value):
            _set_attribute(changed, field.name, rebuild(getattr(value, field.name, None), change))
        return changed
    return change(value)


def with_items(value: Any, items: list[object]) -> object:  # the class may be the user's
    """A tuple, named tuple or list of the same class with other items."""
    return getattr(value, "_make", type(value))(items)


def tensors_to_replace(value: object, outer: tuple[int, ...] = ()) -> Iterator[tuple[torch.Tensor, Put]]:
    """Yield (tensor, put) for each tensor of a nested value: `put(replacement)` is a copy with this tensor replaced.

    The value itself does not change: the containers and objects that lead to the tensor are copied. `outer` holds their
    identities.
    """
    if isinstance(value, torch.Tensor):
        yield value, lambda replacement: replacement
    elif id(value) not in outer and len(outer) < DEEPEST and not isinstance(value, (np.ndarray, *LITERALS)):
        for item, put_item in _items(value):
            for tensor, put in tensors_to_replace(item, (*outer, id(value))):
                yield tensor, _compose(put_item, put)


def _compose(outer: Put, inner: Put) -> Put:
    return lambda item: outer(inner(item))


def _items(value: object) -> Iterator[tuple[object, Put]]:
    """Yield (item, put) for each item of a container or object."""
    if isinstance(value, (tuple, list)):
        for at, item in enumerate(value):
            yield item, functools.partial(_with_item, value, at)
    elif isinstance(value, Mapping):
        for key in list(value.keys()):
            yield value[key], functools.partial(_with_key, value, key)
    else:
        for at, (name, item) in enumerate(items_of(value) or attributes_of(value)):
            if name.startswith("."):
                yield item, functools.partial(_with_attribute, value, name[1:])
            elif isinstance(value, MutableSequence):
                yield item, functools.partial(_with_key, value, at)


def _with_item(value: Sequence[object], at: int, item: object) -> object:
    return with_items(value, [*value[:at], item, *value[at + 1 :]])


def _with_key(value: Any, key: object, item: object) -> object:  # a mapping, or a mutable sequence and an index
    if type(value) is dict or not isinstance(value, (MutableMapping, MutableSequence)):
        return {**value, key: item}
    changed: Any = copy.copy(value)
    changed[key] = item
    return changed


def _with_attribute(value: object, name: str, item: object) -> object:
    changed = copy.copy(value)
    _set_attribute(changed, name, item)
    return changed


def _set_attribute(value: object, name: str, item: object) -> None:
    if name in getattr(value, "__dict__", ()):
        object.__setattr__(value, name, item)  # not by the class's own way: it may be frozen, or pass the item on
    else:
        setattr(value, name, item)


def modules_in(value: object) -> Iterator[torch.nn.Module]:
    """Yield the modules in a nested value."""
    walked: set[int] = set()
    waiting = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, torch.nn.Module):
            yield item
        elif depth < DEEPEST and id(item) not in walked and not isinstance(item, (torch.Tensor, np.ndarray, *LITERALS)):
            walked.add(id(item))
            waiting += [(inner, depth + 1) for _, inner in items_of(item) or attributes_of(item)]
