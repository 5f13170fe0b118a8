import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, floating_dtypes

from pytest_modelviz.compare.arrays import compare_arrays
from pytest_modelviz.compare.tolerance import LayerTolerance, Tolerances
from pytest_modelviz.records.capture import Capture


def verdict(before, after, **tolerances):
    one, two = (Capture("mine", {}, {k: np.asarray(v) for k, v in each.items()}) for each in (before, after))
    return compare_arrays(one, two, Tolerances(**tolerances))


ONE = np.float32([3.0, 4.0])


def test_the_error_is_the_relative_distance():
    seen = verdict({"a": ONE}, {"a": ONE + np.float32([0.0, 0.5])})
    assert seen.error == pytest.approx(0.1)
    assert (seen.matched, seen.compared, seen.drifted, seen.tolerance) == (False, 1, 1, 1e-4)
    assert (seen.first.layer, seen.first.error, seen.cause) == ("a", pytest.approx(0.1), None)


def test_the_first_that_drifted_is_named_and_all_are_counted():
    seen = verdict({"a": ONE, "b": ONE, "c": ONE}, {"a": ONE, "b": ONE * 2, "c": ONE * 3})
    assert (seen.first.layer, seen.drifted, seen.compared) == ("b", 2, 3)
    assert [one.drifted for one in seen.layers] == [False, True, True]


def test_tolerances_by_dtype_user_and_layer():
    off = {"a": ONE * np.float32(1.001)}
    assert not verdict({"a": ONE}, off).matched
    assert verdict({"a": ONE}, off, rtol=1e-2).matched
    assert verdict({"a": ONE}, off, atol=0.01).matched
    assert verdict({"a": ONE}, off, layers=(LayerTolerance("a", rtol=1e-2),)).matched
    assert not verdict({"a": ONE}, off, layers=(LayerTolerance("b", rtol=1e-2),)).matched
    assert verdict({"a": ONE.astype(np.float16)}, {"a": off["a"].astype(np.float16)}).matched


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": ONE}, {}),
        ({}, {"a": ONE}),
        ({"a": ONE}, {"a": ONE[:1]}),
        ({"a": ONE}, {"a": ONE.astype(np.float64)}),
        ({"a": np.float32([1, math.nan])}, {"a": np.float32([math.nan, 1])}),
        ({"a": np.float32([1, math.inf])}, {"a": np.float32([1, -math.inf])}),
        ({"a": np.float32([0, 0])}, {"a": np.float32([0, 1])}),
        ({"a": np.int64([1, 2])}, {"a": np.int64([1, 3])}),
    ],
)
def test_what_cannot_be_subtracted_is_infinitely_far_off(before, after):
    seen = verdict(before, after, rtol=10.0)
    assert (seen.matched, seen.error) == (False, math.inf)
    assert seen.findings[0].layer == "a" or seen.first.layer == "a"


def test_equal_integers_and_nan_in_equal_places_match():
    same = {"i": np.int64([1, 2]), "b": np.array([True]), "n": np.float32([1, math.nan]), "c": np.complex64([1j])}
    assert verdict(same, {key: value.copy() for key, value in same.items()}).matched


@pytest.mark.parametrize("kind", ["f4", "f8", "i4", "u2", "c8"])
def test_the_order_of_bytes_is_no_difference(kind):
    little, big = (Capture("own", {}, {"x": np.arange(5).astype(f"{order}{kind}")}) for order in "<>")
    assert compare_arrays(little, big, Tolerances()).matched
    changed = Capture("own", {}, {"x": np.arange(1, 6).astype(f">{kind}")})
    assert not compare_arrays(little, changed, Tolerances()).matched


def test_nothing_matches_nothing():
    assert verdict({}, {}).matched


@given(arrays(floating_dtypes(endianness="=", sizes=(32, 64)), st.integers(1, 9)))
def test_whatever_it_is_it_equals_itself(values):
    assert verdict({"a": values}, {"a": values.copy()}).matched
