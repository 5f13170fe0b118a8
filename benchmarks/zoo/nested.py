"""Nested arguments and results with one tensor changed, and a pass of a model with any of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn


def with_first_tensor(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same nested value with its first tensor of floating-point numbers, if there is one, changed."""
    return _with_first(value, change, lambda tensor: tensor.is_floating_point() and tensor.numel() > 0)[0]


def with_first_tokens(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same nested value with its first tensor of integers changed."""
    return _with_first(value, change, lambda tensor: tensor.dtype == torch.int64)[0]


def _with_first(
    value: Any, change: Callable[[torch.Tensor], torch.Tensor], is_meant: Callable[[torch.Tensor], bool]
) -> tuple[Any, bool]:
    if isinstance(value, torch.Tensor):
        return (change(value), True) if is_meant(value) else (value, False)
    if isinstance(value, Mapping):
        for key, item in value.items():
            changed, is_done = _with_first(item, change, is_meant)
            if is_done:
                other = copy.copy(value)
                other[key] = changed  # type: ignore[index]  # dicts and models' outputs
                return other, True
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            changed, is_done = _with_first(item, change, is_meant)
            if is_done:
                items = [*value[:index], changed, *value[index + 1 :]]
                return (type(value)(*items) if hasattr(value, "_make") else type(value)(items)), True
    return value, False


def run(model: nn.Module, data: Any) -> Any:
    """Call a model in a pass without gradients; if it draws random numbers, the same in each."""
    torch.manual_seed(0)
    with torch.no_grad():
        return model(**data) if isinstance(data, dict) else model(*data) if isinstance(data, tuple) else model(data)
