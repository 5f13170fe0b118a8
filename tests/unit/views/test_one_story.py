"""One change, one story: every view that can see a change names the same layer and cause, by `feature_maps`' rule."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView


class Block(nn.Module):
    """A residual block; `change` is what is different about it, in its code or in how it is built."""

    def __init__(self, change: str = "") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1, bias=change == "fused")
        self.bn1 = nn.Identity() if change == "fused" else nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, stride=1, dilation=1)
        if change == "module added":
            self.extra = nn.Conv2d(4, 4, 1)
        self.adapter = nn.ModuleDict({"default": nn.Conv2d(4, 4, 1), "other": nn.Conv2d(4, 4, 1)})
        self.acts = nn.ModuleList([nn.ReLU(), nn.Tanh()])
        if change != "module removed":
            self.drop = nn.Dropout(0.25)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.acts[0](self.conv2(y))
        if hasattr(self, "drop"):
            y = self.drop(y)
        if hasattr(self, "extra"):
            y = self.extra(y)
        return self.adapter["default"](y) + x


class Gelu(Block):
    def forward(self, x):
        y = F.gelu(self.bn1(self.conv1(x)))
        y = self.drop(self.acts[0](self.conv2(y)))
        return self.adapter["default"](y) + x


def code(forward: Callable[..., Any]) -> Callable[[nn.Module], nn.Module]:
    """Another forward of `block.1`, in a class that has the same name."""

    def change(net: nn.Module) -> nn.Module:
        block = net.block[1]
        block.__class__ = type("Block", (type(block),), {"forward": forward})
        return net

    return change


class Net(nn.Module):
    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.block = nn.Sequential(*blocks)
        self.zoom = 1
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block(self.stem(x))
        return self.head(x.mean((2, 3)) * self.zoom)


def net() -> Net:
    torch.manual_seed(0)
    model = Net([Block(), Block(), Block()])
    model.head.weight.data += torch.arange(3)[:, None]
    return model


def rebuilt(*changes: str) -> Callable[[nn.Module], nn.Module]:
    def change(model):
        made = Net([Block(change) for change in changes])
        made.load_state_dict(model.state_dict(), strict=False)
        return made

    return change


def not_called(self, x):
    y = F.relu(self.bn1(self.conv1(x)))
    return self.drop(self.acts[0](self.conv2(y))) + x


def called_twice(self, x):
    y = F.relu(self.bn1(self.conv1(self.conv1(x))))
    return self.adapter["default"](self.drop(self.acts[0](self.conv2(y)))) + x


def cropped(self, x):
    y = F.relu(self.bn1(self.conv1(x)))
    y = self.acts[0](self.conv2(y))
    return self.adapter["default"](self.drop(y)[..., 1:-1, 1:-1]).mean((2, 3), keepdim=True) + x


def gelu(self, x):
    y = F.gelu(self.bn1(self.conv1(x)))
    return self.adapter["default"](self.drop(self.acts[0](self.conv2(y)))) + x


def swapped(self, x):
    y = F.relu(self.bn1(self.conv2(x)))
    return self.adapter["default"](self.drop(self.acts[0](self.conv1(y)))) + x


def other_adapter(self, x):
    y = F.relu(self.bn1(self.conv1(x)))
    return self.adapter["other"](self.drop(self.acts[0](self.conv2(y)))) + x


def other_act(self, x):
    y = F.relu(self.bn1(self.conv1(x)))
    return self.adapter["default"](self.drop(self.acts[1](self.conv2(y)))) + x


def cast(self, x):
    y = F.relu(self.bn1(self.conv1(x)))
    y = self.conv2(y.double().float().sigmoid())
    return self.adapter["default"](self.drop(self.acts[0](y))) + x


def skipped(self, x):
    y = F.relu(self.bn1(self.conv1(x)))
    return self.adapter["default"](self.drop(self.acts[0](self.conv2(y))))


def given_weights(self, x):
    y = F.relu(self.bn1(torch.func.functional_call(self.conv1, {"weight": self.conv1.weight * 2}, (x,))))
    return self.adapter["default"](self.drop(self.acts[0](self.conv2(y)))) + x


class Fast(Block):
    """It keeps other weights for its first convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.fast = nn.Parameter(torch.ones(4, 4, 3, 3))

    def forward(self, x):
        y = torch.func.functional_call(self.conv1, {"weight": self.fast}, (x,))
        return self.adapter["default"](self.drop(self.acts[0](self.conv2(F.relu(self.bn1(y)))))) + x


def put(path: str, make: Callable[[], nn.Module]) -> Callable[[nn.Module], nn.Module]:
    def change(model):
        parent, _, name = path.rpartition(".")
        new, old = make(), dict(model.named_modules()).get(path)
        if old is not None:
            new.load_state_dict(old.state_dict(), strict=False)
        setattr(model.get_submodule(parent), name, new)
        return model

    return change


def changed(path: str, **attributes: Any) -> Callable[[nn.Module], nn.Module]:
    def change(model):
        for name, value in attributes.items():
            setattr(model.get_submodule(path), name, value)
        return model

    return change


def scaled(path: str) -> Callable[[nn.Module], nn.Module]:
    def change(model):
        model.get_parameter(path).data *= 1.5
        return model

    return change


def inserted(model):
    blocks = list(model.block)
    model.block = nn.Sequential(*blocks, nn.Conv2d(4, 4, 1))
    return model


def renamed(model):
    model.stages = model.block
    model._modules.pop("block")
    model.__class__ = type("Net", (Net,), {"block": property(lambda self: self.stages)})
    return model


CHANGES: dict[str, tuple[Callable[[nn.Module], nn.Module], str, str]] = {
    "gelu in forward": (code(gelu), "block.1", "computation"),
    "child not called": (code(not_called), "block.1", "computation"),
    "child called twice": (code(called_twice), "block.1", "computation"),
    "input of a child cropped": (code(cropped), "block.1", "computation"),
    "two calls swapped": (code(swapped), "block.1", "computation"),
    "another of a ModuleDict": (code(other_adapter), "block.1", "computation"),
    "another of a ModuleList": (code(other_act), "block.1", "computation"),
    "cast": (code(cast), "block.1", "computation"),
    "skip dropped": (code(skipped), "block.1", "computation"),
    "weights given": (code(given_weights), "block.1", "computation"),
    "class replaced": (changed("block.1", __class__=Gelu), "block.1", "architecture"),
    "fused": (rebuilt("", "fused", ""), "block.1.conv1", "architecture"),
    "module added": (rebuilt("", "module added", ""), "block.1", "architecture"),
    "uncalled module added": (put("block.1.unused", nn.ReLU), "block.1.unused", "architecture"),
    "module removed": (rebuilt("", "module removed", ""), "block.1", "architecture"),
    "layer inserted": (inserted, "block", "architecture"),
    "dilation": (
        put("block.1.conv2", lambda: nn.Conv2d(4, 4, 3, padding=2, dilation=2)),
        "block.1.conv2",
        "architecture",
    ),
    "padding mode": (
        put("block.1.conv2", lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")),
        "block.1.conv2",
        "architecture",
    ),
    "activation": (put("block.1.acts.0", nn.GELU), "block.1.acts.0", "architecture"),
    "flag": (changed("", zoom=2), "", "architecture"),
    "fast weights": (put("block.1", Fast), "block.1", "architecture"),
    "weights": (scaled("block.1.conv2.weight"), "block.1.conv2", "weights"),
    "renamed": (renamed, "stages", "architecture"),
}
VIEWS = {
    "model_summary": lambda m, x: ModelSummaryView(m, input_data=x),
    "model_graph": ModelGraphView,
    "kernel_maps": lambda m, x: KernelMapsView(m),
    "feature_maps": FeatureMapsView,
    "cam_map": lambda m, x: CamMapView(m, x, target=1, target_layer="stem"),
    "saliency_map": lambda m, x: SaliencyMapView(m, x, target=1),
}


def image() -> torch.Tensor:
    return torch.rand(2, 3, 10, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def baselines():
    return {name: make(net(), image()).capture() for name, make in VIEWS.items()}


def stories(baselines, change):
    """What each view that sees a change says of it."""
    told = {}
    for name, make in VIEWS.items():
        view = make(change(net()), image())
        verdict = view.compare(baselines[name], view.capture(), Tolerances())
        if not verdict.matched:
            told[name] = (
                verdict.first and verdict.first.layer,
                verdict.first and verdict.first.class_name,
                verdict.cause,
            )
    return told


def as_recorded_before(capture):
    """The capture without what baselines did not hold when only feature_maps knew the order of calls."""

    def without(value):
        if isinstance(value, dict):
            later = ("runs", "attributes", "state", "containers")
            return {key: without(item) for key, item in value.items() if key not in later}
        return value

    return dataclasses.replace(capture, facts=without(capture.facts))


@pytest.fixture(scope="module")
def old_baselines(baselines):
    return {name: as_recorded_before(capture) for name, capture in baselines.items()}


@pytest.mark.parametrize("what", CHANGES)
def test_a_baseline_without_the_order_of_calls_tells_the_same_story(what, old_baselines):
    change, layer, cause = CHANGES[what]
    told = stories(old_baselines, change)
    if what == "renamed":  # it does not know of what holds convolutions
        assert told.pop("kernel_maps")[0].startswith("stages.0.")
    assert {(at, why) for at, _, why in told.values()} == {(layer, cause)}, told


@pytest.mark.parametrize("what", CHANGES)
def test_all_views_name_the_same_layer_and_cause(what, baselines):
    change, layer, cause = CHANGES[what]
    told = stories(baselines, change)
    assert told
    assert {(at, why) for at, _, why in told.values()} == {(layer, cause)}, told
    assert len({class_name for _, class_name, _ in told.values()}) == 1, told
