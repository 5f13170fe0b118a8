"""Module trees compared row by row, on rows written down here."""

from typing import ClassVar

import pytest

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.findings import ModuleFinding, RenameFinding, TiesFinding, UncomparedFinding
from pytest_modelviz.records.structure import NOT_SAVED
from pytest_modelviz.text.natural import natural
from pytest_modelviz.views.model_summary.compare import compare_trees


class TestTree:
    LAYERS: ClassVar = {"": {"class": "Net"}, "conv": {"class": "Conv2d", "config": "k=3", "out": "f[1]"}}

    def verdict(self, **layers):
        return compare_trees({"layers": self.LAYERS, "ties": []}, {"layers": {**self.LAYERS, **layers}, "ties": []})

    def test_equal_trees_match(self):
        assert self.verdict().matched

    def test_configuration_comes_before_what_follows_from_it(self):
        verdict = self.verdict(**{"": {"class": "Net", "out": "x"}, "conv": {"class": "Conv2d", "config": "k=5"}})
        assert (verdict.first.layer, verdict.first.class_name, verdict.cause) == ("conv", "Conv2d", "architecture")
        assert verdict.drifted == 2

    @pytest.mark.parametrize(
        ("before", "after", "matched"),
        [
            ("3, affine=True, track=True", "3, affine=True, bias=True, track=True", True),  # torch 2.6 and 2.14
            ("3, affine=True, bias=True, track=True", "3, affine=True, track=True", True),
            ("3, affine=True, bias=False, track=True", "3, affine=True, track=True", False),
            ("3, affine=True, bias=True, track=True", "3, affine=True, bias=False, track=True", False),
            ("3, affine=True, track=True", "3, affine=True, bias=True, track=False", False),
        ],
    )
    def test_a_bias_that_one_version_of_torch_mentions_is_that_of_the_parameters(self, before, after, matched):
        rows = [{"class": "BatchNorm2d", "config": text, "parameters": {"bias": "f[3]"}} for text in (before, after)]
        trees = [{"layers": {"": {"class": "Net"}, "norm": row}} for row in rows]
        assert compare_trees(*trees).matched is matched

    def test_parameters_and_buffers_are_told_one_by_one_and_what_matters_most_first(self):
        before = {"": {"class": "Net"}, "a": {"class": "A", "buffers": {"x": "f[1]"}, "frozen": ["w"]}}
        after = {"": {"class": "Net"}, "a": {"class": "A", "buffers": {"x": "f[1]", "y": "f[2]"}}}
        before["z"] = {"class": "Linear", "parameters": {"w": "f[1]", "b": "f[1]"}}
        after["z"] = {"class": "Linear", "parameters": {"w": "f[2]"}}
        verdict = compare_trees({"layers": before}, {"layers": after})
        assert [(f.layer, f.name, f.before, f.after) for f in verdict.findings] == [
            ("z", "parameter w", "f[1]", "f[2]"),
            ("z", "parameter b", "f[1]", ""),
            ("a", "buffer y", "", "f[2]"),
            ("a", "frozen", '["w"]', ""),
        ]
        assert verdict.first.layer == "z"

    def test_only_the_ties_that_changed_are_told(self):
        layers = {"": {"class": "Net"}}
        verdict = compare_trees(
            {"layers": layers, "ties": [["a", "b"], ["c", "d"]]}, {"layers": layers, "ties": [["c", "d"], ["e", "f"]]}
        )
        assert verdict.findings == (TiesFinding("", (("a", "b"),), (("e", "f"),)),)

    def test_shapes_alone_are_computation(self):
        assert self.verdict(conv={**self.LAYERS["conv"], "out": "f[2]"}).cause == "computation"

    def test_a_module_that_is_called_less_often_names_its_caller(self):
        before = {"": {"class": "Net"}, "block": {"class": "Block"}, "block.drop": {"class": "Dropout", "calls": 2}}
        after = {**before, "block.drop": {"class": "Dropout", "calls": 1, "out": "f[2]"}}
        verdict = compare_trees({"layers": before}, {"layers": after})
        assert (verdict.first.layer, verdict.first.class_name, verdict.cause) == ("block", "Block", "computation")

    @pytest.mark.parametrize("name", ["Net", "Other"])
    def test_what_was_not_compared_is_said_of_a_drift_too(self, name):
        buffer = {"class": "A", "calls": 1}
        before = {"": {"class": "Net"}, "a": {**buffer, "buffers": {"c": f"f[1]{NOT_SAVED}"}, "state": ["c"]}}
        after = {"": {"class": name}, "a": {**buffer, "buffers": {"c": f"f[2]{NOT_SAVED}"}}}
        verdict = compare_trees({"layers": before}, {"layers": after})
        assert verdict.matched is (name == "Net")
        assert verdict.findings[-1] == UncomparedFinding("a", "buffer c")

    def test_added_and_removed(self):
        verdict = self.verdict(relu={"class": "ReLU"})
        assert verdict.findings == (ModuleFinding("relu", "added", "ReLU"),)
        verdict = compare_trees({"layers": self.LAYERS}, {"layers": {"": self.LAYERS[""]}})
        assert verdict.findings == (ModuleFinding("conv", "removed", "Conv2d"),)

    def test_a_rename_is_called_a_rename_once_for_a_whole_subtree(self):
        block = {"class": "Block"}
        inner = {"class": "Conv2d", "config": "k=3"}
        before = {"": {"class": "Net"}, "stage": block, "stage.conv": inner}
        after = {"": {"class": "Net"}, "body": block, "body.conv": inner}
        verdict = compare_trees({"layers": before}, {"layers": after})
        assert verdict.findings == (RenameFinding("body", before="stage"),)
        assert (verdict.first.layer, verdict.cause) == ("body", "architecture")
        moved = {"": {"class": "Net"}, "stage": block, "stage.sub.conv": inner}
        verdict = compare_trees({"layers": before}, {"layers": moved})
        assert [(f.layer, f.is_move) for f in verdict.findings] == [("stage.sub.conv", True)]

    def test_of_two_alike_each_is_found_once_and_a_changed_one_is_no_rename(self):
        relu = {"class": "ReLU"}
        before = {"": {"class": "Net"}, "a": relu, "b": relu}
        verdict = compare_trees({"layers": before}, {"layers": {"": {"class": "Net"}, "c": relu, "d": relu}})
        assert verdict.findings == (RenameFinding("c", before="a"), RenameFinding("d", before="b"))
        verdict = compare_trees(
            {"layers": before}, {"layers": {"": {"class": "Net"}, "a": relu, "c": {"class": "GELU"}}}
        )
        assert [f.change for f in verdict.findings] == ["removed", "added"]

    def test_damage(self):
        for facts in ({}, {"layers": []}, {"layers": {"": 3}}):
            with pytest.raises(UnreadableBaselineError):
                compare_trees(facts, {"layers": self.LAYERS})

    def test_layers_are_sorted_as_people_count(self):
        assert sorted(["b.10", "b.9", "a", "", "b.9.c"], key=natural) == ["", "a", "b.9", "b.9.c", "b.10"]
