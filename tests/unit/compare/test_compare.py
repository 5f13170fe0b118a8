"""Traces compared in lockstep, in numbers that can be worked out by hand."""

import math

import pytest
from traces_by_hand import tensor, trace

from pytest_modelviz.compare.diagnosis import compare_traces
from pytest_modelviz.compare.tolerance import LayerTolerance, Tolerances
from pytest_modelviz.records.findings import (
    AttributeFinding,
    CodeFinding,
    ConfigFinding,
    DivergingEvent,
    OrderFinding,
    OutputsFinding,
    RenameFinding,
    Role,
    ShapeFinding,
    TiesFinding,
    WeightFinding,
)
from pytest_modelviz.records.structure import ModuleRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf


class TestWalk:
    def verdict(self, actual: ForwardTrace, baseline: ForwardTrace | None = None):
        return compare_traces(baseline or trace(), actual, Tolerances())

    def test_events_come_in_the_order_in_which_they_happened(self):
        order = [(event.kind, event.call.layer) for event in trace().events()]
        assert order == [
            ("enter", ""),
            ("enter", "block"),
            ("enter", "block.a"),
            ("leave", "block.a"),
            ("enter", "block.b"),
            ("leave", "block.b"),
            ("leave", "block"),
            ("enter", "head"),
            ("leave", "head"),
            ("leave", ""),
        ]

    def test_equal_passes_match(self):
        verdict = self.verdict(trace())
        assert (verdict.matched, verdict.compared, verdict.drifted, verdict.error) == (True, 5, 0, 0.0)

    @pytest.mark.parametrize(
        ("changed", "layer", "cause"),
        [
            ({"in": 1.1}, "", "input"),
            ({"a": 2.2}, "block.a", "computation"),
            ({"a": 2.2, "wa": 1.1}, "block.a", "weights"),
            ({"b<": 2.2}, "block", "computation"),  # the code between a and b changed, not b
            ({"b<": 2.2, "b": 3.3, "wblock": 1.1}, "block", "weights"),
            ({"b": 3.3, "wb": 1.1}, "block.b", "weights"),
            ({"block": 4.4}, "block", "computation"),  # the code after b
            ({"block": 4.4, "wb": 1.1}, "block.b", "weights"),  # b's own output agrees: who else would read it
            ({"head": 5.5, "wb": 1.1}, "head", "computation"),  # head has no way to b
            ({"head": 5.5}, "head", "computation"),
        ],
    )
    def test_the_first_event_that_differs_names_suspect_and_cause(self, changed, layer, cause):
        verdict = self.verdict(trace(**changed))
        assert not verdict.matched
        assert (verdict.first.layer, verdict.cause) == (layer, cause)

    def test_a_changed_configuration_is_architecture_even_with_changed_weights(self):
        actual = trace(a=2.2, wa=1.1)
        actual.modules["block.a"] = ModuleRecord("Linear", {"extra_repr": "bias=False"}, {"weight": "wa"})
        verdict = self.verdict(actual)
        assert verdict.cause == "architecture"
        assert ConfigFinding("block.a", "extra_repr", "", "bias=False") in verdict.findings

    def test_what_is_private_is_told_only_where_nothing_else_is(self):
        def configured(**config):
            base, made = trace(), trace(a=2.2)
            old = {"extra_repr": "", "_pad": "0", "padding": "0"}
            for one, settings in ((base, old), (made, {**old, **config})):
                one.modules["block.a"] = ModuleRecord("Linear", settings, {"weight": "wa"})
            return self.verdict(made, base)

        verdict = configured(_pad="(1, 1)", padding="1", extra_repr="padding=1")
        assert [f.name for f in verdict.findings if isinstance(f, ConfigFinding)] == ["padding"]
        verdict = configured(_pad="(1, 1)")
        assert verdict.findings[1] == AttributeFinding("block.a", "_pad", "0", "(1, 1)")
        assert not [finding for finding in verdict.findings if isinstance(finding, (ConfigFinding, CodeFinding))]
        verdict = configured(another="1")  # how its code is written
        assert verdict.cause == "computation"

    def test_a_reshaped_weight_is_architecture(self):
        actual = trace(a=2.2)
        actual.weights["wa"] = tensor(1, 1)
        verdict = self.verdict(actual)
        assert verdict.cause == "architecture"
        found = [finding for finding in verdict.findings if isinstance(finding, ShapeFinding)]
        assert found == [ShapeFinding("block.a", "weight", "float32[1]", "float32[2]")]

    def test_a_child_that_is_only_read_is_evidence_about_its_reader(self):
        def with_reader(weight: float, out: float) -> ForwardTrace:
            made = trace(block=out)
            made.modules["block.read"] = ModuleRecord("Linear", {}, {"weight": "wread"})
            made.weights["wread"] = tensor(weight)
            return made

        verdict = self.verdict(with_reader(1.1, 4.4), with_reader(1.0, 4.0))
        assert (verdict.first.layer, verdict.cause) == ("block.read", "weights")
        assert "block.read" in {f.layer for f in verdict.findings if isinstance(f, WeightFinding)}

    def test_of_two_changed_children_that_are_only_read_neither_is_named(self):
        def with_readers(weight: float, out: float) -> ForwardTrace:
            made = trace(block=out)
            for name in ("one", "two"):
                made.modules[f"block.{name}"] = ModuleRecord("Linear", {}, {"weight": f"w{name}"})
                made.weights[f"w{name}"] = tensor(weight)
            return made

        verdict = self.verdict(with_readers(1.1, 4.4), with_readers(1.0, 4.0))
        assert (verdict.first.layer, verdict.cause) == ("block", "weights")
        assert {f.layer for f in verdict.findings if isinstance(f, WeightFinding)} == {"block.one", "block.two"}

    def test_a_lost_tie_is_drift_though_it_changes_no_number(self):
        tied = trace()
        tied.structure.ties = (("block.a.weight", "block.b.weight"),)
        verdict = self.verdict(trace(), tied)
        assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "", "architecture")
        lost = (("block.a.weight", "block.b.weight"),)
        assert TiesFinding("", lost, ()) in verdict.findings
        verdict = self.verdict(trace(a=2.2), tied)
        assert TiesFinding("", lost, (), role=Role.ALSO) in verdict.findings

    def test_a_change_just_below_tolerance_that_is_amplified_is_still_named(self):
        verdict = self.verdict(trace(a=2.0 * (1 + 6e-5), wa=1.00006, head=5.5))
        assert (verdict.first.layer, verdict.cause) == ("block.a", "weights")
        assert verdict.error == pytest.approx(0.1, rel=1e-3)

    def test_a_large_change_of_a_weight_is_named_however_little_of_it_shows_before_code_amplifies_it(self):
        amplified = {"b": 3.0 * (1 + 1e-6), "block": 4.4}
        assert self.verdict(trace(**amplified, wb=1.2)).first.layer == "block.b"
        for harmless in ({}, {"wb": 1 + 2e-6}):  # rounding alone is no reason
            verdict = self.verdict(trace(**amplified, **harmless))
            assert (verdict.first.layer, verdict.cause) == ("block", "computation")

    def test_another_call_here_names_the_caller(self):
        actual = trace()
        actual.calls[3] = Call("block.a", 1, 2, {"x": Leaf(tensor="b<")}, {"": Leaf(tensor="b")})
        verdict = self.verdict(actual)
        assert (verdict.first.layer, verdict.cause, verdict.error) == ("block", "computation", math.inf)
        found = [finding for finding in verdict.findings if isinstance(finding, OrderFinding)]
        assert found == [OrderFinding(("enter", "block.b"), ("enter", "block.a"), is_later=False)]

    def test_a_missing_end_is_a_change_of_order(self):
        actual = trace()
        del actual.calls[4]
        verdict = self.verdict(actual)
        assert (verdict.first.layer, verdict.cause) == ("", "computation")
        assert verdict.drifted == 1  # its head: what the model returns is the same

    def test_an_added_module_is_architecture(self):
        actual = trace()
        actual.modules["block.c"] = ModuleRecord("ReLU", {}, {})
        actual.calls.insert(4, Call("block.c", 0, 2, {"x": Leaf(tensor="b")}, {"": Leaf(tensor="b")}))
        verdict = self.verdict(actual)
        assert (verdict.first.layer, verdict.cause) == ("block", "architecture")

    def test_a_module_that_nobody_calls_is_still_part_of_the_model(self):
        actual = trace()
        actual.modules["aux"] = ModuleRecord("Linear", {}, {})
        verdict = self.verdict(actual)
        assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "aux", "architecture")

    def test_a_rename_is_called_a_rename_and_everything_else_is_still_compared(self):
        def renamed(**changed):
            made = trace(**changed)
            for old, new in (("block.b", "body.b"), ("block.a", "body.a"), ("block", "body")):
                made.structure.modules = {new if name == old else name: module for name, module in made.modules.items()}
                for one in made.calls:
                    one.layer = new if one.layer == old else one.layer
            return made

        verdict = self.verdict(renamed())
        assert (verdict.matched, verdict.first.layer, verdict.first.class_name) == (False, "body", "Block")
        assert (verdict.cause, verdict.error, verdict.drifted) == ("architecture", 0.0, 0)
        assert verdict.findings[1:] == (RenameFinding("body", before="block"),)
        assert not verdict.findings[1].is_move
        verdict = self.verdict(renamed(b=3.3, wb=1.1))
        assert (verdict.first.layer, verdict.cause) == ("block.b", "weights")
        assert RenameFinding("body", before="block", role=Role.ALSO) in verdict.findings

    def test_an_activation_that_moved_is_architecture(self):
        def with_relu(parent, at):
            made = trace()
            made.modules[f"{parent}act" if parent == "" else f"{parent}.act"] = ModuleRecord("ReLU", {}, {})
            name = f"{parent}.act" if parent else "act"
            made.calls.insert(at, Call(name, 0, 2 if parent else 1, {"x": Leaf(tensor="b")}, {"": Leaf(tensor="b")}))
            return made

        verdict = self.verdict(with_relu("", 4), with_relu("block", 4))
        assert (verdict.first.layer, verdict.cause) == ("block", "architecture")
        assert RenameFinding("act", before="block.act") in verdict.findings

    @pytest.mark.parametrize(
        ("changed", "suspect", "before", "after"),
        [
            ({"b<": 2.2}, "block", "block.a", "block.b"),
            ({"block": 4.4}, "block", "block.b", ""),
            ({"a": 2.2}, "block.a", "", ""),
        ],
    )
    def test_it_says_between_which_calls_the_code_changed(self, changed, suspect, before, after):
        findings = self.verdict(trace(**changed)).findings
        assert [f for f in findings if isinstance(f, CodeFinding)] == [CodeFinding(suspect, before, after)]

    def test_it_says_which_outputs_drifted(self):
        def two_outputs(value):
            made = trace(head=value)
            made.tensors["aux"] = tensor(1.0)
            made.calls[0].outputs = {".logits": Leaf(tensor="head"), ".aux": Leaf(tensor="aux")}
            return made

        verdict = self.verdict(two_outputs(5.5), two_outputs(5.0))
        assert [f for f in verdict.findings if isinstance(f, OutputsFinding)] == [OutputsFinding(2, (".logits",))]
        verdict = self.verdict(trace(a=2.2))
        assert [f for f in verdict.findings if isinstance(f, OutputsFinding)] == [OutputsFinding(1, ())]

    def test_spread_counts_layers_that_differ(self):
        verdict = self.verdict(trace(b=3.3, block=4.4, head=5.5))
        assert (verdict.drifted, verdict.compared) == (4, 5)  # b, block, head and the model

    def test_nan_is_never_within_tolerance(self):
        assert not self.verdict(trace(a=math.nan)).matched

    def test_rounding_of_large_inputs_is_forgiven_where_the_result_should_be_zero(self):
        assert self.verdict(trace(a=1e-8), trace(a=2e-8)).matched
        assert not self.verdict(trace(a=1e-6), trace(a=2e-6)).matched

    def test_a_signal_that_fades_over_several_modules_is_compared_to_the_last_digit(self):
        verdict = self.verdict(trace(block=1e-9), trace(block=2e-9))
        assert (verdict.matched, verdict.findings[0].event) == (False, DivergingEvent.LEAVE)
        assert not self.verdict(trace(**{"b<": 1e-9}), trace(**{"b<": 2e-9})).matched

    def test_large_inputs_forgive_three_times_the_tolerance_and_no_more(self):
        def from_large(**changed):
            made = trace(**changed)
            made.tensors["in"] = tensor(1e5, 1e5)
            return made

        assert self.verdict(from_large(a=2.0 * (1 + 2.5e-4)), from_large()).matched
        assert not self.verdict(from_large(a=2.0 * (1 + 6e-4)), from_large()).matched

    def test_what_was_forgiven_is_still_suspected(self):
        def from_large(**changed):
            made = trace(**changed)
            made.tensors["in"] = tensor(1e5, 1e5)
            return made

        verdict = self.verdict(from_large(a=2.0 * (1 + 2.5e-4), wa=1.00025, **{"b<": 2.0005}), from_large())
        assert (verdict.first.layer, verdict.cause) == ("block.a", "weights")

    @staticmethod
    def with_low_side(side=1.0, **changed):
        """A bfloat16 branch runs before everything else."""
        made = trace(**changed)
        made.modules["side"] = ModuleRecord("Linear", {}, {})
        made.tensors["side"] = tensor(side, dtype="bfloat16")
        made.calls.insert(1, Call("side", 0, 1, {"x": Leaf(tensor="in")}, {"": Leaf(tensor="side")}))
        return made

    def test_a_low_precision_branch_lends_its_tolerance_to_nobody_who_reads_something_else(self):
        verdict = self.verdict(self.with_low_side(1.01, a=2.002), self.with_low_side())  # a reads what the model got
        assert (verdict.first.layer, verdict.first.tolerance) == ("block.a", 1e-4)

    def test_what_may_come_of_a_low_precision_branch_has_its_tolerance_if_that_differs_at_all(self):
        # the code between a and b may have read what the branch returned
        noisy = {"b<": 2.02, "b": 3.03, "block": 4.04, "head": 5.05}

        def inside(made: ForwardTrace) -> ForwardTrace:
            made.modules["block.side"] = made.modules.pop("side")
            made.calls[1:3] = [made.calls[2], Call("block.side", 0, 2, made.calls[1].inputs, made.calls[1].outputs)]
            return made

        assert self.verdict(inside(self.with_low_side(1.01, **noisy)), inside(self.with_low_side())).matched
        verdict = self.verdict(inside(self.with_low_side(1.0, **noisy)), inside(self.with_low_side()))
        assert (verdict.first.layer, verdict.cause) == ("block", "computation")

    def test_what_is_merely_given_has_no_rounding_of_its_own(self):
        given, other = trace(), trace(a=2.002)
        for one in (given, other):
            one.tensors["in"] = tensor(1.0, dtype="bfloat16")
        assert not self.verdict(other, given).matched

    def test_weights_are_compared_by_their_holders_also_where_a_tie_was_lost(self):
        tied, untied = trace(), trace(head=5.5)
        tied.modules["head"] = ModuleRecord("Linear", {"extra_repr": ""}, {"weight": "wa"})
        untied.modules["head"] = ModuleRecord("Linear", {"extra_repr": ""}, {"weight": "whead"})
        untied.weights["whead"] = tensor(1.1)
        verdict = self.verdict(untied, tied)
        assert (verdict.first.layer, verdict.cause) == ("head", "weights")

    def test_huge_inputs_forgive_no_real_change(self):
        base, changed = trace(), trace(a=2.1)
        for made in (base, changed):
            made.tensors["in"] = tensor(1e6, 1e6)
        assert not self.verdict(changed, base).matched

    def test_masks_among_the_inputs_forgive_nothing(self):
        base, changed = trace(), trace(a=2.01)
        for made in (base, changed):
            made.tensors["in"] = tensor(-1e9, -1e9)
        assert not self.verdict(changed, base).matched

    def test_other_tolerances_are_obeyed(self):
        assert compare_traces(trace(), trace(a=2.2), Tolerances(rtol=0.2)).matched
        assert compare_traces(trace(), trace(a=2.2), Tolerances(atol=0.3)).matched
        assert not compare_traces(trace(), trace(a=2.2), Tolerances(rtol=0.05)).matched

    @pytest.mark.parametrize(
        ("changed", "layer"), [({"wa": 2.0, "a": 2.05, "b<": 2.05}, "block.a"), ({"wblock": 2.0, "b<": 2.05}, "block")]
    )
    @pytest.mark.parametrize("is_for_all", [True, False])
    def test_what_an_absolute_tolerance_hides_may_explain_a_later_drift(self, changed, layer, is_for_all):
        """Weights have changed; that what was made of them is within the tolerance does not clear them."""
        allowed = Tolerances(atol=0.1) if is_for_all else Tolerances(layers=(LayerTolerance(layer, atol=0.1),))
        verdict = compare_traces(trace(), trace(**changed, b=3.5, block=4.5, head=5.5), allowed)
        assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, layer, "weights")
