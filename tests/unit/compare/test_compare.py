"""Comparison in numbers that can be worked out by hand, on traces written down here."""

import math
from typing import ClassVar

import numpy as np
import pytest

from pytest_modelviz.compare.diagnosis import compare_traces
from pytest_modelviz.compare.precision import coarser, is_exact
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tensors import difference, leaf_errors, rms, weight_difference, worst
from pytest_modelviz.compare.tolerance import Source, Tolerances, weight_tolerance
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.findings import (
    AttributeFinding,
    CodeFinding,
    ConfigFinding,
    DivergingEvent,
    ModuleFinding,
    OrderFinding,
    OutputsFinding,
    RenameFinding,
    Role,
    ShapeFinding,
    TiesFinding,
    WeightFinding,
)
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.text.natural import natural
from pytest_modelviz.views.model_summary.compare import compare_trees


def tensor(*values: float, dtype: str = "float32") -> TensorRecord:
    return TensorRecord(dtype, (len(values),), np.array(values, np.float32))


class TestDifference:
    def test_relative_l2(self):
        assert difference(tensor(3, 4), tensor(3, 4)) == 0.0
        # ||d|| / ||b|| = 0.5 / 5; the worst element is 0.5 * sqrt(2) / 5 / 5, less than that
        assert difference(tensor(3, 4), tensor(3, 4.5)) == pytest.approx(0.1)

    def test_the_worst_bucket_counts_where_it_stands_out(self):
        base, changed = np.ones(100), np.ones(100)
        changed[0] = 2
        # ||d|| / ||b|| = 1 / 10; the worst bucket is 1 where the typical one is 1, of which a fifth counts
        assert difference(tensor(*base), tensor(*changed)) == pytest.approx(0.1)
        assert difference(tensor(*base), tensor(*changed), allowed=0.05) == pytest.approx(0.1)
        assert difference(tensor(*base), tensor(*changed), allowed=0.15) == pytest.approx(0.2)
        assert difference(tensor(*base), tensor(*changed), allowed=0.3) == pytest.approx(0.1)

    def test_what_cannot_be_subtracted_is_infinitely_far(self):
        assert difference(tensor(1, 2), tensor(1, 2, 3)) == math.inf
        assert difference(tensor(1, 2), tensor(1, 2, dtype="float64")) == math.inf
        assert difference(tensor(0, 0), tensor(0, 1e-3)) == math.inf
        assert difference(tensor(0, 0), tensor(0, 0)) == 0.0

    def test_a_difference_below_the_floor_is_none(self):
        assert difference(tensor(0, 0), tensor(0, 1e-9), atol=1e-8) == 0.0
        assert difference(tensor(0, 0), tensor(0, 1e-3), atol=1e-8) == math.inf
        # it is the root mean square that counts: of four times 1e-9 that is 1e-9
        assert difference(tensor(0, 0, 0, 0), tensor(1e-9, 1e-9, 1e-9, 1e-9), atol=1.5e-9) == 0.0

    def test_rms_and_weights(self):
        assert rms(tensor(3, 4)) == pytest.approx(math.sqrt(12.5))
        assert weight_difference(tensor(1, 1), tensor(1, 1 + 5e-7)) == 0.0
        assert weight_difference(tensor(1, 1), tensor(1, 1.1)) == pytest.approx(0.1 / math.sqrt(2), rel=1e-4)


class TestTolerances:
    @pytest.mark.parametrize(
        ("dtype", "expected"),
        [
            ("float64", 1e-6),
            ("float32", 1e-4),
            ("complex64", 1e-4),
            ("float16", 1e-2),
            ("bfloat16", 3e-2),
            ("int64", 0.0),
        ],
    )
    def test_by_dtype(self, dtype, expected):
        assert Tolerances().relative(dtype) == expected

    def test_accelerators_get_ten_times_as_much_but_not_in_float64(self):
        assert Tolerances(device="cuda:0").relative("float32") == pytest.approx(1e-3)
        assert Tolerances(device="cuda:0").relative("float64") == 1e-6
        assert Tolerances(device="cpu,meta").relative("float32") == 1e-4

    def test_the_user_s_own_outweigh_all(self):
        assert Tolerances(rtol=0.5, device="cuda").relative("float32") == 0.5
        assert Tolerances(rtol=0.5, atol=0.25).explanation("float32") == 0.75
        assert Tolerances(atol=0.25, scale=0.1).explanation("float32") == pytest.approx(0.1 * (1e-3 + 0.25))

    def test_the_coarsest_dtype_decides(self):
        assert coarser("float32", "bfloat16") == "bfloat16"
        assert coarser("float32", "int64") == "float32"
        assert coarser("bfloat16", "float8_e4m3fn") == "float8_e4m3fn"
        assert Tolerances().relative("float8_e4m3fn") == 0.2
        assert [is_exact(dtype) for dtype in ("int8", "bool", "quint8", "float32")] == [True, True, False, False]
        assert weight_tolerance("int8") == 0.0


def test_leaves_must_have_the_same_names_and_literals():
    table = {"t": tensor(1, 2)}
    options = {"sources": {"t": Source("float32")}, "tolerances": Tolerances()}
    same = {"x": Leaf(tensor="t"), "n": Leaf(literal="3")}
    assert leaf_errors(same, same, table, table, **options) == {"x": (0.0, 1e-4), "n": (0.0, 0.0)}
    other = {"x": Leaf(tensor="t"), "n": Leaf(literal="4")}
    assert leaf_errors(same, other, table, table, **options) == {"x": (0.0, 1e-4), "n": (math.inf, 0.0)}
    fewer = {"x": Leaf(tensor="t")}
    assert leaf_errors(same, fewer, table, table, **options) == {"n": (math.inf, 0.0)}
    swapped = {"n": Leaf(literal="3"), "x": Leaf(tensor="t")}
    assert leaf_errors(same, swapped, table, table, **options) == {"x": (0.0, 1e-4), "n": (0.0, 0.0)}
    assert leaf_errors(fewer, {"x": Leaf(literal="3")}, table, table, **options) == {"x": (math.inf, 0.0)}


def test_the_worst_leaf_is_the_one_furthest_off_for_what_it_may_be():
    assert worst({}) == (0.0, 0.0, "")
    assert worst({"a": (0.0, 1e-4), "b": (0.0, 0.0)}) == (0.0, 1e-4, "a")
    assert worst({"a": (0.5, 1.0), "b": (0.2, 0.1)}) == (0.2, 0.1, "b")
    assert worst({"a": (0.5, 0.1), "b": (0.1, 0.0)}) == (0.1, 0.0, "b")  # nothing was allowed


def trace(**changed: float) -> ForwardTrace:
    """input -> [block: a -> b] -> head, each a scalar; keywords change what a tensor or weight holds."""
    values = {"in": 1.0, "a": 2.0, "b<": 2.0, "b": 3.0, "block": 4.0, "head": 5.0, "wa": 1.0, "wb": 1.0, "wblock": 1.0}
    values.update(changed)

    def module(class_name: str, weight: str | None = None) -> ModuleRecord:
        return ModuleRecord(class_name, {"extra_repr": ""}, {} if weight is None else {"weight": weight})

    modules = {
        "": module("Net"),
        "block": module("Block", "wblock"),
        "block.a": module("Linear", "wa"),
        "block.b": module("Linear", "wb"),
        "head": module("Linear"),
    }
    tensors = {key: tensor(value) for key, value in values.items() if not key.startswith("w")}
    weights = {key: tensor(value) for key, value in values.items() if key.startswith("w")}

    def call(layer: str, depth: int, entered: str, left: str) -> Call:
        return Call(layer, 0, depth, {"x": Leaf(tensor=entered)}, {"": Leaf(tensor=left)})

    calls = [
        call("", 0, "in", "head"),
        call("block", 1, "in", "block"),
        call("block.a", 2, "in", "a"),
        call("block.b", 2, "b<", "b"),
        call("head", 1, "block", "head"),
    ]
    return ForwardTrace(ModelStructure(modules, weights), calls, tensors)


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


class TestTraceAsArrays:
    def test_it_comes_back_as_it_was(self):
        original = trace()
        original.structure.ties = (("a", "b"),)
        original.calls[1].outputs = None
        again = stored_trace(pack_trace(original))
        assert again.calls == original.calls
        assert again.modules == original.modules
        assert again.structure.ties == original.structure.ties
        assert list(again.tensors) == list(original.tensors)
        assert all(np.array_equal(again.tensors[key].sketch, original.tensors[key].sketch) for key in again.tensors)

    def test_damage_is_told_as_such(self):
        arrays = pack_trace(trace())
        packed = arrays["trace.structure"]
        for damaged in (
            {},
            {**arrays, "trace.structure": packed[:-5]},
            {**arrays, "trace.structure": packed[5:]},
            {**arrays, "trace.structure": packed.astype(np.int32)},
            {**arrays, "trace.sketches": arrays["trace.sketches"][:-1]},
            {**arrays, "trace.sketches": np.append(arrays["trace.sketches"], np.float32(1))},
            {**arrays, "trace.sketches": arrays["trace.sketches"][None]},
        ):
            with pytest.raises(UnreadableBaselineError):
                stored_trace(damaged)

    def test_other_sketches_are_not_compared(self, monkeypatch):
        arrays = pack_trace(trace())
        monkeypatch.setattr("pytest_modelviz.records.trace_arrays.SKETCH_VERSION", 0)
        with pytest.raises(UnreadableBaselineError, match="made by another version"):
            stored_trace(arrays)

    def test_a_trace_that_names_what_it_does_not_hold_is_damaged(self):
        broken = trace()
        broken.calls[0].inputs = {"x": Leaf(tensor="nothing")}
        with pytest.raises(UnreadableBaselineError, match="names a tensor it does not hold: 'nothing'"):
            stored_trace(pack_trace(broken))


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
