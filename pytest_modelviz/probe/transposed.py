"""Copies of transposed tensors, such as channels-last activations, in a fraction of the time that torch's copies take.

Torch copies a transposed tensor number by number. Its shuffling of channels, which is a transposition of each sample,
moves whole registers; where a processor cannot do that, the plain copy remains.
"""

import functools
import math

import torch

_FEWEST = 2**11  # numbers from which looking for a transposition pays


def in_transposed_order(tensor: torch.Tensor) -> torch.Tensor | None:
    """The numbers of a tensor in one dimension, copied, where its memory holds transposed matrices; None elsewhere.

    Args:
        tensor: a tensor that is not contiguous.

    Example:
        >>> in_transposed_order(torch.randn(1, 96, 56, 56).to(memory_format=torch.channels_last)).shape
        torch.Size([301056])

    """
    if tensor.numel() < _FEWEST or tensor.dtype != torch.float32 or not tensor.is_cpu or not _shuffles():
        return None
    found = _matrices(tuple(tensor.shape), tensor.stride())
    return None if found is None else _transposed(tensor, *found)


@functools.lru_cache(maxsize=256)
def _matrices(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, int, int] | None:
    """How many matrices, of so many rows and columns, a memory holds whose transposes are the tensor; else None."""
    dims: list[tuple[int, int]] = []
    for size, stride in zip(shape, strides, strict=True):
        if size > 1:
            if dims and dims[-1][1] == size * stride:  # both dimensions are one
                dims[-1] = (dims[-1][0] * size, stride)
            else:
                dims.append((size, stride))
    if len(dims) not in (2, 3):
        return None
    (columns, inner), (rows, outer) = dims[-2:]
    if (inner, outer) != (1, columns) or (len(dims) == 3 and dims[0][1] != rows * columns):
        return None
    return math.prod(size for size, _ in dims[:-2]), rows, columns


def _transposed(tensor: torch.Tensor, count: int, rows: int, columns: int) -> torch.Tensor:
    size = rows * columns
    channels = tensor.as_strided((count, size, 1, 1), (size, 1, size, size))
    return torch.channel_shuffle(channels, rows).view(-1)


@functools.lru_cache(maxsize=1)
def _shuffles() -> bool:
    """Whether torch shuffles channels on this processor."""
    numbers = torch.arange(12.0, device="cpu")
    try:
        return torch.equal(_transposed(numbers, 2, 2, 3), numbers.view(2, 2, 3).mT.reshape(-1))
    except RuntimeError:
        return False
