"""The image in an input, and how to replace it."""

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.containers import Put, tensors_to_replace
from pytest_modelviz.probe.nested_values import tensors


def image_in(input_data: object, purpose: str) -> tuple[torch.Tensor, Put]:
    """Find the image in an input.

    Args:
        input_data: the input; containers and objects are searched.
        purpose: the name of the view, for the error.

    Returns:
        The first floating tensor of four or five dimensions, else the first floating tensor, and a function from its
        replacement to a copy of the input.

    Raises:
        ModelvizError: there is no floating tensor that can be replaced.

    """
    images = [(tensor, put) for tensor, put in tensors_to_replace(input_data) if tensor.is_floating_point()]
    if not images:
        kinds = sorted({str(tensor.dtype) for tensor in tensors(input_data)}) or ["no tensor"]
        if any(tensor.is_floating_point() for tensor in tensors(input_data)):
            kinds = ["one that cannot be replaced"]
        raise ModelvizError(
            f"{purpose} needs an input with a floating-point tensor to differentiate; this one has {', '.join(kinds)} "
            f"(for tokens, pass their embeddings, as inputs_embeds=)"
        )
    return next((pair for pair in images if pair[0].dim() in (4, 5)), images[0])
