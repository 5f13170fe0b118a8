"""Where a noise arises, where it is handed on to, and why it is large: on passes that are written down by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from traces_by_hand import tensor

from pytest_modelviz.compare.noisy_calls import noise_summary
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.noisy_calls import NoiseReason
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf

USUAL = 1e-6
QUIET = [f"quiet{at}" for at in range(20)]  # layers with the usual noise, so that it is the median


def values(noise: float | None, size: float = 1.0, count: int = 20, dtype: str = "float32") -> TensorRecord:
    """A tensor of `count` equal numbers."""
    return replace(tensor(*[size] * count, dtype=dtype), noise=noise)


def leaves(*keys: str) -> dict[str, Leaf]:
    return {str(at): Leaf(tensor=key) for at, key in enumerate(keys)}


def net(
    *calls: tuple[str, int, list[str], list[str]], classes: dict[str, str] | None = None, **tensors: TensorRecord
) -> ForwardTrace:
    """A model that calls these (layer, depth, inputs, outputs) after quiet layers; other tensors are as usual."""
    rows = [("", 0, ["in"], ["out"]), *((name, 1, ["in"], [name]) for name in QUIET), *calls]
    listed = [Call(layer, 0, depth, leaves(*inputs), leaves(*outputs)) for layer, depth, inputs, outputs in rows]
    names = {"out": None, **dict.fromkeys(key for row in rows for key in (*row[2], *row[3]))}
    records = {key: tensors.get(key, values(USUAL)) for key in names}
    modules = {layer: ModuleRecord((classes or {}).get(layer, "Linear"), {}, {}) for layer, *_ in rows}
    return ForwardTrace(ModelStructure(modules), listed, records)


def summary(trace: ForwardTrace, **options: int):
    found = noise_summary(trace, Tolerances(), **options)
    assert found is not None
    return found


def reasons(trace: ForwardTrace) -> dict[str, NoiseReason]:
    return {call.layer: call.reason for call in summary(trace).calls}


class TestLargeNoise:
    def test_is_more_than_three_times_the_median(self):
        found = summary(
            net(
                ("a", 1, ["in"], ["a"]),
                ("b", 1, ["in"], ["b"]),
                a=values(2.9 * USUAL),
                b=values(3.1 * USUAL),
            )
        )
        assert (found.usual, found.is_shadow, found.large) == (USUAL, False, 1)
        (call,) = found.calls
        assert (call.layer, call.class_name, call.call) == ("b", "Linear", 0)
        assert call.noise == pytest.approx(3.1e-6)
        assert call.share == pytest.approx(0.031)  # float32 is allowed 1e-4
        assert call.origin is None

    def test_of_nothing_that_was_measured(self):
        assert noise_summary(net(**{"in": values(None), "out": values(None)}, **no_noise()), Tolerances()) is None

    def test_is_listed_largest_first_and_no_further_than_wanted(self):
        calls = [(f"n{at}", 1, ["in"], [f"n{at}"]) for at in range(4)]
        found = summary(net(*calls, **{f"n{at}": values((5 + at) * USUAL) for at in range(4)}), most=3)
        assert [call.layer for call in found.calls] == ["n3", "n2", "n1"]
        assert found.large == 4

    def test_of_a_call_is_that_of_its_noisiest_result(self):
        (call,) = summary(
            net(("a", 1, ["in"], ["a", "a2"]), a=values(5 * USUAL), a2=values(7 * USUAL)),
        ).calls
        assert call.noise == pytest.approx(7e-6)

    def test_that_only_a_damaged_baseline_has(self):
        """Integers have none, and a median may be zero or infinite."""
        integers = net(("a", 1, ["in"], ["a"]), a=values(5 * USUAL, dtype="int64"))
        assert summary(integers).calls == ()
        zero = {key: values(0.0) for key in ("in", "out", *QUIET)}
        assert summary(net(("a", 1, ["in"], ["a"]), a=values(USUAL), **zero)).usual == 0.0
        infinite = {key: values(math.inf) for key in ("in", "out", *QUIET)}
        assert summary(net(**infinite)).calls == ()

    def test_of_a_shadow_counts_where_there_is_one(self):
        low = net(("a", 1, ["in"], ["a"]), **{key: values(None, dtype="bfloat16") for key in ("in", "a", *QUIET)})
        low.shadow = net(("a", 1, ["in"], ["a"]), a=values(5 * USUAL))
        found = summary(low)
        assert found.is_shadow
        assert found.calls[0].share == pytest.approx(5e-6 / 1e-4)  # what a shadow is allowed


def no_noise() -> dict[str, TensorRecord]:
    return {key: values(None) for key in QUIET}


class TestReasons:
    def test_a_layer_amplifies(self):
        assert reasons(net(("a", 1, ["in"], ["a"]), a=values(9 * USUAL))) == {"a": NoiseReason.AMPLIFIED}

    def test_a_result_is_far_smaller_than_what_it_was_computed_from(self):
        for size, reason in ((0.09, NoiseReason.CANCELLATION), (0.11, NoiseReason.AMPLIFIED)):
            assert reasons(net(("a", 1, ["in"], ["a"]), a=values(9 * USUAL, size))) == {"a": reason}

    def test_small_weights_are_no_cancellation(self):
        """Each of 4 results is a sum of 25 products of 0.01 and 1: of either sign, that is 0.05."""
        trace = net(("a", 1, ["in"], ["a"]), a=values(9 * USUAL, 0.05))
        weight = TensorRecord("float32", (4, 25), np.full(100, 0.01, np.float32))
        structure = trace.structure
        structure.weights["w"] = weight
        structure.modules["a"] = ModuleRecord("Linear", {}, {"weight": "w"})
        assert reasons(trace) == {"a": NoiseReason.AMPLIFIED}
        trace.tensors["a"] = values(9 * USUAL, 0.004)
        assert reasons(trace) == {"a": NoiseReason.CANCELLATION}

    def test_weights_that_are_no_products_of_the_result_do_not_count(self):
        """Those of a normalisation, and of a module that has others inside."""
        inside = ("b", 2, ["in"], ["b"])
        for shape, calls in (((100,), ()), ((4, 25), (inside,))):
            trace = net(("a", 1, ["in"], ["a"]), *calls, a=values(9 * USUAL, 0.05))
            trace.structure.weights["w"] = TensorRecord("float32", shape, np.full(100, 0.01, np.float32))
            trace.structure.modules["a"] = ModuleRecord("Norm", {}, {"weight": "w"})
            assert reasons(trace) == {"a": NoiseReason.CANCELLATION}

    def test_a_result_as_large_as_one_of_its_inputs_is_no_cancellation(self):
        trace = net(("a", 1, ["in", "quiet0"], ["a"]), a=values(9 * USUAL), quiet0=values(USUAL, 100.0))
        assert reasons(trace) == {"a": NoiseReason.AMPLIFIED}

    def test_code_between_layers_subtracts(self):
        """The difference of a and b, of size 1, is read by c; the input, of size 0.01, has nothing to do with it."""
        trace = net(
            ("block", 1, ["small"], ["c"]),
            ("a", 2, ["small"], ["a"]),
            ("b", 2, ["small"], ["b"]),
            ("c", 2, ["c<"], ["c"]),
            small=values(USUAL, 0.01),
            **{"c<": values(90 * USUAL, 0.01), "c": values(80 * USUAL)},
        )
        block, c = summary(trace).calls
        assert (block.layer, block.reason, block.origin) == ("block", NoiseReason.CANCELLATION, None)
        assert (c.layer, c.reason, c.origin) == ("c", NoiseReason.CANCELLATION, "block")

    @pytest.mark.parametrize(
        ("class_name", "reason"),
        [
            ("Softmax", NoiseReason.NEAR_TIES),
            ("BertSelfAttention", NoiseReason.NEAR_TIES),
            ("LSTM", NoiseReason.RECURRENT),
            ("RNNCell", NoiseReason.RECURRENT),
        ],
    )
    def test_a_class_stands_for_what_it_computes(self, class_name, reason):
        trace = net(("a", 1, ["in"], ["a"]), classes={"a": class_name}, a=values(9 * USUAL))
        assert reasons(trace) == {"a": reason}

    def test_few_numbers(self):
        for count, reason in ((15, NoiseReason.FEW_NUMBERS), (16, NoiseReason.AMPLIFIED)):
            assert reasons(net(("a", 1, ["in"], ["a"]), a=values(9 * USUAL, count=count))) == {"a": reason}

    def test_another_rounding_takes_another_way(self):
        assert reasons(net(("a", 1, ["in"], ["a"]), a=values(math.inf))) == {"a": NoiseReason.UNSTEADY}


class TestOrigins:
    def test_are_named_by_those_that_hand_a_noise_on(self):
        trace = net(
            ("a", 1, ["in"], ["a"]),
            ("b", 1, ["a"], ["b"]),
            ("c", 1, ["b"], ["c"]),
            classes={"a": "LSTM"},
            a=values(20 * USUAL),
            b=values(30 * USUAL),
            c=values(10 * USUAL),
        )
        found = {call.layer: (call.reason, call.origin, call.origin_call) for call in summary(trace).calls}
        assert found == {
            "b": (NoiseReason.RECURRENT, "a", 0),
            "a": (NoiseReason.RECURRENT, None, None),
            "c": (NoiseReason.RECURRENT, "a", 0),
        }

    def test_of_several_inputs_the_noisiest_counts(self):
        trace = net(
            ("a", 1, ["in"], ["a"]),
            ("b", 1, ["quiet0", "a"], ["b"]),
            a=values(20 * USUAL),
            b=values(30 * USUAL),
        )
        assert {call.layer: call.origin for call in summary(trace).calls} == {"a": None, "b": "a"}

    def test_none_where_each_layer_adds_a_little(self):
        trace = net(
            ("a", 1, ["in"], ["a"]),
            ("b", 1, ["a"], ["b"]),
            a=values(2.5 * USUAL),
            b=values(6 * USUAL),
        )
        assert reasons(trace) == {"b": NoiseReason.ACCUMULATED}

    def test_none_where_the_input_is_as_noisy(self):
        trace = net(("a", 1, ["in"], ["a"]), **{"in": values(8 * USUAL), "a": values(9 * USUAL)})
        assert reasons(trace) == {"a": NoiseReason.INPUT}

    def test_a_call_that_returns_what_a_call_inside_returned_computes_nothing(self):
        trace = net(("block", 1, ["in"], ["a"]), ("a", 2, ["in"], ["a"]), a=values(9 * USUAL))
        assert reasons(trace) == {"a": NoiseReason.AMPLIFIED}

    def test_what_was_read_before_is_not_what_a_caller_computes_from(self):
        """The result is computed from b alone, of size 100: a and the input, of size 1, were read by others."""
        trace = net(
            ("block", 1, ["in"], ["result"]),
            ("a", 2, ["in"], ["a"]),
            ("b", 2, ["a"], ["b"]),
            b=values(USUAL, 100.0),
            result=values(9 * USUAL, 1.0),
        )
        assert reasons(trace) == {"block": NoiseReason.CANCELLATION}

    def test_what_code_between_layers_has_read_does_not_count_again(self):
        """The input of b was computed from a, of size 1; the result from b alone, of size 100."""
        trace = net(
            ("block", 1, ["in"], ["result"]),
            ("a", 2, ["in"], ["a"]),
            ("b", 2, ["b<"], ["b"]),
            b=values(USUAL, 100.0),
            result=values(9 * USUAL, 1.0),
        )
        assert reasons(trace) == {"block": NoiseReason.CANCELLATION}
