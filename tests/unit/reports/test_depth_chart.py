"""The chart of errors along the depth, by hand."""

import math
import re
import xml.etree.ElementTree as ET

import pytest

from pytest_modelviz.records.verdict import LayerError
from pytest_modelviz.reports.depth_chart import HEIGHT, LogScale, binned, depth_chart

SVG = [LayerError("conv1", 0, 0.0, 1e-4), LayerError("conv2", 0, 1e-2, 1e-4), LayerError("head", 1, 1e-3, 1e-3)]


def drawn(*arguments) -> str:
    return depth_chart(*arguments).svg


def bars(svg: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter("rect"))


def test_one_bar_a_layer_with_its_class_title_and_height():
    found = bars(drawn(SVG, ("conv2", 0)))
    assert [bar.get("class") for bar in found] == ["agrees", "first", "agrees"]
    assert [bar.find("title").text for bar in found] == [
        "conv1: 0, allowed 0.0001",
        "conv2: 0.01, allowed 0.0001",
        "head, call 1: 0.001, allowed 0.001",
    ]
    # the scale is from 1e-4 to 1e-2, in 172 pixels: the bars are none, all and half as high
    assert [float(bar.get("height")) for bar in found] == [2.0, 172.0, 86.0]
    assert [float(bar.get("x")) for bar in found] == pytest.approx([56, 354.7, 653.3], abs=0.1)


def test_what_is_allowed_is_a_line_with_a_step_for_each_bar():
    (allowed,) = re.findall(r'<path class="allowed" d="([^"]+)"', drawn(SVG, ("conv2", 0)))
    assert allowed == "M56.0 198.0H354.7L354.7 198.0H653.3L653.3 112.0H952.0"


def test_where_the_drift_begins_is_named():
    assert ">first: conv2</text>" in drawn(SVG, ("conv2", 0))
    assert "first:" not in drawn(SVG, None)
    assert 'aria-label="Error along the depth of the model: 1 of 3 calls drifted"' in drawn(SVG)


def test_what_cannot_be_subtracted_is_as_high_as_the_chart():
    (bar,) = bars(drawn([LayerError("", 0, math.inf, 1e-4)]))
    assert (bar.get("class"), float(bar.get("height"))) == ("drifted", 172.0)
    assert bar.find("title").text == "(model): cannot be subtracted, allowed 0.0001"


def test_the_legend_explains_the_bars_that_there_are():
    assert depth_chart(SVG, ("conv2", 0)).kinds == ["first", "agrees"]
    assert depth_chart(SVG).kinds == ["drifted", "agrees"]


@pytest.mark.parametrize("named", ["block", ""])
def test_a_layer_that_is_named_for_its_own_code_begins_inside_of_it(named):
    layers = [("a", 0.0), ("block.conv1", 0.0), ("block.conv2", 0.1), ("block", 0.1), ("(output)", 0.1)]
    svg = drawn([LayerError(name, 0, error, 1e-4) for name, error in layers], (named, 0))
    assert [bar.get("class") for bar in bars(svg)] == ["agrees", "agrees", "first", "drifted", "drifted"]
    assert f">first: {named or '(model)'}</text>" in svg


@pytest.mark.parametrize(
    ("numbers", "low", "high"),
    [([0.05, 1e-4], -4, -1), ([0.0], -1, 0), ([0.1, 0.1], -2, -1), ([1e-300, 1.0], -12, 0), ([3e300], 300, 301)],
)
def test_the_scale_spans_whole_decades_and_no_more_than_twelve(numbers, low, high):
    scale = LogScale.of(binned([LayerError("a", 0, number, 0.0) for number in numbers], None, 9))
    assert (scale.low, scale.high) == (low, high)
    assert scale.y(0.0) == HEIGHT - 22
    assert 26 <= scale.y(min(numbers)) <= HEIGHT - 22


class TestManyLayers:
    LAYERS = tuple(LayerError(f"l{at}", 0, at * 1e-6, 1.0) for at in range(1000))

    def test_the_largest_of_each_bin_is_kept(self):
        found = binned(self.LAYERS, None, 100)
        assert len(found) == 100
        assert [bar.worst.layer for bar in found[:2]] == ["l9", "l19"]
        assert {bar.count for bar in found} == {10}
        assert "(largest of 10)" in drawn(self.LAYERS, None, 100)

    def test_a_drift_counts_more_than_a_larger_error_that_is_allowed(self):
        layers = [LayerError("a", 0, 0.5, 1.0), LayerError("b", 0, 0.1, 0.01)]
        assert binned(layers, None, 1)[0].worst.layer == "b"

    def test_where_the_drift_begins_is_kept(self):
        found = binned(self.LAYERS, ("l500", 0), 100)
        assert [(bar.worst.layer, bar.kind == "first") for bar in found[49:52]] == [
            ("l499", False),
            ("l500", True),
            ("l519", False),
        ]

    def test_it_is_said(self):
        assert depth_chart(self.LAYERS, None, 1000).note == "One bar a call of a layer, in the order of execution."
        assert depth_chart(self.LAYERS, None, 999).note.startswith("One bar for 2 layers that follow each other, ")


def test_names_are_only_text():
    svg = drawn([LayerError("<script>&\"'", 0, 1.0, 0.1)], ("<script>&\"'", 0))
    assert "<script>" not in svg
    assert bars(svg)[0].find("title").text == "<script>&\"': 1, allowed 0.1"


def test_an_error_that_is_hardly_a_number_has_a_bar():
    """A forged baseline may lead to any."""
    assert "1.7e+308, allowed" in drawn([LayerError("a", 0, 1.7e308, 1e-320), LayerError("b", 0, 1e-5, 0.0)])
