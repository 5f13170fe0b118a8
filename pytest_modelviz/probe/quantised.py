"""What quantised weights are stored as: integers, scales and zero points, also those that torch packs for an engine.

The numbers that a quantised tensor stands for are recorded as those of any other tensor. They alone do not say whether
one of a million integers is another.
"""

import functools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from pytest_modelviz.probe import torch_internals as internals
from pytest_modelviz.probe.modules import all_modules, holding_attributes
from pytest_modelviz.probe.nested_values import DEEPEST
from pytest_modelviz.probe.plain_numbers import is_plain_type, is_quantised_subclass
from pytest_modelviz.probe.sketch import record_shape, record_tensor
from pytest_modelviz.probe.torch_internals import is_inside_transform
from pytest_modelviz.records.structure import PACKED, QUANTISED_INTEGERS, QUANTISED_SCALE, QUANTISED_ZERO_POINT
from pytest_modelviz.records.tensors import INTEGERS, TensorRecord, splitmix64

_SCALE_WIDTH = 7  # of sketches of a channel's scales: there are few, and a baseline should not grow by them
_CHUNK = 2**16  # integers, whose products fit into the processor's cache
_MODULUS = 2**64
_FINGERPRINT_BITS = 53  # of a fingerprint: a float64 holds them
_UNQUANTISED = (torch.Tensor, torch.nn.Parameter)  # unless their dtype is
_RECURRENT = "torch.ao.nn.quantized.dynamic.modules.rnn"
_TORCHAO = {"qdata": QUANTISED_INTEGERS, "scale": QUANTISED_SCALE, "zero_point": QUANTISED_ZERO_POINT}
_MAY_BE_PACKED = (list, tuple, dict, torch.ScriptObject)  # of an attribute's kinds; nearly all are none of these
_INTEGERS = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
# dtypes of weights that are compared exactly
_EXACT = (*_INTEGERS, torch.bool, torch.uint16, torch.uint32, torch.uint64)


def quantised_values(tensor: torch.Tensor) -> Iterator[tuple[str, TensorRecord]]:
    """Yield (suffix of its name, record) for the integers, scale and zero point of a quantised weight.

    Args:
        tensor: any tensor; one that is not quantised, or whose integers cannot be read, has none. Quantised
            are torch's own dtypes and torchao's classes.

    Example:
        >>> weight = torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8)
        >>> [suffix for suffix, _ in quantised_values(weight)]
        [' (integers)', ' (scale)', ' (zero point)']

    """
    if (type(tensor) in _UNQUANTISED and not tensor.is_quantized) or tensor.is_meta or is_inside_transform(tensor):
        return
    for suffix, values in (_of_torch(tensor) if tensor.is_quantized else _of_subclass(tensor)).items():
        if values.dtype in _INTEGERS:
            yield suffix, _with_fingerprint(record_shape(values), values)
        elif suffix != QUANTISED_INTEGERS:
            # added up in double precision, so that equal ones have equal sketches on every processor
            yield suffix, record_tensor(values.detach().to(torch.float64), _SCALE_WIDTH)


def _of_torch(tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    try:
        integers = tensor.detach().int_repr()
    except (RuntimeError, NotImplementedError):
        return {}
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        scales = torch.tensor(tensor.q_scale(), dtype=torch.float64)
        zeros = torch.tensor(tensor.q_zero_point())
    else:
        scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()  # floats in embeddings
    return {QUANTISED_INTEGERS: integers, QUANTISED_SCALE: scales, QUANTISED_ZERO_POINT: zeros}


def _of_subclass(tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a subclass that stands for numbers holds, as far as its attributes are named as in torchao."""
    if is_plain_type(tensor) or not is_quantised_subclass(tensor):
        return {}
    held = ((suffix, getattr(tensor, name, None)) for name, suffix in _TORCHAO.items())
    return {suffix: values for suffix, values in held if isinstance(values, torch.Tensor) and is_plain_type(values)}


def packed_tensors_of(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (name with `PACKED`, tensor) for what a module's attributes hold packed for an engine of quantised layers.

    Such are the weights of recurrent layers, and those that a model's own code gives to `torch.ops.quantized`. Torch's
    other quantised modules have methods for theirs (see `modules.packed_tensors`).
    """
    defined_in = type(module).__module__
    has_methods = defined_in.startswith("torch.ao.nn.") and defined_in != _RECURRENT
    if has_methods or isinstance(module, torch.jit.ScriptModule):
        return
    for name, value in holding_attributes(module):
        if isinstance(value, _MAY_BE_PACKED):
            for path, packed in _packed_in(value, name):
                yield from ((f"{inner}{PACKED}", tensor) for inner, tensor in _unpacked(packed, path))


def needs_engine(model: torch.nn.Module) -> bool:
    """Whether a model holds anything that torch packs for an engine of quantised layers."""
    held = (pair for module in all_modules(model) for pair in holding_attributes(module))
    return any(True for name, value in held if isinstance(value, _MAY_BE_PACKED) for _ in _packed_in(value, name))


def with_exact_integers(record: TensorRecord, tensor: torch.Tensor) -> TensorRecord:
    """The record of a weight of integers or booleans, with a fingerprint where its sketch does not hold them all."""
    if tensor.dtype not in _EXACT or tensor.layout != torch.strided or not is_plain_type(tensor):
        return record
    is_whole = record.sketch.size in (0, tensor.numel()) or INTEGERS in record.value_fingerprints
    return record if is_whole else _with_fingerprint(record, tensor.detach())


def _packed_in(value: object, path: str, depth: int = 0) -> Iterator[tuple[str, object]]:
    """Yield (path, object) for what is packed in an attribute, also in the lists, tuples and dicts there."""
    if isinstance(value, (list, tuple, dict)) and depth < DEEPEST:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(item, _MAY_BE_PACKED):
                yield from _packed_in(item, f"{path}[{key!r}]", depth + 1)
    elif internals.is_packed(value):
        yield path, value


def _unpacked(value: object, path: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _unpacked(item, f"{path}[{index}]")
    elif internals.is_packed(value):
        yield from _unpacked(internals.packed_state(value), path)


def _with_fingerprint(record: TensorRecord, integers: torch.Tensor) -> TensorRecord:
    fingerprints = {**record.value_fingerprints, INTEGERS: (integers.numel(), _fingerprint(integers))}
    return replace(record, value_fingerprints=fingerprints)


def _fingerprint(integers: torch.Tensor) -> int:
    """A sum of products with random 64-bit factors, modulo 2^64: any other integers have another, but by chance.

    The factors of a chunk are those of the first, times one of its own.
    """
    flat, total = integers.reshape(-1), 0
    with torch.no_grad(), internals.without_dispatch_modes():
        for index, chunk in enumerate(flat.split(_CHUNK)):
            total += int((chunk.to(torch.int64) * _factors(flat.device)[: chunk.numel()]).sum()) * _chunk_factor(index)
    return total % _MODULUS >> 64 - _FINGERPRINT_BITS


@functools.lru_cache(maxsize=4)
def _factors(device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False):
        return torch.from_numpy(splitmix64(np.arange(1, _CHUNK + 1, dtype=np.uint64), 5).view(np.int64)).to(device)


def _chunk_factor(index: int) -> int:
    return int(splitmix64(np.array([index + 1], np.uint64), 6)[0]) | 1
