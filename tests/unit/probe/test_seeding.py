"""Weights from names: the same numbers everywhere, and such that each layer matters."""

import math

import pytest
import torch
from torch import nn

from pytest_modelviz import seed_weights
from pytest_modelviz.errors import ModelvizError


def splitmix(index, salt):
    z = (index + salt * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_values_follow_from_name_and_position():
    model = nn.Sequential(nn.Linear(3, 2))
    seed_weights(model)
    salt = 2781384115  # crc32(b"0 0.weight")
    bound = math.sqrt(3 / 3)
    expected = [-bound + 2 * bound * ((splitmix(at, salt) >> 40) + 0.5) / 2**24 for at in range(6)]
    assert model[0].weight.flatten().tolist() == pytest.approx(expected, rel=1e-7)


def test_neither_order_nor_neighbours_nor_the_generator_matter():
    torch.manual_seed(0)
    first = nn.ModuleDict({"a": nn.Linear(3, 4), "b": nn.Conv2d(1, 2, 3)})
    torch.manual_seed(1)
    second = nn.ModuleDict({"b": nn.Conv2d(1, 2, 3), "more": nn.Linear(9, 9), "a": nn.Linear(3, 4)})
    state = torch.get_rng_state()
    seed_weights(first)
    seed_weights(second)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(second.state_dict()[name], value) for name, value in first.state_dict().items())
    again = nn.ModuleDict({"a": nn.Linear(3, 4), "b": nn.Conv2d(1, 2, 3)})
    seed_weights(again, seed=1)
    assert not torch.equal(again["a"].weight, first["a"].weight)
    assert not torch.equal(first["a"].weight[0], first["a"].weight[1])


def test_ranges():
    layers = nn.Conv2d(4, 64, 3), nn.BatchNorm2d(64), nn.Linear(64, 64), nn.LSTM(8, 8), nn.Embedding(64, 64)
    conv, norm, linear, lstm, embedding = layers
    seed_weights(nn.Sequential(*layers).requires_grad_(False))
    assert conv.weight.std() == pytest.approx(math.sqrt(2 / 36), rel=0.05)
    assert linear.weight.std() == pytest.approx(1 / 8, rel=0.05)
    assert embedding.weight.std() == pytest.approx(1 / 8, rel=0.05)
    assert all(
        -0.05 <= bias.min() <= bias.max() <= 0.05 for bias in (conv.bias, norm.bias, linear.bias, lstm.bias_ih_l0)
    )
    assert 0.7 <= norm.weight.min() < 0.75
    assert 1.05 < norm.weight.max() <= 1.1
    assert 0.8 <= norm.running_var.min() <= norm.running_var.max() <= 1.2
    assert norm.running_mean.abs().max() <= 0.1
    assert norm.num_batches_tracked == 0


def test_what_is_not_a_floating_parameter_stays():
    model = nn.Module()
    model.register_parameter("integers", nn.Parameter(torch.arange(4), requires_grad=False))
    model.register_buffer("table", torch.full((3,), 7.0))
    model.register_parameter("angle", nn.Parameter(torch.zeros(3, 50, dtype=torch.complex64)))
    model.register_parameter("coarse", nn.Parameter(torch.zeros(5, dtype=torch.bfloat16)))
    model.register_parameter("strided", nn.Parameter(torch.zeros(4, 6).t()))
    model.scale = nn.Parameter(torch.tensor(0.0), requires_grad=False)
    seed_weights(model)
    assert model.integers.tolist() == [0, 1, 2, 3]
    assert model.table.tolist() == [7.0] * 3
    assert model.angle.real.std() > 0.05
    assert model.angle.imag.std() > 0.05
    assert model.coarse.min() >= 0.69
    assert model.strided.flatten().unique().numel() == 24
    assert 0.7 <= model.scale <= 1.1
    assert not model.scale.requires_grad


def test_shared_weights_have_the_first_name():
    shared = nn.Linear(3, 3)
    model = nn.ModuleDict({"a": shared, "b": shared})
    seed_weights(model)
    alone = nn.ModuleDict({"a": nn.Linear(3, 3)})
    seed_weights(alone)
    assert torch.equal(model["b"].weight, alone["a"].weight)
    tied = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    tied["b"].weight = tied["a"].weight
    seed_weights(tied)
    assert torch.equal(tied["b"].weight, alone["a"].weight)


def test_meta_models_and_lazy_ones():
    with torch.device("meta"):
        seed_weights(nn.Linear(3, 3))
    with pytest.raises(ModelvizError, match=r"^1\.weight is a lazy parameter without a shape: call the model once"):
        seed_weights(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)))
