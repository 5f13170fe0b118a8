"""Faults by what a module has: a matrix, statistics, an `eps`, an activation, children, functions that its code calls.

Each function gives, for one variety of a fault, all the layers that it can be put into, in the order of execution.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from benchmarks.detection.faults import FUNCTIONS, Substitution
from benchmarks.zoo.nested import run, with_first_tensor

WEIGHT_FACTOR, NORM_FACTOR, RESULT_FACTOR, SETTING_FACTOR, SHIFT = 1.05, 1.02, 1.01, 1.1, 0.05
_EPSILONS = ("eps", "epsilon", "variance_epsilon")
_SCALES = ("scale", "scaling", "softmax_scale", "scale_factor")
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.Mish, nn.ELU, nn.Tanh, nn.Sigmoid)

Undo = Callable[[], object]
Data = Any  # what a model is called with: a tensor, positional or keyword arguments


class Candidate(NamedTuple):
    """A fault that may be put in: `put_in` changes the module in place and returns what takes the change back."""

    what: str
    layer: str
    put_in: Callable[[], Undo]


Layers = Mapping[str, nn.Module]  # those that a pass calls, by name in the order of execution
Variety = Callable[[nn.Module, Data, Layers], list[Candidate]]


# weights


def _tensor(what: str, name: str, change: Callable[[torch.Tensor], object], dimensions: Sequence[int]) -> Variety:
    """Change one tensor of a layer that has a tensor of this name and number of dimensions."""

    def candidates(model: nn.Module, data: Data, layers: Layers) -> list[Candidate]:
        return [
            Candidate(what, layer, functools.partial(_change_tensor, tensor, change))
            for layer, module in layers.items()
            if isinstance(tensor := getattr(module, name, None), torch.Tensor)
            and (isinstance(tensor, nn.Parameter) or name in module._buffers)
            and tensor.is_floating_point()
            and tensor.dim() in dimensions
        ]

    return candidates


@torch.no_grad()
def _change_tensor(tensor: torch.Tensor, change: Callable[[torch.Tensor], object]) -> Undo:
    before = tensor.detach().clone()
    change(tensor)
    return torch.no_grad()(lambda: tensor.copy_(before))


def _own_parameters(model: nn.Module, data: Data, layers: Layers) -> list[Candidate]:
    """Embeddings of positions, layer scales, a fused attention's matrix: what no layer of its own holds."""
    return [
        Candidate(
            f"{name} x {WEIGHT_FACTOR}", layer, functools.partial(_change_tensor, parameter, _times(WEIGHT_FACTOR))
        )
        for layer, module in layers.items()
        for name, parameter in module.named_parameters(recurse=False)
        if name not in ("weight", "bias") and parameter.is_floating_point()
    ]


def _quantised(model: nn.Module, data: Data, layers: Layers) -> list[Candidate]:
    def put_in(module: Any) -> Undo:
        weight, bias = module.weight(), module.bias()
        other = torch._make_per_channel_quantized_tensor(
            weight.int_repr(),
            weight.q_per_channel_scales() * WEIGHT_FACTOR,
            weight.q_per_channel_zero_points(),
            weight.q_per_channel_axis(),
        )
        module.set_weight_bias(other, bias)
        return lambda: module.set_weight_bias(weight, bias)

    return [
        Candidate(f"quantised weight x {WEIGHT_FACTOR}", layer, functools.partial(put_in, module))
        for layer, module in layers.items()
        if hasattr(module, "set_weight_bias")
    ]


def _times(factor: float) -> Callable[[torch.Tensor], object]:
    return lambda tensor: tensor.mul_(factor)


def _negate_a_filter(weight: torch.Tensor) -> None:
    weight[len(weight) // 2].neg_()


def _exchange_two_filters(weight: torch.Tensor) -> None:
    weight[:2] = weight[:2].flip(0).clone()


def _shift_an_element(weight: torch.Tensor) -> None:
    weight.view(-1)[weight.numel() // 2] += weight.square().mean().sqrt()


def _prune(weight: torch.Tensor) -> None:
    weight.mul_(weight.abs() > weight.abs().flatten().kthvalue(weight.numel() // 10 + 1)[0])


_MATRICES = (2, 3, 4, 5)
WEIGHTS: list[Variety] = [
    _tensor(f"weight x {WEIGHT_FACTOR}", "weight", _times(WEIGHT_FACTOR), _MATRICES),
    _tensor("a filter negated", "weight", _negate_a_filter, _MATRICES),
    _tensor(f"bias + {SHIFT}", "bias", lambda bias: bias.add_(SHIFT), (1,)),
    _tensor("an element by the root mean square", "weight", _shift_an_element, _MATRICES),
    _tensor(f"weight of a norm x {NORM_FACTOR}", "weight", _times(NORM_FACTOR), (1,)),
    _tensor("rounded to bfloat16", "weight", lambda weight: weight.copy_(weight.bfloat16()), _MATRICES),
    _tensor(f"running mean + {SHIFT}", "running_mean", lambda mean: mean.add_(SHIFT), (1,)),
    _tensor("two filters exchanged", "weight", _exchange_two_filters, _MATRICES),
    _own_parameters,
    _tensor(f"running variance x {SETTING_FACTOR}", "running_var", _times(SETTING_FACTOR), (1,)),
    _tensor("a tenth pruned", "weight", _prune, _MATRICES),
    _quantised,
]


# configuration


def _set_attribute(module: nn.Module, name: str, value: Any) -> Undo:
    before = getattr(module, name)
    setattr(module, name, value)
    return lambda: setattr(module, name, before)


def _setting(what: str, names: Sequence[str], other: Callable[[float], float]) -> Variety:
    """Change a number that a layer keeps as an attribute."""

    def candidates(model: nn.Module, data: Data, layers: Layers) -> list[Candidate]:
        return [
            Candidate(f"{name} {what}", layer, functools.partial(_set_attribute, module, name, other(value)))
            for layer, module in layers.items()
            for name in names
            if type(value := vars(module).get(name)) is float
        ]

    return candidates


def _replacement(what: str, applies: Callable[[nn.Module], bool], make: Callable[[Any], nn.Module]) -> Variety:
    """Put another module where a layer was."""

    def put_in(model: nn.Module, layer: str) -> Undo:
        parent, _, name = layer.rpartition(".")
        holder, before = model.get_submodule(parent), model.get_submodule(layer)
        setattr(holder, name, make(before))
        return lambda: setattr(holder, name, before)

    def candidates(model: nn.Module, data: Data, layers: Layers) -> list[Candidate]:
        return [
            Candidate(what, layer, functools.partial(put_in, model, layer))
            for layer, module in layers.items()
            if layer and applies(module)
        ]

    return candidates


def _padding_mode(model: nn.Module, data: Data, layers: Layers) -> list[Candidate]:
    return [
        Candidate("padding mode", layer, functools.partial(_set_attribute, module, "padding_mode", "replicate"))
        for layer, module in layers.items()
        if type(module) in (nn.Conv1d, nn.Conv2d, nn.Conv3d) and any(module._reversed_padding_repeated_twice)
    ]


def _is_activation(module: nn.Module) -> bool:
    return isinstance(module, _ACTIVATIONS) or type(module).__name__.endswith("Activation")


def _is_norm(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__ and not any(module.children())


def _average(pool: nn.MaxPool2d) -> nn.AvgPool2d:
    return nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)


CONFIGURATION: list[Variety] = [
    _setting("0.01", _EPSILONS, lambda eps: 0.01 if eps < 0.005 else eps * 2),
    _replacement("another activation", _is_activation, lambda _: nn.LeakyReLU(0.1)),
    _padding_mode,
    _setting(f"x {SETTING_FACTOR}", _SCALES, lambda scale: scale * SETTING_FACTOR),
    _replacement("a norm lost", _is_norm, lambda _: nn.Identity()),
    _replacement("average for maximum", lambda module: type(module) is nn.MaxPool2d, _average),
]


# computation: the code of a module, as it is written inside its `forward`


def _recode(module: nn.Module, rewrite: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Undo:
    """Give a module other code under the name of its class."""
    before = type(module)
    forward = functools.wraps(before.forward)(rewrite(before.forward))
    module.__class__ = type(before.__name__, (before,), {"forward": forward})
    return lambda: setattr(module, "__class__", before)


def _scaled_result(forward: Callable[..., Any]) -> Callable[..., Any]:
    def changed(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return with_first_tensor(forward(self, *args, **kwargs), lambda tensor: tensor * RESULT_FACTOR)

    return changed


def _scaled_argument(forward: Callable[..., Any]) -> Callable[..., Any]:
    def changed(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = with_first_tensor((args, kwargs), lambda tensor: tensor * RESULT_FACTOR)
        return forward(self, *args, **kwargs)

    return changed


def _code(what: str, rewrite: Callable[..., Any], *, has_children: bool) -> Variety:
    def candidates(model: nn.Module, data: Data, layers: Layers) -> list[Candidate]:
        return [
            Candidate(what, layer, functools.partial(_recode, module, rewrite))
            for layer, module in layers.items()
            if layer and any(module.children()) == has_children
        ]

    return candidates


class _Functions(TorchFunctionMode):
    """Notes which module's own code calls which of torch's functions."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[tuple[nn.Module, str], None] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in FUNCTIONS:
            frame = sys._getframe(1)
            while frame is not None and not isinstance(frame.f_locals.get("self"), nn.Module):
                frame = frame.f_back
            if frame is not None:
                self.found[frame.f_locals["self"], name] = None
        return func(*args, **(kwargs or {}))


def _other_function(model: nn.Module, data: Data, layers: Layers) -> list[Candidate]:
    """Another function than torch's that the code of a module with children calls itself."""
    names = {module: name for name, module in layers.items()}
    with _Functions() as functions:
        run(model, data)

    def rewrite(key: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def changed(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            with Substitution(self, {key: FUNCTIONS[key][1]}):
                return forward(self, *args, **kwargs)

        return changed

    return [
        Candidate(FUNCTIONS[key][0], names[module], functools.partial(_recode, module, functools.partial(rewrite, key)))
        for module, key in functions.found
        if module in names and any(module.children())
    ]


COMPUTATION: list[Variety] = [
    _code(f"result of a block x {RESULT_FACTOR}", _scaled_result, has_children=True),
    _other_function,
    _code(f"argument of a block x {RESULT_FACTOR}", _scaled_argument, has_children=True),
    _code(f"result of a layer x {RESULT_FACTOR}", _scaled_result, has_children=False),
    _other_function,
]


# input


def _shift_a_pixel(image: torch.Tensor) -> torch.Tensor:
    image = image.clone()
    image[..., image.shape[-2] // 2, image.shape[-1] // 2] += 0.1
    return image


def _exchange_colours(image: torch.Tensor) -> torch.Tensor:
    return image.flip(0 if image.dim() == 3 else 1)


def _other_token(tokens: torch.Tensor) -> torch.Tensor:
    tokens = tokens.clone()
    tokens[0, tokens.shape[1] // 2] += 1
    return tokens


IMAGES: list[tuple[str, Callable[[torch.Tensor], torch.Tensor]]] = [
    ("red and blue exchanged", _exchange_colours),
    ("shifted by a pixel", lambda image: image.roll(1, -1)),
    ("another deviation", lambda image: (image - 0.485) / 0.229 * 0.226 + 0.485),
    ("rounded to 8 bits", lambda image: (image * 255).round() / 255),
    ("another pixel", _shift_a_pixel),
]
TOKENS: list[tuple[str, Callable[[torch.Tensor], torch.Tensor]]] = [
    ("another token", _other_token),
    ("tokens reversed", lambda tokens: tokens.flip(1)),
]
