"""The tensor of an input that is looked at, and how to put another one in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.structure import tensors

Put = Callable[[torch.Tensor], Any]


def image_in(input_data: Any, purpose: str) -> tuple[torch.Tensor, Put]:
    """The first floating tensor that may be images or volumes, else the first; and what makes an input of such a one.

    Looks into tuples, lists and mappings, which become dicts. Raises ModelvizError, naming the `purpose`, for none.
    """
    found = [(tensor, put) for tensor, put in _places(input_data) if tensor.is_floating_point()]
    if not found:
        kinds = sorted({str(tensor.dtype) for tensor in tensors(input_data)}) or ["no tensor"]
        raise ModelvizError(
            f"{purpose} needs an input with a floating tensor to differentiate by; this one has {', '.join(kinds)} "
            f"(of tokens, give their embeddings, as inputs_embeds=)"
        )
    return next((pair for pair in found if pair[0].dim() in (4, 5)), found[0])


def _places(value: Any) -> Iterator[tuple[torch.Tensor, Put]]:
    if isinstance(value, torch.Tensor):
        yield value, lambda new: new
    elif isinstance(value, (tuple, list)):
        for at, item in enumerate(value):
            for tensor, put in _places(item):
                yield tensor, _inside_sequence(value, at, put)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            for tensor, put in _places(item):
                yield tensor, _inside_mapping(value, key, put)


def _inside_sequence(value: Any, at: int, put: Put) -> Put:
    make = getattr(value, "_make", type(value))  # of a named tuple
    return lambda new: make([*value[:at], put(new), *value[at + 1 :]])


def _inside_mapping(value: Any, key: Any, put: Put) -> Put:
    return lambda new: {**value, key: put(new)}
