"""Weights that follow from the names of parameters alone, for models without a checkpoint."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.tensors import splitmix64

_CHUNK = 2**20  # numbers drawn at once
_CONVOLUTION_GAIN = 2.0  # of a variance, half of which a rectifier takes away (He et al., 2015)
_BIASES, _VECTORS = (-0.05, 0.05), (0.7, 1.1)  # lowest and highest
_STATISTICS = {"running_mean": (-0.1, 0.1), "running_var": (0.8, 1.2)}


def seed_weights(model: torch.nn.Module, seed: int = 0) -> None:
    """Fill a model's parameters, and the running statistics of its norms, with numbers that follow from their names.

    `torch.manual_seed(0)` before a model is built gives weights that depend on the order in which its layers are built
    and on how this version of torch, on this kind of processor, draws normal numbers: a layer more, a loop turned
    round or an update changes them all, and a baseline of such a model drifts though its code computes the same. Here
    each parameter is drawn by itself, from a hash of its name and of each element's position, alike on every machine.
    Values are uniform: matrices and kernels have the variance 1 / fan-in (convolutions twice that), biases lie within
    0.05 of zero, other vectors (weights of norms, layer scales) between 0.7 and 1.1, so that every layer matters.

    Parameters of integers, other buffers and parameters without data (on the meta device) are left alone. A parameter
    that has several names is drawn by the first of them.

    A parameter that is renamed is drawn anew: to see whether renaming layers changes nothing else, load a checkpoint.

    Args:
        model: the model, which is changed in place; its modes and `requires_grad` stay.
        seed: another one gives other weights.

    Raises:
        ModelvizError: the model has lazy parameters, whose shapes are not known before its first call.

    Example:
        >>> model = torchvision.models.resnet18(weights=None)
        >>> seed_weights(model)

    """
    drawn: set[int] = set()
    with torch.no_grad():
        for path, module in model.named_modules():
            for name, tensor in _own_numbers(module):
                full_name = f"{path}.{name}" if path else name
                if torch.nn.parameter.is_lazy(tensor):
                    raise ModelvizError(f"{full_name} is a lazy parameter without a shape: call the model once before")
                if id(tensor) in drawn or tensor.is_meta or not (tensor.is_floating_point() or tensor.is_complex()):
                    continue
                drawn.add(id(tensor))
                real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
                values = _uniform(f"{seed} {full_name}", real.numel(), *_range(name, module, tensor))
                real.copy_(torch.from_numpy(values).reshape(real.shape))


def _own_numbers(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """A module's own parameters and running statistics; `named_modules` visits each module once."""
    yield from module.named_parameters(recurse=False)
    yield from ((name, buffer) for name, buffer in module.named_buffers(recurse=False) if name in _STATISTICS)


def _range(name: str, module: torch.nn.Module, tensor: torch.Tensor) -> tuple[float, float]:
    if tensor.dim() < 2:
        return _STATISTICS.get(name) or (_BIASES if "bias" in name else _VECTORS)
    is_kernel = tensor.dim() > 2 and "Conv" in type(module).__name__
    variance = _CONVOLUTION_GAIN / math.prod(tensor.shape[1:]) if is_kernel else 1 / max(1, tensor.shape[-1])
    return -math.sqrt(3 * variance), math.sqrt(3 * variance)


def _uniform(name: str, count: int, lowest: float, highest: float) -> npt.NDArray[np.float32]:
    values = np.empty(count, np.float32)
    for start in range(0, count, _CHUNK):
        index = np.arange(start, min(start + _CHUNK, count), dtype=np.uint64)
        digits = splitmix64(index, zlib.crc32(name.encode())) >> np.uint64(40)  # 24 bits, as float32 has
        values[start : start + len(index)] = lowest + (highest - lowest) * (digits.astype(np.float64) + 0.5) / 2**24
    return values
