"""Calls of one module with the same tensors may be made in any order, as a loop over a set makes them."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import ClassVar

import pytest
import torch
from torch import nn
from traces_by_hand import tensor
from zoo import LoopsOverSet, vectors

from pytest_modelviz.compare.diagnosis import compare_traces
from pytest_modelviz.compare.interchangeable_calls import in_order_of, interchangeable_calls
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.model_summary.compare import compare_trees

MODULES = ModelStructure({name: ModuleRecord(name or "Net", {"extra_repr": ""}, {}) for name in ("", "table", "act")})


ORDERS = list(itertools.permutations(["full", "sliding", "chunked"]))


def call(layer: str, index: int, depth: int, given: str, kind: str | None, returned: str) -> Call:
    inputs = {"x": Leaf(tensor=given)} | ({} if kind is None else {"kind": Leaf(literal=kind)})
    return Call(layer, index, depth, inputs, {"": Leaf(tensor=returned)})


def passed(*kinds: str, chained: bool = False, **values: float) -> ForwardTrace:
    """A pass that calls `table`, and in it `act`, once for each kind; each call returns a number of its own."""
    numbers = {"x": 1.0, "y": 9.0, "full": 2.0, "sliding": 3.0, "chunked": 4.0, **values}
    calls = [call("", 0, 0, "x", None, "y")]
    for index, kind in enumerate(kinds):
        given = kinds[index - 1] if chained and index else "x"
        calls += [call("table", index, 1, given, kind, kind), call("act", index, 2, given, None, kind)]
    return ForwardTrace(MODULES, calls, {key: tensor(value) for key, value in numbers.items()})


@pytest.mark.parametrize("order", ORDERS)
def test_another_order_of_them_is_a_match(order):
    assert compare_traces(passed("full", "sliding", "chunked"), passed(*order), Tolerances()).matched


def test_each_keeps_what_it_calls_and_is_numbered_anew():
    calls = in_order_of(passed("full", "sliding"), passed("sliding", "full")).calls
    assert [(c.layer, c.index, c.depth) for c in calls] == [
        ("", 0, 0), ("table", 0, 1), ("act", 0, 2), ("table", 1, 1), ("act", 1, 2),
    ]  # fmt: skip
    assert [c.outputs[""].tensor for c in calls[1:]] == ["full", "full", "sliding", "sliding"]


def test_what_each_returns_is_compared():
    verdict = compare_traces(passed("full", "sliding"), passed("sliding", "full", sliding=3.5), Tolerances())
    assert (verdict.first.layer, verdict.first.call, verdict.cause) == ("act", 1, "computation")


def test_results_that_the_caller_uses_the_other_way_round_are_its_drift():
    verdict = compare_traces(passed("full", "sliding"), passed("sliding", "full", y=8.0), Tolerances())
    assert (verdict.first.layer, verdict.cause) == ("", "computation")


@pytest.mark.parametrize(
    ("kinds", "chained"),
    [
        (("full", "sliding"), True),  # the second gets what the first returns
        (("full", "full"), False),  # nothing tells them apart
        (("full",), False),
    ],
)
def test_others_stay_as_they_are(kinds, chained):
    assert interchangeable_calls(passed(*kinds, chained=chained).calls) == []


def test_steps_of_a_loop_in_another_order_are_a_drift():
    passes = passed("full", "sliding", chained=True), passed("sliding", "full", chained=True)
    assert not compare_traces(*passes, Tolerances()).matched


def test_calls_of_other_modules_in_between_part_them():
    calls = passed("full", "sliding").calls
    between = call("act", 1, 1, "x", None, "y")
    assert interchangeable_calls(calls) == [[1, 3]]
    assert interchangeable_calls([*calls[:3], between, *calls[3:]]) == []


def test_a_baseline_with_other_arguments_moves_nothing():
    actual = passed("sliding", "full")
    for kinds in (("full", "chunked"), ("full",), ("full", "full")):
        assert in_order_of(passed(*kinds), actual).calls == actual.calls


class Views:
    """Both views of `LoopsOverSet`, whose set has the order that a test gives it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        torch.manual_seed(0)
        self._model = LoopsOverSet().eval()

    def __call__(self, *kinds: str):
        self._monkeypatch.setattr(LoopsOverSet, "KINDS", kinds)
        views = FeatureMapsView(self._model, vectors()), ModelSummaryView(self._model, input_data=vectors())
        return [(view, view.capture()) for view in views]


@pytest.fixture
def views(monkeypatch):
    return Views(monkeypatch)


@pytest.mark.parametrize("order", ORDERS)
def test_a_loop_over_a_set_matches_in_every_order(views, order):
    for (view, before), (_, after) in zip(views("full", "sliding", "chunked"), views(*order), strict=True):
        assert view.compare(before, after, Tolerances()).matched


def test_a_loop_over_another_set_drifts(views):
    for (view, before), (_, after) in zip(
        views("full", "sliding", "chunked"), views("full", "sliding", "chunked", "full"), strict=True
    ):
        assert not view.compare(before, after, Tolerances()).matched


def summaries(views, *orders):
    return [views(*order)[1][1].facts for order in orders]


def test_a_summary_is_the_same_in_every_order(views):
    one, two = summaries(views, ("full", "sliding", "chunked"), ("sliding", "chunked", "full"))
    assert one["layers"] == two["layers"]
    assert one["layers"]["table"]["in"] == "x: float32[2, 8], kind: chunked"


def test_a_summary_of_an_earlier_version_which_has_the_first_call_that_was_made_matches(views):
    (facts,) = summaries(views, ("full", "sliding", "chunked"))
    row = {key: value for key, value in facts["layers"]["table"].items() if key != "other_in"}

    def earlier(kind):
        table = {**row, "in": f"x: float32[2, 8], kind: {kind}"}
        return {**facts, "layers": {**facts["layers"], "table": table}}

    assert compare_trees(earlier("sliding"), facts).matched
    verdict = compare_trees(earlier("global"), facts)
    assert (verdict.first.layer, verdict.cause) == ("", "computation")


def test_a_baseline_cannot_say_that_other_inputs_would_do(views):
    (facts,) = summaries(views, ("full", "sliding", "chunked"))
    single = {**facts["layers"]["head"], "other_in": [facts["layers"]["head"]["in"]], "in": "input: float32[9, 8]"}
    forged = {**facts, "layers": {**facts["layers"], "head": single}}
    assert not compare_trees(forged, facts).matched


class Nested(LoopsOverSet):
    """It loops over a set, and so does the module that it calls."""

    INNER: ClassVar = ("p", "q", "r")

    def __init__(self) -> None:
        super().__init__()
        self.table = Inner()


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scaled = Scaled()

    def forward(self, x: torch.Tensor, kind: str) -> torch.Tensor:
        return sum({part: self.scaled(x, f"{kind}{part}") for part in Nested.INNER}.values())


class Scaled(nn.Module):
    def forward(self, x: torch.Tensor, kind: str = "chunked") -> torch.Tensor:
        return x * len(kind)


def test_calls_inside_such_calls_match_in_every_order(monkeypatch):
    torch.manual_seed(0)
    view = FeatureMapsView(Nested().eval(), vectors())

    def capture(kinds, parts):
        monkeypatch.setattr(Nested, "KINDS", kinds)
        monkeypatch.setattr(Nested, "INNER", parts)
        return view.capture()

    before = capture(("full", "sliding", "chunked"), ("p", "q", "r"))
    for kinds, parts in zip(ORDERS, itertools.permutations(["p", "q", "r"]), strict=True):
        assert view.compare(before, capture(kinds, parts), Tolerances()).matched, (kinds, parts)
    assert not view.compare(before, capture(("full", "sliding", "chunked"), ("p", "q", "s")), Tolerances()).matched


@pytest.mark.parametrize("order", ORDERS)
def test_one_that_has_a_default_matches_in_every_order(monkeypatch, order):
    torch.manual_seed(0)
    model = LoopsOverSet().eval()
    model.table = Scaled()  # an argument that has its default is left out
    views = FeatureMapsView(model, vectors()), ModelSummaryView(model, input_data=vectors())
    for view in views:
        monkeypatch.setattr(LoopsOverSet, "KINDS", ("full", "sliding", "chunked"))
        before = view.capture()
        monkeypatch.setattr(LoopsOverSet, "KINDS", order)
        after = view.capture()
        assert view.compare(before, after, Tolerances()).matched
        if isinstance(view, ModelSummaryView):
            assert after.facts["layers"] == before.facts["layers"]
            assert after.facts["layers"]["table"]["in"] == "x: float32[2, 8]"


def loops(
    draw: random.Random, order: random.Random | None, calls: list[Call], layers: tuple[str, ...] = ("a", "b", "c")
) -> list[Call]:
    """Adds loops over up to three kinds within each other, which the `order` shuffles; each kind calls others.

    At each depth they call a layer of their own.
    """
    depth = calls[-1].depth + 1
    for tensor_key in "tu"[: draw.randint(1, 2)] if depth < 4 else "":
        kinds, seed = ["p", "q", "r"][: draw.randint(1, 3)], draw.random()
        pieces = []
        for kind in kinds:
            inputs = {"x": Leaf(tensor=tensor_key), "kind": Leaf(literal=kind)}
            first = [Call(layers[depth - 1], 0, depth, inputs)]
            pieces.append(loops(random.Random(f"{seed}{kind}"), order, first, layers))
        if order is not None:
            order.shuffle(pieces)
        calls += itertools.chain.from_iterable(pieces)
    return calls


# A layer that calls itself makes calls of other depths between those that may change places.
@pytest.mark.parametrize("layers", [("a", "b", "c"), ("a", "a", "a"), ("a", "b", "a")])
@pytest.mark.parametrize("number", range(100))
def test_whatever_such_calls_make_the_order_is_found_and_no_call_is_lost(number, layers):
    def trace(order):
        counts = Counter()
        calls = loops(random.Random(number), order, [Call("", 0, 0, {})], layers)
        for call in calls:
            call.index, counts[call.layer] = counts[call.layer], counts[call.layer] + 1
        return ForwardTrace(ModelStructure({}), calls)

    before = trace(None)
    assert in_order_of(before, trace(random.Random(number))) == before
