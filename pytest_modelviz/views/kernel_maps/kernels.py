"""Convolution kernels made into plain data: sketches to compare, statistics to read, a few filters to look at."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from pytest_modelviz.probe.configuration import Describer
from pytest_modelviz.probe.modules import class_name, tie_groups
from pytest_modelviz.probe.quantised import quantised_values
from pytest_modelviz.probe.sketch import record_shape, record_tensor
from pytest_modelviz.records.norms import norm
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import WEIGHT_WIDTH, TensorRecord
from pytest_modelviz.views.kernel_maps.convolutions import Convolution
from pytest_modelviz.views.kernel_maps.records import MOST_LENGTH, MOST_SIDE, FilterSample, KernelStatistics

_LEAST = 1e-15  # the squares of numbers between this and its reciprocal add up in single precision
_PIECE = 2**20  # numbers of a weight that are in memory at once, unless a single filter has more
_AS_STORED = (torch.float32, torch.float64)  # dtypes that a filter is summed in as it is
_MOST_INPUTS = 64  # columns of a picture that shows a filter as a row of its inputs


def kernel_structure(model: torch.nn.Module, convolutions: Sequence[Convolution]) -> ModelStructure:
    """Classes, configuration and sketched weights and biases, without any pass."""
    describer = Describer()
    modules: dict[str, ModuleRecord] = {}
    weights: dict[str, TensorRecord] = {}
    known: dict[int, str] = {}
    for convolution in convolutions:
        names = {}
        for local, tensor in (("weight", convolution.weight), ("bias", convolution.bias)):
            if tensor is None:
                continue
            key = f"{convolution.name}.{local}" if convolution.name else local
            if known.setdefault(id(tensor), key) == key:
                weights[key] = record_tensor(tensor.detach(), WEIGHT_WIDTH)
            names[local] = known[id(tensor)]
            for suffix, record in quantised_values(tensor):
                names[f"{local}{suffix}"] = f"{known[id(tensor)]}{suffix}"
                weights[names[f"{local}{suffix}"]] = record
        modules[convolution.name] = describer.describe(convolution.module, names)
    own = {*modules, *weights}
    return ModelStructure(modules, weights, tuple(group for group in tie_groups(model) if own.intersection(group)))


def filters_first(weight: torch.Tensor, *, transposed: bool, groups: int) -> torch.Tensor:
    """A weight as (filters, inputs / groups, *kernel), also of a transposed convolution; quantised ones as numbers.

    In the weight's own precision, mostly without a copy: a weight may be larger than the memory.
    """
    weight = weight.detach()
    if weight.is_quantized:
        weight = weight.dequantize()
    if weight.layout != torch.strided:
        weight = weight.to_dense()
    if transposed:
        inputs, filters, *kernel = weight.shape
        weight = weight.reshape(groups, inputs // groups, filters, *kernel).transpose(1, 2)
        weight = weight.reshape(groups * filters, inputs // groups, *kernel)
    return weight


def _widened(weight: torch.Tensor) -> torch.Tensor:
    least = torch.complex64 if weight.is_complex() else torch.float32
    return weight.to(torch.promote_types(weight.dtype, least) if weight.dtype.itemsize > 1 else least)


class _Totals:
    """What the statistics of a weight are worked out from, piece by piece."""

    def __init__(self) -> None:
        self.count, self.sum, self.norm, self.broken = 0, 0.0, 0.0, 0
        self.low, self.high = math.inf, -math.inf

    def add(self, filters: torch.Tensor) -> None:
        numbers = torch.view_as_real(filters.resolve_conj()) if filters.is_complex() else filters
        if not math.isfinite(float(numbers.sum(dtype=torch.float64))):  # mostly as they are not finite themselves
            finite = torch.isfinite(numbers)
            self.broken += int((~finite.flatten(1).all(1)).sum())
            numbers = numbers[finite]
        values = numbers.cpu().double()
        if values.numel():
            self.count += values.numel()
            self.sum += float(values.sum())
            self.norm = math.hypot(self.norm, norm(values.numpy()))
            low, high = torch.aminmax(values)
            self.low, self.high = min(self.low, float(low)), max(self.high, float(high))


def statistics(convolution: Convolution) -> KernelStatistics:
    """Numbers for people: of each filter in its own precision, of all filters together in double precision."""
    name, bias = class_name(convolution.module), "" if convolution.bias is None else _text(convolution.bias)
    if convolution.weight is None:
        return KernelStatistics(name, "not initialised", bias, 0)
    text = _text(convolution.weight)
    weight = filters_first(convolution.weight, transposed=convolution.transposed, groups=convolution.groups)
    if weight.is_meta or not weight.numel():
        return KernelStatistics(name, text, bias, len(weight))
    moments = _moments(weight) if weight.dtype in _AS_STORED else None
    if moments is not None:
        return KernelStatistics(name, text, bias, len(weight), *moments)
    totals = _Totals()
    for filters in weight.split(max(1, _PIECE // weight[0].numel())):
        totals.add(_widened(filters))
    if not totals.count:
        return KernelStatistics(name, text, bias, len(weight), not_finite=totals.broken)
    rms, mean = totals.norm / math.sqrt(totals.count), totals.sum / totals.count
    return KernelStatistics(name, text, bias, len(weight), mean, rms, totals.low, totals.high, totals.broken)


def _moments(weight: torch.Tensor) -> tuple[float, float, float, float] | None:
    """(mean, rms, low, high) of numbers that are all finite; None where a filter's sums may not hold them."""
    low, high, sums = math.inf, -math.inf, []
    count = weight.numel()
    for filters in weight.split(max(1, _PIECE * len(weight) // count)) if count > _PIECE else [weight]:
        least, most = filters.aminmax()
        ends = float(least), float(most)
        peak = max(-ends[0], ends[1])  # NaN where there is any
        if not (peak == 0.0 or _LEAST < peak < 1 / _LEAST):
            return None
        low, high = min(low, ends[0]), max(high, ends[1])
        rows = filters.flatten(1)
        sums.append(torch.stack([rows.sum(1), torch.linalg.vector_norm(rows, dim=1)]).cpu().double().numpy())
    totals, norms = sums[0] if len(sums) == 1 else np.concatenate(sums, axis=1)
    return float(totals.sum()) / weight.numel(), norm(norms) / math.sqrt(weight.numel()), low, high


def sample(convolution: Convolution, most: int) -> FilterSample | None:
    """Up to `most` filters, spread evenly, of complex ones the real part; None where there is nothing to look at."""
    if convolution.weight is None or convolution.weight.is_meta or not convolution.weight.numel():
        return None
    weight = filters_first(convolution.weight, transposed=convolution.transposed, groups=convolution.groups)
    count = len(weight)
    step = math.ceil(count / most)
    weight = _widened(weight[::step]).real.float().cpu()
    filters, inputs, *kernel = weight.shape
    most = MOST_LENGTH if len(kernel) == 1 else MOST_SIDE
    shape, strongest = tuple(weight.shape[1:]), ()
    if math.prod(kernel) == 1:
        kind, values = "inputs", weight.reshape(1, filters, inputs)[:, :, :_MOST_INPUTS]
    elif len(kernel) == 2 and inputs == 3:
        kind, values = "colour", weight[..., :most, :most]
    else:
        channel = torch.nan_to_num(weight).flatten(2).norm(dim=2).argmax(1)
        channels, strongest = weight[torch.arange(filters), channel], tuple(channel.tolist())
        if len(kernel) == 1:
            kind, values = "positions", channels[None, :, :most]
        else:
            middle = channels if len(kernel) == 2 else channels[:, kernel[0] // 2]
            kind, values = "strongest", middle[:, :most, :most]
    return FilterSample(kind, values.numpy().copy(), step, count, shape, strongest)


def _text(tensor: torch.Tensor) -> str:
    return record_shape(tensor).dtype_and_shape
