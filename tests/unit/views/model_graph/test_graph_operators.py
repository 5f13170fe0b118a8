"""Which operators an exported graph has, under which names, and what computes nothing and is left out."""

import collections
import functools

import numpy as np
import pytest
import torch
from graph_models import Net, capture, compared, edited, lines, names, small
from torch import nn
from zoo import ZOO, Recurrent, SmallNet, data_parallel, images, sequences, vectors

from pytest_modelviz.views.feature_maps.capture import FeatureMapsView


def test_operators_are_listed_in_the_order_of_execution():
    graph = capture(Net("relu")).result
    assert graph.source == "exported"
    assert str(graph).splitlines() == [
        "input.x: float32[1, 4, 8, 8]",
        "layer.0.conv/conv2d: float32[1, 4, 8, 8] = conv2d(input.x, layer.0.conv.weight, bias=layer.0.conv.bias, "
        "padding=(1, 1))",
        "layer.0.norm/batch_norm: float32[1, 4, 8, 8] = batch_norm(layer.0.conv/conv2d, layer.0.norm.weight, "
        "layer.0.norm.bias, layer.0.norm.running_mean, layer.0.norm.running_var, training=False, momentum=0.1, "
        "eps=1e-05)",
        "layer.0/relu: float32[1, 4, 8, 8] = relu(layer.0.norm/batch_norm)",
        "layer.0/dropout: float32[1, 4, 8, 8] = dropout(layer.0/relu, p=0.5, train=False)",
        "layer.0/add: float32[1, 4, 8, 8] = add(layer.0/dropout, input.x)",
        "/upsample_nearest2d: float32[1, 4, 16, 16] = upsample_nearest2d(layer.0/add, scale_factors=(2.0, 2.0))",
        "/mean: float32[1, 4] = mean(/upsample_nearest2d, dim=(2, 3))",
        "/reshape: float32[1, 4] = reshape(/mean, shape=(1, -1))",
        "head/linear: float32[1, 3] = linear(/reshape, head.weight, bias=head.bias)",
        "returns head/linear",
    ]


def test_small_constants_in_the_code_are_told_by_their_values():
    class Scaled(nn.Module):
        by = 0.5

        def forward(self, x):
            return x * torch.tensor([self.by] * 8) + 1

    _, text = compared(capture(Scaled(), vectors()), capture(edited(Scaled, by=0.25)(), vectors()))
    assert "now receives constant float32[8] (0.25, " in text


def test_operators_that_compute_nothing_that_is_used_or_meant_are_left_out():
    class Noisy(nn.Module):
        def forward(self, x):
            torch.sigmoid(x)
            y = x.detach().contiguous()[:, :, :].view(2, -1)
            assert y.shape[0] == 2
            return torch.relu(y.reshape(2, 5, 8).to(x.device))

    assert [one.kind for one in capture(Noisy(), sequences()).result.operators] == ["reshape", "reshape", "to", "relu"]


def test_wrappers_add_nothing_to_names():
    plain = capture(SmallNet(), images())
    for wrapped in (data_parallel(SmallNet()), torch.compile(SmallNet(), backend="eager")):
        assert capture(wrapped, images()).facts == plain.facts
    inner = nn.Sequential(torch.compile(SmallNet(), backend="eager"), nn.ReLU())
    before = list(inner.children())
    assert capture(inner, images()).facts == capture(nn.Sequential(SmallNet(), nn.ReLU()), images()).facts
    assert list(inner.children()) == before


def test_blocks_in_no_grad_and_autocast_are_looked_into():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 4)

        def forward(self, x):
            with torch.no_grad():
                y = self.linear(x)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.linear(x), y

    outputs = {one.name: one.output for one in capture(Mixed(), vectors()).result.operators}
    assert outputs == {"linear/linear": "float32[2, 4]", "linear/linear#1": "bfloat16[2, 4]"}


def test_branches_of_a_condition_are_looked_into():
    class Conditional(nn.Module):
        by = 2

        def forward(self, x):
            by = self.by
            return torch.cond(x.sum() > 0, lambda v: v * by, lambda v: v - 1, (x,))

    before, after = (capture(edited(Conditional, by=by)(), vectors()) for by in (2, 3))
    assert before.result.source == "exported"
    _, text = compared(before, after)
    assert lines(text) == ["changed: /mul other: 2 -> 3"]


def test_modules_in_branches_have_their_names():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU())

        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda v: self.a(v) + self.b[0].bias, lambda v: self.b(v) * 2, (x,))

    graph = capture(Branches(), vectors()).result
    assert FeatureMapsView(Branches(), vectors()).capture().arrays
    if graph.source == "traced":  # torch 2.6 cannot export it
        assert [(one.name, list(one.arguments)) for one in graph.operators][2:] == [
            ("/cond", ["argument1", "argument2"])
        ]
        return
    told = {one.name: one.inputs for one in graph.operators}
    assert told["a/linear"] == ("/cond<0>", "a.weight", "bias=a.bias")
    assert told["b.0/linear"] == ("/cond<0>", "b.0.weight", "bias=b.0.bias")
    assert told["b.1/relu"] == ("b.0/linear",)
    assert told["/add"] == ("a/linear", "b.0.bias")
    inside = capture(nn.Sequential(Branches()), vectors()).result
    assert names(inside) == ["0/sum", "0/gt", "0.a/linear", "0/add", "0.b.0/linear", "0.b.1/relu", "0/mul", "0/cond"]


def test_the_fast_path_of_transformers_does_not_hide_their_operators():
    graph = capture(ZOO["encoder"].build(), sequences()).result
    kinds = collections.Counter(one.kind for one in graph.operators)
    assert kinds["scaled_dot_product_attention"] == 2
    assert kinds["layer_norm"] == 4


def test_what_is_written_in_place_is_kept_and_a_number_is_an_argument():
    class Writes(nn.Module):
        def forward(self, x):
            y = x.clone()
            y[:, 0].mul_(2)
            y[:, 1] = 0
            return y

    operators = capture(Writes(), vectors()).result.operators
    assert [one.kind for one in operators] == ["clone", "select", "mul_", "select", "fill_"]
    assert operators[-1].arguments == {"value": "0"}


def test_objects_that_a_model_returns_are_looked_into():
    graph = capture(ZOO["dataclass"].build(), vectors()).result
    assert graph.source == "exported"
    assert graph.outputs == ("linear/linear", "linear/linear", "/mul")


def test_a_root_that_sets_attributes_of_its_own_is_exported():
    for model in (nn.LSTM(8, 4, batch_first=True), Recurrent()):
        assert capture(model, sequences()).result.source == "exported"


def test_a_meta_model_can_be_followed():
    with torch.device("meta"):
        model = Net()
    assert capture(model, small().to("meta")).facts["operators"] == capture(Net()).facts["operators"]


class Cached(nn.Module):
    """Positions that live in a cache outside the module."""

    positions = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x * self.positions(x.shape[1]) + 1)


def _in_lru_cache():
    @functools.lru_cache
    def positions(size):
        return torch.arange(size).to(torch.float32) / 3

    return positions


def _in_dict():
    held = {}

    def positions(size):
        if size not in held:
            held[size] = torch.arange(size).to(torch.float32) / 3
        return held[size]

    return positions


@pytest.mark.parametrize("cache", [_in_lru_cache, _in_dict])
def test_caches_outside_the_module_keep_no_fake_tensors_and_change_no_graph(cache):
    def fresh():
        return edited(Cached, positions=staticmethod(cache()))()

    cold, watched = fresh(), fresh()
    first = capture(cold, vectors())
    assert first.result.source == "exported"
    assert type(cold(vectors())) is type(cold.positions(8)) is torch.Tensor
    FeatureMapsView(watched, vectors()).capture()
    for model in (cold, watched):
        assert capture(model, vectors()).facts == first.facts
    maps = [FeatureMapsView(model, vectors()).capture().arrays for model in (cold, watched, fresh())]
    assert all(one.keys() == maps[0].keys() for one in maps)
    assert all(np.array_equal(one[key], maps[0][key]) for one in maps for key in one)


def test_a_traced_graph_does_not_depend_on_caches_either():
    class Chooses(Cached):
        def forward(self, x):
            return super().forward(x if x.sum() > -1e9 else -x)

    model = edited(Chooses, positions=staticmethod(_in_dict()))()
    first = capture(model, vectors())
    assert first.result.source == "traced"
    assert capture(model, vectors()).facts == first.facts


def test_a_meta_model_whose_pass_fails_is_exported_all_the_same():
    class Checks(nn.Module):
        def forward(self, x):
            y = x.abs()
            y.sum().item()
            return y

    model = Checks()
    with pytest.raises(RuntimeError):
        model(vectors().to("meta"))
    assert names(capture(model, vectors().to("meta")).result) == ["/abs"]


def test_what_a_module_keeps_of_its_first_pass_is_still_computed():
    class Keeps(nn.Module):
        kept = None

        def forward(self, x):
            if self.kept is None:
                self.kept = torch.arange(x.shape[1])
            return x + self.kept

    assert [one.kind for one in capture(Keeps(), vectors()).result.operators] == ["arange", "add"]
