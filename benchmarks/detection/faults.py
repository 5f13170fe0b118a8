"""Faults of every kind, each with the module whose own weights, configuration or code it changes, and the cause."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

Change = Callable[[nn.Module, Any], Any]


class Fault(NamedTuple):
    """`change` works on a copy of the model and may return another input; `layer` None means no layer is to blame."""

    kind: str
    what: str
    change: Change
    layer: str | None
    cause: str


def faults(model: nn.Module, data: Any) -> Iterator[Fault]:
    yield from _weights(model)
    yield from _configuration(model)
    yield from _code(model, data)
    yield from _input(data)


def _pick(items: list[str], part: float) -> str:
    return items[min(len(items) - 1, int(part * len(items)))]


def _called(model: nn.Module) -> dict[str, nn.Module]:
    return dict(model.named_modules())


# weights, down to one element


def _weights(model: nn.Module) -> Iterator[Fault]:
    modules = _called(model)
    matrices = [n for n, m in modules.items() if isinstance(m, (nn.Conv2d, nn.Linear))]
    norms = [n for n, m in modules.items() if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm))]
    embeddings = [n for n, m in modules.items() if isinstance(m, nn.Embedding)]

    def weight(name: str, what: str, change: Callable[[torch.Tensor], Any], parameter: str = "weight") -> Fault:
        def apply(other: nn.Module, data: Any) -> None:
            with torch.no_grad():
                change(getattr(other.get_submodule(name), parameter))

        return Fault("weights", what, apply, name, "weights")

    def one(w: torch.Tensor) -> None:
        w.view(-1)[w.numel() // 2] += w.square().mean().sqrt()

    for part in (0.1, 0.5, 0.9):
        name = _pick(matrices, part)
        yield weight(name, "weight x 1.05", lambda w: w.mul_(1.05))
        yield weight(name, "one filter negated", lambda w: w[0].neg_())
        yield weight(name, "one element by one RMS", one)
        yield weight(name, "rounded to bfloat16", lambda w: w.copy_(w.bfloat16()))
    name = _pick(matrices, 0.7)
    yield weight(name, "two filters exchanged", lambda w: w[:2].copy_(w[:2].flip(0)))
    yield weight(name, "pruned by a tenth", lambda w: w.mul_(w.abs() > w.abs().flatten().kthvalue(w.numel() // 10)[0]))
    for part in (0.4, 0.8):
        norm = _pick(norms, part)
        yield weight(norm, "norm weight x 1.02", lambda w: w.mul_(1.02))
        yield weight(norm, "norm bias + 0.05", lambda w: w.add_(0.05), "bias")
        if isinstance(modules[norm], nn.BatchNorm2d):
            yield weight(norm, "running mean shifted", lambda w: w.add_(0.05), "running_mean")
            yield weight(norm, "running var x 1.1", lambda w: w.mul_(1.1), "running_var")
    for name in embeddings[:2]:
        yield weight(name, "embedding x 1.01", lambda w: w.mul_(1.01))


# configuration


def _configuration(model: nn.Module) -> Iterator[Fault]:
    modules = _called(model)

    def put(name: str, make: Callable[[nn.Module], nn.Module]) -> Change:
        def apply(other: nn.Module, data: Any) -> None:
            parent, _, last = name.rpartition(".")
            setattr(other.get_submodule(parent), last, make(other.get_submodule(name)))

        return apply

    def attribute(name: str, key: str, value: Any) -> Change:
        return lambda other, data: setattr(other.get_submodule(name), key, value)

    norms = [n for n, m in modules.items() if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm))]
    for part in (0.4, 0.9):
        norm = _pick(norms, part)
        yield Fault("configuration", "norm eps 1e-2", attribute(norm, "eps", 1e-2), norm, "architecture")
    norm = _pick(norms, 0.6)
    yield Fault("configuration", "norm lost", put(norm, lambda _: nn.Identity()), norm, "architecture")
    padded = [n for n, m in modules.items() if isinstance(m, nn.Conv2d) and m.padding not in ((0, 0), 0, "valid")]
    padded = [n for n in padded if type(modules[n]) is nn.Conv2d]
    if padded:
        conv = _pick(padded, 0.6)

        def replicate(other: nn.Module, data: Any) -> None:
            other.get_submodule(conv).padding_mode = "replicate"

        yield Fault("configuration", "padding mode", replicate, conv, "architecture")
    acts = [n for n, m in modules.items() if isinstance(m, (nn.ReLU, nn.GELU, nn.Hardswish, nn.SiLU))]
    for part in (0.2, 0.7) if acts else ():
        act = _pick(acts, part)
        leaky = put(act, lambda _: nn.LeakyReLU(0.1))
        yield Fault("configuration", "another activation", leaky, act, "architecture")
    pools = [n for n, m in modules.items() if isinstance(m, nn.MaxPool2d)]
    if pools:
        pool = _pick(pools, 0.0)
        average = put(pool, lambda m: nn.AvgPool2d(m.kernel_size, m.stride, m.padding, m.ceil_mode))
        yield Fault("configuration", "average for maximum", average, pool, "architecture")


# code, as it is written inside of a forward


def recoded(module: nn.Module, forward: Callable[..., Any]) -> None:
    """Give a module other code under its old class name."""
    module.__class__ = type(type(module).__name__, (type(module),), {"forward": forward})


class Substitution(TorchFunctionMode):
    """Replaces functions that the code of one module calls itself, not those that its children call."""

    def __init__(self, module: nn.Module, replacements: dict[str, Callable[..., Any]]) -> None:
        super().__init__()
        self._module, self._replacements = module, replacements
        self.met: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in self._replacements and self._is_mine():
            self.met.append(name)
            return self._replacements[name](func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _is_mine(self) -> bool:
        frame = sys._getframe(2)
        while frame is not None:
            owner = frame.f_locals.get("self")
            if isinstance(owner, nn.Module):
                return owner is self._module
            frame = frame.f_back
        return False


def _first(func: Any, x: Any, *rest: Any, **options: Any) -> Any:
    return x


def _turned(func: Any, tensors: Any, *rest: Any, **options: Any) -> Any:
    alike = len({t.shape for t in tensors}) == 1
    return func(list(tensors)[::-1] if alike else [t * 1.01 for t in tensors], *rest, **options)


def _stronger(func: Any, *args: Any, **options: Any) -> Any:
    return func(*args, **options) * 1.02


FUNCTIONS: dict[str, tuple[str, Callable[..., Any]]] = {
    "add": ("residual dropped", lambda f, a, b, **k: f(a, b, **k) if not isinstance(b, torch.Tensor) else a * 1.0),
    "__add__": ("residual dropped", lambda f, a, b: f(a, b) if not isinstance(b, torch.Tensor) else a * 1.0),
    "__iadd__": ("residual dropped", lambda f, a, b: f(a, b) if not isinstance(b, torch.Tensor) else a),
    "relu": ("functional relu to gelu", lambda f, x, **k: nn.functional.gelu(x)),
    "gelu": ("functional gelu to relu", lambda f, x, **k: torch.relu(x)),
    "cat": ("concatenated in another order", _turned),
    "mul": ("product x 1.02", _stronger),
    "__mul__": ("product x 1.02", _stronger),
    "softmax": ("softmax x 1.02", _stronger),
    "scaled_dot_product_attention": (
        "attention without scaling",
        lambda f, q, k, v, *a, **o: f(q, k, v, *a, **{**o, "scale": 1.0}),
    ),
    "adaptive_avg_pool2d": ("maximum for average", lambda f, x, size: nn.functional.adaptive_max_pool2d(x, size)),
    "mean": ("amax for mean", lambda f, x, *a, **k: x.amax(*a, **{n: v for n, v in k.items() if n != "dtype"})),
    "flatten": ("flattened and scaled", _stronger),
    "interpolate": (
        "nearest for bilinear",
        lambda f, x, *a, **k: f(x, *a, **{**k, "mode": "nearest", "align_corners": None}),
    ),
    "tanh": ("tanh to sigmoid", lambda f, x: torch.sigmoid(x)),
}


def _run(model: nn.Module, data: Any) -> None:
    with torch.no_grad():
        model(**data) if isinstance(data, dict) else model(data)


def _functional(model: nn.Module, data: Any) -> Iterator[Fault]:
    """For each function that the code of some module with children calls itself, one or two faults."""
    offered: dict[str, list[str]] = {}
    for name, module in model.named_modules():
        if any(True for _ in module.children()):
            probe = Substitution(module, {key: (lambda f, *a, **k: f(*a, **k)) for key in FUNCTIONS})
            with probe:
                _run(model, data)
            for key in dict.fromkeys(probe.met):
                offered.setdefault(key, []).append(name)
    for key, names in offered.items():
        what, replacement = FUNCTIONS[key]
        for name in dict.fromkeys((_pick(names, 0.3), _pick(names, 0.9))):

            def swap(other: nn.Module, data: Any, name: str = name, key: str = key, new: Any = replacement) -> None:
                module = other.get_submodule(name)
                base = type(module).forward

                def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
                    with Substitution(self, {key: new}):
                        return base(self, *args, **kwargs)

                forward.__signature__ = __import__("inspect").signature(base)
                recoded(module, forward)

            yield Fault("code", what, swap, name, "computation")


def _scaled(x: Any) -> Any:
    return [one * 1.01 for one in x] if isinstance(x, list) else x * 1.01


def _code(model: nn.Module, data: Any) -> Iterator[Fault]:
    yield from _functional(model, data)
    boring = (nn.Sequential, nn.ModuleList, nn.MultiheadAttention, nn.ModuleDict)
    blocks = [
        n for n, m in model.named_modules() if n and any(True for _ in m.children()) and not isinstance(m, boring)
    ]
    for part in (0.2, 0.8) if blocks else ():
        block = _pick(blocks, part)

        def after(other: nn.Module, data: Any, block: str = block) -> None:
            module = other.get_submodule(block)
            base = type(module)

            def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
                output = base.forward(self, *args, **kwargs)
                return (output[0] * 1.01, *output[1:]) if isinstance(output, tuple) else output * 1.01

            recoded(module, forward)

        yield Fault("code", "result x 1.01", after, block, "computation")
        if isinstance(data, dict):
            continue

        def before(other: nn.Module, data: Any, block: str = block) -> None:
            module = other.get_submodule(block)
            base = type(module)
            recoded(module, lambda self, x, *a, **k: base.forward(self, _scaled(x), *a, **k))

        yield Fault("code", "argument x 1.01 before the first child", before, block, "computation")


# what goes into the model


def _input(data: Any) -> Iterator[Fault]:
    if isinstance(data, dict):

        def other_token(other: nn.Module, data: Any) -> Any:
            changed = copy.deepcopy(data)
            changed["input_ids"][0, 3] += 1
            return changed

        yield Fault("preprocessing", "one other token", other_token, "", "input")
        yield Fault("preprocessing", "tokens reversed", lambda o, d: {"input_ids": d["input_ids"].flip(1)}, "", "input")
        return

    def normalised(other: nn.Module, image: torch.Tensor) -> torch.Tensor:
        return (image - 0.485) / 0.229 * 0.226 + 0.485

    def resized(other: nn.Module, image: torch.Tensor) -> torch.Tensor:
        small = nn.functional.interpolate(image, scale_factor=0.5, mode="bilinear", antialias=True)
        return nn.functional.interpolate(small, image.shape[-2:], mode="bicubic")

    yield Fault("preprocessing", "red and blue exchanged", lambda o, image: image.flip(1), "", "input")
    yield Fault("preprocessing", "another deviation", normalised, "", "input")
    yield Fault("preprocessing", "shifted by a pixel", lambda o, image: image.roll(1, -1), "", "input")
    yield Fault("preprocessing", "resized", resized, "", "input")
    yield Fault("preprocessing", "rounded to 8 bits", lambda o, image: (image * 255).round() / 255, "", "input")


# the same forward pass, another gradient


def gradient_faults(model: nn.Module, data: Any, layer: str) -> Iterator[Fault]:
    """What changes the gradient between `layer`, which is explained, and the scores, and no number of the forward."""
    called = _in_order_of_execution(model, data)
    later = called[called.index(layer) + 1 :]
    after = [n for n in later if not n.startswith(f"{layer}.") and _is_plain(model.get_submodule(n))]
    for name in dict.fromkeys((after[0], after[-1])) if after else ():

        class Other(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
                return x.clone()

            @staticmethod
            def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
                return gradient.flip(1)

        def replaced(other: nn.Module, data: Any, name: str = name, function: Any = Other) -> None:
            module = other.get_submodule(name)
            base = type(module)
            recoded(module, lambda self, x: function.apply(base.forward(self, x)))

        def scaled(other: nn.Module, data: Any, name: str = name) -> None:
            module = other.get_submodule(name)
            base = type(module)

            def forward(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
                y = base.forward(self, x)
                return y.detach() * 0.5 + y * 0.5

            recoded(module, forward)

        yield Fault("gradient", "another backward", replaced, None, "gradient")
        yield Fault("gradient", "half detached", scaled, None, "gradient")


def _in_order_of_execution(model: nn.Module, data: Any) -> list[str]:
    names: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda *_: names.append(name)

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    _run(model, data)
    for handle in handles:
        handle.remove()
    return list(dict.fromkeys(names))


def _is_plain(module: nn.Module) -> bool:
    kinds = (nn.Linear, nn.BatchNorm2d, nn.ReLU, nn.Hardswish, nn.SiLU, nn.GELU, nn.AdaptiveAvgPool2d, nn.Conv2d)
    return isinstance(module, kinds)
