"""Small pictures of activations, taken inside the pass before an in-place operation overwrites them."""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch

from pytest_modelviz.probe.forward import ModelOutput
from pytest_modelviz.probe.layer_names import match_layers
from pytest_modelviz.probe.modules import observed_modules
from pytest_modelviz.probe.nested_values import tensors
from pytest_modelviz.probe.pass_recorder import CallObserver
from pytest_modelviz.probe.thumbnails import has_picture, shrink
from pytest_modelviz.probe.torch_internals import child_table, without_dispatch_modes
from pytest_modelviz.records.trace import Call
from pytest_modelviz.views.feature_maps.records import CHANNELS, SIDE, Thumbnail

_MOST = 8  # layers that are pictured where none are asked for


class Sample(NamedTuple):
    """A copy of what a picture will show: (channels, height, width), each `step`-th of so many channels."""

    values: torch.Tensor
    step: int
    of: int


def sample(tensor: torch.Tensor, memory: torch.Tensor | None = None) -> Sample | None:
    """Up to eight channels of the first sample of an activation, None for what has no picture.

    (batch, channels, h, w) and (batch, channels, depth, h, w) show channels spread evenly; (batch, tokens, features)
    is one image; (batch, features) is folded into one. The copy is made in `memory` where it fits: writing into memory
    that was written to before takes half the time.
    """
    if not has_picture(tensor) or tensor.dim() not in (2, 3, 4, 5):
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
        values = first[: step * CHANNELS : step]
        copied = values.clone() if memory is None or not _fits(memory, values) else memory.copy_(values)
        return Sample(copied, step, tensor.shape[1])


def _fits(memory: torch.Tensor, values: torch.Tensor) -> bool:
    if memory.is_inference():  # it may be written into in inference mode only
        return False
    return (memory.shape, memory.dtype, memory.device) == (values.shape, values.dtype, values.device)


def spatial(output: ModelOutput) -> torch.Tensor | None:
    """The output itself where it is one floating tensor (batch, channels, h, w[, d]) with more than one position."""
    if isinstance(output, torch.Tensor) and output.dim() in (4, 5) and output.is_floating_point():
        return output if output.shape[2:].numel() > 1 else None
    return None


class ThumbnailCollector(CallObserver):
    """Collects thumbnails during a pass: of the layers asked for, else of the last layer of each resolution."""

    def __init__(self, model: torch.nn.Module, layers: Iterable[str] | None) -> None:
        self._wanted: set[str] | None = None
        if layers is not None:
            names = [name for name, _ in observed_modules(model)]
            self._wanted = set()
            for pattern in layers:
                self._wanted |= set(match_layers(pattern, names))
        self._samples: dict[object, tuple[str, Sample]] = {}

    def leave(self, call: Call, module: torch.nn.Module, output: ModelOutput) -> ModelOutput:
        if self._wanted is not None:
            if call.layer in self._wanted:
                tensor = next(iter(tensors(output)), None)
                self._keep(call.layer, call.layer, tensor)
        elif call.layer:
            tensor = spatial(output)
            if tensor is not None and not child_table(module) and not _is_padding(type(module).__mro__):
                self._keep(tensor.shape[2:], call.layer, tensor)
            elif isinstance(output, torch.Tensor) and output.dim() == 3:
                self._keep("sequence", call.layer, output)
        return output

    def _keep(self, key: object, layer: str, tensor: torch.Tensor | None) -> None:
        if tensor is None:
            return
        known = self._samples.get(key)
        taken = sample(tensor, None if known is None else known[1].values)
        if taken is not None:
            self._samples.pop(key, None)
            self._samples[key] = (layer, taken)

    def thumbnails(self) -> dict[str, Thumbnail]:
        """By layer name, in the order of execution."""
        samples = dict(self._samples)
        if len(samples) > 1 and self._wanted is None:
            samples.pop("sequence", None)
        pictured = list(samples.values())[-_MOST:] if self._wanted is None else samples.values()
        return {
            layer: Thumbnail(shrink(taken.values, SIDE), [taken.step * at for at in range(len(taken.values))], taken.of)
            for layer, taken in pictured
        }


@functools.lru_cache(maxsize=1024)
def _is_padding(bases: tuple[type, ...]) -> bool:
    """Padding makes resolutions that nobody thinks of as the model's."""
    return any(base.__module__ == "torch.nn.modules.padding" for base in bases)
