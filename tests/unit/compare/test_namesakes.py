"""Modules that are called like a class of torch's and compute something else: the name excuses nothing."""

import dataclasses

import numpy as np
import pytest
import torch
from forging_by_hand import matches, retraced
from torch import nn

from pytest_modelviz.probe.modules import is_namesake
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView

X = torch.rand(3, 16, generator=torch.Generator().manual_seed(0))


def subclass(factor):
    torch.manual_seed(0)
    return type("Linear", (nn.Linear,), {"forward": lambda self, x: nn.Linear.forward(self, x) * factor})(16, 4)


def hooked(factor):
    torch.manual_seed(0)
    layer = nn.Linear(16, 4)
    layer.register_forward_hook(lambda module, args, output: output * factor)
    return layer


def replaced(factor):
    torch.manual_seed(0)
    layer = nn.Linear(16, 4)
    layer.forward = lambda x: nn.functional.linear(x, layer.weight, layer.bias) * factor
    return layer


@pytest.mark.parametrize("build", [subclass, hooked, replaced])
def test_results_of_what_is_no_weighted_sum_are_compared_to_the_last_digit(build):
    view, other = (FeatureMapsView(build(factor), X) for factor in (1e-8, 1.3e-8))
    assert not matches(other, view.capture(), other.capture())
    assert matches(view, view.capture(), view.capture())


@pytest.mark.parametrize("name", ["ReLU", "GELU", "SiLU"])
def test_what_is_no_rectifier_excuses_no_small_result(name):
    def model(factor):
        torch.manual_seed(0)
        scale = type(name, (nn.Module,), {"forward": lambda self, x: x * factor})
        return nn.Sequential(nn.Linear(16, 16), scale())

    def off(trace):
        record = trace.tensors["0"]
        trace.tensors["0"] = dataclasses.replace(record, sketch=record.sketch * np.float32(1 + 1e-6))

    view, other = (FeatureMapsView(model(factor), X) for factor in (1e-6, 2e-6))
    baseline = retraced(view, view.capture(), off)
    assert matches(view, baseline, view.capture())
    assert not matches(other, baseline, other.capture())


def test_classes_of_torch_are_themselves():
    layers = [nn.Linear(2, 2), nn.Conv2d(1, 1, 1), nn.LazyLinear(2), nn.ReLU(), nn.TransformerEncoderLayer(4, 2)]
    layers += [nn.utils.spectral_norm(nn.Linear(2, 2)), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))]
    assert not any(map(is_namesake, layers))
    assert not is_namesake(type("Swish", (nn.Module,), {})())
