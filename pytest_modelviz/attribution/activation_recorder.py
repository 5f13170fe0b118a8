"""The outputs of chosen layers, recorded during a pass such that a score can be differentiated by them.

pytorch-grad-cam supplies the methods; the passes are made here, because its own leave gradients and eval mode behind,
fail on frozen, half-precision and dict-output models, use the first call of a layer that is called twice, and lose the
activation to an in-place operation that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pytest_modelviz.attribution.scores import Scores
from pytest_modelviz.attribution.spatial_layout import SpatialLayout, SpatialLayoutTracker
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.call_observer import CallObserver
from pytest_modelviz.records.trace import Call

Reshape = Callable[[torch.Tensor], torch.Tensor]


class NotDifferentiableError(ModelvizError):
    """The score does not depend on the layer in a way that has a gradient."""


@dataclass(frozen=True)
class LayerActivation:
    """Activation and gradient, float32 (maps, channels, h, w[, d]) or (maps, channels, length), of one layer's call.

    `gradient` is None where none was asked for. `layout` is None where the user's own function has reshaped them.
    """

    layer: str
    call: int
    activation: torch.Tensor
    gradient: torch.Tensor | None
    dtype: str
    layout: SpatialLayout | None


class ActivationRecorder(CallObserver):
    """Records the outputs of some layers, such that the score can be differentiated by them.

    Of several calls of a layer it is the last whose output has a spatial layout, or that `reshape`, the user's own way
    to (batch, channels, h, w), is to give one. `layers` are in the order of preference.
    """

    def __init__(self, layers: Sequence[str], input_data: Any, reshape: Reshape | None = None) -> None:
        self._layers, self._reshape = tuple(layers), reshape
        self._layouts = SpatialLayoutTracker(input_data)
        self._recorded: dict[str, tuple[Call, torch.Tensor, SpatialLayout | None]] = {}
        self._unusable: dict[str, str] = {}

    def leave(self, call: Call, module: torch.nn.Module, output: Any) -> Any:
        """The pass goes on from a copy, so that it may work in place."""
        layout = self._layouts.track(module, output)
        if call.layer not in self._layers:
            return output
        if call.layer in self._recorded and layout is None and (self._reshape is None or not _is_floating(output)):
            return output
        if not _is_floating(output):
            self._unusable.setdefault(call.layer, _not_usable(call.layer, output))
            return output
        leaf = output.clone() if output.requires_grad else output.detach().clone().requires_grad_()
        self._recorded[call.layer] = call, leaf, layout
        with torch.enable_grad():  # also where the model runs a frozen part of itself without
            return leaf.clone()

    def activations(self, scores: Scores | None) -> list[LayerActivation]:
        """The layers' activations, with the gradients of `scores` where those are given.

        Returns:
            One for each layer, in the order of preference; those that no score depends on are left out.

        Raises:
            ModelvizError: a layer was never called, or its output has no spatial layout.
            NotDifferentiableError: none of the layers has a gradient.

        """
        for layer in self._layers:
            if layer not in self._recorded:
                never = f"layer {layer!r} is never called in this pass; name one that is"
                raise ModelvizError(self._unusable.get(layer, never))
        gradients = {} if scores is None else self._gradients(scores)
        found = [
            self._activation(layer, gradients.get(layer))
            for layer in self._layers
            if scores is None or layer in gradients
        ]
        if not found:
            call, _, _ = self._recorded[self._layers[0]]
            raise NotDifferentiableError(
                f"the score does not depend on the output of layer {call.layer!r} (call {call.index}) in a "
                f"differentiable way: name another layer, or look for no_grad, detach or argmax on the way"
            )
        return found

    def _gradients(self, scores: Scores) -> dict[str, torch.Tensor]:
        """By layer, one row a map; layers that no score depends on are left out."""
        leaves = [self._recorded[layer][1] for layer in self._layers]
        rows: list[Sequence[torch.Tensor | None]] = []
        for number, value in enumerate(scores.values):
            more = number + 1 < len(scores.values)
            nothing = [None] * len(leaves)
            rows.append(
                torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=more)
                if value.requires_grad
                else nothing
            )
        found = {}
        for at, (layer, leaf) in enumerate(zip(self._layers, leaves, strict=True)):
            own = [row[at] for row in rows]
            if any(gradient is not None for gradient in own):
                found[layer] = torch.cat([torch.zeros_like(leaf) if grad is None else grad for grad in own])
        return found

    def _activation(self, layer: str, gradient: torch.Tensor | None) -> LayerActivation:
        call, leaf, layout = self._recorded[layer]
        activation = leaf.detach()
        if gradient is not None and len(gradient) != len(activation):
            activation = activation.expand(len(gradient), *activation.shape[1:])
        turn = self._reshape or (layout.channels_first if layout is not None else None)
        if turn is None:
            raise ModelvizError(_not_spatial(layer, tuple(activation.shape)))
        activation, gradient = turn(activation), None if gradient is None else turn(gradient)
        if activation.dim() not in (3, 4, 5) or activation.shape[2:].numel() <= 1:
            raise ModelvizError(_not_spatial(layer, tuple(activation.shape)))
        return LayerActivation(
            layer=layer,
            call=call.index,
            activation=activation.float(),
            gradient=None if gradient is None else gradient.float(),
            dtype=str(leaf.dtype).removeprefix("torch."),
            layout=None if self._reshape else layout,
        )


def first_with_gradient(activations: Sequence[LayerActivation]) -> LayerActivation:
    """The first layer whose gradient is not zero everywhere, else the first: before a class token's head it may be."""
    for activation in activations:
        if activation.gradient is None or bool(activation.gradient.any()):
            return activation
    return activations[0]


def _is_floating(output: Any) -> bool:
    return isinstance(output, torch.Tensor) and output.is_floating_point()


def _not_usable(layer: str, output: Any) -> str:
    if isinstance(output, torch.Tensor):
        return f"layer {layer!r} returns {output.dtype}, which has no gradient; name another layer"
    return f"layer {layer!r} returns a {type(output).__name__}, not one tensor; name a layer that returns one"


def _not_spatial(layer: str, shape: tuple[int, ...]) -> str:
    if len(shape) == 3:
        return (
            f"layer {layer!r} gives {list(shape)}: its {shape[1]} tokens cannot be laid out in a grid, no layer before "
            f"it has an output of so many places; pass reshape_transform= a function from (batch, tokens, channels) to "
            f"(batch, channels, height, width) or (batch, channels, length)"
        )
    return (
        f"layer {layer!r} gives {list(shape)}, which has no spatial extent (batch, channels, height, width); "
        f"name a layer that has, or pass reshape_transform="
    )
