"""What two graphs differ in, as a report says it, and what is no part of a graph."""

import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F
from graph_models import Block, Net, capture, compared, edited, lines, small
from torch import nn
from zoo import ZOO, vectors

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.reports.sentences import sentence
from pytest_modelviz.views.model_graph.compare import compare, compare_graphs
from pytest_modelviz.views.model_graph.records import OperatorGraph


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
    told = [line for line in lines(text) if " as a result" not in line]
    assert told == [evidence.format(norm="layer.1.norm/batch_norm", norm0="layer.0.norm/batch_norm")]
    assert verdict.drifted == 1


def test_operators_put_in_are_told_and_what_follows_is_one_line():
    verdict, text = compared(capture(Net()), capture(Net("two more", "relu")))
    assert lines(text) == [
        "added in layer.0: sigmoid (after layer.0/dropout)",
        "added in layer.0: mul(other=2) (after layer.0/sigmoid)",
        "1 later operator differs as a result, from layer.0 on: another shape, or an input with a new name",
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
        "the model receives a different input (x: float32[1, 4, 8, 8] -> float32[3, 4, 8, 8])",
        "14 later operators differ as a result, from layer.0.conv on: another shape, or an input with a new name",
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


class Spare(nn.Module):
    """Holds layers that it never calls, under these names."""

    def __init__(self, *names, factor=1.0):
        super().__init__()
        self.used, self._factor = nn.Linear(8, 8), factor
        for name in names:
            self.add_module(name, nn.Linear(8, 8))

    def forward(self, x):
        return self.used(x) * self._factor


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (["spare"], ["other"], ["spare is now called other"]),
        (["a", "b"], ["c", "d"], ["a is now called c", "b is now called d"]),
        (["spare"], [], ["spare (Linear) was removed"]),
    ],
)
def test_a_renamed_module_that_runs_nothing_is_told_with_the_match(before, after, told):
    verdict = compared(capture(Spare(*before)), capture(Spare(*after)))[0]
    assert verdict.matched
    assert sorted(map(sentence, verdict.findings)) == told
    verdict, text = compared(capture(Spare(*before)), capture(Spare(*after, factor=2.0)))
    assert not verdict.matched
    assert all(line in text for line in told)


def test_a_decoy_in_the_baseline_hides_no_module_that_was_added():
    baseline, actual = capture(Spare()), capture(Spare("extra"))
    facts = json.loads(json.dumps(baseline.facts))
    facts["modules"]["decoy"] = actual.facts["modules"]["extra"]
    honest, forged = (
        compare(dataclasses.replace(baseline, facts=own), actual, Tolerances()) for own in (baseline.facts, facts)
    )
    assert [sentence(finding) for finding in honest.findings] == ["extra (Linear) was added"]
    assert [sentence(finding) for finding in forged.findings] == ["decoy is now called extra"]


def test_a_lost_tie_is_another_producer():
    tied, loose = ZOO["tied"].build(), ZOO["tied"].build()
    loose.out.weight = nn.Parameter(loose.embedding.weight.detach().clone())
    _, text = compared(*(capture(model, ZOO["tied"].input()) for model in (tied, loose)))
    assert lines(text)[0] == "out/linear now receives out.weight instead of embedding.weight"


class Branching(nn.Module):
    """One or two conditions, whose branches are operators of the model."""

    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self._twice = twice

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self._twice:
            x = torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,))
        return torch.cond(x.relu().sum() > 1, torch.exp, torch.tanh, (x,))


@pytest.mark.parametrize("twice", [True, False])
def test_what_is_in_a_branch_receives_the_same_where_a_condition_before_it_came_or_went(twice):
    before, after = (capture(Branching(twice=which), torch.ones(2, 3)) for which in (twice, not twice))
    verdict, text = compared(before, after)
    assert not verdict.matched
    assert "cond" in text
    assert "/exp now receives" not in text
    assert "/tanh now receives" not in text


def test_a_model_that_holds_a_nested_tensor_can_be_compared():
    model = nn.Sequential(nn.ReLU())
    model.register_buffer("pieces", torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)]))
    recorded = capture(model)
    assert recorded.result.modules[""].tensors == {"pieces": "nested float32[2, *, 3]"}
    assert compared(recorded, recorded)[0].matched


class Handing(nn.Module):
    """Which of two inputs a child is given, and whose weight, is its parent's code."""

    def __init__(self, which: int, *, lend: bool) -> None:
        super().__init__()
        self.child, self._which, self._lend = nn.Linear(3, 3), which, lend
        self.register_buffer("other", torch.ones(3, 3))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        given = {"weight": self.other} if self._lend else {}
        return torch.func.functional_call(self.child, given, ((x, y)[self._which],)) + x + y + self.other[0]


@pytest.mark.parametrize("changed", [Handing(1, lend=False), Handing(0, lend=True)], ids=["input", "weight"])
def test_what_a_module_is_handed_is_a_matter_of_the_one_that_calls_it(changed):
    inputs = torch.ones(2, 3), torch.zeros(2, 3)
    verdict, _ = compared(capture(Handing(0, lend=False), inputs), capture(changed, inputs))
    assert (verdict.first.layer, verdict.first.class_name) == ("", "Handing")


class Constants(nn.Module):
    """Reads a table of more numbers than a graph writes out, and returns a number beside tensors."""

    def forward(self, x):
        return {"shifted": x + torch.linspace(0, 1, x.shape[-1]), "count": x.shape[0]}


class Untraceable(nn.Module):
    """Decides by a value, which torch.export cannot follow."""

    def forward(self, x):
        return x.relu() if float(x.sum()) > 0 else x.tanh()


SAME = {"net": (Net, small), "constants": (Constants, vectors), "traced": (Untraceable, vectors)}


@pytest.mark.parametrize(("model", "data"), SAME.values(), ids=SAME)
def test_equal_graphs_are_the_match_that_comparing_them_finds(model, data, monkeypatch):
    before, after = (capture(model(), data()) for _ in range(2))
    before = dataclasses.replace(before, facts=json.loads(json.dumps(before.facts)))
    graphs = [OperatorGraph.from_facts(each.facts) for each in (before, after)]
    long = compare_graphs(*graphs)
    monkeypatch.setattr("pytest_modelviz.views.model_graph.compare.compare_graphs", None)  # it is not asked
    assert compare(before, after, Tolerances()) == long
    assert long.matched


def test_a_graph_beside_the_same_damage_is_unreadable():
    facts = json.loads(json.dumps(capture(Net()).facts))
    facts["modules"][""]["tensors"] = {"odd": "float32[much]"}
    damaged = Capture("model_graph", facts)
    with pytest.raises(UnreadableBaselineError, match="unreadable shape"):
        compare(damaged, damaged, Tolerances())
