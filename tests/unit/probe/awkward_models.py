"""Any function as a model, and the verdict of `feature_maps` on two models."""

from torch import nn
from zoo import vectors

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView


def compared(one, two, data=None):
    first = FeatureMapsView(one, vectors() if data is None else data)
    second = FeatureMapsView(two, vectors() if data is None else data)
    return first.compare(first.capture(), second.capture(), Tolerances())


class Around(nn.Module):
    """Any function of an input and a linear layer, as a model."""

    def __init__(self, function):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.run = lambda x: function(self, x)

    def forward(self, x):
        return self.run(x)
