"""How a layer's output lies over the image, or over the sequence, that the model was given.

Positions of an image come channels first, channels last, or as tokens in a grid; those of a sequence that
one-dimensional convolutions have read, channels first or last.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from pytest_modelviz.probe.nested_values import tensors
from pytest_modelviz.probe.torch_internals import BatchNorm, ConvNd

Form = Literal["channels first", "channels last", "tokens"]

_MOST_LEADING_TOKENS = 8  # class, distillation and register tokens stand before the grid's
_CHANNELS_FIRST_MODULES = (ConvNd, BatchNorm)
_CHANNELS_LAST_MODULES = (torch.nn.LayerNorm, torch.nn.Linear)  # they compute along the last dimension
_SEQUENCE_MODULES = (  # they compute on (batch, channels, length)
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
_SHRINKS = (1, 2, 4, 8, 16, 32)  # how far later stages merge an earlier grid's tokens


def image_frame(input_data: object) -> tuple[int, ...] | None:
    """The number of images in an input and their size.

    Args:
        input_data: an input with a tensor of four or five dimensions, or with images (channels, height, width) as a
            detector takes them, of which the first determines the size.

    Returns:
        (batch, height, width) or (batch, depth, height, width); None for other inputs.

    Example:
        >>> image_frame(torch.zeros(2, 3, 224, 160))
        (2, 224, 160)

    """
    input_tensors = list(tensors(input_data))
    for tensor in input_tensors:
        if tensor.dim() in (4, 5):
            return (tensor.shape[0], *tensor.shape[2:])
    images = [tensor for tensor in input_tensors if tensor.dim() == 3 and tensor.shape[0] in (1, 3)]
    return (len(images), *images[0].shape[1:]) if images else None


@dataclass(frozen=True)
class SpatialLayout:
    """How an output lies over the image.

    Attributes:
        form: "channels first" is (batch, channels, *grid), "channels last" (batch, *grid, channels), "tokens" (batch,
            tokens, channels) with the tokens of the grid row by row.
        grid: rows and columns, or depth, rows and columns, or the length of a sequence.
        before: how many tokens precede those of the grid.

    """

    form: Form
    grid: tuple[int, ...]
    before: int = 0

    @property
    def text(self) -> str:
        """A text for reports; empty for the usual channels first."""
        size = " x ".join(map(str, self.grid))
        if self.form == "tokens":
            return f"{size} tokens{f' after {self.before} of another kind' if self.before else ''}"
        return "" if self.form == "channels first" else f"{size}, channels last"

    def channels_first(self, tensor: torch.Tensor) -> torch.Tensor:
        """Reshape an output of this form to (batch, channels, *grid)."""
        if self.form == "channels first":
            return tensor
        if self.form == "channels last":
            return tensor.movedim(-1, 1)
        tokens = tensor[:, self.before :].transpose(1, 2)
        return tokens.reshape(*tokens.shape[:2], *self.grid)

    def restore(self, maps: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Reshape maps (batch, channels, *grid) to this form; tokens before the grid's are taken from `like`."""
        if self.form == "channels first":
            return maps
        if self.form == "channels last":
            return maps.movedim(1, -1)
        return torch.cat([like[:, : self.before].expand(len(maps), -1, -1), maps.flatten(2).transpose(1, 2)], 1)


class SpatialLayoutTracker:
    """Infers the layout of each output of a pass.

    A grid is recognised by its proportions, which are the image's; the grid of tokens is one of an earlier layer, such
    as a patch embedding.
    """

    def __init__(self, input_data: object) -> None:
        frame = image_frame(input_data)
        self._batch: int | None = None if frame is None else frame[0]
        self._frame: tuple[int, ...] | None = None if frame is None else frame[-2:]
        self._is_image = any(tensor.dim() in (4, 5) for tensor in tensors(input_data))
        self._sequence_lengths: set[int] = set()
        self._channel_counts: set[int] = set()
        self._grids: list[tuple[int, int]] = []
        self._token_counts: set[int] = set()
        self._forms: dict[tuple[int, ...], Form] = {}

    def track(self, module: torch.nn.Module, output: object) -> SpatialLayout | None:
        """The layout of a module's output, None where it is no floating tensor with several positions."""
        if not isinstance(output, torch.Tensor) or not output.is_floating_point() or output.dim() not in (3, 4, 5):
            return None
        if output.dim() == 3 and not self._is_image and (layout := self._sequence_layout(output, module)):
            return layout
        if self._batch is not None and output.shape[0] != self._batch:
            return None  # it has a row for each region or window, not for each image
        layout = self._image_layout(output, module)
        if layout is not None and len(layout.grid) == 2 and layout.form != "tokens":
            self._grids.append((layout.grid[0], layout.grid[1]))
            self._forms[tuple(output.shape)] = layout.form
        elif output.dim() == 3:
            self._token_counts.add(output.shape[1])
        return layout

    def _image_layout(self, output: torch.Tensor, module: torch.nn.Module) -> SpatialLayout | None:
        shape = tuple(output.shape)
        if len(shape) == 5:
            is_volume = math.prod(shape[2:]) > 1 and self._fits(shape[3:])
            return SpatialLayout("channels first", shape[2:]) if is_volume else None
        if len(shape) == 4:
            first, last = self._is_grid(shape[2:]), self._frame is not None and self._is_grid(shape[1:3])
            if first and last:  # as many channels as rows and columns: the module decides
                last = isinstance(module, _CHANNELS_LAST_MODULES) or self._forms.get(shape) == "channels last"
                first = not last or isinstance(module, _CHANNELS_FIRST_MODULES)
            if first:
                return SpatialLayout("channels first", shape[2:])
            return SpatialLayout("channels last", shape[1:3]) if last else None
        return self._token_layout(shape[1]) if len(shape) == 3 else None

    def _sequence_layout(self, output: torch.Tensor, module: torch.nn.Module) -> SpatialLayout | None:
        """The layout of a sequence; None before the first convolution along it."""
        shape = tuple(output.shape)
        form: Form | None
        if isinstance(module, _SEQUENCE_MODULES):
            form = "channels first"
        elif isinstance(module, _CHANNELS_LAST_MODULES):
            form = "channels last" if shape[1] in self._sequence_lengths else None
        else:
            form = self._forms.get(shape) or self._sequence_form(shape)
        if form is None:
            return None
        self._forms[shape] = form
        channels, length = shape[1:] if form == "channels first" else (shape[2], shape[1])
        self._sequence_lengths.add(length)
        self._channel_counts.add(channels)
        return SpatialLayout(form, (length,)) if length > 1 else None

    def _sequence_form(self, shape: tuple[int, ...]) -> Form | None:
        """The form by earlier lengths and numbers of channels; None where it is ambiguous."""
        for dimension, sizes in ((2, self._sequence_lengths), (1, self._channel_counts)):
            if (shape[1] in sizes) != (shape[2] in sizes):
                return "channels first" if shape[dimension] in sizes else "channels last"
        return None

    def _is_grid(self, size: tuple[int, ...]) -> bool:
        """Whether these are rows and columns, and not the pairs of tokens in attention."""
        between_tokens = size[0] == size[1] and size[0] in self._token_counts and size not in self._grids
        return math.prod(size) > 1 and self._fits(size) and not between_tokens

    def _token_layout(self, count: int) -> SpatialLayout | None:
        for height, width in reversed(self._grids):
            for shrink in _SHRINKS:
                grid = math.ceil(height / shrink), math.ceil(width / shrink)
                before = count - math.prod(grid)
                is_possible = before == 0 or (shrink == 1 and 0 < before <= _MOST_LEADING_TOKENS)
                if is_possible and math.prod(grid) > before + 1:
                    return SpatialLayout("tokens", grid, before)
        return None if self._grids or self._frame is None else self._token_layout_by_proportions(count)

    def _token_layout_by_proportions(self, count: int) -> SpatialLayout | None:
        """The layout of tokens in a model that embeds its patches without a convolution."""
        height, width = self._frame or (1, 1)
        for before in range(3):
            rows = round(math.sqrt((count - before) * height / width)) if count > before + 1 else 0
            if rows and (count - before) % rows == 0 and self._fits((rows, (count - before) // rows)):
                return SpatialLayout("tokens", (rows, (count - before) // rows), before)
        return None

    def _fits(self, size: tuple[int, ...]) -> bool:
        if self._frame is None:
            return True
        is_smaller = size[0] <= self._frame[0] and size[1] <= self._frame[1]
        # each row represents a strip of the image; rounding may cost a row or column
        return is_smaller and abs(size[0] * self._frame[1] / self._frame[0] - size[1]) <= 1.5
