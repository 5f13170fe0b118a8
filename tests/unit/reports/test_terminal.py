"""Findings in words: a table of what is found and what an engineer reads."""

import dataclasses
import math

import check_results
import pytest

from pytest_modelviz.records.check_result import LayerCounts, Status
from pytest_modelviz.records.findings import (
    AUTOCAST,
    AttributeFinding,
    CodeFinding,
    ConfigFinding,
    DivergingEvent,
    DtypeFinding,
    EventFinding,
    FactFinding,
    Finding,
    IncomparableStepsFinding,
    ModuleFinding,
    NoiseFinding,
    OrderFinding,
    OutputsFinding,
    RenameFinding,
    Role,
    ShadowFinding,
    TiesFinding,
    UncomparedFinding,
    WeightFinding,
)
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.records.verdict import Cause, Divergence
from pytest_modelviz.reports.terminal import amount, explain
from pytest_modelviz.reports.terminal_summary import TerminalSummary, summary_lines
from pytest_modelviz.text.printable import printable
from pytest_modelviz.views.cam_map.findings import NonFiniteMapFinding, ScaledMapFinding
from pytest_modelviz.views.model_summary.findings import FieldFinding

DRIFT = dataclasses.replace(check_results.DRIFT, nodeid="t.py::test", layers=LayerCounts(6, 3), output=None)


def drift(**changed):
    return dataclasses.replace(DRIFT, **changed)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (EventFinding("", DivergingEvent.INPUT, "x"), "the model receives a different input (x)"),
        (
            EventFinding("conv", DivergingEvent.ENTER, ".mask"),
            "everything before agrees, then conv receives a different input (mask)",
        ),
        (EventFinding("conv", DivergingEvent.LEAVE), "conv receives the same inputs and returns a different output"),
        (
            EventFinding("conv", DivergingEvent.LEAVE, "", "float32[1]", "float32[2]"),
            "conv receives the same inputs and returns a different output (output: float32[1] -> float32[2])",
        ),
        (
            EventFinding("conv", DivergingEvent.ENTER, AUTOCAST, "", "cpu bfloat16"),
            "everything before agrees, then conv is called under another autocast",
        ),
        (EventFinding("conv", DivergingEvent.ORDER), "everything agrees up to where another module is called"),
        (EventFinding("", DivergingEvent.NONE), "all activations agree"),
        (WeightFinding("conv", "weight", 0.05), "conv.weight differs by 0.05"),
        (WeightFinding("conv", "conv.weight", 0.05), "conv.weight differs by 0.05"),
        (WeightFinding("", "gamma", math.inf), "gamma is different"),
        (ModuleFinding("conv", "removed", "Conv2d"), "conv (Conv2d) was removed"),
        (RenameFinding("stem", before="conv"), "conv is now called stem"),
        (RenameFinding("a.conv", before="conv"), "conv is now at a.conv"),
        (ModuleFinding("conv", "added", "ReLU"), "conv (ReLU) was added"),
        (OrderFinding(("enter", "a"), None, is_later=False), "the baseline calls a here, this pass ends"),
        (
            OrderFinding(("leave", ""), ("enter", "b"), is_later=False),
            "the baseline returns from the model here, this pass calls b",
        ),
        (
            CodeFinding("", "bn1", "conv2"),
            "its weights and configuration match; its own code computes something else between bn1 and conv2",
        ),
        (
            CodeFinding("", "conv", "conv"),
            "its weights and configuration match; its own code computes something else between two calls of conv",
        ),
        (
            CodeFinding("", "", "a"),
            "its weights and configuration match; its own code computes something else before a, which it calls first",
        ),
        (
            CodeFinding("", "b", ""),
            "its weights and configuration match; its own code computes something else after b, which it calls last",
        ),
        (CodeFinding("", "", ""), "its weights and configuration match; its own code computes something else"),
        (
            NonFiniteMapFinding((0, 4), (3, 4)),
            "3 of 4 values of the map are not finite, in the baseline 0 of 4",
        ),
        (
            NonFiniteMapFinding((0, 4), (1, 4)),
            "1 of 4 values of the map is not finite, in the baseline 0 of 4",
        ),
        (
            ScaledMapFinding(0.5),
            "it is the baseline's map times 0.5: the picture is the same, its strength is not",
        ),
        (FactFinding("predicted", "[1]", "[2]"), "predicted: [1] -> [2]"),
        (TiesFinding("", (), (("a", "b"),)), "shared memory: nothing -> a = b"),
        (TiesFinding("", (("a", "b"), ("c", "d")), ()), "shared memory: a = b; c = d -> nothing"),
        (FieldFinding("conv", "frozen", "", '["weight"]', "frozen"), 'conv frozen: none -> ["weight"]'),
        (ConfigFinding("conv", "eps", "1", "2"), "conv eps: 1 -> 2"),
        (Finding("heads", "conv", "attention heads", "8", "4"), "conv attention heads: 8 -> 4"),
        (Finding("heads"), "(model): none -> none"),
    ],
)
def test_sentences(found, sentence):
    lines = explain(DRIFT, [found]).splitlines()
    assert f"  evidence  {sentence}" in lines
    others = [EventFinding("", DivergingEvent.NONE), dataclasses.replace(found, role=Role.ALSO)]
    assert f"  also      {sentence}" in explain(DRIFT, others).splitlines()


def test_of_long_lists_only_what_differs_is_told():
    base = ", ".join(f"item{number}=1" for number in range(20))
    text = explain(DRIFT, [ConfigFinding("conv", "config", base, base.replace("item7=1", "item7=2"))])
    assert "  evidence  conv config: item7=1 -> item7=2" in text.splitlines()
    base = "x: float32[2, 3, 4, 5], kernel_size=(1, 1), mask: bool[2, 1, 12, 12], " + base
    text = explain(DRIFT, [FieldFinding("conv", "in", base, base.replace("bool", "float32"), "in")])
    assert "  evidence  conv in: mask: bool[2, 1, 12, 12] -> mask: float32[2, 1, 12, 12]" in text.splitlines()
    long = explain(DRIFT, [ConfigFinding("conv", "repr", "x" * 500, "y" * 500)])
    assert max(map(len, long.splitlines())) < 300


def test_a_whole_report():
    text = explain(
        drift(
            first_divergence=Divergence("", "Net", 2, 0.05, 1e-4),
            environment_changes={"torch": ("2.6", "2.15")},
            layers=LayerCounts(6, 0),
        ),
        commands=("", "'a test.py::test'"),
    )
    assert text.splitlines() == [
        "feature_maps drifted, first at the model itself (Net, call 2)",
        "  cause     weights",
        "  error     0.05 at the first difference, 500 times what is allowed (0.0001)",
        "  spread    none of 6 layers",
        "  changed   torch: 2.6 -> 2.15, since the baseline was recorded",
        "  accept    modelviz accept 'a test.py::test'",
    ]
    bare = explain(drift(cause=None, first_divergence=None, layers=LayerCounts(1, 1)))
    assert bare.splitlines()[0] == "feature_maps drifted"
    assert "cause" not in bare
    assert "spread" not in bare


def test_what_else_differs_hides_no_other_kind():
    classes = [ConfigFinding(f"block{at}", "class", "A", f"B{at}", role=Role.ALSO) for at in range(20)]
    bias = WeightFinding("head", "bias", 0.5, role=Role.ALSO)
    lines = explain(DRIFT, [*classes, bias]).splitlines()
    assert "            head.bias differs by 0.5" in lines
    assert "            and 14 more" in lines


def test_a_view_may_say_itself_what_a_cause_means():
    text = explain(drift(cause=Cause.WEIGHTS), cause_text="its own\nwords")
    assert text.splitlines()[1] == r"  cause     weights: its own\nwords"


def test_what_needs_no_words_has_none():
    for status in (Status.MATCH, Status.RECORDED, Status.NOT_COMPARED):
        assert explain(drift(status=status)) == ""


def test_a_reason_that_quotes_a_file_fills_no_page():
    reason = f"it belongs to another check, '{'x' * 1_000_000}' of somebody"
    said = explain(drift(status=Status.UNREADABLE), reason=reason, commands=("t.py::test", ""))
    assert "cannot be read: it belongs to another check, 'xxx" in said
    assert "xxx' of somebody (1000043 letters)\n" in said
    assert len(said) < 11_000


def test_an_orphan_whose_name_would_fill_pages_has_a_short_line_and_no_command():
    orphan = OrphanRecord(f"t.py::a[{'x' * 1_000_000}]", "v", "n", None, "b", None, None, renamed_to="t.py::b")
    totals = dict.fromkeys(Status, 0)
    lines = [line for line, _ in summary_lines(TerminalSummary(totals, orphans=(orphan,)))]
    (line,) = (line for line in lines if "t.py::a[" in line)
    assert line.endswith("is it now t.py::b?")
    assert len(line) < 2200
    short = dataclasses.replace(orphan, nodeid="t.py::a")
    assert any("modelviz mv" in line for line, _ in summary_lines(TerminalSummary(totals, orphans=(short,))))


def test_amounts():
    assert amount(None, 1e-4) == "no single number: the evidence says what differs"
    assert amount(0.5, 0.0) == "0.5, no difference is allowed"
    assert amount(2e-4, 1e-4) == "0.0002, 2 times what is allowed (0.0001)"
    assert amount(1.0, 1e-4) == "1, 10,000 times what is allowed (0.0001)"


def test_control_characters_are_written_out():
    assert printable({"a\n": ["\x1b[2J", "é", 3]}) == {"a\\n": ["\\x1b[2J", "é", 3]}


class TestTheLastLines:
    TOTALS = dict.fromkeys(("match", "drift", "missing", "not_compared"), 0)

    def lines(self, *, totals=(), **others):
        return summary_lines(TerminalSummary({**self.TOTALS, **dict(totals)}, **others))

    def test_counts(self):
        assert self.lines(totals={"match": 2, "drift": 1, "not_compared": 1}) == [
            ("1 check not compared", False),
            ("2 match, 1 drift; details in .modelviz/results.json", False),
        ]
        assert self.lines(totals={"not_compared": 2}, compares=False) == [
            ("2 checks not compared (compare them with --modelviz)", False)
        ]
        assert self.lines() == []

    def test_what_to_do_about_a_drift(self):
        shown = drift(tensorboard_tags=("t",))
        assert self.lines(results=[shown], folder="a b", run_id="R", review="--from 'a b'", has_report=True) == [
            (
                "review: modelviz list --run R --from 'a b'; accept: modelviz accept --run R --from 'a b' [TEST...]",
                False,
            ),
            ("see the pictures: modelviz tensorboard --from 'a b', or open 'a b/report.html'", False),
        ]

    def test_notes_of_what_passed(self):
        match = drift(status=Status.MATCH, message="m: match\n  note  x", nodeid="t\x1b", candidate=None)
        assert self.lines(results=[match]) == [("t\\x1b m: match", False), ("  note  x", False)]

    def test_workers_that_died(self):
        ((line, is_error),) = self.lines(lost=["gw0", "gw1"])
        assert line.startswith("workers gw0, gw1 died: ")
        assert is_error

    @pytest.mark.parametrize("count", [1, 2, 10, 11, 25])
    def test_checks_that_a_passing_test_did_not_make(self, count):
        lines = self.lines(not_made=[(f"t::{at}", "x\x1b") for at in range(count)])
        known = "1 baseline was" if count == 1 else f"{count} baselines were"
        assert lines == [
            (f"{known} not compared: the test passed without that check", False),
            *((f"  t::{at}: x\\x1b", False) for at in range(count if count < 12 else 10)),
            *([(f"  and {count - 10} more", False)] if count > 11 else []),
        ]

    def test_tests_of_a_file_that_is_gone(self):
        def lost(nodeid, renamed_to=None, **fields):
            return OrphanRecord(nodeid, "v", "x", None, "b", None, None, renamed_to=renamed_to, **fields)

        rows = [lost("old.py::a", "new.py::a"), lost("old.py::b", "new.py::b"), lost("else.py::c"), lost("x.py::d\x1b")]
        assert self.lines(without_file=rows, orphans_fail=True) == [
            ("these tests have baselines, and their file is gone:", False),
            ("  old.py::a; is it now new.py::a? modelviz mv old.py new.py", False),
            ("  old.py::b; is it now new.py::b? modelviz mv old.py new.py", False),
        ]
        partly = [rows[0], lost("old.py::b")]
        assert self.lines(without_file=partly) == [
            ("this test has baselines, and its file is gone:", False),
            ("  old.py::a; is it now new.py::a? modelviz mv old.py::a new.py::a", False),
        ]
        recorded = [lost("old.py::a", "new.py::a", new_has_baseline=True)]
        assert self.lines(without_file=recorded)[1][0] == "  old.py::a; is it now new.py::a? modelviz prune old.py::a"
        assert self.lines(without_file=rows[2:]) == []
        many = [lost(f"old.py::{at}", f"new.py::{at}") for at in range(25)]
        assert self.lines(without_file=many)[-1] == ("  and 15 more", False)

    def test_orphans(self):
        def orphan(nodeid, name, renamed_to=None):
            return OrphanRecord(nodeid, "v", name, None, "b", None, None, renamed_to=renamed_to)

        rows = [orphan("t::a", name, "t::b") for name in ("y", "x")]
        rows += [orphan(f"t::{at}", "x") for at in range(10)]
        lines = self.lines(orphans=rows, orphans_fail=True)
        assert lines[:3] == [
            ("12 orphans: baselines of 11 tests that are gone (modelviz prune removes them)", True),
            ("  t::a: x, y; is it now t::b? modelviz mv t::a t::b", True),
            ("  t::0: x", True),
        ]
        assert lines[-1] == ("  and 1 more: modelviz orphans", True)
        assert self.lines(orphans=rows[:1])[0] == (
            "1 orphan: a baseline whose test is gone (modelviz prune removes it)",
            False,
        )


@pytest.mark.parametrize(
    ("count", "drifted", "told"),
    [
        (1, (), "3 of 6 layers; the model's output agrees"),
        (1, ("output",), "3 of 6 layers and the model's output"),
        (3, (".boxes", ".scores"), "3 of 6 layers and, of the model's 3 outputs, boxes, scores"),
    ],
)
def test_it_says_which_outputs_drifted(count, drifted, told):
    lines = explain(DRIFT, [OutputsFinding(count, drifted)]).splitlines()
    assert f"  spread    {told}" in lines


@pytest.mark.parametrize(("state", "where"), [("differs", ", in float32"), ("agrees", "")])
def test_it_says_where_layers_drifted_only_in_float32(state, where):
    lines = explain(DRIFT, [OutputsFinding(1, ("output",)), ShadowFinding(state)]).splitlines()
    assert f"  spread    3 of 6 layers and the model's output{where}" in lines


def test_findings_that_are_alike_are_told_in_one_line():
    def told(*found):
        lines = explain(DRIFT, list(found)).splitlines()
        return [line[12:] for line in lines if line.startswith(("  evidence  ", " " * 12))]

    removed = [ModuleFinding(f"block.{name}", "removed", "Conv2d") for name in "abcde"]
    assert told(*removed) == ["block: a (Conv2d), b (Conv2d), c (Conv2d) and 2 more were removed"]
    assert told(*removed[:2]) == ["block.a (Conv2d) was removed", "block.b (Conv2d) was removed"]
    frozen = [FieldFinding(name, "frozen", "", "weight", "frozen") for name in "abc"]
    thawed = [FieldFinding(name, "frozen", "weight", "", "frozen") for name in "xyz"]
    assert told(*frozen, *thawed) == ["3 layers are now frozen: a, b, c", "3 layers are no longer frozen: x, y, z"]
    shapes = [FieldFinding(layer, kind, "f[1]", "f[2]", kind) for layer in "ab" for kind in ("in", "out")]
    assert told(*shapes) == ["shapes, calls or mult-adds of 2 layers follow: a, b (a in: f[1] -> f[2])"]
    same = [ConfigFinding(layer, "eps", "1", "2") for layer in "abcd"]
    assert told(*same, ConfigFinding("e", "eps", "1", "3")) == [
        "4 layers: eps: 1 -> 2: a, b, c, d",
        "e eps: 1 -> 3",
    ]

    dtypes = [DtypeFinding(layer, "dtype of weight", "float32", "bfloat16") for layer in "abc"]
    assert told(*dtypes) == ["3 layers: dtype of weight: float32 -> bfloat16: a, b, c"]
    calls = [AttributeFinding("a", f"calls[{at}].eps", "1", "2") for at in range(3)]
    assert told(*(dataclasses.replace(call, name="eps") for call in calls)) == ["1 layer: eps: 1 -> 2: a"]
    assert told(*(dataclasses.replace(found, layer="a") for found in frozen)) == ["1 layer is now frozen: a"]


def test_what_reads_alike_is_reported_once_whatever_is_cut_from_it():
    def findings(kind, *field):
        configs = [", ".join([f"size={size}", "p=1", *(f"item{n}=1" for n in range(20))]) for size in range(4)]
        return [kind(f"l{at}", "config", c, c.replace("p=1", "p=2"), *field) for at, c in enumerate(configs)]

    for found in (findings(ConfigFinding), findings(FieldFinding, "config")):
        (line,) = [line for line in explain(DRIFT, found).splitlines() if "config" in line]
        assert line == "  evidence  4 layers: config: p=1 -> p=2: l0, l1, l2, l3"


def test_the_noise_that_was_allowed_for_is_no_evidence():
    text = explain(DRIFT, [NoiseFinding("conv", 0.01)])
    assert "what is allowed (0.0001)\n" in text
    assert "rounding" not in text


@pytest.mark.parametrize(
    ("view", "of"),
    [("cam_map", " in the map"), ("saliency_map", " in the gradient"), ("activation_maximization", " in the climb")],
)
def test_an_error_says_what_it_is_of(view, of):
    assert f"  error     0.05{of}, 500 times" in explain(drift(view=view))
    assert f"  error     0.05{of}, 500 times" in explain(drift(view=view, status=Status.UNSTABLE))
    assert "  error     0.07, 700 times" in explain(drift(error=0.07))  # not that of the layer


def test_only_causes_that_do_not_speak_for_themselves_are_explained():
    lines = [explain(drift(cause=cause)).splitlines()[1] for cause in Cause]
    assert [line for line in lines if ":" not in line] == ["  cause     weights", "  cause     input"]


def test_steps_that_cannot_be_compared_are_not_said_to_have_drifted():
    found = [IncomparableStepsFinding(7)]
    told = explain(drift(name="training_curve", first_divergence=None, cause=None), found).splitlines()
    assert told[0] == "training_curve could be compared only up to step 6"
    assert any("from step 7 on the two trainings are too far apart" in line for line in told)
    assert explain(drift(status=Status.MATCH), []) == ""


class TestManyAndLongFindings:
    """Names in a baseline may be of any length and number: a report of it stays one that is read."""

    def lines(self, findings, status=Status.MATCH, **options):
        result = dataclasses.replace(DRIFT, status=status)
        return explain(result, findings, **options).splitlines()

    def test_a_long_name_is_cut_around_what_differs(self):
        (_, note) = self.lines([FactFinding("model", "a" * 300 + "b" + "a" * 10**6, "a" * 300 + "c" + "a" * 300)])
        assert len(note) < 450
        assert "...aaaaaaaaaaaaaaaaaaaaaaaab" in note
        assert "...aaaaaaaaaaaaaaaaaaaaaaaac" in note

    @pytest.mark.parametrize("status", [Status.MATCH, Status.DRIFT])
    def test_a_sentence_with_a_long_name_lacks_its_middle(self, status):
        findings = [UncomparedFinding("x" * 10**6, "weight"), ModuleFinding("y" * 10**6, "removed", "Linear")]
        lines = self.lines(findings, status)
        assert max(map(len, lines)) < 1100
        assert any("and was not compared: the baseline" in line for line in lines)
        assert any("(Linear) was removed" in line for line in lines)

    def test_many_are_counted_and_hide_no_other_kind(self):
        facts = [FactFinding(f"m{number}", "A", "B") for number in range(30_000)]
        lines = self.lines([*facts, UncomparedFinding("layer", "weight")])
        assert len(lines) == 21
        assert lines[-1] == "  note      and 29982 more"
        assert any("layer weight differs and was not compared" in line for line in lines)
        assert len(self.lines(facts[:20])) == 21

    def test_all_of_them_are_in_the_whole_report(self):
        facts = [FactFinding(f"m{number}", "A", "B") for number in range(30)]
        assert len(self.lines(facts, whole=True)) == 31
