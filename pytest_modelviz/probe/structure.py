"""Flat views of nested arguments and outputs: paths to tensors and literals, whatever container holds them."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import inspect
import re
from collections.abc import Collection, Hashable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch

DEEPEST = 8
LITERALS = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, enum.Enum)
_NUMBERS = (torch.Tensor, bool, int, float)  # what is taken out of objects
_LONGEST_TEXT = 200  # letters: of longer texts their beginning is kept, and a digest of the whole
_MOST_ITEMS = 4096  # of a collection that is neither list nor tuple nor mapping


def leaves(value: Any, path: str = "", depth: int = 0, *, by_name: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield (path, tensor or literal) of a nested value in a stable order.

    Mappings are walked by sorted key, named tuples and dataclasses by field, other objects by their sorted attributes
    (tensors hide in caches, graphs and image lists); not `by_name`, mappings and objects in their author's order.
    Cycles end at the eighth level.
    """
    if isinstance(value, (torch.Tensor, *LITERALS)):
        yield path, value
    elif isinstance(value, (np.ndarray, np.generic)):
        yield path, _as_tensor(value)
    elif depth >= DEEPEST:
        yield path, placeholder(value)
    elif isinstance(value, (set, frozenset)):
        yield path, f"{{{', '.join(sorted(plain_text(repr(item)) for item in value))}}}"
    else:
        parts = parts_of(value, by_name)
        if parts is None:
            yield from _attributes(value, path, depth, by_name)
        for name, item in parts or ():
            yield from leaves(item, f"{path}{name}", depth + 1, by_name=by_name)


class Placeholder(str):
    """The name of a type, which stands for a value that is not looked into."""

    __slots__ = ()


def placeholder(value: Any) -> Placeholder:
    """What stands for a value that is not looked into."""
    return Placeholder(f"<{type(value).__name__}>")


def unread(value: Any) -> list[str]:
    """What of a nested value stands there only as the name of its type: paths with these names."""
    found = list(leaves(value))
    paths = [path for path, item in found if not isinstance(item, Placeholder)]
    return [
        f"{path.lstrip('.')} {item}".strip()
        for path, item in found
        if isinstance(item, Placeholder) and not any(inner.startswith(path) for inner in paths)
    ]


def parts_of(value: Any, by_name: bool = False) -> list[tuple[str, Any]] | None:
    """What a container holds, each with the end of its path; None for what is no container."""
    if isinstance(value, Mapping):
        # not its iterator: a TensorDict's walks the batch
        keys = sorted(value.keys(), key=str) if by_name else list(value.keys())
        return [(f".{key}" if isinstance(key, str) else f"[{key!r}]", value[key]) for key in keys]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(f".{name}", getattr(value, name)) for name in value._fields]
    if isinstance(value, (list, tuple)):
        return [(f"[{index}]", item) for index, item in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f".{field.name}", getattr(value, field.name, None)) for field in dataclasses.fields(value)]
    return None


def _as_tensor(value: Any) -> Any:
    """A NumPy array or number as a tensor, a text where torch has no such dtype."""
    try:
        return torch.as_tensor(np.asarray(value))
    except TypeError:
        return repr(value)


def _attributes(value: Any, path: str, depth: int, by_name: bool) -> Iterator[tuple[str, Any]]:
    """The tensors inside an object that is no container, and its plain numbers; other attributes are left alone.

    An object of plain attributes is what they hold. One that can be called, has slots, or is a collection of its own
    kind is named as well, and of one that can be called numbers count only beside tensors.
    """
    inside: list[tuple[str, Any]] = []
    for name, item in attributes_of(value, by_name):
        if isinstance(item, (bool, int, float)):
            inside.append((f"{path}{name}", item))
        elif isinstance(item, (torch.Tensor, np.ndarray, list, tuple, dict)) or is_object(item):
            below = leaves(item, f"{path}{name}", depth + 1, by_name=by_name)
            inside += [pair for pair in below if isinstance(pair[1], _NUMBERS)]
    plain = isinstance(getattr(value, "__dict__", None), dict) and not callable(value)
    if not plain and not any(isinstance(item, torch.Tensor) for _, item in inside):
        inside = []
    if not plain or not inside:
        yield path, placeholder(value)
    yield from inside


def attributes_of(value: Any, by_name: bool = False) -> list[tuple[str, Any]]:
    """What an object keeps in attributes and slots, bound as arguments, or else holds as a collection."""
    if not is_object(value):
        return []
    if isinstance(value, functools.partial):
        bound = [(f"[{at}]", item) for at, item in enumerate(value.args)]
        return [*bound, *((f".{name}", item) for name, item in value.keywords.items())]
    held = dict(getattr(value, "__dict__", None) or {})
    for name in _slots(cast(Hashable, type(value))):
        if hasattr(value, name):
            held.setdefault(name, getattr(value, name))
    if held:
        return [(f".{name}", held[name]) for name in (sorted(held) if by_name else held)]
    if isinstance(value, Collection) and len(value) <= _MOST_ITEMS:
        return [(f"[{index}]", item) for index, item in enumerate(value)]
    return []


def is_object(value: Any) -> bool:
    """Whether a value may hold tensors in a way of its own: no function, class or module."""
    return not (inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, (torch.nn.Module, *LITERALS)))


@functools.lru_cache(maxsize=1024)
def _slots(kind: Hashable) -> tuple[str, ...]:
    found = []
    for base in cast(type, kind).__mro__:
        own = vars(base).get("__slots__", ())
        for name in [own] if isinstance(own, str) else own:
            private = name.startswith("__") and not name.endswith("__")
            found.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return tuple(name for name in found if name not in ("__dict__", "__weakref__"))


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors of a nested value."""
    for _, item in leaves(value):
        if isinstance(item, torch.Tensor):
            yield item


def literal(value: Any) -> str:
    """A short, stable text for something that is not a tensor."""
    text = plain_text(value if isinstance(value, str) else repr(value))
    if len(text) <= _LONGEST_TEXT:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{text[: _LONGEST_TEXT - 14]}... <{digest}>"


def plain_text(text: str) -> str:
    """Text without what changes from process to process (addresses) or cannot be written (lone surrogates)."""
    if " at 0x" in text:
        text = re.sub(r" at 0x[0-9a-fA-F]+", "", text)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
