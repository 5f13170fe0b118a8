"""Texts side by side: short, and never the same to read where they stand for different things."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pytest_modelviz.compare.leaves import mismatch
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.pictures import text_diff
from pytest_modelviz.pictures.layout import headed, labelled
from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.records.findings import ClassFinding, ConfigFinding, FactFinding, OrderFinding, WeightFinding
from pytest_modelviz.records.trace import Leaf
from pytest_modelviz.reports.sentences import sentences
from pytest_modelviz.reports.terminal import amount
from pytest_modelviz.text.side_by_side import apart, cut_apart, without_digests
from pytest_modelviz.views.cam_map.compare import map_findings
from pytest_modelviz.views.cam_map.findings import ScaledMapFinding
from pytest_modelviz.views.captions import error_caption
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.model_summary.compare import compare_trees
from pytest_modelviz.views.model_summary.findings import FieldFinding
from pytest_modelviz.views.model_summary.pictures import diff_lines


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_two_numbers_that_differ_never_read_the_same(one, other):
    texts = apart(one, other)
    assert (texts[0] == texts[1]) == (one == other)


def test_digits_are_as_few_as_show_the_difference():
    assert apart(1.0, 2.0) == ("1", "2")
    assert apart(1.0004, 1.0, 2) == ("1.0004", "1")
    assert apart(float("inf"), 1.0) == ("inf", "1")


@given(st.text("ab, ", max_size=300), st.text("ab, ", max_size=300), st.integers(40, 120))
def test_two_texts_are_cut_around_what_differs(one, other, most):
    cut = cut_apart(one, other, most)
    assert max(map(len, cut)) <= most
    assert (cut[0] == cut[1]) == (one == other)


def test_the_difference_is_in_the_middle_of_what_is_shown():
    shared = "x" * 200
    one, other = cut_apart(f"{shared}A{shared}", f"{shared}B{shared}", 60)
    assert one.startswith("...")
    assert one.endswith("...")
    assert "A" in one
    assert other.startswith("...")
    assert other.endswith("...")
    assert "B" in other
    assert cut_apart(shared, shared + "!", 60)[1].endswith("!")


def test_texts_that_differ_at_once_are_cut_at_their_ends_alone():
    assert cut_apart("abc" + "x" * 100, "bbc" + "x" * 100, 60) == ("abc" + "x" * 54 + "...", "bbc" + "x" * 54 + "...")
    assert cut_apart("abc" + "x" * 100, "bbc" + "x" * 100, 20) == ("abc" + "x" * 14 + "...", "bbc" + "x" * 14 + "...")


def test_letters_that_stand_for_long_things_are_not_shown():
    assert without_digests("(70 items, 0a1b2c3d)", "(71 items, 99999999)") == ("(70 items)", "(71 items)")
    assert without_digests("(70 items, 0a1b2c3d)", "(70 items, 99999999)") == (
        "(70 items)",
        "(70 items), with other contents",
    )
    assert without_digests("<Config 0a1b2c3d>", "<Config 99999999>") == ("<Config>", "<Config>, with other contents")
    assert without_digests("<0a1b2c3d>", "<99999999>") == ("a long text", "a long text, with other contents")
    assert without_digests("a 0a1b2c3d", "b") == ("a 0a1b2c3d", "b")


@pytest.mark.parametrize("at", [10, 150, 290])
def test_a_sentence_shows_what_differs_wherever_it_is(at):
    base = "x" * 300
    (text,) = sentences([ConfigFinding("conv", "repr", base, f"{base[:at]}Y{base[at + 1 :]}")])
    before, after = text.removeprefix("conv repr: ").split(" -> ")
    assert before != after
    assert "Y" in after


def test_the_model_itself_has_a_name_in_lists():
    alike = [ClassFinding(layer, "class", "A", "B") for layer in ("", "conv1", "conv2")]
    assert sentences(alike) == ["3 layers: class: A -> B: (model), conv1, conv2"]
    frozen = [FieldFinding(layer, "frozen", "", '["w"]', "frozen") for layer in ("", "a", "b")]
    assert sentences(frozen) == ["3 layers are now frozen: (model), a, b"]
    assert sentences([FactFinding("layer", "", "conv")]) == ["layer: (model) -> conv"]


def test_partly_frozen_is_neither_frozen_nor_thawed():
    some = [FieldFinding(layer, "frozen", '["w", "b"]', '["w"]', "frozen") for layer in "abc"]
    assert sentences(some) == ['3 layers: frozen: ["w", "b"] -> ["w"]: a, b, c']


def test_shapes_of_another_resolution_are_given():
    verdict, _capture = summaries(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.ReLU(), nn.ReLU()), 8, 16)
    text = "\n".join(sentences(verdict.findings))
    assert "(model) in: input: float32[1, 1, 8, 8] -> input: float32[1, 1, 16, 16]" in text
    assert "(0 in: input: float32[1, 1, 8, 8] -> input: float32[1, 1, 16, 16])" in text
    assert ": ," not in text
    assert "follow: ," not in text


def summaries(model, *sides):
    views = [ModelSummaryView(model, (1, 1, side, side)) for side in sides]
    first, second = (view.capture() for view in views)
    return views[0].compare(first, second, Tolerances()), second


def test_a_weight_whose_name_begins_as_its_layer_does_keeps_its_layer():
    assert sentences([WeightFinding("conv", "conv_bias", 0.5)]) == ["conv.conv_bias differs by 0.5"]
    assert sentences([WeightFinding("conv", "conv.bias", 0.5)]) == ["conv.bias differs by 0.5"]


def test_where_the_passes_part_further_on_it_is_not_said_to_be_here():
    found = OrderFinding(("enter", "bn1"), ("enter", "relu"), is_later=True)
    assert sentences([found]) == ["further on, where the baseline calls bn1, this pass calls relu"]


def test_an_error_just_beyond_what_is_allowed_says_so():
    assert amount(1.00004e-4, 1e-4) == "0.000100004, 1.00004 times what is allowed (0.0001)"
    assert amount(0.0999951, 1e-4) == "0.1, 1,000 times what is allowed (0.0001)"
    assert error_caption(1.00004e-4, 1e-4) == "   error 0.000100004, allowed 0.0001"


BASE = np.array([[[4.0, -2.0, 1.0, 0.5]]], np.float32)


def found(actual):
    return map_findings(BASE, np.asarray(actual, np.float32))


def test_a_factor_is_only_given_where_it_explains_the_difference():
    assert found(BASE * 1.0004) == [ScaledMapFinding(pytest.approx(1.0004))]
    assert "times 1.0004: the picture is the same" in sentences(found(BASE * 1.0004))[0]
    assert found(BASE * 1.0004 + 1e-3 * BASE[..., ::-1]) == []  # most of the difference is something else
    assert found(BASE * -0.5) == [ScaledMapFinding(-0.5)]
    assert "the picture is the same" not in sentences([ScaledMapFinding(-0.5)])[0]


def mismatched(one, other):
    table = {"a": record_tensor(one)}, {"b": record_tensor(other)}
    return mismatch(Leaf(tensor="a"), Leaf(tensor="b"), *table)


def test_integers_that_differ_in_their_last_digit_are_said_to():
    before, after = torch.tensor([2**54 + 4, -(2**53), 2**52]), torch.tensor([2**54 + 5, -(2**53), 2**52])
    texts = mismatched(before, after)
    assert texts[0] == "rms 1.19e+16, 2 of 3 values are at least 2**53 in magnitude"  # the size is that of all three
    assert texts[1] == f"{texts[0]}, with other digits"


def test_what_has_no_size_is_said_in_words():
    nan, low = torch.rand(40), torch.rand(40)
    nan[3] = float("nan")
    assert mismatched(torch.rand(40), nan)[1].startswith("1 of 40 values are NaN, the others rms ")
    other = nan.roll(1)
    assert mismatched(nan, other)[1].endswith(", in other places")
    low[:4] = -1e4
    lower = low.clone()
    lower[:4] = -1e9
    texts = mismatched(low, lower)
    assert [text.partition(", the")[0] for text in texts] == [
        "4 of 40 values are about -1e4",
        "4 of 40 values are about -1e9",
    ]
    assert mismatched(torch.zeros(40), torch.ones(40)) == ("zero", "rms 1")
    for text in (*texts, *mismatched(nan, other)):
        assert not re.search(r"\d{5,}", text)  # no fingerprint


def test_long_lines_of_a_picture_are_cut_around_what_differs():
    shared = "float32[1, 2], " * 20
    lines = text_diff._shorten([("-", f"{shared}A{shared}"), ("+", f"{shared}B{shared}"), (" ", shared), ("+", "c")])
    assert [sign for sign, _ in lines] == ["-", "+", " ", "+"]
    assert "A" in lines[0][1]
    assert "B" in lines[1][1]
    assert max(len(text) for _, text in lines) <= 130
    several = text_diff._shorten([("-", f"{shared}A"), ("-", f"{shared}B"), ("+", f"{shared}C"), ("+", f"{shared}D")])
    assert [text[-1] for _, text in several] == ["A", "B", "C", "D"]


def test_the_lines_of_a_summary_show_each_side_as_it_is():
    before = {"": {"class": "Net"}, "a": {"class": "Old", "config": "k=1"}, "b": {"class": "Same"}}
    after = {"": {"class": "Net"}, "a": {"class": "New", "config": "k=2"}, "c": {"class": "Same"}}
    assert diff_lines(before, after, compare_trees({"layers": before}, {"layers": after})) == [
        (" ", "(model): Net"),
        ("-", "a: Old"),
        ("+", "a: New"),
        ("-", "a: Old  config: k=1"),
        ("+", "a: New  config: k=2"),
        ("-", "b: Same"),
        ("+", "c: Same"),
    ]


class Named(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 4, 3)
        self.add_module(name, nn.Conv2d(4, 2, 3))

    def forward(self, x):
        stem, other = self.children()
        return other(stem(x))


@pytest.mark.parametrize("view", ["kernels", "composite"])
def test_a_renamed_layer_is_pictured_beside_what_it_was(view, monkeypatch):
    views = {
        "kernels": lambda model: KernelMapsView(model, layers="*"),
        "composite": lambda model: FeatureMapsView(model, image(), layers="*"),
    }
    before, after = views[view](Named("old")), views[view](Named("new"))
    first, second = before.capture(), after.capture()
    verdict = before.compare(first, second, Tolerances())
    told: list[str] = []
    monkeypatch.setattr(
        "pytest_modelviz.pictures.composite.labelled",
        lambda picture, *texts: told.extend(texts) or labelled(picture, *texts),
    )
    monkeypatch.setattr(
        "pytest_modelviz.pictures.composite.headed",
        lambda picture, text: told.append(text) or headed(picture, text),
    )
    assert "new" in [picture.label for picture in after.picture(second, first, verdict)]
    assert not any("not in the baseline" in text for text in told)
    assert any("was old" in text for text in told)
    assert "difference" in told


def image():
    return torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
