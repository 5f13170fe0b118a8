"""A model whose maps can be worked out by hand, and the verdict on two views."""

import torch
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances


def compared(view, other, **tolerances):
    return view.compare(view.capture(), other.capture(), Tolerances(**tolerances))


class Toy(nn.Module):
    """Two feature maps, read out by two classes: the map can be worked out by hand."""

    def __init__(self, first=(1.0, -4.0)):
        super().__init__()
        self.maps = nn.Identity()
        self.head = nn.Linear(2, 2, bias=False)
        self.head.weight.data = torch.tensor([list(first), [0.5, 3.0]])

    def forward(self, x):
        return self.head(self.maps(x).mean((2, 3)))


TOY_INPUT = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, 1.0]]]])
