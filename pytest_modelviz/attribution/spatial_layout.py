"""Which places of an image, or of a sequence, a layer's output stands for.

Of an image they lie channels first, channels last, or as tokens in a grid; of a sequence that one-dimensional
convolutions have read, channels first or last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from pytest_modelviz.probe.structure import tensors
from pytest_modelviz.probe.torch_internals import BatchNorm, ConvNd
from pytest_modelviz.records.trace import Call

_MOST_BEFORE = 8  # class, distillation and register tokens stand before the grid's
_FIRST = (ConvNd, BatchNorm)  # they compute on channels first
_STRIPS = (  # those compute on (batch, channels, length)
    torch.nn.Conv1d,
    torch.nn.ConvTranspose1d,
    torch.nn.BatchNorm1d,
    torch.nn.InstanceNorm1d,
    torch.nn.MaxPool1d,
    torch.nn.AvgPool1d,
    torch.nn.LPPool1d,
    torch.nn.AdaptiveAvgPool1d,
    torch.nn.AdaptiveMaxPool1d,
)
_LAST = (torch.nn.LayerNorm, torch.nn.Linear)  # and these along the last dimension
_SHRINKS = (1, 2, 4, 8, 16, 32)  # how far later stages merge an earlier grid's tokens


def image_frame(input_data: Any) -> tuple[int, ...] | None:
    """How many images an input holds, and their size: (batch, [depth,] height, width); None for other inputs.

    A detector's input is a list of images (channels, height, width); the first one's size stands for all.
    """
    found = list(tensors(input_data))
    for tensor in found:
        if tensor.dim() in (4, 5):
            return (tensor.shape[0], *tensor.shape[2:])
    images = [tensor for tensor in found if tensor.dim() == 3 and tensor.shape[0] in (1, 3)]
    return (len(images), *images[0].shape[1:]) if images else None


@dataclass(frozen=True)
class Places:
    """How an output lies over the image: (batch, channels, *grid), (batch, *grid, channels), (batch, tokens, channels).

    The grid of a sequence has one side. Of tokens, `before` stand before those of the grid, which are in the order of
    rows.
    """

    form: str
    grid: tuple[int, ...]
    before: int = 0

    @property
    def text(self) -> str:
        """For people; empty for the usual channels first."""
        size = " x ".join(map(str, self.grid))
        if self.form == "tokens":
            return f"{size} tokens{f' after {self.before} of another kind' if self.before else ''}"
        return "" if self.form == "channels first" else f"{size}, channels last"

    def maps(self, tensor: torch.Tensor) -> torch.Tensor:
        """(batch, channels, *grid), whatever the form."""
        if self.form == "channels first":
            return tensor
        if self.form == "channels last":
            return tensor.movedim(-1, 1)
        tokens = tensor[:, self.before :].transpose(1, 2)
        return tokens.reshape(*tokens.shape[:2], *self.grid)

    def output(self, maps: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """The way back: an output with these maps; tokens before the grid's are those of `like`."""
        if self.form == "channels first":
            return maps
        if self.form == "channels last":
            return maps.movedim(1, -1)
        return torch.cat([like[:, : self.before].expand(len(maps), -1, -1), maps.flatten(2).transpose(1, 2)], 1)


class PlacesFinder:
    """Follows a pass and says of each output which places it stands for.

    A grid is known by its proportions, which are the image's; a number of tokens by the grids before it: a patch
    embedding shows how many rows and columns there are.
    """

    def __init__(self, input_data: Any) -> None:
        frame = image_frame(input_data)
        self._batch: int | None = None if frame is None else frame[0]
        self._frame: tuple[int, ...] | None = None if frame is None else frame[-2:]
        self._is_image = any(tensor.dim() in (4, 5) for tensor in tensors(input_data))
        self._lines: set[int] = set()  # lengths of sequences
        self._widths: set[int] = set()  # and how many channels they had
        self._grids: list[tuple[int, int]] = []
        self._lengths: set[int] = set()
        self._forms: dict[tuple[int, ...], str] = {}

    def see(self, one: Call, module: torch.nn.Module, output: Any) -> Places | None:
        """The output's places, None where it is not one floating tensor with several of them."""
        if not isinstance(output, torch.Tensor) or not output.is_floating_point() or output.dim() not in (3, 4, 5):
            return None
        if output.dim() == 3 and not self._is_image:
            found = self._of_line(output, module)
            if found is not None:
                return found
        if self._batch is not None and output.shape[0] != self._batch:
            return None  # one for each region or window, not for each image
        found = self._of(output, module)
        if found is not None and len(found.grid) == 2 and found.form != "tokens":
            self._grids.append((found.grid[0], found.grid[1]))
            self._forms[tuple(output.shape)] = found.form
        elif output.dim() == 3:
            self._lengths.add(output.shape[1])
        return found

    def _of(self, output: torch.Tensor, module: torch.nn.Module) -> Places | None:
        shape = tuple(output.shape)
        if len(shape) == 5:
            return Places("channels first", shape[2:]) if math.prod(shape[2:]) > 1 and self._fits(shape[3:]) else None
        if len(shape) == 4:
            first, last = self._is_grid(shape[2:]), self._frame is not None and self._is_grid(shape[1:3])
            if first and last:  # as many channels as rows and columns: what it was computed by tells
                last = isinstance(module, _LAST) or self._forms.get(shape) == "channels last"
                first = not last or isinstance(module, _FIRST)
            if first:
                return Places("channels first", shape[2:])
            return Places("channels last", shape[1:3]) if last else None
        return self._of_tokens(shape[1]) if len(shape) == 3 else None

    def _of_line(self, output: torch.Tensor, module: torch.nn.Module) -> Places | None:
        """Of a sequence; None before the first convolution along it."""
        shape = tuple(output.shape)
        if isinstance(module, _STRIPS):
            form = "channels first"
        elif isinstance(module, _LAST):
            form = "channels last" if shape[1] in self._lines else ""
        else:
            form = self._forms.get(shape) or self._line_form(shape)
        if not form:
            return None
        self._forms[shape] = form
        channels, length = shape[1:] if form == "channels first" else (shape[2], shape[1])
        self._lines.add(length)
        self._widths.add(channels)
        return Places(form, (length,)) if length > 1 else None

    def _line_form(self, shape: tuple[int, ...]) -> str:
        """By the lengths and numbers of channels before; empty where they do not tell."""
        for first, known in ((2, self._lines), (1, self._widths)):
            if (shape[1] in known) != (shape[2] in known):
                return "channels first" if shape[first] in known else "channels last"
        return ""

    def _is_grid(self, size: tuple[int, ...]) -> bool:
        """Whether these are rows and columns, and not, as in attention, from each token to each."""
        between_tokens = size[0] == size[1] and size[0] in self._lengths and size not in self._grids
        return math.prod(size) > 1 and self._fits(size) and not between_tokens

    def _of_tokens(self, count: int) -> Places | None:
        for height, width in reversed(self._grids):
            for shrink in _SHRINKS:
                grid = math.ceil(height / shrink), math.ceil(width / shrink)
                before = count - math.prod(grid)
                if (before == 0 or (shrink == 1 and 0 < before <= _MOST_BEFORE)) and math.prod(grid) > before + 1:
                    return Places("tokens", grid, before)
        return None if self._grids or self._frame is None else self._of_proportions(count)

    def _of_proportions(self, count: int) -> Places | None:
        """Of a model that embeds its patches without a convolution."""
        high, wide = self._frame or (1, 1)
        for before in range(3):
            rows = round(math.sqrt((count - before) * high / wide)) if count > before + 1 else 0
            if rows and (count - before) % rows == 0 and self._fits((rows, (count - before) // rows)):
                return Places("tokens", (rows, (count - before) // rows), before)
        return None

    def _fits(self, size: tuple[int, ...]) -> bool:
        if self._frame is None:
            return True
        smaller = size[0] <= self._frame[0] and size[1] <= self._frame[1]
        # a map of h rows stands for a strip of the image each; rounding may cost one row or column
        return smaller and abs(size[0] * self._frame[1] / self._frame[0] - size[1]) <= 1.5
