"""Differences of tensors and what is allowed of them, in numbers that can be worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from traces_by_hand import tensor

from pytest_modelviz.compare.explanation_tolerance import explanation_tolerance
from pytest_modelviz.compare.leaves import leaf_errors, worst
from pytest_modelviz.compare.precision import coarser, is_exact
from pytest_modelviz.compare.tensors import allowed_for, difference, own_source, rms, weight_difference
from pytest_modelviz.compare.tolerance import Source, Tolerances, weight_tolerance
from pytest_modelviz.records.trace import Leaf


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
        assert explanation_tolerance(Tolerances(rtol=0.5, atol=0.25), "float32") == 0.75
        assert explanation_tolerance(Tolerances(atol=0.25, scale=0.1), "float32") == pytest.approx(0.1 * (1e-3 + 0.25))

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


class TestSteps:
    """What results in integers are allowed follows from how far apart two neighbours are."""

    def test_half_a_step_relative_to_the_size(self):
        # half of 0.4 beside a root mean square of 5
        assert own_source(quantised(3.0, 4.0, 5.0, 50**0.5, step=0.4)).rounded == pytest.approx(0.2 / 5)
        assert own_source(tensor(3, 4)) == Source("float32")

    def test_a_step_that_is_not_known_may_be_any(self):
        assert own_source(quantised(3, 4, step=None)).rounded == math.inf
        assert own_source(tensor(3, 4, dtype="float8_e5m2")).rounded == math.inf
        assert own_source(quantised(0, 0, step=0.1)).rounded == 0.0  # nothing is off where all is zero

    def test_they_add_up_in_quadrature(self):
        before, own = Source("quint8", rounded=0.03), Source("quint8", rounded=0.04)
        assert before.followed_by(own).rounded == pytest.approx(0.05)
        assert before.and_from(own).rounded == 0.04  # the larger of two that meet

    def test_what_is_allowed(self):
        integers, floats = quantised(3, 4, step=0.1), tensor(3, 4)

        def allowed(record, rounded, dtype="quint8", **tolerances):
            return allowed_for(record, Source(dtype, rounded=rounded), Tolerances(**tolerances))[0]

        assert allowed(integers, 0.03) == 0.03 == allowed(floats, 0.03)
        assert allowed(floats, 0.03, dtype="float32") == 1e-4  # no integers on the way
        assert allowed(integers, 1e-7) == 1e-4  # no less than of what is computed in floats
        assert allowed(tensor(3, 4, dtype="bfloat16"), 0.01) == 3e-2
        assert allowed(integers, math.inf) == allowed(integers, 3.0) == 0.2  # no more than before steps were known
        assert allowed(integers, 0.03, scale=2) == 0.06
        assert allowed(integers, 0.03, rtol=0.5) == 0.5  # whoever says so wins

    def test_a_baseline_has_no_say(self):
        leaves = {"": Leaf(tensor="x")}
        errors = leaf_errors(
            leaves,
            leaves,
            {"x": quantised(3, 4, step=100.0)},
            {"x": quantised(3, 5, step=0.1)},
            sources={"x": own_source(quantised(3, 5, step=0.1))},
            tolerances=Tolerances(),
        )
        assert errors[""][1] == pytest.approx(0.05 / 17**0.5)

    def test_stored_integers_have_no_room(self):
        assert weight_tolerance("qint8") == weight_tolerance("quint8") == 1e-6


def quantised(*values, step):
    return replace(tensor(*values), dtype="quint8", step=step)
