"""What modules take and return beside tensors of numbers: texts, large integers, and what is not compared."""

import collections
import dataclasses
import decimal
import enum
import functools

import numpy as np
import pytest
import torch
from torch import nn
from zoo import vectors

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView


class Gives(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = [value]  # no configuration of plain attributes: it is returned

    def forward(self, x):
        return {"x": x, "value": self.value[0]()}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda: "a" * 300 + "cat", lambda: "a" * 300 + "dog"),
        (lambda: b"a" * 5000 + b"cat", lambda: b"a" * 5000 + b"dog"),
        (lambda: "007", lambda: "7"),
        (lambda: "1e1", lambda: "10"),
        (lambda: "1_0", lambda: 10),
        (lambda: "1.0", lambda: "1"),
        (lambda: "007", lambda: 7.0),
        (lambda: 2**60, lambda: 2**60 + 1),
        (lambda: torch.tensor([2**60, 5]), lambda: torch.tensor([2**60 + 1, 5])),
        (lambda: torch.tensor([-(2**60), 5]), lambda: torch.tensor([-(2**60) - 100, 5])),
        (lambda: torch.full((999,), 2**55), lambda: torch.full((999,), 2**55 + 1)),
        (lambda: torch.tensor([2**60, 0]).to_sparse(), lambda: torch.tensor([2**60 + 1, 0]).to_sparse()),
        (
            lambda: torch.tensor([2**64 - 1], dtype=torch.uint64),
            lambda: torch.tensor([2**64 - 2], dtype=torch.uint64),
        ),
    ],
)
def test_texts_and_large_integers_are_compared_to_the_last_digit(before, after):
    def captured(value):
        model = Gives(value)
        type(model).__qualname__ = "Gives"
        return FeatureMapsView(model, vectors())

    view, other = captured(before), captured(after)
    baseline = view.capture()
    assert view.compare(baseline, view.capture(), Tolerances()).matched
    assert not view.compare(baseline, other.capture(), Tolerances()).matched


class Color(enum.Enum):
    RED = 1


class Result:
    def __init__(self, boxes, label):
        self.boxes, self.label = boxes, label


class Boxes(list):
    pass


class Word(str):
    pass


class Array(np.ndarray):
    pass


@dataclasses.dataclass
class Point:
    x: float


def with_attribute(value):
    value.label = "cat"
    return value


@pytest.mark.parametrize(
    ("value", "note"),
    [
        (lambda: decimal.Decimal("1.5"), "value <Decimal>"),
        (lambda: [range(3), 2.0], "value[0] <range>"),
        (lambda: [[[[[[[[torch.ones(1)]]]]]]]], "value[0][0][0][0][0][0][0] <list>"),
        (lambda: [1, "text", None, torch.ones(2)], ""),
        (lambda: {"a", ("b", 1)}, ""),
        (lambda: np.array(["a"] * 1000), ""),
        (lambda: functools.partial(torch.add, torch.ones(2)), "value <partial> (all but its tensors and numbers)"),
        (lambda: Result(torch.ones(2), "cat"), "value <Result> (all but its tensors and numbers)"),
        (lambda: torch.distributions.Normal(0.0, 1.0), "value <Normal> (all but its tensors and numbers)"),
        (lambda: collections.deque([torch.ones(2), 1j]), "value <deque> (all but its tensors and numbers)"),
        (lambda: with_attribute(Boxes([1.0])), "value <Boxes> (its label)"),
        (lambda: with_attribute(Point(1.0)), "value <Point> (its label)"),
        (lambda: with_attribute(torch.ones(2)), "value <Tensor> (its label)"),
        (lambda: {torch.ones(2)}, "value <set> (all but its text)"),
        (lambda: np.array(["a"] * 1001), "value <ndarray> (all but its first and last items)"),
        (lambda: np.ma.masked_array(np.ones(2), [True, False]), "value <MaskedArray> (its mask)"),
        (lambda: [1.0, []], ""),
        (lambda: with_attribute(Word("a")), "value <Word> (its label)"),
        (lambda: with_attribute(np.ones(2).view(Array)), "value <Array> (its label)"),
        (lambda: np.ones((2, 3))[::-1], ""),
        (lambda: np.ones(2, ">f4"), ""),
        (lambda: Color.RED, ""),
        (lambda: with_attribute(Boxes()), "value <Boxes> (its label)"),
        (
            lambda: [set(), range(1), range(2), range(3), range(4)],
            "value[1] <range>, value[2] <range>, value[3] <range>, ...",
        ),
    ],
)
def test_what_of_an_output_is_not_compared_is_noted(value, note):
    notes = FeatureMapsView(Gives(value), vectors()).capture().notes
    assert notes == ((f"the model's output holds what is not compared: {note}",) if note else ())


def test_tensors_that_are_no_numbers_are_noted():
    one, other = (FeatureMapsView(Gives(functools.partial(packed, value)), vectors()) for value in (0, 1))
    capture = one.capture()
    (note,) = capture.notes
    assert note.startswith("1 of its tensors cannot be read as numbers")
    assert one.compare(capture, other.capture(), Tolerances()).matched


def packed(value):
    return torch.full((300,), value, dtype=torch.uint8).view(torch.bits8)


def returned(value):
    return FeatureMapsView(Gives(value), vectors()).capture().result.trace.calls[0].outputs


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (lambda items: {frozenset(items)}, "{frozenset({0, 8})}"),
        (lambda items: {("a", frozenset(items))}, "{('a', frozenset({0, 8}))}"),
        (lambda items: {(frozenset(items),), ()}, "{(), (frozenset({0, 8}),)}"),
        (lambda items: np.array([set(items), Point], dtype=object), None),
    ],
)
def test_the_order_of_a_set_is_nowhere_in_a_text(value, text):
    texts = [returned(lambda items=items: value(items))[".value"].literal for items in ([0, 8], [8, 0])]
    assert str({0, 8}) != str({8, 0})
    assert texts[0] == texts[1]
    assert text in (None, texts[0])


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: frozenset([8, 0]), "[frozenset({0, 8})]"),
        (object, "[<object object>]"),
        (lambda: lambda: None, "<lambda>>]"),
        (lambda: Color.RED, "[<Color.RED: 1>]"),
        (lambda: ("a", 1), "[('a', 1)]"),
        (lambda: 7, "[7]"),
    ],
)
def test_the_path_of_a_key_is_the_same_in_every_process(make, path):
    (one,), (two,) = ([key for key in returned(lambda: {make(): 1}) if key != ".x"] for _ in range(2))
    assert one == two
    assert one.endswith(path)


def test_keys_that_are_written_alike_are_both_compared():
    outputs = returned(lambda: {object(): 1, object(): 2})
    assert [leaf.literal for path, leaf in outputs.items() if path != ".x"] == ["1", "2"]


def test_an_integer_of_more_digits_than_python_writes():
    one, other = (returned(lambda power=power: 2**power)[".value"].literal for power in (20_000, 20_001))
    assert one != other
    assert returned(lambda: 10**500)[".value"].literal.startswith("10000")


@pytest.mark.parametrize("nothing", [[], (), {}])
def test_whether_what_is_returned_holds_nothing_or_is_absent(nothing):
    views = [FeatureMapsView(Gives(lambda value=value: value), vectors()) for value in ([1.0, nothing], [1.0])]
    captures = [view.capture() for view in views]
    for view, capture, other in zip(views, captures, captures[::-1], strict=True):
        assert view.compare(capture, view.capture(), Tolerances()).findings == ()
        assert not view.compare(capture, other, Tolerances()).matched


def test_a_number_in_another_byte_order_is_no_vector():
    views = [FeatureMapsView(Gives(lambda own=own: np.full(own, 1.5, ">f4")), vectors()) for own in ((), (1,))]
    captures = [view.capture() for view in views]
    assert not views[0].compare(*captures, Tolerances()).matched


@pytest.mark.parametrize("convert", [lambda values: values[::-1], lambda values: values.astype(">f4")])
def test_arrays_that_torch_cannot_read_as_they_lie_in_memory(convert):
    def values(last):
        return convert(np.array([[1.0, 2.0], [3.0, last]], np.float32))

    view, same, other = (
        FeatureMapsView(Gives(function), vectors())
        for function in (lambda: values(4.0), lambda: np.ascontiguousarray(values(4.0)), lambda: values(5.0))
    )
    capture = view.capture()
    assert view.compare(capture, same.capture(), Tolerances()).findings == ()
    assert not view.compare(capture, other.capture(), Tolerances()).matched
