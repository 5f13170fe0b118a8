"""The numbers that a tensor of any kind stands for, as a plain dense tensor."""

import functools

import torch

from pytest_modelviz.probe.torch_internals import is_inside_transform
from pytest_modelviz.probe.transposed import in_transposed_order

PLAIN_TENSORS = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
ARITHMETIC = {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.bool}
_NARROW = {torch.float32, torch.float16, torch.bfloat16}


def is_plain_type(tensor: torch.Tensor) -> bool:
    """Whether a tensor is of torch's own classes: a subclass may override any operation."""
    return type(tensor) in PLAIN_TENSORS and not is_inside_transform(tensor)


@functools.lru_cache(maxsize=64)
def dtype_name(dtype: torch.dtype) -> str:
    """A dtype as baselines hold it: "float32"."""
    return str(dtype).removeprefix("torch.")


def arithmetic_dtype(dtype: torch.dtype) -> torch.dtype:
    narrow = dtype in _NARROW or (dtype.is_floating_point and dtype.itemsize < 2)  # the float8 family
    return torch.float32 if narrow else torch.float64


def flat_numbers(tensor: torch.Tensor) -> torch.Tensor:
    """All elements in one dimension, float32 or float64."""
    if tensor.dtype != torch.float32 or tensor.layout != torch.strided or tensor.is_nested:
        tensor = _plain_numbers(tensor)
    tensor = tensor.resolve_neg()
    transposed = None if tensor.is_contiguous() else in_transposed_order(tensor)
    return tensor.reshape(-1) if transposed is None else transposed


def readable(tensor: torch.Tensor) -> torch.Tensor:
    """The dense tensor that a subclass represents, if it is quantised."""
    return tensor.dequantize() if is_quantised_subclass(tensor) else tensor


def is_quantised_subclass(tensor: torch.Tensor) -> bool:
    """Whether a tensor's class has a `dequantize` of its own, as the quantised ones of torchao do."""
    kinds = type(tensor).__mro__
    return any("dequantize" in vars(kind) for kind in kinds[: kinds.index(torch.Tensor)])


def dense(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_nested:
        parts = [part.reshape(-1) for part in tensor.unbind()]
        tensor = torch.cat(parts) if parts else torch.zeros(0, dtype=tensor.dtype)
    return tensor if tensor.layout == torch.strided else tensor.to_dense()


def _plain_numbers(tensor: torch.Tensor) -> torch.Tensor:
    tensor = dense(tensor)
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.is_complex():
        if tensor.dtype == torch.complex32:
            tensor = tensor.to(torch.complex64)
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.to(arithmetic_dtype(tensor.dtype))
