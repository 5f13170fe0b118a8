"""The outputs of chosen layers, recorded during a pass so that a score can be differentiated by them.

pytorch-grad-cam supplies the methods; the passes are run here, because its own leave gradients and eval mode behind,
fail on frozen, half-precision and dict-output models, use the first call of a layer that is called twice, and let an
in-place operation that follows overwrite the activation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import torch

from pytest_modelviz.attribution.scores import Scores
from pytest_modelviz.attribution.spatial_layout import SpatialLayout, SpatialLayoutTracker
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.pass_recorder import CallObserver
from pytest_modelviz.probe.plain_numbers import dtype_name
from pytest_modelviz.records.trace import Call

Reshape = Callable[[torch.Tensor], torch.Tensor]


class NotDifferentiableError(ModelvizError):
    """The score does not depend on the layer in a way that has a gradient."""


@dataclass(frozen=True)
class LayerActivation:
    """Activation and gradient of a layer's call.

    Attributes:
        layer: the layer's name.
        call: the index of the call among the layer's calls.
        activation: float32, (maps, channels, h, w), (maps, channels, d, h, w) or (maps, channels, length).
        gradient: of the same dtype and shape; None if it was not requested.
        dtype: the dtype of the layer's output.
        layout: how the output lies over the image; None where the user's function has reshaped it.

    """

    layer: str
    call: int
    activation: torch.Tensor
    gradient: torch.Tensor | None
    dtype: str
    layout: SpatialLayout | None


class ActivationRecorder(CallObserver):
    """Records the outputs of some layers so that a score can be differentiated by them.

    Of several calls of a layer it records the last whose output has a spatial layout or is to be reshaped.

    Args:
        layers: names of layers, in the order of preference.
        input_data: the model's input, which the layouts refer to.
        reshape: the user's function from a layer's output to (batch, channels, h, w).

    """

    def __init__(self, layers: Sequence[str], input_data: object, reshape: Reshape | None = None) -> None:
        self._layers, self._reshape = tuple(layers), reshape
        self._layouts = SpatialLayoutTracker(input_data)
        self._recorded: dict[str, tuple[Call, torch.Tensor, SpatialLayout | None]] = {}
        self._unusable: dict[str, str] = {}

    def leave(self, call: Call, module: torch.nn.Module, output: object) -> object:
        """Record the output; the pass continues with a copy, which may be changed in place."""
        layout = self._layouts.track(module, output)
        if call.layer not in self._layers:
            return output
        if call.layer in self._recorded and layout is None and (self._reshape is None or not _is_floating(output)):
            return output
        if not _is_floating(output):
            self._unusable.setdefault(call.layer, _describe_unusable(call.layer, output))
            return output
        leaf = output.clone() if output.requires_grad else output.detach().clone().requires_grad_()
        self._recorded[call.layer] = call, leaf, layout
        with torch.enable_grad():  # also where the model disables gradients for frozen layers
            return leaf.clone()

    def activations(self, scores: Scores | None) -> list[LayerActivation]:
        """The layers' activations, with the gradients of `scores` where those are given.

        Returns:
            The activations in the order of preference; layers that no score depends on are left out.

        Raises:
            ModelvizError: a layer was never called, or its output has no spatial layout.
            NotDifferentiableError: none of the layers has a gradient.

        """
        for layer in self._layers:
            if layer not in self._recorded:
                reason = f"layer {layer!r} is never called in this pass; name one that is"
                raise ModelvizError(self._unusable.get(layer, reason))
        gradients = {} if scores is None else self._gradients(scores)
        activations = [
            self._activation(layer, gradients.get(layer))
            for layer in self._layers
            if scores is None or layer in gradients
        ]
        if not activations:
            call, _, _ = self._recorded[self._layers[0]]
            raise NotDifferentiableError(
                f"the score does not depend on the output of layer {call.layer!r} (call {call.index}) in a "
                f"differentiable way: name another layer, or look for no_grad, detach or argmax on the way"
            )
        return activations

    def _gradients(self, scores: Scores) -> dict[str, torch.Tensor]:
        """Gradients by layer, each with a row for each map; layers that no score depends on are left out."""
        leaves = [self._recorded[layer][1] for layer in self._layers]
        rows: list[Sequence[torch.Tensor | None]] = [
            torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=number < len(scores.values))
            if value.requires_grad
            else [None] * len(leaves)
            for number, value in enumerate(scores.values, 1)
        ]
        gradients = {}
        for layer, leaf, *column in zip(self._layers, leaves, *rows, strict=True):
            if any(gradient is not None for gradient in column):
                gradients[layer] = torch.cat([torch.zeros_like(leaf) if grad is None else grad for grad in column])
        return gradients

    def _activation(self, layer: str, gradient: torch.Tensor | None) -> LayerActivation:
        call, leaf, layout = self._recorded[layer]
        activation = leaf.detach()
        if gradient is not None and len(gradient) != len(activation):
            activation = activation.expand(len(gradient), *activation.shape[1:])
        reshape = self._reshape or (layout.channels_first if layout is not None else None)
        if reshape is None:
            raise ModelvizError(_describe_without_layout(layer, tuple(activation.shape)))
        activation, gradient = reshape(activation), None if gradient is None else reshape(gradient)
        if activation.dim() not in (3, 4, 5) or activation.shape[2:].numel() <= 1:
            raise ModelvizError(_describe_without_layout(layer, tuple(activation.shape)))
        return LayerActivation(
            layer=layer,
            call=call.index,
            activation=activation.float(),
            gradient=None if gradient is None else gradient.float(),
            dtype=dtype_name(leaf.dtype),
            layout=None if self._reshape else layout,
        )


def first_with_gradient(activations: Sequence[LayerActivation]) -> LayerActivation:
    """The first layer whose gradient is not zero everywhere, else the first.

    Tokens right before the head of a class token have a gradient of zero.
    """
    for activation in activations:
        if activation.gradient is None or bool(activation.gradient.any()):
            return activation
    return activations[0]


def _is_floating(output: object) -> TypeGuard[torch.Tensor]:
    return isinstance(output, torch.Tensor) and output.is_floating_point()


def _describe_unusable(layer: str, output: object) -> str:
    if isinstance(output, torch.Tensor):
        return f"layer {layer!r} returns {output.dtype}, which has no gradient; name another layer"
    return f"layer {layer!r} returns a {type(output).__name__}, not one tensor; name a layer that returns one"


def _describe_without_layout(layer: str, shape: tuple[int, ...]) -> str:
    if len(shape) == 3:
        return (
            f"layer {layer!r} gives {list(shape)}: its {shape[1]} tokens cannot be laid out in a grid, no layer before "
            f"it has an output of so many positions; pass reshape_transform= a function from (batch, tokens, channels) "
            f"to (batch, channels, height, width) or (batch, channels, length)"
        )
    return (
        f"layer {layer!r} gives {list(shape)}, which has no spatial extent (batch, channels, height, width); "
        f"name a layer that has, or pass reshape_transform="
    )
