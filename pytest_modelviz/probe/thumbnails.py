"""Preparing tensors for small pictures: whether one can be pictured, and maps reduced to its size."""

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.probe.plain_numbers import is_plain_type


def has_picture(tensor: torch.Tensor) -> bool:
    """Whether a tensor can be pictured: it holds real numbers in a strided layout."""
    odd = tensor.is_meta or tensor.is_nested or tensor.is_complex() or tensor.is_quantized
    return not odd and tensor.layout == torch.strided and tensor.numel() > 0 and is_plain_type(tensor)


def shrink(values: torch.Tensor, longest: int) -> npt.NDArray[np.float32]:
    """Shrink maps (n, h, w) by averaging so that no side is longer than `longest`."""
    small = values.float()
    size = (min(longest, small.shape[1]), min(longest, small.shape[2]))
    if size != tuple(small.shape[1:]):
        small = torch.nn.functional.adaptive_avg_pool2d(small, size)
    return small.cpu().numpy()
