"""Awkward models: each is small, built anew by its function, and comes with an input.

Tests that must hold for every model take their parameters from `ZOO`.
"""

from __future__ import annotations

import dataclasses
import importlib
import unittest.mock
from collections import namedtuple
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn


def images(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def vectors(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 8, generator=torch.Generator().manual_seed(seed))


def sequences(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 5, 8, generator=torch.Generator().manual_seed(seed))


def data_parallel(module: nn.Module) -> nn.DataParallel[Any]:
    """DataParallel around a model on the CPU, which it refuses where there is a GPU: made as where there is none."""
    made_by = importlib.import_module("torch.nn.parallel.data_parallel")  # its package has a function of that name
    with unittest.mock.patch.object(made_by, "_get_available_device_type", return_value=None):
        return nn.DataParallel(module)


class SmallNet(nn.Module):
    """A convolutional classifier of two stages, with batch norms whose statistics are not the initial ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(8, 12, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(12)
        self.head = nn.Linear(12, 5)
        for norm in (self.bn1, self.bn2):
            nn.init.uniform_(norm.running_mean, -0.2, 0.2)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.head(x.mean((2, 3)))


class InPlace(nn.Module):
    """Overwrites activations after the modules that made them have returned."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.conv(x))
        z = self.conv2(y)
        z += y
        z.clamp_(max=0.5)
        return z


class WritesInput(nn.Module):
    """Works in place on what the caller handed in."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.mul_(2)
        return self.linear(x)


class WritesWeights(nn.Module):
    """Normalises its own weights in every pass, behind autograd's back."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 3)
        self.embedding = nn.Embedding(7, 8, max_norm=0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.linear.weight.data.mul_(0.5)
        with torch.no_grad():
            self.linear.bias.add_(1)
        return self.linear(x) + self.embedding(torch.tensor([1, 2])).sum()


class ReplacesWeights(nn.Module):
    """Puts another tensor, buffer and attribute into itself while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 3)
        self.register_buffer("steps", torch.zeros(1))
        self.cache: list[torch.Tensor] = []
        self.seen: set[int] = set()
        self.table: dict[str, int] = {}
        self.hooked = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.linear.weight.data = self.linear.weight.data + 1
        self.steps = self.steps + 1
        self.cache.append(x)
        self.seen.add(len(self.seen))
        self.table["n"] = len(self.cache)
        if not self.hooked:
            self.linear.register_forward_hook(lambda module, args, output: output * 2)
            self.hooked = True
        self.linear.weight.requires_grad_(False)
        return self.linear(x)


class Shared(nn.Module):
    """One activation and one layer used several times, and a layer that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.act = nn.GELU()
        self.again = self.first
        self.unused = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = self.act(self.first(x))
        return self.again(x)


class Tied(nn.Module):
    """The output layer shares the embedding's weight; the input is of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.out = nn.Linear(8, 11, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.out(self.embedding(tokens))


class FrozenNorm(nn.Module):
    """A batch norm kept in eval mode inside a model in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.net = SmallNet()
        self.dropout = nn.Dropout(0.5)
        self.train()
        self.net.bn1.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.net(x))


Pair = namedtuple("Pair", ["mean", "rest"])


@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    hidden: list[torch.Tensor]
    note: str = "fine"


class Nested(nn.Module):
    """Returns tuples, dicts, dataclasses and named tuples, with None and strings among the tensors."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.linear = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.linear(x)
        return {
            "tuple": (y, None, [y * 2]),
            "dict": {"logits": y, "aux": {"deep": y + 1}, "name": "nested", 3: 1.5},
            "dataclass": Output(y, [y, y * 2]),
            "namedtuple": Pair(y.mean(), {"y": y}),
            "none": None,
        }[self.kind]


class Keywords(nn.Module):
    """Takes keyword arguments, passes them on by keyword, and takes no tensor for one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = WithScale()

    def forward(self, x: torch.Tensor, *, scale: float = 1.0, mask: torch.Tensor | None = None) -> torch.Tensor:
        return self.inner(x, mask=mask, scale=scale)


class WithScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor, scale: float, mask: torch.Tensor | None) -> torch.Tensor:
        y = self.linear(x) * scale
        return y if mask is None else y + mask


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 6, num_layers=2, batch_first=True, dropout=0.3, bidirectional=True)
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, _ = self.lstm(x)
        return self.head(out[:, -1])


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 6, batch_first=True)

    def forward(self, x: torch.Tensor) -> Any:
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3]), batch_first=True)
        return self.gru(packed)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = torch.full((5, 5), float("-inf")).triu(1)
        return self.norm(x + self.attention(x, x, x, attn_mask=mask, need_weights=False)[0])


class LoopsOverSet(nn.Module):
    """Calls a module once for each member of a set of strings, whose order differs from process to process."""

    KINDS = frozenset({"sliding", "full", "chunked"})

    def __init__(self) -> None:
        super().__init__()
        self.table = Scaled()
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tables = {kind: self.table(x, kind) for kind in self.KINDS}
        return self.head(tables["full"] - tables["sliding"] * tables["chunked"])


class Scaled(nn.Module):
    FACTORS: ClassVar = {"sliding": 1.0, "full": 2.0, "chunked": 3.0}

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.Tanh()

    def forward(self, x: torch.Tensor, kind: str) -> torch.Tensor:
        return self.act(x * self.FACTORS[kind])


class NoParameters(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).cumsum(1)


class Empty(nn.Module):
    """Passes a tensor without elements through a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x[:0])


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.spectrum = Spectrum()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.spectrum(x).abs()


class Spectrum(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft2(x)


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, 2)


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(3))


def half() -> nn.Module:
    return SmallNet().to(torch.bfloat16)


def frozen() -> nn.Module:
    return SmallNet().requires_grad_(False)


class Specimen(NamedTuple):
    build: Callable[[], nn.Module]
    input: Callable[[], Any]


ZOO: dict[str, Specimen] = {
    "small_net": Specimen(SmallNet, images),
    "in_place": Specimen(InPlace, images),
    "writes_input": Specimen(WritesInput, vectors),
    "writes_weights": Specimen(WritesWeights, vectors),
    "replaces_weights": Specimen(ReplacesWeights, vectors),
    "shared": Specimen(Shared, vectors),
    "tied": Specimen(Tied, lambda: torch.tensor([[1, 2, 3]])),
    "frozen_norm": Specimen(FrozenNorm, images),
    "tuple": Specimen(lambda: Nested("tuple"), vectors),
    "dict": Specimen(lambda: Nested("dict"), vectors),
    "dataclass": Specimen(lambda: Nested("dataclass"), vectors),
    "namedtuple": Specimen(lambda: Nested("namedtuple"), vectors),
    "none": Specimen(lambda: Nested("none"), vectors),
    "keywords": Specimen(Keywords, lambda: {"x": vectors(), "scale": 2.0, "mask": torch.ones(4)}),
    "positional": Specimen(Keywords, lambda: (vectors(),)),
    "recurrent": Specimen(Recurrent, sequences),
    "packed": Specimen(Packed, sequences),
    "attention": Specimen(Attention, sequences),
    "encoder": Specimen(encoder, sequences),
    "lazy": Specimen(lazy, images),
    "loops_over_set": Specimen(LoopsOverSet, vectors),
    "no_parameters": Specimen(NoParameters, images),
    "empty": Specimen(Empty, vectors),
    "complex": Specimen(Complex, images),
    "bfloat16": Specimen(half, lambda: images().to(torch.bfloat16)),
    "frozen": Specimen(frozen, images),
    "scripted": Specimen(lambda: torch.jit.script(SmallNet()), images),
    "traced_child": Specimen(lambda: nn.Sequential(torch.jit.trace(SmallNet().eval(), images()), nn.ReLU()), images),
    "compiled": Specimen(lambda: torch.compile(SmallNet(), backend="eager"), images),
    "data_parallel": Specimen(lambda: data_parallel(SmallNet()), images),
}
