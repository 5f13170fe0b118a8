"""Of each view a recorded model, and models that have drifted from it: the targets of a forger."""

import numpy as np
import torch
from torch import nn

from pytest_modelviz.compare.arrays import compare_arrays
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.views.activation_maximization.capture import ActivationMaximizationView
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView
from pytest_modelviz.views.training_curve.capture import TrainingCurveView


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.register_buffer("table", torch.arange(4.0), persistent=False)

    def forward(self, x):
        return x + self.act(self.norm(self.conv(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.block, self.head, self.spare = Block(), nn.Linear(4, 10), nn.Linear(2, 2)

    def forward(self, x, scale=1.0):
        return self.head(self.block(self.stem(x)).mean((2, 3))) * scale


class Scores(Net):
    def forward(self, x, scale=1.0):
        return super().forward(x, scale) * 1.001


def net(*changes, kind=Net):
    torch.manual_seed(0)
    model = kind().eval()
    with torch.no_grad():
        for change in changes:
            change(model)
    return model


def image(change=lambda x: x):
    return change(torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1)))


def negated(model):
    model.head.weight.neg_()


def scaled(model):
    model.head.weight.mul_(1.01)
    model.head.bias.mul_(1.01)


def convolved(model):
    model.block.conv.weight.mul_(1.5)


def noisy(model):
    torch.manual_seed(5)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * parameter.std() * 0.1)


def shifted(model):
    model.block.norm.running_mean.add_(0.3)


def smooth(model):
    model.block.act = nn.GELU()


def unused(model):
    model.spare.weight.mul_(1.1)


def wider(model):
    model.block.conv = nn.Conv2d(4, 4, 5, padding=2)


def strided(model):
    model.stem[0] = nn.Conv2d(3, 4, 3, padding=1, stride=2)


def longer(model):
    model.block.table = torch.arange(5.0)
    model.block.register_buffer("saved", torch.arange(5.0))


def frozen(model):
    model.block.conv.requires_grad_(False)


def sequential(*changes):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    model = nn.Sequential(*layers).eval()
    with torch.no_grad():
        for change in changes:
            change(model[-1])
    return model


def negative(layer):
    layer.weight.neg_()
    layer.bias.normal_()


def tenth(layer):
    layer.weight.mul_(1.1)
    layer.bias.mul_(1.1)


def training(kind="", *, given=True):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=0.1 if kind == "decay" else 0.0)

    def step(number):
        x = torch.randn(16, 4)
        loss = nn.functional.mse_loss(model(x), x.sum(1, keepdim=True))
        if kind != "accumulated" or number == 0:
            optimizer.zero_grad()
        if kind == "rate" and number > 0:
            optimizer.param_groups[0]["lr"] = 5.0
        if kind == "late" and number == 4:
            optimizer.param_groups[0]["lr"] = 0.1
        loss.backward()
        optimizer.step()
        return {"loss": loss * (7 if kind == "loss" else 1)}

    return TrainingCurveView(step, steps=6, model=model if given else None, optimizer=optimizer)


def falling(random_losses=False):
    torch.manual_seed(3)
    return TrainingCurveView(lambda i: {"loss": float(torch.rand(())) * 10 if random_losses else 1 / (i + 1)}, steps=8)


class Plain:
    """A view as another plugin may have it."""

    view = "plain"

    def __init__(self, bend):
        self._bend = bend

    def capture(self):
        values = np.linspace(-1, 1, 40, dtype=np.float32)
        values += self._bend * values**2
        return Capture("plain", {"size": 40}, {"values": values, "count": np.arange(3)})

    def compare(self, baseline, actual, tolerances):
        return compare_arrays(baseline, actual, tolerances)


def climb(*changes):
    return ActivationMaximizationView(net(*changes), "block.conv", input_size=(3, 8, 8), steps=3, filters=(0, 2))


def explained(view, **options):
    def made(*changes, data=image, dtype=torch.float32):
        return view(net(*changes).to(dtype), data().to(dtype), target=3, **options)

    return made


cam, saliency = explained(CamMapView, target_layer="block"), explained(SaliencyMapView)
POSITIONS = (negated, scaled, convolved, noisy, shifted, smooth, unused)


def rows():
    return torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(1))


class Masked(nn.Module):
    def forward(self, scores, mask):
        return (scores + mask).softmax(-1)


class Attention(nn.Module):
    def __init__(self, factor):
        super().__init__()
        torch.manual_seed(0)
        self.query, self.value, self.soft, self.factor = nn.Linear(8, 8), nn.Linear(8, 8), Masked(), factor

    def forward(self, x):
        scores = self.query(x) @ x.transpose(1, 2)
        mask = torch.full(scores.shape[-2:], -1e9).triu(1)
        return self.value(self.soft(scores, mask) @ x * self.factor)


class Scales(nn.Module):
    def forward(self, x):
        return x / 65535


class Small(nn.Module):
    def __init__(self, factor):
        super().__init__()
        torch.manual_seed(0)
        self.scale, self.head, self.factor = Scales(), nn.Linear(8, 4), factor

    def forward(self, x):
        return self.head(self.scale(x * 65535) * self.factor)


# For each subject what was recorded, and what has drifted since.
SUBJECTS = {
    "feature_maps": lambda: (
        FeatureMapsView(net(), image()),
        [FeatureMapsView(net(one), image()) for one in POSITIONS]
        + [FeatureMapsView(net(), image(lambda x: x.flip(1))), FeatureMapsView(net(), image(lambda x: x * 1.001))]
        + [FeatureMapsView(net(kind=Scores), image()), FeatureMapsView(net(), (image(), 2.0))],
    ),
    "feature_maps of a Sequential": lambda: (
        FeatureMapsView(sequential(), image()),
        [FeatureMapsView(sequential(one), image()) for one in (negative, tenth)],
    ),
    "feature_maps with a mask": lambda: (
        FeatureMapsView(Attention(1.0), rows()),
        [FeatureMapsView(Attention(factor), rows()) for factor in (-1.0, 0.5, 0.0, 100.0)],
    ),
    "feature_maps that grow small": lambda: (
        FeatureMapsView(Small(1.0), rows()),
        [FeatureMapsView(Small(factor), rows()) for factor in (-1.0, 0.5, 0.0, 100.0)],
    ),
    "feature_maps in bfloat16": lambda: (
        FeatureMapsView(net().bfloat16(), image(lambda x: (x * 255).bfloat16())),
        [FeatureMapsView(net(one).bfloat16(), image(lambda x: (x * 255).bfloat16())) for one in (negated, convolved)],
    ),
    "model_summary": lambda: (
        ModelSummaryView(net(), input_data=image()),
        [ModelSummaryView(net(one), input_data=image()) for one in (smooth, wider, strided, longer, frozen)]
        + [ModelSummaryView(net().half(), input_data=image(lambda x: x.half()))],
    ),
    "kernel_maps": lambda: (
        KernelMapsView(net()),
        [KernelMapsView(net(one)) for one in (convolved, noisy, wider, strided)],
    ),
    "model_graph": lambda: (
        ModelGraphView(net(), image()),
        [ModelGraphView(net(one), image()) for one in (smooth, wider, strided)]
        + [ModelGraphView(net(kind=Scores), image())],
    ),
    "cam_map": lambda: (
        cam(),
        [cam(one) for one in (convolved, noisy, smooth)] + [cam(data=lambda: image(lambda x: x.flip(1)))],
    ),
    "saliency_map": lambda: (
        saliency(),
        [saliency(one) for one in (convolved, noisy, smooth)],
    ),
    "cam_map in bfloat16": lambda: (
        cam(dtype=torch.bfloat16),
        [cam(one, dtype=torch.bfloat16) for one in (convolved, noisy, smooth)],
    ),
    "saliency_map in bfloat16": lambda: (
        saliency(dtype=torch.bfloat16),
        [saliency(one, dtype=torch.bfloat16) for one in (convolved, noisy, smooth)],
    ),
    "activation_maximization": lambda: (climb(), [climb(convolved), climb(noisy)]),
    "training_curve": lambda: (
        training(),
        [training(kind) for kind in ("accumulated", "rate", "late", "loss", "decay")],
    ),
    "training_curve that shows little": lambda: (
        learning(),
        [learning(UNNOTICED[one]) for one in ("mirrored", "running", "table", "cache")],
    ),
    "training_curve without a model": lambda: (falling(), [falling(random_losses=True)]),
    "a view of another plugin": lambda: (Plain(0.0), [Plain(0.01), Plain(-2.0)]),
}


class Head(nn.Module):
    """A model of which its loss shows neither what it normalises with in evaluation, nor its unused head."""

    def __init__(self, change, size, dtype, entries):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.norm, self.outer = nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)
        self.spare = nn.Linear(3, size, dtype=dtype)
        self.register_buffer("table", torch.arange(1.0, entries + 1))
        self.register_buffer("cache", torch.arange(1.0, entries + 1), persistent=False)
        with torch.no_grad():
            change(self)

    def forward(self, x):
        return self.outer(torch.tanh(self.norm(self.inner(x))))


def learning(change=lambda model: None, size=4, dtype=torch.float32, entries=3):
    model = Head(change, size, dtype, entries)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.rand(8, 4, generator=torch.Generator().manual_seed(0))

    def step(number):
        optimizer.zero_grad()
        loss = model.train()(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return TrainingCurveView(step, steps=3, model=model, optimizer=optimizer)


def mirrored(model):
    """What tanh lets pass the same: both signs of all that is before it and after it."""
    for parameter in (model.inner.weight, model.inner.bias, model.outer.weight):
        parameter.neg_()


UNNOTICED = {
    "mirrored": mirrored,
    "running": lambda model: model.norm.running_var.mul_(9),
    "table": lambda model: model.table.mul_(5),
    "cache": lambda model: model.cache.mul_(-7),
    "spare": lambda model: model.spare.weight.neg_(),
}
