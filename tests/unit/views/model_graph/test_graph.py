"""`model_graph`: operators by export or tracing, compared as a diff is read."""

import collections
import contextlib
import functools
import gc
import itertools
import json
import os
import subprocess
import sys
import time
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from zoo import ZOO, Recurrent, SmallNet, data_parallel, images, sequences, vectors

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.pictures.files import png_bytes
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.reports.tensorboard import EventFiles
from pytest_modelviz.reports.terminal import explain
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_graph.align import align
from pytest_modelviz.views.model_graph.capture import ModelGraphView, _reason
from pytest_modelviz.views.model_graph.compare import compare_graphs
from pytest_modelviz.views.model_graph.findings import FollowingFinding, OperatorFinding
from pytest_modelviz.views.model_graph.naming import tensor_text
from pytest_modelviz.views.model_graph.records import Operator, OperatorGraph


class Block(nn.Module):
    """A residual block whose code, not its modules, depends on what it is told to do."""

    code = "relu"

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.conv(x))
        y = F.gelu(y) if self.code == "gelu" else F.relu(y, inplace=self.code == "in place")
        if self.code != "no dropout":
            y = F.dropout(y, 0.4 if self.code == "p" else 0.5, self.training)
        if self.code == "two more":
            y = torch.sigmoid(y) * 2
        return y + y if self.code == "no skip" else y + x


class Net(nn.Module):
    code = "nearest"

    def __init__(self, *codes: str) -> None:
        super().__init__()
        self.layer = nn.Sequential(*(edited(Block, code=code)() for code in codes or ("relu", "relu")))
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(self.layer(x), scale_factor=2, mode=self.code)
        return self.head(x.mean((2, 3)).view(x.shape[0], -1))


def edited(module, **attributes):
    """The same class with other code."""
    return type(module.__name__, (module,), attributes)


class Choosing(nn.Module):
    """What it computes depends on the data: no export can follow it."""

    activation = staticmethod(torch.relu)

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        if y.sum() > -1e9:
            y = self.activation(y)
        return y.chunk(2, 1)[1] + 1


def small() -> torch.Tensor:
    return torch.rand(1, 4, 8, 8)


def capture(model, data=None):
    return ModelGraphView(model, small() if data is None else data).capture()


def compared(before, after):
    """(verdict, the text of the report)"""
    view = ModelGraphView(nn.Identity(), small())
    verdict = view.compare(before, after, Tolerances())
    status = Status.MATCH if verdict.matched else Status.DRIFT
    result = CheckResult(
        nodeid="t.py::test",
        view="model_graph",
        name="model_graph",
        status=status,
        baseline="baselines/x.json",
        candidate="c.json",
    )
    return verdict, explain(result.with_verdict(verdict), verdict.findings)


def lines(text, label="evidence"):
    """The sentences under a label of a report."""
    found, inside = [], False
    for line in text.splitlines():
        inside = line.startswith(f"  {label}") or (inside and line.startswith("            "))
        if inside:
            found.append(line[12:])
    return found


def names(graph):
    return [one.name for one in graph.operators]


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


@pytest.mark.parametrize(
    ("before", "after", "layer", "class_name", "evidence"),
    [
        (Net(), Net("relu", "gelu"), "layer.1", "Block", "replaced in layer.1: relu -> gelu (after {norm})"),
        (Net("gelu"), Net("relu"), "layer.0", "Block", "replaced in layer.0: gelu -> relu (after {norm0})"),
        (
            Net(),
            edited(Net, code="bilinear")(),
            "",
            "Net",
            "replaced in (model): upsample_nearest2d -> upsample_bilinear2d(align_corners=False) (after layer.1/add)",
        ),
        (
            Net(),
            Net("relu", "no dropout"),
            "layer.1",
            "Block",
            "removed from layer.1: dropout(p=0.5, train=False) (after layer.1/relu)",
        ),
        (Net(), Net("relu", "p"), "layer.1", "Block", "changed: layer.1/dropout p: 0.5 -> 0.4"),
        (Net(), Net("relu", "in place"), "layer.1", "Block", "replaced in layer.1: relu -> relu_ (after {norm})"),
        (
            Net(),
            Net("relu", "no skip"),
            "layer.1",
            "Block",
            "layer.1/add now receives layer.1/dropout instead of layer.0/add",
        ),
    ],
    ids=["relu to gelu", "gelu to relu", "interpolate", "lost dropout", "another p", "in place", "lost skip"],
)
def test_a_functional_change_is_one_readable_finding(before, after, layer, class_name, evidence):
    verdict, text = compared(capture(before), capture(after))
    assert (verdict.first.layer, verdict.first.class_name, verdict.cause) == (layer, class_name, "computation")
    told = [line for line in lines(text) if " follow" not in line]
    assert told == [evidence.format(norm="layer.1.norm/batch_norm", norm0="layer.0.norm/batch_norm")]
    assert verdict.drifted == 1


def test_operators_put_in_are_told_and_what_follows_is_one_line():
    verdict, text = compared(capture(Net()), capture(Net("two more", "relu")))
    assert lines(text) == [
        "added in layer.0: sigmoid (after layer.0/dropout)",
        "added in layer.0: mul(other=2) (after layer.0/sigmoid)",
        "1 operator after that follows, from layer.0 on: another shape, or an input that has another name now",
    ]
    assert (verdict.first.layer, verdict.cause) == ("layer.0", "computation")


def test_many_alike_are_one_sentence():
    codes = ["relu"] * 5
    _, text = compared(capture(Net(*codes)), capture(Net(*(["gelu"] * 5))))
    assert lines(text) == ["replaced 5 times: relu -> gelu: layer.0, layer.1, layer.2 and 2 more"]
    _, text = compared(capture(Net(*codes)), capture(Net(*(["no dropout"] * 5))))
    assert lines(text)[0].startswith("removed 5 times: dropout(p=0.5, train=False): layer.0, ")
    _, text = compared(capture(Net(*codes)), capture(Net(*(["p"] * 5))))
    assert lines(text) == ["changed 5 times: dropout p: 0.5 -> 0.4: layer.0, layer.1, layer.2 and 2 more"]


def test_a_changed_configuration_is_an_architecture():
    after = Net()
    after.layer[1].norm.eps = 0.1
    verdict, text = compared(capture(Net()), capture(after))
    assert (verdict.first.layer, verdict.first.class_name) == ("layer.1.norm", "BatchNorm2d")
    assert verdict.cause == "architecture"
    assert lines(text) == ["changed: layer.1.norm/batch_norm eps: 1e-05 -> 0.1", "layer.1.norm eps: 1e-05 -> 0.1"]


def test_a_replaced_module_is_an_architecture_and_comes_before_the_rest_of_the_evidence():
    before = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    after = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 2))
    verdict, text = compared(capture(before, vectors()), capture(after, vectors()))
    assert (verdict.first.layer, verdict.first.class_name, verdict.cause) == ("1", "ReLU", "architecture")
    assert lines(text) == ["replaced in 1: relu -> gelu (after 0/linear)", "1 class: ReLU -> GELU"]


def test_another_width_is_told_where_it_begins():
    after = Net()
    after.head = nn.Linear(4, 5)
    verdict, text = compared(capture(Net()), capture(after))
    assert (verdict.first.layer, verdict.cause) == ("head", "architecture")
    assert lines(text)[:2] == [
        "head/linear returns another shape or dtype: float32[1, 3] -> float32[1, 5]",
        "head out_features: 3 -> 5",
    ]


def test_a_module_that_its_parent_reads_is_its_parent_s():
    class Holder(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.projection = nn.Linear(8, width)

        def forward(self, x):
            return F.linear(x, self.projection.weight)

    verdict, _ = compared(capture(Holder(3), vectors()), capture(Holder(4), vectors()))
    assert (verdict.first.layer, verdict.cause) == ("", "architecture")


def test_a_module_put_in_is_an_architecture():
    before, after = Net(), Net()
    after.layer.append(Block())
    verdict, text = compared(capture(before), capture(after))
    assert (verdict.first.layer, verdict.cause) == ("layer", "architecture")
    assert "layer.2.conv (Conv2d) was added" in lines(text)


def test_a_batch_of_another_size_is_another_input_and_nothing_else():
    verdict, text = compared(capture(Net()), capture(Net(), torch.rand(3, 4, 8, 8)))
    assert (verdict.first.layer, verdict.cause) == ("", "input")
    assert lines(text) == [
        "the model receives another input (x: float32[1, 4, 8, 8] -> float32[3, 4, 8, 8])",
        "14 operators after that follow, from layer.0.conv on: another shape, or an input that has another name now",
    ]


def test_other_values_and_weights_are_no_part_of_it():
    torch.manual_seed(1)
    before = capture(Net())
    assert compared(before, capture(Net(), torch.rand(1, 4, 8, 8)))[0].matched
    assert json.dumps(before.facts) == json.dumps(capture(Net()).facts)


def test_layout_and_threads_are_no_part_of_it():
    before = capture(Net())
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        after = capture(Net().to(memory_format=torch.channels_last), small().to(memory_format=torch.channels_last))
    finally:
        torch.set_num_threads(threads)
    assert json.dumps(before.facts) == json.dumps(after.facts)


def test_names_of_variables_and_of_forward_s_parameters_are_no_part_of_it():
    class One(nn.Module):
        def forward(self, x, other):
            y = torch.relu(x)
            return y * other

    class Two(nn.Module):
        def forward(self, image, mask):
            activation = torch.relu(image)
            return activation * mask

    data = (vectors(), vectors())
    assert compared(capture(One(), data), capture(Two(), data))[0].matched


class Several(nn.Module):
    follows = True  # whether export can follow it

    def forward(self, a, b, *, mask=None, **more):
        if not self.follows and a.sum() < -1e9:
            return a
        return torch.relu(a) - b + more["z"] + more["y"] + (0 if mask is None else mask)


@pytest.mark.parametrize("follows", [True, False])
def test_the_order_of_keyword_arguments_is_no_part_of_it(follows):
    model = edited(Several, follows=follows)()
    data = {name: vectors() for name in ("a", "b", "mask", "y", "z")}
    before, after = capture(model, data), capture(model, dict(reversed(data.items())))
    assert before.result.source == ("exported" if follows else "traced")
    assert list(before.result.inputs) == ["input.a", "input.b", "input.mask", "input.y", "input.z"]
    assert json.dumps(before.facts) == json.dumps(after.facts)


def test_inputs_are_renamed_by_place_only_where_their_names_differ():
    class Nested(nn.Module):
        def forward(self, x):
            return torch.relu(x["a"]) - x["b"]

    data = {"a": vectors(), "b": vectors()}
    before, after = (capture(Nested(), {"x": one}) for one in (data, dict(reversed(data.items()))))
    assert compared(before, after)[0].matched


def test_which_of_two_inputs_is_used_is_part_of_it():
    class One(nn.Module):
        def forward(self, x, y):
            return torch.relu(x) - y

    class Two(nn.Module):
        def forward(self, x, y):
            return torch.relu(y) - x

    data = (vectors(), vectors())
    verdict, text = compared(capture(One(), data), capture(Two(), data))
    assert lines(text)[0] == "/relu now receives input.y instead of input.x"
    assert not verdict.matched


def test_what_is_returned_is_part_of_it():
    class Returns(nn.Module):
        at = 0

        def forward(self, x):
            both = torch.relu(x), torch.sigmoid(x)
            return both if self.at is None else (both[self.at], both[0], both[1])

    first, second, without = (capture(edited(Returns, at=at)(), vectors()) for at in (0, 1, None))
    _, text = compared(first, second)
    assert lines(text) == ["the model returns /sigmoid, /relu, /sigmoid instead of /relu, /relu, /sigmoid"]
    _, text = compared(first, without)
    assert lines(text) == ["the model returns /relu, /sigmoid instead of /relu, /relu, /sigmoid"]


def test_a_renamed_module_is_told_and_its_operators_are_not():
    class Renamed(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.add_module(name, Net())

        def forward(self, x):
            (inner,) = self.children()
            return inner(x)

    verdict, text = compared(capture(Renamed("old")), capture(Renamed("new")))
    assert (verdict.first.layer, verdict.cause) == ("new", "architecture")
    assert lines(text) == ["old is now called new"]


def test_a_lost_tie_is_another_producer():
    tied, loose = ZOO["tied"].build(), ZOO["tied"].build()
    loose.out.weight = nn.Parameter(loose.embedding.weight.detach().clone())
    _, text = compared(*(capture(model, ZOO["tied"].input()) for model in (tied, loose)))
    assert lines(text)[0] == "out/linear now receives out.weight instead of embedding.weight"


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


# What export cannot follow


def test_a_model_that_cannot_be_exported_is_traced_and_says_so():
    made = capture(Choosing(), vectors())
    assert made.result.source == "traced"
    assert names(made.result) == ["inner/linear", "/sum", "/gt", "/relu", "/chunk", "/add"]
    assert str(made.result.operators[-1]) == "/add: float32[2, 4] = add(/chunk[1], argument1=1)"
    (note,) = made.notes
    assert note.startswith("torch.export cannot follow this model (GuardOnDataDependentSymNode: ")
    assert "0x" not in note
    assert "/site-packages/" not in note
    assert compared(made, capture(Choosing(), vectors()))[0].matched


def test_a_traced_graph_is_compared_like_an_exported_one():
    verdict, text = compared(
        capture(Choosing(), vectors()), capture(edited(Choosing, activation=staticmethod(F.gelu))(), vectors())
    )
    assert lines(text)[0] == "replaced in (model): relu -> gelu (after inner/linear)"
    assert (verdict.first.layer, verdict.cause) == ("", "computation")


def test_tracing_follows_what_is_overwritten_and_its_attributes():
    class Awkward(nn.Module):
        def forward(self, x):
            y = x.clone()
            y[:, 0] = 1
            F.relu_(y)
            if y.sum() > -1e9:
                y = y.T.data
            return y.mT.detach().abs()

    graph = capture(Awkward(), vectors()).result
    assert names(graph) == ["/clone", "/setitem", "/relu_", "/sum", "/gt", "/T", "/mT", "/abs"]
    assert {one.name: one.inputs for one in graph.operators[5:]} == {
        "/T": ("/relu_",),
        "/mT": ("/T",),
        "/abs": ("/mT",),
    }
    assert graph.outputs == ("/abs",)


@pytest.mark.parametrize("name", ["T", "mT", "H", "mH", "real", "imag"])
def test_a_traced_attribute_that_is_another_tensor_is_an_operator(name):
    class Reads(nn.Module):
        def forward(self, x):
            return torch.sin(getattr(x.data if x.abs().sum() > -1 else x, name))

    data = torch.complex(vectors(), vectors())
    graph = capture(Reads(), data).result
    assert graph.source == "traced"
    text = tensor_text(getattr(data, name))
    told = [str(one) for one in graph.operators[3:]]
    assert told == [f"/{name}: {text} = {name}(input.x)", f"/sin: {text} = sin(/{name})"]


def test_numbers_that_come_out_of_a_tensor_are_told_without_their_value():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = [torch.tensor([0.25, 0.75])]

        def forward(self, x):
            x = x * float(x.mean()) + x.sum().item()
            x = x * torch.tensor(x[0].tolist()) * 0.125
            x = x + torch.from_numpy(np.sqrt(x.abs().numpy()[0])) + torch.tensor([0.5] * 8)
            return x.reshape(-1, 2) * self.table[0]

    graphs = [capture(Reads(), data).result for data in (vectors(), vectors() * 0.7)]
    assert graphs[0].source == "traced"
    assert str(graphs[0]) == str(graphs[1])
    assert [str(one).partition(" = ")[2] for one in graphs[0].operators] == [
        "mean(input.x)",
        "mul(input.x, argument1=a number)",
        "sum(input.x)",
        "add(/mul, argument1=a number)",
        "getitem(/add, argument1=0)",
        f"tensor(argument0=({', '.join(['a number'] * 8)}))",
        "mul(/add, /tensor)",
        "mul(/mul#1, argument1=0.125)",
        "abs(/mul#2)",
        "numpy(/abs)",
        "add(/mul#2, constant float32[8])",
        f"tensor(argument0=({', '.join(['0.5'] * 8)}))",
        "add(/add#1, /tensor#1)",
        "reshape(/add#2, argument1=-1, argument2=2)",
        "mul(/reshape, constant float32[2] (0.25, 0.75))",
    ]


def test_a_tensor_that_takes_the_identity_of_a_dead_one_is_not_taken_for_it():
    class Reuses(nn.Module):
        def forward(self, x):
            if x.sum() < -1e9:
                return x
            numbers, others = np.zeros(8, np.float32), []
            dead = id(torch.relu(x))
            for _ in range(1000):
                others.append(torch.utils.dlpack.from_dlpack(numbers))  # what a trace does not see
                if id(others[-1]) == dead:
                    break
            else:
                pytest.skip("no tensor took its identity")
            return x + others[-1]

    assert capture(Reuses(), vectors()).result.operators[-1].inputs == ("input.x", f"constant float32[8] ({ZEROS})")


ZEROS = ", ".join("0" * 8)


def test_what_runs_after_a_module_that_raised_is_its_caller_s():
    class Tries(nn.Module):
        def __init__(self):
            super().__init__()
            self.outer = nn.Sequential(nn.Identity(), nn.Linear(3, 3))
            self.good = Choosing()

        def forward(self, x):
            with contextlib.suppress(RuntimeError):
                x = self.outer(x)
            return self.good(torch.sigmoid(x)).relu()

    graph = capture(Tries(), vectors()).result
    assert graph.source == "traced"
    assert names(graph)[:2] == ["/sigmoid", "good.inner/linear"]
    assert names(graph)[-2:] == ["good/add", "/relu"]


def test_a_scripted_model_counts_as_one_operator():
    made = ModelGraphView(*_scripted()).capture()
    assert made.result.source == "traced"
    assert names(made.result) == ["/torchscript"]
    assert made.notes[1] == "the model is TorchScript: it counts as one operator"


def _scripted():
    return ZOO["scripted"].build(), ZOO["scripted"].input()


def test_graphs_made_in_two_ways_are_not_compared_and_the_report_says_why():
    made = capture(Choosing(), vectors())
    exported = capture(nn.Linear(8, 8), vectors())
    for before, after in ((made, exported), (exported, made)):
        verdict, text = compared(before, after)
        assert (verdict.matched, verdict.cause) == (False, None)
        (line,) = lines(text)
        sources = after.result.source, before.result.source
        assert line.startswith(f"the graph was {sources[0]}, the baseline's {sources[1]} (GuardOnDataDependentSymNode")
        assert "look at the new one and accept it" in line
        view = ModelGraphView(nn.Identity(), small())
        assert [one.label for one in view.picture(after, before, verdict)] == ["operators", "graph"]


def test_a_model_s_own_error_is_its_own():
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        capture(nn.Linear(3, 3), vectors())


def test_a_traced_transformer_takes_no_fast_path():
    class Chooses(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = ZOO["encoder"].build()

        def forward(self, x):
            y = self.encoder(x)
            return y if y.sum() > -1e9 else x

    graph = capture(Chooses(), sequences()).result
    assert graph.source == "traced"
    assert sum(one.kind == "layer_norm" for one in graph.operators) == 4


def test_the_reason_of_a_failure_names_no_place_of_this_machine():
    error = ValueError("cannot read /home/somebody/net.py of <Net object at 0x7f00>, 0x12 \nand more")
    assert _reason(error) == "ValueError: cannot read ... of <Net object>, ..."


def test_torch_s_remarks_on_a_failed_export_are_not_printed(capfd, caplog):
    capture(Choosing(), vectors())
    assert not caplog.records
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@pytest.mark.parametrize("build", [Choosing, lambda: nn.Linear(8, 8)], ids=["failed", "exported"])
def test_an_export_leaves_no_hooks_and_no_model_behind(build):
    names = [f"_global_{kind}_registration_hooks" for kind in ("buffer", "module", "parameter")]
    tables = [getattr(nn.modules.module, name) for name in names]
    before = [dict(table) for table in tables]
    hook = nn.modules.module.register_module_buffer_registration_hook(lambda module, name, buffer: None)
    try:
        model = build()
        capture(model, vectors())
        alive = weakref.ref(model)
        del model
        gc.collect()
        assert alive() is None
        assert [getattr(nn.modules.module, name) for name in names] == tables
        assert [len(table) for table in tables] == [len(before[0]) + 1, len(before[1]), len(before[2])]
    finally:
        hook.remove()
    assert [dict(table) for table in tables] == before


def test_a_warning_turned_into_an_error_does_not_change_the_graph():

    class Warns(nn.Module):
        def forward(self, x):
            warnings.warn("old", DeprecationWarning, stacklevel=1)
            return x + 1

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert capture(Warns(), vectors()).result.source == "exported"


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("net", vectors(), "the model must be a torch.nn.Module, not str"),
        (nn.Linear(8, 2), None, "model_graph needs an input to follow"),
        (nn.Linear(8, 2), vectors().to("meta"), "the input is on meta but the model is on cpu"),
    ],
)
def test_errors_name_the_remedy(model, data, message):
    with pytest.raises(ModelvizError, match=message):
        ModelGraphView(model, data).capture()


@pytest.mark.parametrize("name", ZOO)
def test_every_awkward_model_has_a_graph_that_equals_itself(name):
    one, two = (ModelGraphView(ZOO[name].build(), ZOO[name].input()).capture() for _ in range(2))
    assert json.dumps(one.facts) == json.dumps(two.facts)
    verdict = ModelGraphView(nn.Identity(), 1).compare(one, two, Tolerances())
    assert (verdict.matched, verdict.findings) == (True, ())
    assert ModelGraphView(nn.Identity(), 1).picture(one)
    assert OperatorGraph.from_facts(json.loads(json.dumps(one.facts))).operators == one.result.operators


def test_another_process_makes_the_same_facts():
    code = (
        "import json, torch; from zoo import ZOO\n"
        "from pytest_modelviz.views.model_graph.capture import ModelGraphView\n"
        "print(json.dumps([ModelGraphView(ZOO[n].build(), ZOO[n].input()).capture().facts "
        "for n in ('attention', 'packed')]))"
    )
    here = Path(__file__).resolve().parent.parent
    path = os.pathsep.join([str(here), str(here.parent)])
    around = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": path}
    there = subprocess.run([sys.executable, "-c", code], cwd=here, env=around, capture_output=True, check=True).stdout
    facts = [ModelGraphView(ZOO[n].build(), ZOO[n].input()).capture().facts for n in ("attention", "packed")]
    assert json.loads(there) == json.loads(json.dumps(facts))


# Alignment


def graph_of(kinds, modules=None):
    """A chain of operators, each on what the one before it returned."""
    counts, operators, last = collections.Counter(), [], "input.x"
    for at, kind in enumerate(kinds):
        module = modules[at] if modules else ""
        count = counts[module, kind]
        counts[module, kind] += 1
        name = f"{module}/{kind}" + (f"#{count}" if count else "")
        operators.append(Operator(name, kind, (last,), {}, "float32[1]"))
        last = name
    return OperatorGraph("exported", "", {"input.x": "float32[1]"}, tuple(operators), (last,), {})


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=40), st.data())
@settings(max_examples=200)
def test_deleted_operators_are_told_as_exactly_these(kinds, data):
    gone = data.draw(st.sets(st.integers(0, len(kinds) - 1)))
    left = [kind for at, kind in enumerate(kinds) if at not in gone]
    for before, after, side in ((kinds, left, "before"), (left, kinds, "after")):
        verdict = compare_graphs(graph_of(before), graph_of(after))
        found = [finding for finding in verdict.findings if not isinstance(finding, FollowingFinding)]
        assert all(isinstance(finding, OperatorFinding) for finding in found)
        assert all(bool(finding.before) == (side == "before") != bool(finding.after) for finding in found)
        named = collections.Counter(getattr(finding, side) for finding in found)
        assert named == collections.Counter(kinds) - collections.Counter(left)
        assert verdict.matched == (not gone)


@given(st.lists(st.integers(0, 6), max_size=30), st.lists(st.integers(0, 6), max_size=30))
def test_blocks_cover_both_lists_and_equal_ones_are_equal(before, after):
    blocks = align(before, after)
    assert [at for block in blocks for at in block.before] == list(range(len(before)))
    assert [at for block in blocks for at in block.after] == list(range(len(after)))
    for block in blocks:
        if block.equal:
            assert [before[at] for at in block.before] == [after[at] for at in block.after]
    assert all(one.equal != two.equal for one, two in itertools.pairwise(blocks))


@pytest.mark.parametrize("kinds", [["add"], [f"op{at}" for at in range(7)], [f"op{at}" for at in range(5000)]])
def test_ten_thousand_operators_are_aligned_at_once(kinds):
    before = [kinds[at % len(kinds)] for at in range(10_000)]
    after = [kind for at, kind in enumerate(before) if at % 100]
    after[3333:3333] = ["new"] * 3
    started = time.perf_counter()
    verdict = compare_graphs(graph_of(before), graph_of(after))
    assert time.perf_counter() - started < 20
    assert not verdict.matched


# Facts and pictures


@pytest.mark.parametrize(
    "damage",
    [
        {"source": "guessed"},
        {"source": None},
        {"operators": []},
        {"operators": {"a": {"operator": 3, "out": ""}}},
        {"operators": {"a": {"operator": "relu", "out": "", "in": "x"}}},
        {"operators": {"a": {"operator": "relu", "out": "", "in": [1]}}},
        {"operators": {"a": {"operator": "relu", "out": "", "arguments": {"p": 1}}}},
        {"inputs": 1},
        {"outputs": None},
        {"reason": 7},
        {"modules": {"": {"class": "Net", "tensors": {"weight": "float32[a]"}}}},
    ],
)
def test_a_damaged_graph_is_unreadable(damage):
    made = capture(Net())
    facts = {**made.facts, **damage}
    with pytest.raises(UnreadableBaselineError):
        compare_graphs(OperatorGraph.from_facts(facts), made.result)


def test_pictures_fit_a_page_and_are_the_same_each_time():
    made = capture(Net(*["relu"] * 15))
    view = ModelGraphView(nn.Identity(), small())
    (one,) = view.picture(made)
    assert one.image.shape[0] < 1200
    assert one.image.shape[1] < 1200
    assert png_bytes(one.image) == png_bytes(view.picture(capture(Net(*["relu"] * 15)))[0].image)
    after = capture(Net(*["gelu"] * 15))
    diff = view.picture(after, made)[0]
    assert diff.image.shape[0] < 1200
    assert not np.array_equal(diff.image, one.image)


def test_the_diff_paints_what_is_gone_red_and_what_came_green():
    view = ModelGraphView(nn.Identity(), small())
    image = view.picture(capture(Net("gelu", "relu")), capture(Net()))[0].image
    colours = {tuple(pixel) for pixel in image.reshape(-1, 3)}
    assert {(255, 226, 224), (218, 245, 220)} <= colours


def test_tensorboard_gets_the_actual_graph(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    view = ModelGraphView(nn.Identity(), small())
    exhibit = view.picture(capture(Net("gelu", "relu")), capture(Net()))[1]
    events = EventFiles(tmp_path)
    events.show("test/model_graph", exhibit)
    events.close()
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    read = EventAccumulator(str(folder))
    read.Reload()
    graph = GraphDef.FromString(read.Graph().SerializeToString())
    nodes = {node.name: node for node in graph.node}
    assert nodes["layer/0/gelu"].op == "gelu"
    assert list(nodes["layer/0/gelu"].input) == ["layer/0/norm/batch_norm"]
    assert list(nodes["layer/0/add"].input) == ["layer/0/dropout", "input/x"]
    assert nodes["layer/0/conv/conv2d"].attr["holds"].s == b"layer.0.conv.weight, layer.0.conv.bias"
    shape = nodes["head/linear"].attr["_output_shapes"].list.shape[0]
    assert [side.size for side in shape.dim] == [1, 3]
    assert all(name in nodes for node in graph.node for name in node.input)
