"""What a call does to its arguments that no leaf of theirs shows, and that is therefore not compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import NamedTuple

import numpy as np
import torch

from pytest_modelviz.probe.modules import own_attributes, parameters_and_buffers
from pytest_modelviz.probe.nested_values import (
    DEEPEST,
    LITERALS,
    NO_ITEMS,
    attributes_of,
    is_cut,
    items_of,
    leaves,
    literal,
    public_attributes,
)
from pytest_modelviz.probe.purity import state_of

Arguments = Sequence[tuple[str, object]]  # by name


class Shared(NamedTuple):
    """The state of what the model gets no copy of, as it is the caller's own: only the first pass may change it."""

    state: object


class Change(NamedTuple):
    """What a call has changed that is not compared: in which argument, where, and whether every pass changes it."""

    argument: str
    path: str
    is_repeated: bool


class WatchedArguments:
    """What a call that follows may do to its arguments beside changing their leaves.

    Attributes:
        empty: the paths of containers in them that are empty.

    """

    def __init__(self, arguments: Arguments) -> None:
        self._arguments = arguments
        self._before = [uncompared_state(value, name) for name, value in arguments]
        self.empty = {
            path
            for name, value in arguments
            if not isinstance(value, torch.Tensor)
            for path, item in leaves(value, name, with_empty=True)
            if item is NO_ITEMS
        }

    def changes(self) -> list[Change]:
        """What has changed since, without what is inside of something else that has."""
        changes: list[Change] = []
        for (name, value), before in zip(self._arguments, self._before, strict=True):
            after = uncompared_state(value, name)
            for path in sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path)):
                if not (changes and is_item_of(path, changes[-1].path)):
                    changes.append(Change(name, path, not isinstance(before.get(path, after.get(path)), Shared)))
        return changes


def is_item_of(inner: str, path: str) -> bool:
    """Whether a path leads into what another one leads to."""
    return inner.startswith((f"{path}.", f"{path}["))


def uncompared_state(value: object, path: str = "") -> dict[str, object]:
    """What a nested value holds beside its leaves, by path: two such dicts are equal if nothing of it has changed.

    Texts and other things in objects, attributes of subclasses of containers and tensors, gradients, the mask of a
    masked array, and the parameters and buffers of modules. Of things without attributes their `repr` counts.

    Example:
        >>> uncompared_state(types.SimpleNamespace(scale=2.0, unit="mm"), "x")
        {'x.unit': 'mm'}

    """
    return dict(_walk(value, path))


def _walk(
    value: object, path: str, depth: int = 0, *, in_object: bool = False, with_numbers: bool = False
) -> Iterator[tuple[str, object]]:
    """Yield (path, state); texts are leaves unless they are `in_object`, and numbers unless they are asked for."""
    if isinstance(value, (bool, int, float)):
        if with_numbers:
            yield path, literal(value)  # NaN is not equal to itself
    elif isinstance(value, np.ma.MaskedArray):
        yield path, literal(np.ma.getmaskarray(value).tolist())
    elif isinstance(value, (np.ndarray, np.generic)) and is_cut(value):
        yield path, literal(str(value.tolist()))
    elif isinstance(value, (np.ndarray, np.generic, set, frozenset, *LITERALS)):
        if in_object:
            yield path, literal(value)
        yield from _walk_given_attributes(value, path, depth)
    elif isinstance(value, torch.Tensor):
        yield from _walk_tensor(value, path, depth, is_leaf=not with_numbers)
    elif isinstance(value, torch.nn.Module):
        yield path, Shared(list(_walk_module(value, path, depth)))
    elif depth >= DEEPEST:
        yield path, literal(value)
    elif (items := items_of(value)) is not None:
        if in_object and not items:
            yield path, NO_ITEMS
        for name, item in items:
            yield from _walk(item, f"{path}{name}", depth + 1, in_object=in_object, with_numbers=with_numbers)
        yield from _walk_given_attributes(value, path, depth)
    else:
        yield from _walk_object(value, path, depth, with_numbers)


def _walk_module(model: torch.nn.Module, path: str, depth: int) -> Iterator[tuple[str, object]]:
    for table in parameters_and_buffers(model):
        yield from ((f"{path}.{name}", (id(tensor), state_of(tensor))) for name, tensor in table.items())
    for layer, module in model.named_modules(prefix=path):
        yield f"{layer}.training", module.training
        for name, value in own_attributes(module).items():
            yield from _walk(value, f"{layer}.{name}", depth + 1, in_object=True, with_numbers=True)


def _walk_tensor(tensor: torch.Tensor, path: str, depth: int, *, is_leaf: bool) -> Iterator[tuple[str, object]]:
    if not is_leaf:
        yield path, (id(tensor), state_of(tensor))
    gradient = tensor.grad if tensor.is_leaf else None
    if gradient is not None:
        yield f"{path}.grad", (id(gradient), state_of(gradient))
    yield from _walk_given_attributes(tensor, path, depth)


def _walk_given_attributes(value: object, path: str, depth: int) -> Iterator[tuple[str, object]]:
    """Walk the attributes that somebody has given to a tensor or container, none of which is a leaf."""
    for name in sorted(public_attributes(value)):
        yield from _walk(getattr(value, name), f"{path}.{name}", depth + 1, in_object=True, with_numbers=True)


def _walk_object(value: object, path: str, depth: int, with_numbers: bool) -> Iterator[tuple[str, object]]:
    attributes = attributes_of(value)
    is_plain = isinstance(getattr(value, "__dict__", None), dict) and not callable(value)
    if not is_plain and not any(isinstance(item, torch.Tensor) for _, item in leaves(value)):
        if callable(value) and attributes:
            inner = (_walk(item, name, depth + 1, in_object=True, with_numbers=True) for name, item in attributes)
            yield path, Shared([pair for pairs in inner for pair in pairs])
            return
        with_numbers = True
        if attributes or not _is_empty(value):
            yield path, _text(value)
    for name, item in attributes:
        yield from _walk(item, f"{path}{name}", depth + 1, in_object=True, with_numbers=with_numbers)


def _is_empty(value: object) -> bool:
    try:
        return isinstance(value, Sized) and len(value) == 0
    except Exception:  # from a user's code: it must not end the check
        return False


def _text(value: object) -> str:
    try:
        return literal(value)
    except Exception:  # from a user's code: it must not end the check
        return ""
