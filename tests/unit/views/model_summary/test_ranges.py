"""Arguments that are alike for consecutive indices: written once, and what they stand for stays clear."""

import copy

import pytest
import torch
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.model_summary.ranges import with_ranges


def listed(*texts, numbers):
    return ", ".join(text.replace("#", str(number)) for number in numbers for text in texts)


CASES = {
    "one of each": (listed("p[#]: None", numbers=range(80)), "p[0..79]: None"),
    "two of each": (
        listed("c.l[#].keys: float32[2]", "c.l[#].seen: False", numbers=range(5)),
        "c.l[0..4].keys: float32[2], c.l[0..4].seen: False",
    ),
    "others around": (f"x: int64[3], {listed('p[#]: 1', numbers=range(4))}, y: 2", "x: int64[3], p[0..3]: 1, y: 2"),
    "filled so far": (
        f"{listed('p[#]: float32[1, 3]', numbers=range(4))}, {listed('p[#]: None', numbers=range(4, 9))}",
        "p[0..3]: float32[1, 3], p[4..8]: None",
    ),
    "an odd one": (
        f"{listed('p[#]: 1', numbers=range(4))}, p[4]: 2, {listed('p[#]: 1', numbers=range(5, 9))}",
        "p[0..3]: 1, p[4]: 2, p[5..8]: 1",
    ),
    "a gap": (
        f"{listed('p[#]: 1', numbers=range(4))}, {listed('p[#]: 1', numbers=range(5, 9))}",
        "p[0..3]: 1, p[5..8]: 1",
    ),
    "the outputs of a module": (listed("[#]: float32[2, 3]", numbers=range(4)), "[0..3]: float32[2, 3]"),
}


@pytest.mark.parametrize("case", CASES)
def test_by_hand(case):
    text, expected = CASES[case]
    assert with_ranges(text) == expected
    assert with_ranges(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x: float32[1, 3]",
        listed("p[#]: 1", numbers=range(3)),  # too few
        listed("p[#]: 1", numbers=(3, 2, 1, 0)),  # another order is another input
        listed("p[#]: 1", numbers=(1, 1, 3, 3)),
        f"{listed('p[#].a: 1', numbers=range(3))}, {listed('p[#].b: 1', numbers=range(3))}",
        listed("p[0#]: 1", numbers=range(4)),  # keys, of which 01 is not 1
        listed("x: a[#]", numbers=range(4)),  # values
        f"q[0..3]: 1, {listed('p[#]: 1', numbers=range(4))}",  # a key that is written like a range
    ],
)
def test_what_stays_as_it_is(text):
    assert with_ranges(text) == text


def test_an_order_that_a_range_would_not_tell_is_told():
    inner = f"{listed('p[#].a: 1', numbers=range(4))}, {listed('p[#].b: 1', numbers=range(4))}"
    outer = listed("p[#].a: 1", "p[#].b: 1", numbers=range(4))
    assert with_ranges(inner) != with_ranges(outer)


class Decoder(nn.Module):
    """Hands all of its cache to each layer."""

    class Layer(nn.Linear):
        def forward(self, x, past):
            return super().forward(x), past

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(self.Layer(4, 4) for _ in range(layers))

    def forward(self, x):
        past = [torch.ones(1, 2) for _ in self.layers]
        for layer in self.layers:
            x, _ = layer(x, past)
        return x


def view(model):
    return ModelSummaryView(model, input_data=torch.ones(1, 4))


def test_a_row_is_no_longer_in_a_model_of_more_layers():
    sizes = []
    for count in (20, 80):
        capture = view(Decoder(count)).capture()
        row = capture.facts["layers"]["layers.7"]
        assert row["in"] == f"input: float32[1, 4], past[0..{count - 1}]: float32[1, 2]".replace("input", "x")
        assert capture.result.layers["layers.7"].inputs.count("past") == count  # the result holds all
        sizes.append(len(row["in"]))
    assert sizes[0] == sizes[1]


def test_a_baseline_that_writes_every_index_matches_and_a_difference_in_it_is_found():
    capture = view(Decoder(6)).capture()
    earlier = copy.deepcopy(capture)
    for name, row in earlier.facts["layers"].items():
        row["in"] = capture.result.layers[name].inputs
    assert "past[5]" in earlier.facts["layers"]["layers.3"]["in"]
    looking = view(Decoder(6))
    assert looking.compare(earlier, capture, Tolerances()).matched
    row = earlier.facts["layers"]["layers.3"]
    row["in"] = row["in"].replace("past[2]: float32[1, 2]", "past[2]: float32[1, 3]")
    verdict = looking.compare(earlier, capture, Tolerances())
    assert (verdict.matched, [finding.layer for finding in verdict.findings]) == (False, ["layers.3"])
