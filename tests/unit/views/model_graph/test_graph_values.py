"""What a graph holds beside operators: larger constants, arguments of tensors and numbers, what the model returns."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from forging_by_hand import reread
from graph_models import capture, compared, lines
from torch import nn

from pytest_modelviz.records.tensors import random_signs
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_graph.compare import NARROW_SKETCHES, NOT_RECORDED
from pytest_modelviz.views.model_graph.constants import same_constant
from pytest_modelviz.views.model_graph.naming import constant


class Applied(nn.Module):
    """Computes whatever it is told to."""

    def __init__(self, function):
        super().__init__()
        self.__dict__["function"] = function

    def forward(self, x):
        return self.function(x)


class Followed(Applied):
    """The same by a way that no export can follow."""

    def forward(self, x):
        return self.function(x) if float(x.sum()) > -1e9 else x


X = torch.linspace(0, 1, 48).reshape(6, 8)
ROWS = torch.tensor([0, 2])


def overwritten(function):
    def run(x):
        y = x.clone()
        function(y, x * 2, x * 3)
        return y + 0

    return run


def write(index, value=0.0):
    return overwritten(lambda y, double, triple: y.__setitem__(index(y), value))


def assign(at):
    return overwritten(lambda y, *others: setattr(y, "data", others[at]))


@pytest.mark.parametrize("model", [Applied, Followed])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda x: x[ROWS, 1], lambda x: x[ROWS, 5]),
        (lambda x: x[ROWS, 0:2], lambda x: x[ROWS, 4:6]),
        (lambda x: x[:6, :6][None, ROWS], lambda x: x[:6, :6][ROWS, None].mT[None, :, 0]),
        (write(lambda y: (ROWS, 1)), write(lambda y: (ROWS, 3))),
        (write(lambda y: (ROWS, 1), torch.ones(2)), write(lambda y: (ROWS, slice(1, 2)), torch.ones(2, 1))),
    ],
    ids=["column", "slice", "new axis", "written", "tensor written"],
)
def test_what_stands_beside_a_tensor_in_an_index_is_compared(model, before, after):
    first = capture(model(before), X)
    assert compared(first, capture(model(before), X))[0].matched
    assert not compared(first, capture(model(after), X))[0].matched


def test_an_index_says_where_its_tensors_are():
    graph = capture(Followed(lambda x: x[x[:, 0] > 0.1, 1]), X).result
    assert graph.operators[-1].arguments == {"argument1": "(<tensor>, 1)"}
    joined = capture(Followed(lambda x: torch.cat([x, x])), X).result
    assert joined.operators[-1].arguments == {}


def test_what_the_data_of_a_tensor_is_set_to_is_compared():
    first, second = (capture(Followed(assign(at)), X) for at in (0, 1))
    assert [op.inputs for op in first.result.operators if op.kind == "set_data"] == [("/clone", "/mul")]
    assert compared(first, capture(Followed(assign(0)), X))[0].matched
    assert lines(compared(first, second)[1]) == ["/set_data now receives /mul#1 instead of /mul"]


LARGE = torch.linspace(1, 2, 48).reshape(6, 8)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (LARGE, LARGE.flip(0)),
        (LARGE, LARGE * (1 + 1e-4)),
        (LARGE.to(torch.complex64), LARGE.to(torch.complex64).conj() * 1j),
        (torch.arange(48).reshape(6, 8), torch.arange(48).reshape(6, 8).flip(1)),
        (LARGE > 1.5, LARGE < 1.5),
        (LARGE.masked_fill(LARGE > 1.9, float("inf")), LARGE.masked_fill(LARGE > 1.8, float("inf"))),
        (LARGE.masked_fill(LARGE > 1.9, -1e30), LARGE.masked_fill(LARGE > 1.9, -1e30).flip(0)),
    ],
    ids=["order", "size", "complex", "integers", "mask", "infinities", "giants"],
)
@pytest.mark.parametrize("follow", [False, True], ids=["exported", "traced"])
def test_the_values_of_a_larger_constant_are_compared(follow, before, after):
    def multiplied(values):
        def run(x):
            y = x * values
            return y if not follow or y.isnan().any() or y.isreal().any() else x

        return Applied(run)

    first = capture(multiplied(before), X)
    assert compared(first, capture(multiplied(before.clone()), X))[0].matched
    verdict, text = compared(first, capture(multiplied(after), X))
    assert not verdict.matched
    assert "now receives constant" in lines(text)[0]


def test_a_constant_computed_on_another_processor_is_the_same():
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    moved = values * (1 + 4e-8 * torch.randn(1000, generator=torch.Generator().manual_seed(1)).sign())
    assert constant(values) != constant(values + 1e-7)
    assert same_constant(constant(values), constant(moved))
    assert same_constant(constant(values), constant(values + 1e-7))
    assert not same_constant(constant(values), constant(values + 1e-5))
    assert not same_constant(constant(values), constant(values.double()))
    assert not same_constant(constant(values), constant(values.reshape(10, 100)))


def narrowly(text):
    """A text as earlier versions wrote it: without the sketches of the second width."""
    return re.sub(r"; wider [^()]*\)", ")", text)


def as_earlier(made):
    facts = json.loads(narrowly(json.dumps(made.facts)))
    return dataclasses.replace(made, facts=facts)


def exchanged(values, places):
    """Values changed at two places by as much, so that it cancels in a sum of both, which gives each a sign."""
    signs = random_signs(np.arange(1, values.numel() + 1, dtype=np.uint64), 0)[list(places)]
    changed = values.clone()
    changed[list(places)] += 0.5 * torch.tensor(signs * [1, -1], dtype=values.dtype)
    return changed


@pytest.mark.parametrize(("count", "places"), [(9, (1, 8)), (61, (3, 3 + 49)), (62, (0, 7)), (1000, (500, 507))])
def test_changes_that_cancel_in_seven_sums_are_found(count, places):
    values = torch.linspace(1, 2, count)
    before, after = constant(values), constant(exchanged(values, places))
    assert same_constant(narrowly(before), narrowly(after))
    assert not same_constant(before, after)


def test_up_to_61_numbers_are_written_out():
    values = [0.5 * at for at in range(61)]
    assert constant(torch.tensor(values)).partition("; wider ")[2] == f"{', '.join(f'{value:g}' for value in values)})"


@pytest.mark.parametrize("values", [torch.linspace(1, 2, 20), torch.linspace(1, 2, 200)], ids=["values", "sketch"])
def test_a_baseline_that_has_seven_sums_alone_matches_and_says_so(values):
    changed = exchanged(values, (3, 10))
    models = [Applied(lambda x, by=by: x.sum() * by) for by in (values, changed, values * 1.01)]
    same, cancelling, other = (capture(model, X) for model in models)
    assert compared(same, same)[0].findings == ()
    earlier = as_earlier(same)
    for actual in (same, cancelling):
        verdict, _ = compared(earlier, actual)
        assert (verdict.matched, verdict.findings) == (True, (NARROW_SKETCHES,))
    assert not compared(earlier, other)[0].matched
    assert not compared(same, cancelling)[0].matched
    assert not compared(same, earlier)[0].matched  # which no run captures


def test_giants_in_a_constant_hide_no_other_values():
    giants = torch.where(torch.arange(1000) % 100 == 0, -1e30, torch.linspace(1, 2, 1000))
    others = torch.where(giants < 0, giants, giants * 1.01)
    assert same_constant(constant(giants), constant(giants.clone()))
    assert not same_constant(constant(giants), constant(others))


def test_a_constant_that_cannot_be_read_as_numbers_is_given_by_its_shape():
    bits = torch.empty(16, dtype=torch.uint8).view(torch.bits8)
    assert constant(bits) == "constant bits8[16]"
    model = Applied(lambda x: x + bits.view(torch.uint8).sum())
    assert capture(model, X).notes == ("the graph holds what is not compared: constant bits8[16]",)


def test_a_damaged_constant_is_another():
    good = constant(LARGE)
    narrow, _, wide = good.partition("; wider ")
    for damaged in ("", f"{wide[:-1]}, 1", f"{wide[:-1]} | {wide[:-1]}", wide.replace("1,", "nan,", 1)[:-1], "word"):
        assert not same_constant(f"{narrow}; wider {damaged})", good)
    assert not same_constant(good.replace("sketch ", "sketch nonsense, "), good)
    assert not same_constant(good.replace("sketch ", "sketch nan, ").rpartition(",")[0] + ")", good)
    assert not same_constant(good.partition(" (")[0], good)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"a": 1, "b": 2.5}, {"a": 1, "c": 2.5}, "output.c: 2.5 instead of output.b: 2.5"),
        ({"a": 7}, {"a": 8}, "output.a: 8 instead of output.a: 7"),
        ({"a": 7}, {"a": "7"}, "output.a: '7' instead of output.a: 7"),
        ({"a": None}, {}, "nothing instead of output.a: None"),
    ],
)
def test_the_keys_and_numbers_that_a_model_returns_are_compared(before, after, told):
    def returning(items):
        return Applied(lambda x: {"y": x + 1, **items})

    first = capture(returning(before), X)
    assert first.result.outputs == ("/add",)
    assert compared(first, capture(returning(dict(before)), X))[0].matched
    verdict, text = compared(first, capture(returning(after), X))
    assert lines(text) == [f"the model returns {told}"]
    assert (verdict.first.layer, verdict.cause) == ("", "computation")


def test_what_follows_from_values_that_were_read_is_not_compared_and_said_so():
    first = capture(Followed(lambda x: (x + 1, float(x.max()), None)), X)
    assert first.result.returned == ("output[0]: tensor", "output[1]: <float>", "output[2]: None")
    assert first.notes[-1] == "the graph holds what is not compared: output[1]: <float>"
    assert compared(first, capture(Followed(lambda x: (x + 1, float(x.max()) * 2, None)), X))[0].matched
    assert not compared(first, capture(Followed(lambda x: (x + 1, int(x.max()), None)), X))[0].matched


def earlier(facts):
    del facts["returned"]
    for row in facts["operators"].values():
        row["in"] = [one.partition(" (")[0] if one.startswith("constant") else one for one in row["in"]]
        arguments = {key: text for key, text in row.get("arguments", {}).items() if "<tensor>" not in text}
        row.pop("arguments", None)
        row.update({"arguments": arguments} if arguments else {})


@pytest.mark.parametrize(
    "function",
    [lambda x: x * LARGE, lambda x: (x + 1, 3), lambda x: x[x[:, 0] > 0.1, 1] + (0 if x.sum() > 0 else 1)],
    ids=["constant", "returned", "index"],
)
def test_what_an_earlier_version_did_not_record_is_reported_with_the_match(function):
    view = ModelGraphView(Applied(function), X)
    made = view.capture()
    verdict, _ = compared(reread(view, made, earlier), made)
    assert verdict.matched
    assert [type(finding).__name__ for finding in verdict.findings] == ["UnstatedFinding"]
    whole, _ = compared(reread(view, made, lambda facts: None), made)
    assert (whole.matched, whole.findings) == (True, ())


def test_a_match_with_a_baseline_of_an_earlier_version_says_so_whatever_the_model_has_now():
    view = ModelGraphView(Applied(torch.relu), X)
    made = view.capture()
    verdict, _ = compared(reread(view, made, earlier), made)
    assert (verdict.matched, verdict.findings) == (True, (NOT_RECORDED,))
