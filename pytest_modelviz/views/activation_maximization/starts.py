"""Where a climb starts, and whether its arguments make sense."""

import math
import operator
from collections.abc import Sequence

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.modules import observed_modules, parameters_and_buffers
from pytest_modelviz.views.activation_maximization.ascent import noise

_SIDE = 224


def require_filters(filters: Sequence[int] | int) -> tuple[int, ...]:
    """One filter or several different ones, counted from 0."""
    given = [filters] if isinstance(filters, int) else filters
    wanted = _whole_numbers(given)
    if not wanted or any(number < 0 for number in wanted) or isinstance(filters, (bool, str)):
        raise ModelvizError(f"filters takes the numbers of filters, counted from 0, not {filters!r}")
    if len(set(wanted)) < len(wanted):
        raise ModelvizError(f"filters={filters!r} names a filter twice")
    return wanted


def _whole_numbers(given: Sequence[int]) -> tuple[int, ...]:
    """Nothing for what are none."""
    try:
        return tuple(map(operator.index, given))
    except TypeError:
        return ()


def require_number(name: str, value: float, *, least: float, whole: bool = False) -> float:
    """A finite number: a whole one of at least `least`, or any above it."""
    kind = "a whole number" if whole else "a number"
    fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not fits or not math.isfinite(value) or value < least or (not whole and value <= least):
        raise ModelvizError(f"{name} takes {kind} {'of at least' if whole else 'above'} {least:g}, not {value!r}")
    return float(value)


def start_of(
    model: torch.nn.Module, input_size: Sequence[int] | None, image: torch.Tensor | None, seed: int
) -> torch.Tensor:
    """The input to start from, float32 without a batch dimension: the image, else seeded noise of the input's size."""
    if image is not None:
        if input_size is not None:
            raise ModelvizError("activation_maximization takes input_size or image, not both")
        return _of_image(image)
    device = next((p.device for p in parameters_and_buffers(model)[0].values()), torch.device("cpu"))
    return torch.from_numpy(noise(_size(model, input_size), seed)).to(device)


def _of_image(image: torch.Tensor) -> torch.Tensor:
    if not isinstance(image, torch.Tensor) or not image.is_floating_point() or image.dim() < 2 or image.shape[0] != 1:
        kind = f"{image.dtype}{list(image.shape)}" if isinstance(image, torch.Tensor) else type(image).__name__
        raise ModelvizError(
            f"image takes one floating-point tensor (1, channels, height, width) as the model does, not {kind}"
        )
    return image.detach()[0].float().clone()


def _size(model: torch.nn.Module, input_size: Sequence[int] | None) -> tuple[int, ...]:
    rank, channels = _first_convolution(model)
    if input_size is None:
        if rank != 2 or not channels:
            raise ModelvizError("the input's size is not known: pass input_size=, such as (3, 224, 224), or image=")
        return (channels, _SIDE, _SIDE)
    size = _whole_numbers(input_size)
    if not size or any(side < 1 for side in size):
        raise ModelvizError(f"input_size takes positive whole numbers such as (3, 224, 224), not {input_size!r}")
    # with its batch dimension, as model_summary takes it
    if size[0] == 1 and len(size) > 1 and len(size) == (rank + 2 if rank else 4):
        return size[1:]
    return size


def _first_convolution(model: torch.nn.Module) -> tuple[int, int]:
    """How many dimensions its kernel has and how many channels it takes; zeros where there is none."""
    for _, module in observed_modules(model):
        kernel, channels = getattr(module, "kernel_size", None), getattr(module, "in_channels", None)
        if isinstance(kernel, tuple) and isinstance(channels, int):
            return len(kernel), channels
    return 0, 0
