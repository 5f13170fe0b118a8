"""No operator or input of a forged graph bears a name that stands for something else; honest names are read."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from forgery_subjects import image
from forging_by_hand import matches, reread
from torch import nn
from torch.overrides import handle_torch_function, has_torch_function

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.findings import UnstatedFinding
from pytest_modelviz.reports.sentences import sentence
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_graph.records import OperatorGraph


class Gated(nn.Module):
    def __init__(self, skip=True):
        super().__init__()
        self.gain, self.skip = nn.Parameter(torch.ones(2, 8)), skip

    def forward(self, x):
        bent = torch.tanh(x)
        return torch.relu(bent) * self.gain + (x if self.skip else bent)


@pytest.mark.parametrize("new", ["input.x", "gain", "/tanh[0]", "x"])
def test_no_operator_bears_a_name_that_stands_for_something_else(new):
    x = torch.rand(2, 8)

    def renamed(facts):
        rows = {}
        for name, row in facts["operators"].items():
            given = [new if one == "/tanh" else one for one in row.get("in", [])]
            rows[new if name == "/tanh" else name] = {**row, **({"in": given} if given else {})}
        facts["operators"] = rows

    view, other = ModelGraphView(Gated(), x), ModelGraphView(Gated(skip=False), x)
    baseline = reread(view, view.capture(), renamed)
    with pytest.raises(UnreadableBaselineError, match="impossible name"):
        other.compare(baseline, other.capture(), Tolerances())


def test_an_input_is_not_called_like_a_weight():
    x = torch.rand(2, 8)

    def renamed(facts):
        facts["inputs"] = {"gain": facts["inputs"]["input.x"]}

    view = ModelGraphView(Gated(), x)
    capture = view.capture()
    with pytest.raises(UnreadableBaselineError, match="impossible name"):
        view.compare(reread(view, capture, renamed), capture, Tolerances())


def test_no_operator_is_called_like_a_parameter_with_a_slash_in_its_name():
    class Odd(nn.Module):
        def __init__(self, skip):
            super().__init__()
            self.register_parameter("block/gain", nn.Parameter(torch.ones(2, 8)))
            self.block, self.skip = nn.Tanh(), skip

        def forward(self, x):
            bent = self.block(x)
            return torch.relu(bent) * getattr(self, "block/gain") + (bent if self.skip else getattr(self, "block/gain"))

    x = torch.rand(2, 8)

    def renamed(facts):
        old, new = "block/tanh", "block/gain"
        facts["operators"] = {
            (new if name == old else name): {**row, "in": [new if one == old else one for one in row.get("in", [])]}
            for name, row in facts["operators"].items()
        }

    view, other = ModelGraphView(Odd(True), x), ModelGraphView(Odd(False), x)
    assert not matches(other, reread(view, view.capture(), renamed), other.capture())


@pytest.mark.parametrize("name", ["dilation=2", "a=b=c", "k%3D", "input"])
def test_modules_of_any_name_are_in_the_graph(name):
    class Branches(nn.Module):
        def __init__(self, dilation):
            super().__init__()
            self.add_module(name, nn.Conv2d(3, 4, 3, padding=dilation, dilation=dilation))

        def forward(self, x):
            return torch.relu(getattr(self, name)(x))

    view, other = ModelGraphView(Branches(2), image()), ModelGraphView(Branches(5), image())
    capture = view.capture()
    assert [one.module for one in capture.result.operators] == [name, ""]
    assert matches(view, capture, ModelGraphView(Branches(2), image()).capture())
    verdict = other.compare(capture, other.capture(), Tolerances())
    assert (verdict.matched, verdict.first.layer) == (False, name)


def test_a_weight_of_a_module_called_input_is_no_input():
    class Reads(nn.Module):
        def __init__(self, own):
            super().__init__()
            self.input, self.own = nn.Linear(4, 4), own

        def forward(self, x, weight):
            return x @ (self.input.weight if self.own else weight)

    data = {"x": torch.rand(4, 4), "weight": torch.rand(4, 4)}
    view, other = ModelGraphView(Reads(True), data), ModelGraphView(Reads(False), data)
    assert not matches(other, view.capture(), other.capture())
    assert matches(view, view.capture(), view.capture())


def test_the_names_of_a_large_graph_are_looked_at_once():
    rows = {f"m/add#{number}": {"operator": "add", "out": "float32[1]"} for number in range(40_000)}
    facts = {"source": "exported", "inputs": {"input.x": "float32[1]"}, "outputs": [], "operators": rows, "modules": {}}
    assert len(OperatorGraph.from_facts(facts).operators) == 40_000  # a look at each pair would take half a minute


def test_no_operator_is_called_like_a_weight_that_the_baseline_keeps_to_itself():
    class Bends(nn.Module):
        def forward(self, x):
            return torch.tanh(x)

    class Heads(nn.Module):
        def __init__(self, skip):
            super().__init__()
            self.heads = nn.ModuleDict({"aux": Bends(), "aux/seg": nn.Linear(8, 8, bias=False)})
            self.skip = skip

        def forward(self, x):
            bent, weight = self.heads["aux"](x), self.heads["aux/seg"].weight
            return torch.relu(bent) @ weight + (bent if self.skip else weight)

    def alias(facts):
        old, new = "heads.aux/tanh", "heads.aux/seg.weight"
        facts["operators"] = {
            (new if name == old else name): {**row, "in": [new if one == old else one for one in row["in"]]}
            for name, row in facts["operators"].items()
        }
        del facts["modules"]["heads.aux/seg"]["tensors"]

    x = torch.rand(8, 8)
    view, other = ModelGraphView(Heads(True), x), ModelGraphView(Heads(False), x)
    assert not matches(other, reread(view, view.capture(), alias), other.capture())


def test_a_function_without_a_name_is_an_operator():
    plain = lambda x: x + 1  # noqa: E731  # which has no other name

    def overridable(x):
        return handle_torch_function(plain, (x,), x) if has_torch_function((x,)) else x + 1

    class Reads(nn.Module):
        def forward(self, x):
            return overridable(x) if float(x.sum()) < 1e9 else x

    view = ModelGraphView(Reads(), torch.rand(2, 2))
    capture = view.capture()
    assert "/<lambda>" in {one.name for one in capture.result.operators}
    assert matches(view, reread(view, capture, lambda facts: None), capture)


class Subtracts(nn.Module):
    def __init__(self, swapped):
        super().__init__()
        self.swapped = [swapped]  # no configuration

    def forward(self, a, b):
        return b - a if self.swapped[0] else a - b


@pytest.mark.parametrize(
    ("operands", "inputs", "matching"),
    [
        ("ab", "ab", "a - b"),
        ("ab", "ba", "a - b"),
        ("ba", "ab", "b - a"),
        ("cd", "cd", "a - b"),
        ("dc", "cd", "b - a"),
        ("ac", "ac", "a - b"),
        ("cb", "cb", "a - b"),
        ("cb", "bc", None),
        ("bc", "bc", None),
        ("ca", "ca", None),
        ("ac", "ca", None),
    ],
)
@pytest.mark.parametrize("by_name", [False, True])
def test_no_input_that_both_graphs_know_stands_for_another(operands, inputs, matching, by_name):
    data = {"a": torch.ones(2, 4), "b": torch.rand(2, 4)}
    if not by_name:
        data = tuple(data.values())
        matching = None if (operands, inputs) == ("ab", "ba") else matching  # in that order they are given
    elif {*operands, *inputs} != {*"ab"}:
        matching = None  # what the caller calls an input stands for that input
    views = {"a - b": ModelGraphView(Subtracts(False), data), "b - a": ModelGraphView(Subtracts(True), data)}
    view = views["a - b"]

    def renamed(facts):
        facts["inputs"] = {f"input.{name}": facts["inputs"]["input.a"] for name in inputs}
        for row in facts["operators"].values():
            row["in"] = [f"input.{name}" for name in operands]

    baseline = reread(view, view.capture(), renamed)
    matched = [name for name, other in views.items() if matches(other, baseline, other.capture())]
    assert matched == ([] if matching is None else [matching])


@pytest.mark.parametrize("wrap", [lambda batch: (batch,), lambda batch: ([batch, batch],)], ids=["dict", "list"])
def test_keys_of_a_dict_stand_for_themselves_in_whatever_order(wrap):
    class Net(nn.Module):
        def __init__(self, first, second):
            super().__init__()
            self.names = first, second

        def forward(self, batch):
            batch = batch if isinstance(batch, dict) else batch[1]
            return torch.tanh(batch[self.names[0]] - batch[self.names[1]])

    class Renamed(Net):
        def forward(self, inputs):
            return super().forward(inputs)

    Renamed.__name__, Renamed.__qualname__ = Net.__name__, Net.__qualname__
    a, b = torch.ones(2, 4), torch.zeros(2, 4)
    view = ModelGraphView(Net("a", "b"), wrap({"a": a, "b": b}))
    swapped = ModelGraphView(Net("b", "a"), wrap({"b": b, "a": a}))
    baseline = view.capture()
    text = json.dumps(baseline.facts).replace("['a']", "['p']").replace("['b']", "['q']")
    forged = replace(baseline, facts=json.loads(text))
    assert not matches(view, forged, view.capture())
    assert not matches(swapped, forged, swapped.capture())
    for honest in (
        ModelGraphView(Net("a", "b"), wrap({"b": b, "a": a})),
        ModelGraphView(Renamed("a", "b"), wrap({"a": a, "b": b})),
    ):
        assert matches(honest, baseline, honest.capture())


@pytest.mark.parametrize("names", [("p[0]", "p[1]"), ("x[5]", "x[7]"), ("a", "b")])
def test_integers_that_are_the_keys_of_a_dict_are_no_positions(names):
    class Net(nn.Module):
        def __init__(self, first, second):
            super().__init__()
            self.keys = first, second

        def forward(self, x):
            return torch.tanh(x[self.keys[0]] - x[self.keys[1]])

    a, b = torch.ones(2, 4), torch.zeros(2, 4)
    view = ModelGraphView(Net(0, 1), ({0: a, 1: b},))
    swapped = ModelGraphView(Net(1, 0), ({1: b, 0: a},))
    baseline = view.capture()
    text = json.dumps(baseline.facts)
    for at, name in enumerate(names):
        text = text.replace(f"input.x[{at}]", f"input.{name}")
    assert text != json.dumps(baseline.facts)
    forged = replace(baseline, facts=json.loads(text))
    assert not matches(swapped, forged, swapped.capture())


class Differs(nn.Module):
    """Subtracts one item of what it is given from another."""

    def __init__(self, first, second):
        super().__init__()
        self.keys = [first, second, lambda: None]  # no configuration

    def forward(self, x):
        return torch.tanh(x[self.keys[0]] - x[self.keys[1]])


class Renamed(Differs):
    def forward(self, p):
        return super().forward(p)


Renamed.__name__, Renamed.__qualname__ = Differs.__name__, Differs.__qualname__


@pytest.mark.parametrize("keys", [(0, 1), (3, 12), (1, 0), ("a", "b"), (-1, 2)])
def test_a_dict_in_another_order_is_the_same_input(keys):
    a, b = torch.ones(2, 4), torch.zeros(2, 4)
    batches = {keys[0]: a, keys[1]: b}, {keys[1]: b, keys[0]: a}
    views = [ModelGraphView(Differs(*keys), (batch,)) for batch in batches]
    for view, other in (views, views[::-1]):
        assert matches(other, view.capture(), other.capture())
        swapped = ModelGraphView(Differs(*keys[::-1]), other._input)
        assert not matches(swapped, view.capture(), swapped.capture())


@pytest.mark.parametrize("order", [("p[1]", "p[0]"), ("p[0]", "p[1]"), ("x[1]", "x[0]"), ("x[0]", "z", "x[1]")])
def test_no_order_of_a_graph_s_inputs_stands_for_names_and_for_positions(order):
    a, b = torch.ones(2, 4), torch.zeros(2, 4)
    views = [
        ModelGraphView(kind(*keys), (items,))
        for kind in (Differs, Renamed)
        for keys in ((0, 1), (1, 0))
        for items in ([a, b], {0: a, 1: b}, {1: b, 0: a})
    ]
    captures = [view.capture() for view in views]
    results = set()
    for operands in (order[:2], order[:2][::-1]):

        def changed(facts, operands=operands):
            facts["inputs"] = {f"input.{name}": "float32[2, 4]" for name in order}
            for row in facts["operators"].values():
                if row["operator"] == "sub":
                    row["in"] = [f"input.{name}" for name in operands]

        baseline = reread(views[0], captures[0], changed)
        matching = [at for at, view in enumerate(views) if matches(view, baseline, captures[at])]
        outputs = {bool(views[at].model(*views[at]._input).sum() > 0) for at in matching}
        assert len(outputs) <= 1
        results |= outputs
    assert results or len(order) > 2


def test_inputs_given_by_position_are_not_told_apart_by_their_names():
    class First(nn.Module):
        def forward(self, b, n):
            return torch.tanh(b)

    class Second(nn.Module):
        def forward(self, a, b):
            return torch.tanh(b)

    class Third(nn.Module):
        def forward(self, n, b):
            return torch.tanh(b)

    data = torch.ones(2, 4), torch.rand(2, 4)
    first, second, third = (ModelGraphView(kind(), data) for kind in (First, Second, Third))
    assert matches(second, third.capture(), second.capture())
    verdict = first.compare(third.capture(), first.capture(), Tolerances())
    assert (verdict.matched, verdict.cause) == (False, "input")
    assert sentence(verdict.findings[0]) == "the model receives a different input (order: n, b -> b, n)"


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("says_so", [False, True])
def test_inputs_that_the_caller_names_are_not_told_apart_by_their_order(says_so, traced):
    class Ordered(nn.Module):
        def forward(self, a, b):
            return a - b if not traced or float(a.sum()) < 1e9 else a

    class Reordered(nn.Module):
        def forward(self, b, a):
            return b - a if not traced or float(a.sum()) < 1e9 else a

    Reordered.__name__ = Reordered.__qualname__ = "Ordered"
    data = {"a": torch.ones(2, 4), "b": torch.rand(2, 4)}
    views = [ModelGraphView(Ordered(), data), ModelGraphView(Reordered(), data)]
    capture = views[0].capture()
    assert capture.facts["source"] == ("traced" if traced else "exported")

    def renamed(facts):
        other = {"input.a": "input.p", "input.b": "input.q"}
        facts["inputs"] = {other[name]: text for name, text in facts["inputs"].items()}
        for row in facts["operators"].values():
            row["in"] = [other.get(name, name) for name in row.get("in", [])]
        if not says_so:
            del facts["by_name"]  # as earlier versions recorded it

    baseline = reread(views[0], capture, renamed)
    assert [matches(view, baseline, view.capture()) for view in views] != [True, True]
    assert [matches(view, capture, view.capture()) for view in views] == [True, False]


class Borrows(nn.Module):
    """Reads the weight of a module whose code does not run."""

    def __init__(self, *names):
        super().__init__()
        for name in names:
            self.add_module(name, nn.Embedding(4, 4))
        self.names = [names]  # no configuration

    def forward(self, x):
        return nn.functional.linear(x, getattr(self, self.names[0][-1]).weight)


@pytest.mark.parametrize("cut", [("a",), ("b",), ("a", "b")])
def test_the_weight_of_another_module_is_another_weight(cut):
    x = torch.ones(2, 4)
    view, other = ModelGraphView(Borrows("b", "a"), x), ModelGraphView(Borrows("b"), x)

    def less(facts):
        for name in cut:
            del facts["modules"][name]

    baseline = reread(view, view.capture(), less)
    assert not matches(other, baseline, other.capture())
    assert matches(view, baseline, view.capture()) is ("a" not in cut)


def test_a_module_that_no_operator_reads_is_told_with_the_match():
    x = torch.ones(2, 4)
    view, other = ModelGraphView(Borrows("a"), x), ModelGraphView(Borrows("spare", "a"), x)
    for before, after in ((view, other), (other, view)):
        verdict = after.compare(before.capture(), after.capture(), Tolerances())
        assert (verdict.matched, [finding.layer for finding in verdict.findings]) == (True, ["spare"])


def test_a_baseline_that_does_not_say_what_is_shared():
    class Chain(nn.Module):
        def __init__(self, *, is_tied):
            super().__init__()
            torch.manual_seed(0)
            self.inner, self.spare = nn.Linear(4, 4), nn.Linear(4, 4)
            if is_tied:
                self.spare.weight = self.inner.weight

        def forward(self, x):
            return self.inner(x)

    baseline = ModelGraphView(Chain(is_tied=False), torch.ones(1, 4)).capture()
    facts = copy.deepcopy(dict(baseline.facts))
    for row in facts["modules"].values():
        row.pop("runs", None)
    view = ModelGraphView(Chain(is_tied=True), torch.ones(1, 4))
    verdict = view.compare(replace(baseline, facts=facts), view.capture(), Tolerances())
    assert UnstatedFinding("which weights are shared") in verdict.findings
