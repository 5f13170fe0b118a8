"""Nested arguments and outputs as flat lists of tensors and literals, each with its path."""

import dataclasses
import enum
import functools
import hashlib
import inspect
import re
from collections import UserDict
from collections.abc import Collection, Hashable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch

from pytest_modelviz.records.structure import EMPTY

DEEPEST = 8
LITERALS = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, enum.Enum)
_NUMBERS = (torch.Tensor, bool, int, float)  # of all that objects hold, only these are compared
# What is compared as a whole, and may have attributes if it is of a subclass.
_COMPARED = (torch.Tensor, np.ndarray, np.generic, set, frozenset, *LITERALS)
_LARGEST_WRITTEN = 10**600  # of an integer in decimal digits: Python may refuse to write 640, or from 4300 on
_LONGEST_TEXT = 200  # characters; a longer text is cut and ends in a digest of the whole
_MOST_WRITTEN = 1000  # items of an array up to which NumPy writes all of them
_MOST_ITEMS = 4096  # of a collection that is neither list nor tuple nor mapping


def leaves(
    value: object, path: str = "", depth: int = 0, *, by_name: bool = True, with_empty: bool = False
) -> Iterator[tuple[str, object]]:
    """Yield (path, tensor or literal) of a nested value in a stable order.

    Named tuples and dataclasses are walked by field, and so are other objects by their attributes, because caches,
    graphs and image lists hold tensors. Cycles end at the eighth level.

    Args:
        value: a tensor, a literal, or anything that holds some.
        path: the prefix of the paths.
        depth: the level of the value.
        by_name: walk mappings and objects by sorted name, else in their author's order.
        with_empty: yield `NO_ITEMS` for each container without items that is in no object.

    Example:
        >>> [path for path, _ in leaves({"mask": [True, False], "image": 1.0})]
        ['.image', '.mask[0]', '.mask[1]']

    """
    if isinstance(value, (torch.Tensor, *LITERALS)):
        yield path, value
    elif isinstance(value, (np.ndarray, np.generic)):
        yield path, _as_tensor(value)
    elif depth >= DEEPEST:
        yield path, placeholder(value)
    elif isinstance(value, (set, frozenset)):
        yield path, _in_braces(value)
    else:
        items = items_of(value, by_name)
        if items is None:
            yield from _attributes(value, path, depth, by_name)
        elif with_empty and not items:
            yield path, NO_ITEMS
        for name, item in items or ():
            yield from leaves(item, f"{path}{name}", depth + 1, by_name=by_name, with_empty=with_empty)


class Placeholder(str):
    """The name of a type, which stands for a value whose contents are not compared."""

    __slots__ = ()


NO_ITEMS = Placeholder(EMPTY)


def placeholder(value: object) -> Placeholder:
    """The text that stands for a value whose contents are not compared."""
    return Placeholder(f"<{type(value).__name__}>")


def uncompared_items(value: object) -> list[str]:
    """The paths and types of the values that are not compared, or not in full, and what of them is not."""
    return list(_uncompared(value, "", 0))


def _uncompared(value: object, path: str, depth: int) -> Iterator[str]:
    is_atom = isinstance(value, (torch.Tensor, np.ndarray, np.generic, *LITERALS))
    items = None if is_atom or depth >= DEEPEST else items_of(value)
    exception = "" if depth >= DEEPEST and not is_atom else _exception(value, items)
    if exception is not None:
        yield f"{path.lstrip('.')} {placeholder(value)}{exception}".strip()
    for name, item in items or ():
        yield from _uncompared(item, f"{path}{name}", depth + 1)


def _exception(value: object, items: list[tuple[str, object]] | None) -> str | None:
    """What of a value is not compared: "" for all of it, None if all is; its `items` are another matter."""
    if isinstance(value, np.ma.MaskedArray):
        return " (its mask)"
    if items is not None or isinstance(value, _COMPARED):
        names = public_attributes(value) - {name.lstrip(".") for name, _ in items or ()}
        if names:
            return f" (its {', '.join(sorted(names))})"
    if items is not None or isinstance(value, (torch.Tensor, *LITERALS)):
        return None
    if isinstance(value, (np.ndarray, np.generic)):
        return " (all but its first and last items)" if is_cut(value) else None
    if isinstance(value, (set, frozenset)):
        return None if all(isinstance(item, (tuple, frozenset, *LITERALS)) for item in value) else " (all but its text)"
    if inspect.isasyncgen(value) or inspect.iscoroutine(value):  # noted already, as it was not run
        return None
    is_in_part = any(not isinstance(item, Placeholder) for _, item in leaves(value))
    return " (all but its tensors and numbers)" if is_in_part else ""


def is_cut(array: np.ndarray[Any, Any] | np.generic) -> bool:
    """Whether only the first and last items of an array are compared, as it has many and is compared as a text."""
    return array.size > _MOST_WRITTEN and not isinstance(_as_tensor(array), torch.Tensor)


def public_attributes(value: object) -> set[str]:
    """Names of attributes that somebody may have given to what has a value of its own, and that hold something."""
    if isinstance(value, enum.Enum) or type(value).__module__.startswith("torch._"):  # as tensors that torch makes
        return set()
    attributes = getattr(value, "__dict__", None) or {}
    public = {name for name, item in attributes.items() if not name.startswith("_") and item is not None}
    return public - ({"data"} if isinstance(value, UserDict) else set())


def items_of(value: object, by_name: bool = False) -> list[tuple[str, object]] | None:
    """The items of a container, each with the last segment of its path; None for what is no container."""
    if isinstance(value, Mapping):
        # not its iterator: a TensorDict's walks the batch
        keys = sorted(value.keys(), key=lambda key: plain_text(str(key))) if by_name else list(value.keys())
        return [(f".{key}" if isinstance(key, str) else f"[{_written(key)}]", value[key]) for key in keys]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(f".{name}", getattr(value, name)) for name in value._fields]
    if isinstance(value, (list, tuple)):
        return [(f"[{index}]", item) for index, item in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f".{field.name}", getattr(value, field.name, None)) for field in dataclasses.fields(value)]
    return None


def _as_tensor(value: object) -> object:
    """A NumPy array or number as a tensor, a text where torch has no such dtype."""
    array = np.asarray(value)
    if any(stride < 0 for stride in array.strides) or not array.dtype.isnative:  # torch reads neither
        array = array.astype(array.dtype.newbyteorder("="), order="C")
    try:
        return torch.as_tensor(array)
    except TypeError:
        with np.printoptions(formatter={"object": _written_in_array}):
            return repr(value)


def _written_in_array(value: object) -> str:
    return f"list({_written(value)})" if type(value) is list else _written(value)


def _written(value: object) -> str:
    """The `repr` of a value, the same in every process: without addresses, and with sorted sets."""
    if isinstance(value, (set, frozenset)) and value:
        return _in_braces(value) if type(value) is set else f"{type(value).__name__}({_in_braces(value)})"
    if type(value) is tuple and value:
        return f"({', '.join(map(_written, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, int) and abs(value) >= _LARGEST_WRITTEN:
        return hex(value)
    return plain_text(repr(value))


def _in_braces(value: Collection[object]) -> str:
    return f"{{{', '.join(sorted(map(_written, value)))}}}"


def _attributes(value: object, path: str, depth: int, by_name: bool) -> Iterator[tuple[str, object]]:
    """Yield the tensors and plain numbers in an object that is no container; its other attributes are ignored.

    A callable, an object with slots and a collection of its own kind yield their placeholder as well; numbers of a
    callable count only beside tensors.
    """
    inside: list[tuple[str, object]] = []
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


def attributes_of(value: object, by_name: bool = False) -> list[tuple[str, object]]:
    """The attributes and slots of an object or the arguments it binds, else its items if it is a collection."""
    if not is_object(value):
        return []
    if isinstance(value, functools.partial):
        bound = [(f"[{at}]", item) for at, item in enumerate(value.args)]
        return [*bound, *((f".{name}", item) for name, item in value.keywords.items())]
    attributes = dict(getattr(value, "__dict__", None) or {})
    for name in _slots(cast(Hashable, type(value))):
        if hasattr(value, name):
            attributes.setdefault(name, getattr(value, name))
    if attributes:
        return [(f".{name}", attributes[name]) for name in (sorted(attributes) if by_name else attributes)]
    if isinstance(value, Collection) and len(value) <= _MOST_ITEMS:
        return [(f"[{index}]", item) for index, item in enumerate(value)]
    return []


def is_object(value: object) -> bool:
    """Whether a value may hold tensors in attributes: it is no function, class, module or literal."""
    return not (inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, (torch.nn.Module, *LITERALS)))


@functools.lru_cache(maxsize=1024)
def _slots(kind: Hashable) -> tuple[str, ...]:
    slots = []
    for base in cast(type, kind).__mro__:
        own = vars(base).get("__slots__", ())
        for name in [own] if isinstance(own, str) else own:
            private = name.startswith("__") and not name.endswith("__")
            slots.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return tuple(name for name in slots if name not in ("__dict__", "__weakref__"))


def tensors(value: object) -> Iterator[torch.Tensor]:
    """Yield the tensors in a nested value, in the order of `leaves`."""
    for _, item in leaves(value):
        if isinstance(item, torch.Tensor):
            yield item


def literal(value: object) -> str:
    """A short, stable text for a value that is not a tensor: its `repr` without addresses, 200 characters at most."""
    text = plain_text(value) if isinstance(value, str) else _written(value)
    if len(text) <= _LONGEST_TEXT:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{text[: _LONGEST_TEXT - 22]}... <{digest}>"


def plain_text(text: str) -> str:
    """A text without addresses, which change from process to process, and with lone surrogates escaped."""
    if " at 0x" in text:
        text = re.sub(r" at 0x[0-9a-fA-F]+", "", text)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
