"""How many seeded faults `feature_maps` catches, names and explains rightly, and how often it cries wolf.

    python benchmarks/detection.py [model ...]

Each fault is put into a copy of a model whose clean capture is the baseline. Expected is the module whose own weights,
configuration or code were changed, and why. Benign changes must match. Prints a table and every miss.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator

import torch
import torchvision
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.views.feature_maps import FeatureMapsView

MODELS = (
    "resnet18",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "densenet121",
    "vit_b_16",
    "swin_t",
    "convnext_tiny",
    "shufflenet_v2_x0_5",
    "googlenet",
    "regnet_y_400mf",
)
Fault = tuple[str, Callable[[nn.Module, torch.Tensor], torch.Tensor | None], str, str]


def build(name: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, **options).eval()
    for module in model.modules():  # statistics of a trained network are not the initial ones
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.02)
        if hasattr(module, "layer_scale"):
            nn.init.uniform_(module.layer_scale, 0.1, 0.5)
    side = 224 if name.startswith("vit") else 96
    return model, torch.rand(1, 3, side, side)


def pick(items: list[str], part: float) -> str:
    return items[min(len(items) - 1, int(part * len(items)))]


def recoded(module: nn.Module, forward: Callable[..., torch.Tensor]) -> None:
    """Give a module other code under its old class name."""
    module.__class__ = type(type(module).__name__, (type(module),), {"forward": forward})


def scaled(x):
    return [one * 1.01 for one in x] if isinstance(x, list) else x * 1.01


def faults(model: nn.Module) -> Iterator[Fault]:
    modules = dict(model.named_modules())
    matrices = [n for n, m in modules.items() if isinstance(m, (nn.Conv2d, nn.Linear))]
    norms = [n for n, m in modules.items() if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm))]
    blocks = [
        n
        for n, m in modules.items()
        if n
        and any(True for _ in m.children())
        and not isinstance(m, (nn.Sequential, nn.ModuleList, nn.MultiheadAttention, nn.ModuleDict))
    ]
    acts = [n for n, m in modules.items() if isinstance(m, (nn.ReLU, nn.GELU, nn.Hardswish, nn.SiLU))]

    def weight(name: str, change: Callable[[torch.Tensor], None], parameter: str = "weight"):
        def apply(other: nn.Module, image: torch.Tensor) -> None:
            with torch.no_grad():
                change(getattr(other.get_submodule(name), parameter))

        return apply

    def bump(w: torch.Tensor) -> None:
        w.view(-1)[w.numel() // 2] += 3 * w.square().mean().sqrt()

    for part in (0.1, 0.5, 0.9):
        name = pick(matrices, part)
        yield "weight x 1.05", weight(name, lambda w: w.mul_(1.05)), name, "weights"
        yield "one filter negated", weight(name, lambda w: w[0].neg_()), name, "weights"
        yield "one element", weight(name, bump), name, "weights"
    norm = pick(norms, 0.4)
    yield "norm weight x 1.02", weight(norm, lambda w: w.mul_(1.02)), norm, "weights"
    yield "norm bias + 0.05", weight(norm, lambda w: w.add_(0.05), "bias"), norm, "weights"
    if isinstance(modules[norm], nn.BatchNorm2d):
        yield "running mean shifted", weight(norm, lambda w: w.add_(0.05), "running_mean"), norm, "weights"
        yield "running var x 1.1", weight(norm, lambda w: w.mul_(1.1), "running_var"), norm, "weights"

    def set_eps(other: nn.Module, image: torch.Tensor) -> None:
        other.get_submodule(norm).eps = 1e-2

    yield "norm eps", set_eps, norm, "architecture"
    convs = [n for n in matrices if isinstance(modules[n], nn.Conv2d) and modules[n].padding not in ((0, 0), 0)]
    if convs:
        conv = pick(convs, 0.6)

        def reflect(other: nn.Module, image: torch.Tensor) -> None:
            old = other.get_submodule(conv)
            old.padding_mode = "replicate"

        yield "padding mode", reflect, conv, "architecture"
    if acts:
        act = pick(acts, 0.5)

        def leaky(other: nn.Module, image: torch.Tensor) -> None:
            parent, _, last = act.rpartition(".")
            setattr(other.get_submodule(parent), last, nn.LeakyReLU(0.1))

        yield "another activation", leaky, act, "architecture"
    for part in (0.2, 0.8):
        if not blocks:
            break
        block = pick(blocks, part)

        def after(other: nn.Module, image: torch.Tensor, block: str = block) -> None:
            module = other.get_submodule(block)
            base = type(module)
            recoded(module, lambda self, *a, **k: base.forward(self, *a, **k) * 1.01)

        def before(other: nn.Module, image: torch.Tensor, block: str = block) -> None:
            module = other.get_submodule(block)
            base = type(module)
            recoded(module, lambda self, x, *a, **k: base.forward(self, scaled(x), *a, **k))

        yield "code after children", after, block, "computation"
        yield "code before children", before, block, "computation"

    def at_root(other: nn.Module, image: torch.Tensor) -> None:
        base = type(other)
        recoded(other, lambda self, x: torch.relu(base.forward(self, x)))

    yield "code of the model", at_root, "", "computation"
    yield "red and blue exchanged", lambda other, image: image.flip(1), "", "input"
    yield "input x 1.01", lambda other, image: image * 1.01, "", "input"
    yield "input shifted by a pixel", lambda other, image: image.roll(1, -1), "", "input"


def benign(model: nn.Module, image: torch.Tensor) -> Iterator[tuple[str, FeatureMapsView]]:
    yield "again", FeatureMapsView(model, image)
    yield "copy", FeatureMapsView(copy.deepcopy(model), image)
    yield (
        "channels last",
        FeatureMapsView(
            copy.deepcopy(model).to(memory_format=torch.channels_last), image.to(memory_format=torch.channels_last)
        ),
    )
    yield "train mode", FeatureMapsView(copy.deepcopy(model).train(), image)
    yield "frozen", FeatureMapsView(copy.deepcopy(model).requires_grad_(False), image)
    hooked = copy.deepcopy(model)
    for module in hooked.modules():
        module.register_forward_hook(lambda *args: None)
    yield "hooks", FeatureMapsView(hooked, image)
    yield (
        "by keyword",
        FeatureMapsView(model, {next(iter(__import__("inspect").signature(model.forward).parameters)): image}),
    )
    yield "in a tuple", FeatureMapsView(model, (image,))
    yield "compiled", FeatureMapsView(torch.compile(copy.deepcopy(model), backend="eager"), image)
    yield "data parallel", FeatureMapsView(nn.DataParallel(copy.deepcopy(model)), image)
    rounded = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in rounded.parameters():
            parameter.mul_(1 + 3e-8 * torch.randn_like(parameter))
    yield "weights of another processor", FeatureMapsView(rounded, image)


def settings() -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    threads = torch.get_num_threads()
    yield "one thread", lambda: torch.set_num_threads(1), lambda: torch.set_num_threads(threads)
    mkldnn = torch.backends.mkldnn
    yield "no oneDNN", lambda: setattr(mkldnn, "enabled", False), lambda: setattr(mkldnn, "enabled", True)
    yield (
        "deterministic",
        lambda: torch.use_deterministic_algorithms(True),
        lambda: torch.use_deterministic_algorithms(False),
    )
    yield "random state", lambda: torch.manual_seed(99), lambda: None


def main(names: list[str]) -> int:
    counts = {"faults": 0, "caught": 0, "named": 0, "explained": 0, "benign": 0, "alarms": 0}
    for name in names:
        model, image = build(name)
        view = FeatureMapsView(model, image)
        baseline = view.capture()
        for what, change, layer, cause in faults(model):
            other = copy.deepcopy(model)
            changed = change(other, image)
            seen = FeatureMapsView(other, image if changed is None else changed).capture()
            verdict = view.compare(baseline, seen, Tolerances())
            got = (verdict.first.layer if verdict.first else None, verdict.cause)
            counts["faults"] += 1
            counts["caught"] += not verdict.matched
            counts["named"] += got[0] == layer
            counts["explained"] += got[1] == cause
            if got != (layer, cause):
                print(f"{name}: {what} at {layer or '(model)'} ({cause}) was judged {got}", flush=True)
        for what, other in benign(model, image):
            counts["benign"] += 1
            verdict = view.compare(baseline, other.capture(), Tolerances())
            if not verdict.matched:
                counts["alarms"] += 1
                print(f"{name}: false alarm on {what}: {verdict.first}", flush=True)
        for what, on, off in settings():
            counts["benign"] += 1
            on()
            verdict = view.compare(baseline, view.capture(), Tolerances())
            off()
            if not verdict.matched:
                counts["alarms"] += 1
                print(f"{name}: false alarm on {what}: {verdict.first}", flush=True)
    print(counts)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(MODELS)))
