"""One forward and one backward pass for a class activation map: a layer's activation and the score's gradient on it.

pytorch-grad-cam supplies the methods; the passes are made here, because its own leave gradients and eval mode behind,
fail on frozen, half-precision and dict-output models, use the first call of a layer that is called twice, and lose the
activation to an in-place operation that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.observe import Observer
from pytest_modelviz.probe.run import call, find_layer
from pytest_modelviz.probe.sketch import record_shape, record_tensor
from pytest_modelviz.probe.structure import tensors
from pytest_modelviz.probe.thumbnails import spatial
from pytest_modelviz.trace import Call, Trace

# Narrower than a feature map's: it only has to tell an equal forward pass from another one.
TRACE_WIDTH, TRACE_WEIGHT_WIDTH = 31, 13

Target = int | Sequence[Any] | Callable[..., Any] | None


@dataclass(frozen=True)
class Explanation:
    """Activation and gradient, float32 (batch, channels, h, w[, d]) or None, of one call of one layer.

    `targets` are the classes explained, one a sample, empty for targets that are functions; `predicted` the classes
    with the highest scores, empty where the output is no table of scores.
    """

    layer: str
    call: int
    activation: torch.Tensor
    gradient: torch.Tensor
    dtype: str
    targets: tuple[int, ...]
    predicted: tuple[int, ...]
    score: float
    trace: Trace


class NotDifferentiableError(ModelvizError):
    """The score does not depend on the layer in a way that has a gradient."""


def spatial_layers(model: torch.nn.Module, input_data: Any) -> list[str]:
    """The modules with an output (batch, channels, h, w) of more than one position, that left last first.

    Where the input is an image, h and w must have its proportions: (batch, heads, tokens, features) has not.
    """
    found: list[str] = []
    frame = next((tuple(t.shape[-2:]) for t in tensors(input_data) if t.dim() in (4, 5)), None)

    def see(one: Call, module: torch.nn.Module, output: Any) -> Any:
        tensor = spatial(output)
        if one.layer and tensor is not None and _fits(tuple(tensor.shape[-2:]), frame):
            found.append(one.layer)
        return output

    with Observer(model, look=record_shape, weight_width=None, on_output=see).watching(), torch.no_grad():
        call(model, input_data)
    if not found:
        raise ModelvizError(
            "no layer of the model has an output with spatial extent (batch, channels, height, width), which a class "
            "activation map needs; for a transformer name a target_layer and pass reshape_transform="
        )
    return list(dict.fromkeys(reversed(found)))


def _fits(size: tuple[int, ...], frame: tuple[int, ...] | None) -> bool:
    if frame is None:
        return True
    smaller = size[0] <= frame[0] and size[1] <= frame[1]
    # a map of h rows stands for a strip of the image each; rounding may cost one row or column
    return smaller and abs(size[0] * frame[1] / frame[0] - size[1]) <= 1.5


def explain(
    model: torch.nn.Module,
    input_data: Any,
    layer: str,
    target: Target,
    reshape: Callable[[torch.Tensor], torch.Tensor] | None,
) -> Explanation:
    """Run the model once and differentiate the target's score by the last output of `layer`."""
    find_layer(model, layer)
    tapped: list[tuple[Call, torch.Tensor]] = []

    def tap(one: Call, module: torch.nn.Module, output: Any) -> Any:
        if one.layer != layer:
            return output
        if not isinstance(output, torch.Tensor):
            raise ModelvizError(
                f"layer {layer!r} returns a {type(output).__name__}, not one tensor; name a layer that returns one"
            )
        if not output.is_floating_point():
            raise ModelvizError(f"layer {layer!r} returns {output.dtype}, which has no gradient; name another layer")
        leaf = output.detach().clone().requires_grad_()
        tapped.append((one, leaf))
        return leaf.clone()  # what follows may work in place

    observer = Observer(
        model,
        look=lambda tensor: record_tensor(tensor, TRACE_WIDTH, statistics=False),
        weight_width=TRACE_WEIGHT_WIDTH,
        on_output=tap,
    )
    with observer.watching():
        output = call(model, input_data)
    if not tapped:
        raise ModelvizError(f"layer {layer!r} is never called in this pass; name one that is")
    one, leaf = tapped[-1]
    scores = main_output(output)
    predicted = _predicted(scores)
    score, targets = _score(scores, target, predicted)
    if score.requires_grad:
        (gradient,) = torch.autograd.grad(score, leaf, allow_unused=True)
    else:
        gradient = None
    if gradient is None:
        raise NotDifferentiableError(
            f"the score does not depend on the output of layer {layer!r} (call {one.index}) in a differentiable way: "
            f"name another layer, or look for no_grad, detach or argmax on the way"
        )
    activation = leaf.detach()
    dtype = str(leaf.dtype).removeprefix("torch.")
    if reshape is not None:
        activation, gradient = reshape(activation), reshape(gradient)
    if activation.dim() not in (4, 5) or activation.shape[2:].numel() <= 1:
        raise ModelvizError(
            f"layer {layer!r} gives {list(activation.shape)}, which has no spatial extent (batch, channels, height, "
            f"width); name a layer that has, or pass reshape_transform="
        )
    return Explanation(
        layer=layer,
        call=one.index,
        activation=activation.float(),
        gradient=gradient.float(),
        dtype=dtype,
        targets=targets,
        predicted=predicted,
        score=float(score.detach()),
        trace=observer.trace,
    )


def main_output(output: Any) -> torch.Tensor:
    """The tensor that holds the scores: the output itself, its `logits` or `out`, else its first floating tensor."""
    if isinstance(output, torch.Tensor):
        return output
    for name in ("logits", "out"):
        value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(value, torch.Tensor):
            return value
    for tensor in tensors(output):
        if tensor.is_floating_point():
            return tensor
    raise ModelvizError(f"the model returns {type(output).__name__} without a floating tensor to explain")


def _predicted(scores: torch.Tensor) -> tuple[int, ...]:
    if scores.dim() != 2 or not scores.shape[1]:
        return ()
    return tuple(int(index) for index in scores.detach().float().argmax(1))


def _score(scores: torch.Tensor, target: Target, predicted: tuple[int, ...]) -> tuple[torch.Tensor, tuple[int, ...]]:
    """The sum over the batch of each sample's target, and the classes that were meant."""
    if callable(target):
        return _of_functions(scores, [target] * len(scores)), ()
    if isinstance(target, Sequence) and target and all(callable(one) for one in target):
        return _of_functions(scores, list(target)), ()
    if scores.dim() != 2:
        raise ModelvizError(
            f"the model's output has shape {list(scores.shape)}; a class can be explained only in (batch, classes): "
            f"pass target= a function that takes one sample's output and returns a number"
        )
    if target is None:
        wanted = predicted
    elif isinstance(target, Sequence):
        wanted = tuple(int(one) for one in target)
    else:
        wanted = (int(target),) * scores.shape[0]
    if len(wanted) != scores.shape[0]:
        raise ModelvizError(
            f"{len(wanted)} targets for a batch of {scores.shape[0]}: pass one a sample, or a single one"
        )
    for one in wanted:
        if not 0 <= one < scores.shape[1]:
            raise ModelvizError(f"target {one} is out of range: the model has {scores.shape[1]} classes, from 0")
    return scores[torch.arange(len(wanted), device=scores.device), list(wanted)].sum(), wanted


def _of_functions(scores: torch.Tensor, targets: list[Any]) -> torch.Tensor:
    if len(targets) != len(scores):
        raise ModelvizError(f"{len(targets)} targets for a batch of {len(scores)}: pass one a sample, or a single one")
    values = [target(sample) for target, sample in zip(targets, scores, strict=True)]
    if not all(isinstance(value, torch.Tensor) and value.numel() == 1 for value in values):
        raise ModelvizError("a target function must return a tensor with one number")
    return torch.stack([value.reshape(()) for value in values]).sum()
