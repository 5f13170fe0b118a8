"""Small trainings with one thing changed, and the verdict on two of them."""

import torch
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.views.training_curve.capture import TrainingCurveView


class Scale(nn.Module):
    """w * x with w = 1: everything about its training can be worked out by hand."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.w * x


class Net(nn.Module):
    def __init__(self, width=16, dropout=0.0):
        super().__init__()
        self.first = nn.Linear(4, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(dropout)
        self.last = nn.Linear(width, 1)

    def forward(self, x):
        return self.last(self.drop(torch.relu(self.norm(self.first(x)))))


def trained(
    *,
    model=None,
    change=lambda model: None,
    optimiser=lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    loss=nn.functional.mse_loss,
    data=lambda step, x: x,
    zero=True,
    at=lambda step, optimiser: None,
    steps=8,
    seed=0,
    given=True,
):
    """A view of a small training, with one thing of it changed."""
    torch.manual_seed(1)
    model = Net() if model is None else model
    change(model)
    chosen = optimiser(list(model.parameters()))

    def step(number):
        x = torch.randn(32, 4)
        target = x.sum(1, keepdim=True).sin()
        at(number, chosen)
        if zero:
            chosen.zero_grad()
        found = loss(model(data(number, x)), target)
        found.backward()
        chosen.step()
        return found

    return TrainingCurveView(step, steps=steps, seed=seed, model=model if given else None)


def compared(one, other, **tolerances):
    baseline, actual = one.capture(), other.capture()
    return other.compare(baseline, actual, Tolerances(**tolerances))


def adam(rate=1e-2):
    return lambda parameters: torch.optim.Adam(parameters, lr=rate)
