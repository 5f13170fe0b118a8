"""Which tensors can be made into small pictures, and maps made small for one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.probe.sketch import is_plain_type


def has_picture(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds real numbers, side by side in memory."""
    odd = tensor.is_meta or tensor.is_nested or tensor.is_complex() or tensor.is_quantized
    return not odd and tensor.layout == torch.strided and tensor.numel() > 0 and is_plain_type(tensor)


def smaller(values: npt.NDArray[np.float32], most: int) -> npt.NDArray[np.float32]:
    """(n, h, w) -> the same with no side longer than `most`, by averages."""
    size = tuple(min(most, side) for side in values.shape[1:])
    if size == values.shape[1:]:
        return values
    return torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(values), size).numpy()
