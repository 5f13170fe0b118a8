"""Convolutions of every kind, with a change of one filter, and the verdict of `kernel_maps` on two models."""

import copy
import warnings

import torch
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch has another home for them by now
    from torch.ao.nn import quantized


def compared(model, other, *, layers=None, other_layers=None, **tolerances):
    one, two = KernelMapsView(model, layers=layers), KernelMapsView(other, layers=other_layers or layers)
    return one.compare(one.capture(), two.capture(), Tolerances(**tolerances))


def changed(model, change):
    other = copy.deepcopy(model)
    with torch.no_grad():
        change(other)
    return other


def weight_norm_of_old():
    conv = nn.Conv2d(3, 4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(conv)


def quantised():
    conv = quantized.Conv2d(3, 4, 3)
    weight = torch.rand(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    conv.set_weight_bias(torch.quantize_per_tensor(weight, 0.01, 0, torch.qint8), torch.rand(4))
    return conv


# the text of the weight, its filters by themselves, and how they are shown
KINDS = {
    "1d": (lambda: nn.Conv1d(2, 4, 5), "float32[4, 2, 5]", (4, 2, 5), "positions", (1, 4, 5)),
    "colour": (lambda: nn.Conv2d(3, 4, 3), "float32[4, 3, 3, 3]", (4, 3, 3, 3), "colour", (4, 3, 3, 3)),
    "2d": (lambda: nn.Conv2d(2, 4, (3, 1)), "float32[4, 2, 3, 1]", (4, 2, 3, 1), "strongest", (4, 3, 1)),
    "pointwise": (lambda: nn.Conv2d(5, 4, 1), "float32[4, 5, 1, 1]", (4, 5, 1, 1), "inputs", (1, 4, 5)),
    "3d": (lambda: nn.Conv3d(2, 4, 3), "float32[4, 2, 3, 3, 3]", (4, 2, 3, 3, 3), "strongest", (4, 3, 3)),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4), "float32[4, 1, 3, 3]", (4, 1, 3, 3), "strongest", (4, 3, 3)),
    "transposed": (
        lambda: nn.ConvTranspose2d(6, 4, 2, groups=2),
        "float32[6, 2, 2, 2]",
        (4, 3, 2, 2),
        "colour",
        (4, 3, 2, 2),
    ),
    "transposed 1d": (lambda: nn.ConvTranspose1d(2, 4, 3), "float32[2, 4, 3]", (4, 2, 3), "positions", (1, 4, 3)),
    "bfloat16": (lambda: nn.Conv2d(3, 4, 3).bfloat16(), "bfloat16[4, 3, 3, 3]", (4, 3, 3, 3), "colour", (4, 3, 3, 3)),
    "half": (lambda: nn.Conv2d(3, 4, 3).half(), "float16[4, 3, 3, 3]", (4, 3, 3, 3), "colour", (4, 3, 3, 3)),
    "double": (lambda: nn.Conv2d(3, 4, 3).double(), "float64[4, 3, 3, 3]", (4, 3, 3, 3), "colour", (4, 3, 3, 3)),
    "complex": (
        lambda: nn.Conv2d(3, 4, 3, dtype=torch.complex64),
        "complex64[4, 3, 3, 3]",
        (4, 3, 3, 3),
        "colour",
        (4, 3, 3, 3),
    ),
    "quantised": (quantised, "qint8[4, 3, 3, 3]", (4, 3, 3, 3), "colour", (4, 3, 3, 3)),
    "weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
        "float32[4, 3, 3, 3]",
        (4, 3, 3, 3),
        "colour",
        (4, 3, 3, 3),
    ),
    "old weight norm": (weight_norm_of_old, "float32[4, 3, 3, 3]", (4, 3, 3, 3), "colour", (4, 3, 3, 3)),
    "scripted": (
        lambda: torch.jit.script(nn.Conv2d(3, 4, 3)),
        "float32[4, 3, 3, 3]",
        (4, 3, 3, 3),
        "colour",
        (4, 3, 3, 3),
    ),
    "traced": (
        lambda: torch.jit.trace(nn.ConvTranspose2d(2, 4, 3), torch.rand(1, 2, 5, 5)),
        "float32[2, 4, 3, 3]",
        (4, 2, 3, 3),
        "strongest",
        (4, 3, 3),
    ),
}
