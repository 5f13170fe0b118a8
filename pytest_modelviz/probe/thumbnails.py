"""Small pictures of activations and inputs, taken inside the pass before an in-place operation overwrites them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.probe.forward import matching
from pytest_modelviz.probe.modules import observed_modules
from pytest_modelviz.probe.sketch import is_plain_type
from pytest_modelviz.probe.structure import tensors
from pytest_modelviz.probe.torch_internals import child_table, without_dispatch_modes
from pytest_modelviz.records.trace import Call

MOST = 8
CHANNELS = 8
SIDE = 32
INPUT_SIDE = 96

Thumbnail = npt.NDArray[np.float32]


class Sample(NamedTuple):
    """A copy of what a picture will show: (channels, height, width), every how many of how many channels."""

    values: torch.Tensor
    step: int
    of: int


def sample(tensor: torch.Tensor) -> Sample | None:
    """Up to eight channels of the first sample of an activation, None for what has no picture.

    (batch, channels, h, w) and (batch, channels, depth, h, w) show channels spread evenly; (batch, tokens, features)
    is one image; (batch, features) is folded into one.
    """
    if not _is_plain(tensor) or tensor.dim() not in (2, 3, 4, 5):
        return None
    with without_dispatch_modes():
        first = tensor.detach()[0]
        if first.dim() == 1:
            count = first.numel()
            width = int(np.ceil(count**0.5))
            first = torch.nn.functional.pad(first.float(), (0, -count % width)).view(1, -1, width)
        elif first.dim() == 2:
            first = first[None]
        elif first.dim() == 4:
            first = first[:, first.shape[1] // 2]
        step = max(1, first.shape[0] // CHANNELS)
        return Sample(first[: step * CHANNELS : step].clone(), step, tensor.shape[1])


def thumbnail(values: torch.Tensor) -> Thumbnail:
    """A sample's channels at no more than 32 x 32, float32."""
    small = values.float()
    size = (min(SIDE, small.shape[1]), min(SIDE, small.shape[2]))
    if size != tuple(small.shape[1:]):
        small = torch.nn.functional.adaptive_avg_pool2d(small, size)
    return small.cpu().numpy()


def _is_plain(tensor: torch.Tensor) -> bool:
    odd = tensor.is_meta or tensor.is_nested or tensor.is_complex() or tensor.is_quantized
    return not odd and tensor.layout == torch.strided and tensor.numel() > 0 and is_plain_type(tensor)


def smaller(values: Thumbnail, most: int) -> Thumbnail:
    """(n, h, w) -> the same with no side longer than `most`, by averages."""
    size = tuple(min(most, side) for side in values.shape[1:])
    if size == values.shape[1:]:
        return values
    return torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(values), size).numpy()


def photo(input_data: Any, number: int = 0) -> npt.NDArray[np.uint8] | None:
    """A small picture (h, w, 3), uint8, of a sample of the first image-like tensor, stretched to its full contrast."""
    for tensor in tensors(input_data):
        if _is_plain(tensor) and tensor.dim() in (3, 4) and tensor.shape[-3] in (1, 3) and min(tensor.shape[-2:]) > 7:
            with torch.no_grad():
                image = tensor.detach()[min(number, len(tensor) - 1)] if tensor.dim() == 4 else tensor.detach()
                image = torch.nan_to_num(image.float(), posinf=0.0, neginf=0.0)
                factor = INPUT_SIDE / max(image.shape[-2:])
                if factor < 1:
                    height, width = (max(1, round(side * factor)) for side in image.shape[-2:])
                    image = torch.nn.functional.adaptive_avg_pool2d(image, (height, width))
                low, high = image.min(), image.max()
                unit = (image - low) / (high - low if high > low else 1.0)
                pixels = (unit * 255).round().to(torch.uint8).permute(1, 2, 0).expand(-1, -1, 3)
                return np.array(pixels.cpu().numpy(), dtype=np.uint8)
    return None


def spatial(output: Any) -> torch.Tensor | None:
    """The output itself where it is one floating tensor (batch, channels, h, w[, d]) with more than one position."""
    if isinstance(output, torch.Tensor) and output.dim() in (4, 5) and output.is_floating_point():
        return output if output.shape[2:].numel() > 1 else None
    return None


class Album:
    """Collects thumbnails during a pass: of the layers asked for, else of the last layer of each resolution."""

    def __init__(self, model: torch.nn.Module, layers: Iterable[str] | None) -> None:
        self._wanted: set[str] | None = None
        if layers is not None:
            names = [name for name, _ in observed_modules(model)]
            self._wanted = set()
            for pattern in layers:
                self._wanted |= set(matching(pattern, names))
        self._pages: dict[object, tuple[str, Sample]] = {}

    def see(self, call: Call, module: torch.nn.Module, output: Any) -> Any:
        """An observer's `on_output`; the output passes through unchanged."""
        if self._wanted is not None:
            if call.layer in self._wanted:
                tensor = next(iter(tensors(output)), None)
                self._keep(call.layer, call.layer, tensor)
        elif call.layer:
            tensor = spatial(output)
            if tensor is not None and not child_table(module) and not _pads(module):
                self._keep(tensor.shape[2:], call.layer, tensor)
            elif isinstance(output, torch.Tensor) and output.dim() == 3:
                self._keep("sequence", call.layer, output)
        return output

    def _keep(self, key: object, layer: str, tensor: torch.Tensor | None) -> None:
        seen = None if tensor is None else sample(tensor)
        if seen is not None:
            self._pages.pop(key, None)
            self._pages[key] = (layer, seen)

    def pages(self) -> dict[str, tuple[Thumbnail, list[int], int]]:
        """Layer name -> (thumbnail, channels shown, channels in all), in the order of execution."""
        pages = dict(self._pages)
        if len(pages) > 1 and self._wanted is None:
            pages.pop("sequence", None)
        kept = list(pages.values())[-MOST:] if self._wanted is None else pages.values()
        return {
            layer: (thumbnail(seen.values), [seen.step * at for at in range(len(seen.values))], seen.of)
            for layer, seen in kept
        }


def _pads(module: torch.nn.Module) -> bool:
    """Padding makes resolutions that nobody thinks of as the model's."""
    return _is_padding(type(module).__mro__)


@functools.lru_cache(maxsize=1024)
def _is_padding(bases: tuple[type, ...]) -> bool:
    return any(base.__module__ == "torch.nn.modules.padding" for base in bases)
