"""Convolution kernels as plain data: sketches to compare, statistics to read, a few filters to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.probe.modules import Describer, class_name, tie_groups
from pytest_modelviz.probe.sketch import WEIGHT_WIDTH, record_shape, record_tensor
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.views.kernel_maps.convolutions import Convolution

_MOST_INPUTS = 64  # columns of a picture that shows a filter as a row of its inputs
# Of a picture: filters, pixels of a filter's longer side, and those of a filter that is a row.
MOST_FILTERS, MOST_SIDE, MOST_LENGTH = 64, 256, 1024

Filters = npt.NDArray[np.float32]


@dataclass(frozen=True)
class KernelStatistics:
    """One convolution's kernels. `weight` and `bias` are texts such as `float32[64, 3, 7, 7]`, `bias` may be empty.

    The numbers are of all finite elements (real and imaginary parts count apart), None where there are none;
    `not_finite` counts the filters that hold NaN or infinities.
    """

    class_name: str
    weight: str
    bias: str
    filters: int
    mean: float | None = None
    rms: float | None = None
    low: float | None = None
    high: float | None = None
    not_finite: int = 0


@dataclass(frozen=True)
class FilterSample:
    """Every `step`-th of a convolution's `of` filters of `shape`, as a person can look at them, float32.

    `kind` says what a filter shows. "colour": all of it, (filters, 3, h, w). "strongest": of each filter the input
    channel with the largest norm, which is in `inputs`, (filters, h, w), of a volume the middle slice. As rows of one
    picture, (1, filters, length): "positions" of the strongest channel of a one-dimensional kernel, and "inputs" of
    a kernel that has a single position. Of enormous kernels the first positions are kept.
    """

    kind: str
    values: Filters
    step: int
    of: int
    shape: tuple[int, ...]
    inputs: tuple[int, ...] = ()


def kernel_structure(model: torch.nn.Module, found: Sequence[Convolution]) -> ModelStructure:
    """Classes, configuration and sketched weights and biases, without any pass."""
    describer = Describer()
    modules: dict[str, ModuleRecord] = {}
    weights: dict[str, TensorRecord] = {}
    known: dict[int, str] = {}
    for one in found:
        names = {}
        for local, tensor in (("weight", one.weight), ("bias", one.bias)):
            if tensor is None:
                continue
            key = f"{one.name}.{local}" if one.name else local
            if known.setdefault(id(tensor), key) == key:
                weights[key] = record_tensor(tensor.detach(), WEIGHT_WIDTH, statistics=False)
            names[local] = known[id(tensor)]
        modules[one.name] = describer.describe(one.module, names)
    own = {*modules, *weights}
    return ModelStructure(modules, weights, tuple(group for group in tie_groups(model) if own.intersection(group)))


def filters_first(weight: torch.Tensor, *, transposed: bool = False, groups: int = 1) -> torch.Tensor:
    """A weight as (filters, inputs / groups, *kernel), also of a transposed convolution; quantised ones as numbers.

    Of no less than single precision, which holds every narrower kind.
    """
    weight = weight.detach()
    if weight.is_quantized:
        weight = weight.dequantize()
    if weight.layout != torch.strided:
        weight = weight.to_dense()
    least = torch.complex64 if weight.is_complex() else torch.float32
    weight = weight.to(torch.promote_types(weight.dtype, least) if weight.dtype.itemsize > 1 else least)
    if transposed:
        inputs, filters, *kernel = weight.shape
        weight = weight.reshape(groups, inputs // groups, filters, *kernel).transpose(1, 2)
        weight = weight.reshape(groups * filters, inputs // groups, *kernel)
    return weight


def statistics(one: Convolution) -> KernelStatistics:
    """Numbers for people, in double precision so that they do not depend on the order of adding up."""
    name, bias = class_name(one.module), "" if one.bias is None else _text(one.bias)
    if one.weight is None:
        return KernelStatistics(name, "not initialised", bias, 0)
    text = _text(one.weight)
    weight = filters_first(one.weight, transposed=one.transposed, groups=one.groups)
    if weight.is_meta or not weight.numel():
        return KernelStatistics(name, text, bias, len(weight))
    numbers = torch.view_as_real(weight.resolve_conj()) if weight.is_complex() else weight
    finite = torch.isfinite(numbers)
    broken = int((~finite.flatten(1).all(1)).sum())
    kept = numbers[finite].cpu().double()
    if not kept.numel():
        return KernelStatistics(name, text, bias, len(weight), not_finite=broken)
    size, mean = float(kept.square().mean().sqrt()), float(kept.mean())
    return KernelStatistics(name, text, bias, len(weight), mean, size, float(kept.min()), float(kept.max()), broken)


def sample(one: Convolution, most: int) -> FilterSample | None:
    """Up to `most` filters, spread evenly, of complex ones the real part; None where there is nothing to look at."""
    if one.weight is None or one.weight.is_meta or not one.weight.numel():
        return None
    weight = filters_first(one.weight, transposed=one.transposed, groups=one.groups)
    count = len(weight)
    step = math.ceil(count / most)
    weight = weight[::step].real.float().cpu()
    filters, inputs, *kernel = weight.shape
    most = MOST_LENGTH if len(kernel) == 1 else MOST_SIDE
    if math.prod(kernel) == 1:
        rows = weight.reshape(1, filters, inputs)[:, :, :_MOST_INPUTS]
        return FilterSample("inputs", rows.numpy().copy(), step, count, tuple(weight.shape[1:]))
    if len(kernel) == 2 and inputs == 3:
        shown = weight[..., :most, :most]
        return FilterSample("colour", shown.numpy().copy(), step, count, tuple(weight.shape[1:]))
    strongest = torch.nan_to_num(weight).flatten(2).norm(dim=2).argmax(1)
    shown = weight[torch.arange(filters), strongest]
    if len(kernel) == 3:
        shown = shown[:, kernel[0] // 2]
    shown = shown[:, :most] if len(kernel) == 1 else shown[:, :most, :most]
    kind = "positions" if len(kernel) == 1 else "strongest"
    values = shown[None] if len(kernel) == 1 else shown
    return FilterSample(kind, values.numpy().copy(), step, count, tuple(weight.shape[1:]), tuple(strongest.tolist()))


def _text(tensor: torch.Tensor) -> str:
    return record_shape(tensor).dtype_and_shape
