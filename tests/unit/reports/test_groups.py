"""Drifts that are probably one change, and what is said of them in a line or a few."""

import dataclasses
import math
import typing
from dataclasses import replace

import pytest
from check_results import DRIFT, FIRST

from pytest_modelviz.records.changes import ValueChange
from pytest_modelviz.records.check_result import Status
from pytest_modelviz.records.effect import OutputEffect
from pytest_modelviz.records.group import drift_groups, group_name
from pytest_modelviz.records.verdict import Cause
from pytest_modelviz.reports.changes import change_text
from pytest_modelviz.reports.groups import group_lines, groups_worth_telling, repeated
from pytest_modelviz.reports.short import short_line

KEPT = OutputEffect(0.025, 0.1, samples=8, top1_changed=0)


def drift(test="a", **fields):
    return replace(DRIFT, nodeid=f"test_a.py::test_{test}", **fields)


def test_a_group_has_one_cause_and_one_layer():
    elsewhere = drift(first_divergence=replace(FIRST, layer=""))
    unexplained = drift(cause=None, first_divergence=None)
    names = [group_name(result) for result in (DRIFT, elsewhere, unexplained, drift(status=Status.MISSING))]
    assert names == ["weights@conv", "weights@(model)", "other@(model)", None]


def test_groups_are_sorted_by_what_they_do():
    mild = drift("b", cause=Cause.INPUT, output=OutputEffect(5.0, 0.1, samples=8, top1_changed=0))
    wild = drift("c", cause=Cause.GRADIENT, output=None, error=9.0)
    groups = drift_groups([wild, mild, DRIFT, drift("b")])
    assert [group.name for group in groups] == ["weights@conv", "input@conv", "gradient@conv"]
    assert [len(group.checks) for group in groups] == [2, 1, 1]
    assert [group.name for group in groups_worth_telling(groups)] == ["weights@conv"]


def test_a_group_is_summed_up_that_is_not_all_of_a_single_test():
    own = [DRIFT, drift(name="maps")]
    other = drift(name="cam_map", cause=Cause.GRADIENT)
    told = [[group.name for group in groups_worth_telling(drift_groups(r))] for r in (own, [*own, other])]
    assert told == [[], ["weights@conv"]]


def test_a_group_in_a_summary():
    checks = [drift(test, name=name) for test in "abcde" for name in ("feature_maps", "cam_map")]
    (group,) = drift_groups([*checks[:-1], replace(checks[-1], output=OutputEffect(0.5, 0.1))])
    assert group_lines(group, "--run R") == [
        "weights at conv (Conv2d): 10 checks of 5 tests",
        "  output    off by up to 0.5, top class changed in 5 of 40 samples",
        "  tests     test_a.py::test_a, test_a.py::test_b, test_a.py::test_c and 2 more",
        "  accept    modelviz accept --run R --group weights@conv",
    ]


def test_a_check_of_one_sample_does_not_hide_that_another_check_of_the_test_has_changed_classes():
    one_sample = drift(name="cam_map", output=OutputEffect(0.01, 0.001, samples=1, top1_changed=0))
    for checks in ([DRIFT, one_sample], [one_sample, DRIFT]):
        (group,) = drift_groups(checks)
        assert group.top1_changed == (1, 8)


def test_outputs_within_what_is_allowed_agree():
    (group,) = drift_groups([drift(output=KEPT)])
    assert group_lines(group, "")[1] == "  output    agrees, top class kept"


def test_a_group_of_which_little_is_known():
    result = drift(output=None, cause=None, first_divergence=None, candidate=None)
    assert group_lines(drift_groups([result])[0], "") == [
        "another result: 1 check of 1 test",
        "  tests     test_a.py::test_a",
    ]
    kept = drift(output=OutputEffect(math.inf, 0.1, samples=2, top1_changed=0))
    assert group_lines(drift_groups([kept])[0], "")[1] == "  output    another kind or shape, top class kept"
    same = drift(output=OutputEffect(0.01, 0.1))
    assert group_lines(drift_groups([same])[0], "")[1] == "  output    agrees"


def test_a_test_counts_once_with_the_check_in_which_most_has_changed():
    few = drift(name="cam_map", output=OutputEffect(0.5, 0.1, samples=1, top1_changed=0))
    for checks in ([DRIFT, few], [few, DRIFT]):
        assert drift_groups(checks)[0].top1_changed == (1, 8)


def test_names_are_quoted_in_commands_and_escaped_in_lines():
    layer = "a b\n  accept    modelviz accept x"
    lines = group_lines(drift_groups([drift(first_divergence=replace(FIRST, layer=layer))])[0], "")
    assert not any("\n" in line for line in lines)
    assert lines[-1].startswith("  accept    modelviz accept --group $'weights@a b\\n")


def test_a_repeated_drift_is_one_line():
    assert repeated(drift("b"), DRIFT) == (
        "feature_maps drifted with the same cause at the same layer as test_a.py::test_a (feature_maps), error 0.05 at "
        "the first difference"
    )
    assert repeated(drift(name="cam_map", error=None, output=None), DRIFT) == (
        "cam_map drifted with the same cause at the same layer as feature_maps"
    )


def test_a_repeated_drift_says_what_it_does_if_nothing_has():
    assert repeated(drift(name="maps"), drift(name="summary", output=None)).splitlines() == [
        "maps drifted with the same cause at the same layer as summary, error 0.05 at the first difference",
        "  output    off by 0.025, allowed 0.0001, top class changed in 1 of 8 samples",
    ]


LONE_WEIGHT = """maps drifted, first at conv (Conv2d)
  cause     architecture: the model is built differently
  evidence  everything agrees up to where another module is called
            conv class: Conv2d -> Conv1d
            conv.weight differs by 0.05: all x 1.05
  also      conv2 class: Conv2d -> Conv1d
            bn.running_mean differs by 0.99
            bn.mask is different
            compared in float32: what differs is not how layers of a lower precision round their results
  spread    12 of 44 layers
"""


def test_a_repeated_drift_names_the_weights_that_the_first_report_does_not():
    summary = drift(
        name="summary", message="summary drifted, first at conv (Conv2d)\n  evidence  conv.weight differs by 1"
    )
    maps = drift(name="maps", message=LONE_WEIGHT)
    assert repeated(maps, summary).splitlines() == [
        "maps drifted with the same cause at the same layer as summary, error 0.05 at the first difference",
        "  also      bn.running_mean differs by 0.99",
        "            bn.mask is different",
    ]
    assert len(repeated(drift(name="cam_map", message=LONE_WEIGHT), maps).splitlines()) == 1


def test_another_output_is_said_to_be_that_of_this_check():
    one = OutputEffect(0.031, 0.0001, samples=1, top1_changed=0)
    assert repeated(drift(name="cam_map", view="cam_map", output=one), DRIFT).splitlines() == [
        "cam_map drifted with the same cause at the same layer as feature_maps, error 0.05 in the map",
        "  output    in this check: off by 0.031, allowed 0.0001, top class kept in the sample",
    ]


@pytest.mark.parametrize(
    ("output", "is_said"),
    [
        (OutputEffect(0.0251, 0.001), False),  # the same to two digits, and no classes to tell it apart by
        (OutputEffect(0.025, 0.0001, samples=8, top1_changed=1), False),
        (OutputEffect(0.025, 0.0001, samples=8, top1_changed=2), True),
        (OutputEffect(0.025, 0.0001, samples=1, top1_changed=1), True),
        (OutputEffect(0.033, 0.0001), False),  # a view whose sketches are narrower estimates it so
        (OutputEffect(0.034, 0.0001), True),
        (OutputEffect(0.0, 0.0001), True),
        (OutputEffect(float("inf"), 0.0001), True),
    ],
)
def test_an_output_that_was_reported_is_not_reported_again(output, is_said):
    assert ("output" in repeated(drift(name="cam_map", output=output), DRIFT)) is is_said


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (DRIFT, "output off by 2.5 %, top-1 changed in 1 of 8: weights at conv"),
        (drift(output=KEPT), "output agrees: weights at conv"),
        (drift(output=OutputEffect(12.0, 0.1)), "output off by 1,200 %: weights at conv"),
        (drift(output=OutputEffect(math.inf, 0.1)), "output of another kind: weights at conv"),
        (drift(output=None, error=0.00025), "weights at conv, 2.5 x allowed"),
        (drift(output=None, error=None, cause=None, first_divergence=None), "another result"),
        (drift(output=None, tolerance=0.0, first_divergence=replace(FIRST, layer="")), "weights at the model"),
        (drift(status=Status.MISSING), "feature_maps: no baseline"),
        (drift(status=Status.UNREADABLE), "feature_maps: the baseline cannot be read"),
        (drift(status=Status.UNSTABLE), "feature_maps: two captures of the same model differ"),
    ],
)  # fmt: skip
def test_short_lines(result, line):
    assert short_line([result]) == line


def test_a_short_line_has_80_columns_and_counts_other_changes():
    long = drift(first_divergence=replace(FIRST, layer="encoder." * 30))
    line = short_line([long, drift(cause=Cause.INPUT)])
    assert len(line) == 80
    assert line.startswith("output off by 2.5 %, top-1 changed in 1 of 8: weights at enco")
    assert line.endswith("...; 1 more change")
    assert short_line([DRIFT], 59) == "output off by 2.5 %, top-1 changed in 1 of 8: weights at..."
    assert short_line([DRIFT], 58) == "top-1 changed in 1 of 8: weights at conv"
    assert short_line([DRIFT], 20) == "top-1 changed in 1 of 8: weights a..."  # which pytest cuts
    kept = drift(output=replace(KEPT, tolerance=0.001))
    assert short_line([kept], 44) == "output off by 2.5 %: weights at conv"
    missing = drift(status=Status.MISSING)
    assert short_line([missing, DRIFT]).endswith(": weights at conv")


def test_every_change_of_values_has_words():
    for kind in ValueChange.__subclasses__():
        hints = typing.get_type_hints(kind)
        values = {str: "row", int: 3, float: 2.0, bool: True, tuple[int, ...]: (1, 2), tuple[float, ...]: (2.0, 0.5)}
        assert change_text(kind(*(values[hints[field.name]] for field in dataclasses.fields(kind))))
    with pytest.raises(NotImplementedError, match="ValueChange"):
        change_text(ValueChange())
