"""Layouts and widths of sketches: what each costs and how well it measures.

    python benchmarks/sketch.py [threads]

Price: reading every activation and every large parameter of a ResNet-50 in a hook, as a ratio to the bare pass in the
same process, in processor time, without any of the bookkeeping of `feature_maps`. "one sum" is the least that anything
which reads all numbers can cost here.

Precision: estimated / true relative error over changes of many kinds in tensors of usual shapes; the share of cases
within 25 % of the truth, and the worst cases.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import torch
import torchvision

from pytest_modelviz.probe import count_sketch
from pytest_modelviz.probe.count_sketch import sketch_rows
from pytest_modelviz.records.sketch_version import EARLIER_VERSION, sketched_as

ROUNDS = 9
Layout = Callable[[torch.Tensor], torch.Tensor]


def _signs(count: int) -> torch.Tensor:
    return count_sketch._sign_table(2**23, torch.float32, torch.device("cpu"))[:count]


def bags(width: int) -> Layout:
    """Strided buckets, the sums of 64 rows with a sign each: what is recorded."""
    return lambda flat: sketch_rows(flat, width)


def buckets(width: int) -> Layout:
    """Strided buckets, a sign for each number: what earlier versions recorded."""

    def layout(flat: torch.Tensor) -> torch.Tensor:
        with sketched_as(EARLIER_VERSION):
            return sketch_rows(flat, width)

    return layout


def places(width: int) -> Layout:
    """Contiguous buckets, all with the same signs: one product."""

    def layout(flat: torch.Tensor) -> torch.Tensor:
        run = flat.numel() // width
        return flat[: run * width].view(width, run).mv(_signs(run)) if run > 1 else flat

    return layout


def rows(width: int) -> Layout:
    """Strided buckets, every `width` neighbours with one sign: one product."""

    def layout(flat: torch.Tensor) -> torch.Tensor:
        count = flat.numel() // width
        return _signs(count) @ flat[: count * width].view(count, width) if count > 1 else flat

    return layout


def runs(width: int) -> Layout:
    """Runs of 64 neighbours, all with the same signs, in one product; then strided buckets."""

    def layout(flat: torch.Tensor) -> torch.Tensor:
        return sketch_rows(flat[: flat.numel() // 64 * 64].view(-1, 64).mv(_signs(64)), width)

    return layout


LAYOUTS: dict[str, Layout] = {
    "one sum": lambda flat: flat.sum(),
    "sums of 64 rows (activations), 251": bags(251),
    "sums of 64 rows (weights), 61": bags(61),
    "sums of 64 rows, 127": bags(127),
    "sums of 64 rows, 509": bags(509),
    "sums of 64 rows, 1021": bags(1021),
    "strided, a sign each, 251": buckets(251),
    "runs of 64 with shared signs, then strided, 61": runs(61),
    "contiguous, shared signs, 251": places(251),
    "strided, a sign a row, 251": rows(251),
}


def price() -> dict[str, tuple[float, float]]:
    torch.manual_seed(0)
    model, image = torchvision.models.resnet50(weights=None).eval(), torch.rand(1, 3, 224, 224)

    def seconds(look: Layout | None, weights: bool) -> float:
        def hook(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
            if look is not None and weights:
                for parameter in module.parameters(recurse=False):
                    if parameter.numel() > 2**14:
                        look(parameter.view(-1))
            elif look is not None and not any(module.children()):
                look(output.reshape(-1))

        hooks = [module.register_forward_hook(hook) for module in model.modules() if look is not None]
        with torch.no_grad():
            model(image)
            start = time.process_time()
            model(image)
            taken = time.process_time() - start
        for one in hooks:
            one.remove()
        return taken

    ratios: dict[str, list[tuple[float, float]]] = {name: [] for name in LAYOUTS}
    for _ in range(ROUNDS):
        for name, look in LAYOUTS.items():
            bare = seconds(None, False)
            ratios[name].append((seconds(look, False) / bare, seconds(look, True) / bare))
    return {
        name: tuple(statistics.median(column) for column in zip(*pairs, strict=True)) for name, pairs in ratios.items()
    }


SHAPES = [(1, 64, 112, 112), (1, 256, 56, 56), (1, 512, 14, 14), (1, 2048, 7, 7), (1, 197, 768), (8, 3, 224, 224)]


def changes(shape: tuple[int, ...]) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    base = torch.randn(shape).relu() + 0.1 * torch.randn(shape)
    yield "dense", base, base + 0.01 * torch.randn(shape)
    yield "constant", base, base + 0.01
    sparse = base.clone()
    sparse.view(-1)[torch.randperm(base.numel())[:40]] += 1.0
    yield "sparse", base, sparse
    one = base.clone()
    one.view(-1)[base.numel() // 3] += 1.0
    yield "one element", base, one
    for stride in (2, 3, 7, 8, 16, 56, 64, 196, 768):
        strided = base.clone()
        strided.view(-1)[1::stride] += 0.1
        yield f"stride {stride}", base, strided
    for dim in (1, len(shape) - 1):
        channel = base.clone()
        channel.select(dim, 1).add_(0.2)
        yield f"one channel of dim {dim}", base, channel
        noisy = base.clone()
        noisy.select(dim, 1).add_(torch.randn(noisy.select(dim, 1).shape))
        yield f"one noisy channel of dim {dim}", base, noisy
        bias = torch.randn(shape[dim]).view([-1 if at == dim else 1 for at in range(len(shape))])
        yield f"a bias along dim {dim}", base, base + 0.05 * bias
    pattern = torch.nn.functional.interpolate(torch.randn(1, 1, 6, 6), shape[-2:], mode="bicubic").view(shape[-2:])
    gain = torch.randn([*shape[:-2], 1, 1])
    yield "one smooth pattern, a gain a channel", base, base + 0.05 * gain * pattern
    index = torch.arange(base.numel()).view(shape)
    for period in (40, 5000, 200_000):
        yield f"a wave of {period}", base, base + 0.1 * torch.sin(2 * math.pi / period * index)
    yield "a ramp", base, base + 0.1 * index / base.numel()
    yield "permuted", base, base.flip(1)
    yield "scaled", base, base * 1.05
    yield "rolled", base, base.roll(1, -1)


def precision(seeds: int = 3) -> dict[str, list[tuple[float, str]]]:
    found: dict[str, list[tuple[float, str]]] = {name: [] for name in LAYOUTS if name != "one sum"}
    for seed in range(seeds):
        torch.manual_seed(seed)
        for shape in SHAPES:
            for kind, base, changed in changes(shape):
                truth = float((changed.double() - base.double()).norm() / base.double().norm())
                for name, ratios in found.items():
                    one, two = (LAYOUTS[name](t.reshape(-1)).double() for t in (base, changed))
                    ratios.append((float((two - one).norm() / one.norm()) / truth, f"{kind} of {list(shape)}"))
    return found


if __name__ == "__main__":
    if len(sys.argv) > 1:
        torch.set_num_threads(int(sys.argv[1]))
    prices, ratios = price(), precision()
    print(
        f"{'':48} {'+ activations':>14} {'+ weights':>10}   within 25 %   worst of {len(next(iter(ratios.values())))}"
    )
    for name in LAYOUTS:
        cells = f"{name:48} {prices[name][0]:12.2f} x {prices[name][1]:8.2f} x"
        if name in ratios:
            ordered = sorted(ratios[name])
            share = sum(0.75 <= ratio <= 1.25 for ratio, _ in ordered) / len(ordered)
            (low, low_kind), (high, high_kind) = ordered[0], ordered[-1]
            cells += f"   {share:10.1%}    {low:.2f} ({low_kind}) to {high:.2f} ({high_kind})"
        print(cells, flush=True)
