"""One forward and one backward pass for an explanation: activations of layers, and the score's gradient on them.

pytorch-grad-cam supplies the methods; the passes are made here, because its own leave gradients and eval mode behind,
fail on frozen, half-precision and dict-output models, use the first call of a layer that is called twice, and lose the
activation to an in-place operation that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pytest_modelviz.attribution.scores import Scores, Target, Weigh, class_score, is_explained_by_itself, scores_of
from pytest_modelviz.attribution.spatial_layout import Places, PlacesFinder
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.forward import call
from pytest_modelviz.probe.modules import class_name
from pytest_modelviz.probe.observe import Observer
from pytest_modelviz.probe.sketch import record_shape, record_tensor
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace

# Narrower than a feature map's: it only has to tell an equal forward pass from another one.
TRACE_WIDTH, TRACE_WEIGHT_WIDTH = 31, 13

Reshape = Callable[[torch.Tensor], torch.Tensor]


class NotDifferentiableError(ModelvizError):
    """The score does not depend on the layer in a way that has a gradient."""


@dataclass(frozen=True)
class Maps:
    """Activation and gradient, float32 (maps, channels, h, w[, d]) or (maps, channels, length), of one layer's call.

    `gradient` is None where none was asked for. `places` is None where the user's own function has reshaped them.
    """

    layer: str
    call: int
    activation: torch.Tensor
    gradient: torch.Tensor | None
    dtype: str
    places: Places | None


def look(tensor: torch.Tensor) -> TensorRecord:
    """How the passes of explanations are watched."""
    return record_tensor(tensor, TRACE_WIDTH, statistics=False)


def spatial_layers(model: torch.nn.Module, input_data: Any) -> dict[str, Places]:
    """The layers with an output of several places, and which, that left last first.

    Of those whose outputs are tokens only norms and blocks count: what lies inside attention is no picture of a stage.
    """
    found: dict[str, Places] = {}
    finder = PlacesFinder(input_data)

    def see(one: Call, module: torch.nn.Module, output: Any) -> Any:
        places = finder.see(one, module, output)
        if one.layer and places is not None:
            of_tokens = places.form == "tokens" or (places.form == "channels last" and len(places.grid) == 1)
            inner = of_tokens and not module._modules and "norm" not in class_name(module).lower()
            if not inner:
                found.pop(one.layer, None)
                found[one.layer] = places
        return output

    with Observer(model, look=record_shape, weight_width=None, on_output=see).watching(), torch.no_grad():
        call(model, input_data)
    if not found:
        raise ModelvizError(
            "no layer of the model has an output with spatial extent (batch, channels, height, width), nor tokens in a "
            "grid that can be inferred, nor (batch, channels, length) of a one-dimensional convolution, which a class "
            "activation map needs; name a target_layer and pass reshape_transform="
        )
    return dict(reversed(found.items()))


class Taps:
    """Keeps the outputs of some layers, such that the score can be differentiated by them.

    Of several calls of a layer it is the last whose output has places, or that `reshape`, the user's own way to (batch,
    channels, h, w), is to give some. `layers` are in the order of preference.
    """

    def __init__(self, layers: Sequence[str], input_data: Any, reshape: Reshape | None = None) -> None:
        self._layers, self._reshape = tuple(layers), reshape
        self._finder = PlacesFinder(input_data)
        self._kept: dict[str, tuple[Call, torch.Tensor, Places | None]] = {}
        self._unusable: dict[str, str] = {}

    def see(self, one: Call, module: torch.nn.Module, output: Any) -> Any:
        """An observer's `on_output`: the pass goes on from a copy, so that it may work in place."""
        places = self._finder.see(one, module, output)
        if one.layer not in self._layers:
            return output
        if one.layer in self._kept and places is None and (self._reshape is None or not _is_floating(output)):
            return output
        if not _is_floating(output):
            self._unusable.setdefault(one.layer, _not_usable(one.layer, output))
            return output
        leaf = output.clone() if output.requires_grad else output.detach().clone().requires_grad_()
        self._kept[one.layer] = one, leaf, places
        with torch.enable_grad():  # also where the model runs a frozen part of itself without
            return leaf.clone()

    def maps(self, scores: Scores | None) -> list[Maps]:
        """One for each layer, in the order of preference, those without a gradient left out; without scores, of all.

        Raises ModelvizError where a layer was never called or has no places, NotDifferentiableError where none of the
        layers has a gradient.
        """
        for layer in self._layers:
            if layer not in self._kept:
                never = f"layer {layer!r} is never called in this pass; name one that is"
                raise ModelvizError(self._unusable.get(layer, never))
        gradients = {} if scores is None else self._gradients(scores)
        found = [
            self._maps(layer, gradients.get(layer)) for layer in self._layers if scores is None or layer in gradients
        ]
        if not found:
            one, _, _ = self._kept[self._layers[0]]
            raise NotDifferentiableError(
                f"the score does not depend on the output of layer {one.layer!r} (call {one.index}) in a "
                f"differentiable way: name another layer, or look for no_grad, detach or argmax on the way"
            )
        return found

    def _gradients(self, scores: Scores) -> dict[str, torch.Tensor]:
        """By layer, one row a map; layers that no score depends on are left out."""
        leaves = [self._kept[layer][1] for layer in self._layers]
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
                found[layer] = torch.cat([torch.zeros_like(leaf) if one is None else one for one in own])
        return found

    def _maps(self, layer: str, gradient: torch.Tensor | None) -> Maps:
        one, leaf, places = self._kept[layer]
        activation = leaf.detach()
        if gradient is not None and len(gradient) != len(activation):
            activation = activation.expand(len(gradient), *activation.shape[1:])
        turn = self._reshape or (places.maps if places is not None else None)
        if turn is None:
            raise ModelvizError(_no_places(layer, tuple(activation.shape)))
        activation, gradient = turn(activation), None if gradient is None else turn(gradient)
        if activation.dim() not in (3, 4, 5) or activation.shape[2:].numel() <= 1:
            raise ModelvizError(_no_places(layer, tuple(activation.shape)))
        return Maps(
            layer=layer,
            call=one.index,
            activation=activation.float(),
            gradient=None if gradient is None else gradient.float(),
            dtype=str(leaf.dtype).removeprefix("torch."),
            places=None if self._reshape else places,
        )


def _is_floating(output: Any) -> bool:
    return isinstance(output, torch.Tensor) and output.is_floating_point()


def _not_usable(layer: str, output: Any) -> str:
    if isinstance(output, torch.Tensor):
        return f"layer {layer!r} returns {output.dtype}, which has no gradient; name another layer"
    return f"layer {layer!r} returns a {type(output).__name__}, not one tensor; name a layer that returns one"


def _no_places(layer: str, shape: tuple[int, ...]) -> str:
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


@dataclass(frozen=True)
class Explanation:
    """The trace of the pass, what was explained, and the layers' maps in the order of preference."""

    trace: ForwardTrace
    scores: Scores
    maps: Sequence[Maps]


def explain(
    model: torch.nn.Module,
    input_data: Any,
    target: Target,
    taps: Taps | None,
    *,
    weigh: Weigh = class_score,
    differentiate: bool = True,
) -> Explanation:
    """Run the model once and differentiate the target's score by the last outputs of the tapped layers."""
    on_output = None if taps is None else taps.see
    observer = Observer(model, look=look, weight_width=TRACE_WEIGHT_WIDTH, on_output=on_output)
    with observer.watching():
        output = call(model, input_data)
    needless = target is None and not differentiate and not is_explained_by_itself(output)
    scores = Scores((), (), ()) if needless else scores_of(output, target, weigh)
    maps = [] if taps is None else taps.maps(scores if differentiate else None)
    return Explanation(observer.trace, scores, maps)


def with_places(maps: Sequence[Maps]) -> Maps:
    """The first layer whose gradient reaches any place, else the first: before a class token's head none may."""
    for one in maps:
        if one.gradient is None or bool(one.gradient.any()):
            return one
    return maps[0]
