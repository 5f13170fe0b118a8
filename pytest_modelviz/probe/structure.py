"""Flat views of nested arguments and outputs: paths to tensors and literals, whatever container holds them."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

_DEEPEST = 8
_LITERALS = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, enum.Enum)


def leaves(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield (path, tensor or literal) of a nested value in a stable order.

    Mappings are walked by sorted key, named tuples and dataclasses by field, other objects by their attributes
    (tensors hide in caches and image lists). Cycles end at the eighth level.
    """
    if isinstance(value, (torch.Tensor, *_LITERALS)):
        yield path, value
    elif isinstance(value, (np.ndarray, np.generic)):
        yield path, _as_tensor(value)
    elif depth >= _DEEPEST:
        yield path, f"<{type(value).__name__}>"
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield from leaves(
                value[key], f"{path}[{key!r}]" if not isinstance(key, str) else f"{path}.{key}", depth + 1
            )
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for name in value._fields:
            yield from leaves(getattr(value, name), f"{path}.{name}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]", depth + 1)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name, None), f"{path}.{field.name}", depth + 1)
    elif isinstance(value, (set, frozenset)):
        yield path, f"{{{', '.join(sorted(plain_text(repr(item)) for item in value))}}}"
    else:
        yield from _attributes(value, path, depth)


def _as_tensor(value: Any) -> Any:
    """A NumPy array or number as a tensor, a text where torch has no such dtype."""
    try:
        return torch.as_tensor(np.asarray(value))
    except TypeError:
        return repr(value)


def _attributes(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    """The tensors inside an object that is no container, and its plain numbers; other attributes are left alone."""
    held = getattr(value, "__dict__", None)
    if not isinstance(held, dict) or callable(value) or isinstance(value, torch.nn.Module):
        yield path, f"<{type(value).__name__}>"
        return
    found = False
    for name in sorted(held):
        if isinstance(held[name], (bool, int, float)):
            found = True
            yield f"{path}.{name}", held[name]
        elif isinstance(held[name], (torch.Tensor, np.ndarray, list, tuple, dict)) or hasattr(held[name], "__dict__"):
            for where, item in leaves(held[name], f"{path}.{name}", depth + 1):
                if isinstance(item, (torch.Tensor, bool, int, float)):
                    found = True
                    yield where, item
    if not found:
        yield path, f"<{type(value).__name__}>"


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors of a nested value."""
    for _, item in leaves(value):
        if isinstance(item, torch.Tensor):
            yield item


def literal(value: Any) -> str:
    """A short, stable text for something that is not a tensor."""
    text = plain_text(value if isinstance(value, str) else repr(value))
    return text if len(text) <= 200 else f"{text[:197]}..."


def plain_text(text: str) -> str:
    """Text without what changes from process to process (addresses) or cannot be written (lone surrogates)."""
    if " at 0x" in text:
        text = re.sub(r" at 0x[0-9a-fA-F]+", "", text)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
