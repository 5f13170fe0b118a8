"""The tensor of an input that is looked at, and how to put another one in its place."""

from __future__ import annotations

from typing import Any

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.containers import Put, tensors_to_replace
from pytest_modelviz.probe.structure import tensors


def image_in(input_data: Any, purpose: str) -> tuple[torch.Tensor, Put]:
    """The first floating tensor that may be images or volumes, else the first; and what makes an input of such a one.

    Looks into containers and objects, which are copied as far as it takes. Raises ModelvizError, naming the `purpose`,
    for none.
    """
    found = [(tensor, put) for tensor, put in tensors_to_replace(input_data) if tensor.is_floating_point()]
    if not found:
        kinds = sorted({str(tensor.dtype) for tensor in tensors(input_data)}) or ["no tensor"]
        if any(tensor.is_floating_point() for tensor in tensors(input_data)):
            kinds = ["one where no other can be put in its place"]
        raise ModelvizError(
            f"{purpose} needs an input with a floating tensor to differentiate by; this one has {', '.join(kinds)} "
            f"(of tokens, give their embeddings, as inputs_embeds=)"
        )
    return next((pair for pair in found if pair[0].dim() in (4, 5)), found[0])
