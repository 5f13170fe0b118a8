"""What is allowed of an explanation whose noise was measured: a part of that, between a floor and today's table."""

import math

import pytest

from pytest_modelviz.compare.explanation_tolerance import (
    climb_tolerance,
    explanation_tolerance,
    jump_tolerance,
    position_tolerance,
    resizing_tolerance,
)
from pytest_modelviz.compare.tolerance import Tolerances

TOLERANCES = (
    explanation_tolerance,
    jump_tolerance,
    resizing_tolerance,
    position_tolerance,
    climb_tolerance,
)


def allowed(noise, dtype="float32", **options):
    return [tolerance(Tolerances(**options), dtype, noise) for tolerance in TOLERANCES]


def test_it_is_a_part_of_the_noise():
    # a fifth, but a thousandth at most; two fifths where kinks make it jump, a fifth of its size; five times a curve's
    assert allowed(0.05) == pytest.approx([1e-3, 0.02, 0.01, 0.02, 0.25])
    assert allowed(2e-3) == pytest.approx([4e-4, 8e-4, 4e-4, 8e-4, 0.01])
    assert allowed(2e-3, scale=0.1) == pytest.approx([4e-5, 8e-5, 4e-5, 8e-5, 1e-3])
    assert allowed(2e-3, atol=0.01) == pytest.approx([0.0104, 0.0108, 0.0104, 0.0108, 0.02])


def test_it_is_never_less_than_the_floor():
    assert allowed(0.0) == allowed(1e-9) == [1e-4] * 5
    assert allowed(0.0, device="cuda:0") == [1e-4] * 5


@pytest.mark.parametrize("noise", [10.0, 3e38, math.inf])
@pytest.mark.parametrize("options", [{}, {"device": "cuda"}, {"atol": 0.01}, {"scale": 0.1}])
def test_it_is_never_more_than_without(noise, options):
    assert allowed(noise, **options) == allowed(None, **options)
    assert allowed(None) == [1e-3, 0.12, 0.02, 0.2, 0.35]


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("float16", {}),
        ("bfloat16", {}),
        ("float64", {}),
        ("float32", {"precision": "tf32"}),
        ("float32", {"rtol": 0.3}),
        ("float32", {"rtol": 1e-7}),
    ],
)
def test_other_precisions_and_a_user_s_rtol_hold_unchanged(dtype, options):
    assert allowed(0.0, dtype, **options) == allowed(None, dtype, **options)
