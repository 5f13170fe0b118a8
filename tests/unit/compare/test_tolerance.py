"""What is allowed to a tensor whose noise is known."""

import pytest

from pytest_modelviz.compare.tolerance import LayerTolerance, Tolerances


@pytest.mark.parametrize(
    ("noise", "allowed"),
    [
        (None, 1e-4),  # old baselines: by dtype
        (2e-6, 5e-6),  # two and a half times the noise
        (1e-12, 1e-6),  # but one seed's weights differ by that
        (0.0, 1e-6),
        (1.0, 1e-4),  # a forged noise gains nothing
        (float("inf"), 1e-4),
    ],
)
def test_float32_is_allowed_two_and_a_half_times_its_noise_and_never_more_than_its_dtype(noise, allowed):
    assert Tolerances().relative("float32", noise) == pytest.approx(allowed)


def test_a_device_widens_the_cap_and_nothing_else():
    assert Tolerances(device="cuda:0").relative("float32", 2e-6) == pytest.approx(5e-6)
    assert Tolerances(device="cuda:0").relative("float32", 1.0) == pytest.approx(1e-3)


def test_what_a_user_says_wins():
    assert Tolerances(rtol=0.02).relative("float32", 2e-6) == 0.02
    assert Tolerances(rtol=0.0).relative("bfloat16", None, 0.1) == 0.0
    own = Tolerances(layers=(LayerTolerance("fc", rtol=0.5),)).of("fc")
    assert own.relative("float32", 2e-6) == 0.5


@pytest.mark.parametrize(("dtype", "table"), [("float64", 1e-6), ("float16", 1e-2), ("bfloat16", 3e-2)])
def test_a_baseline_states_no_noise_of_other_dtypes(dtype, table):
    assert Tolerances().relative(dtype, 1e-9) == Tolerances().relative(dtype, 1.0) == table


def test_the_distance_from_its_own_shadow_counts_six_times_up_to_what_its_dtype_is_allowed():
    assert Tolerances().relative("bfloat16", None, 0.001) == 3e-2
    assert Tolerances().relative("bfloat16", None, 0.02) == pytest.approx(0.12)
    assert Tolerances().relative("bfloat16", None, 1e9) == pytest.approx(0.18)
    assert Tolerances().relative("float16", None, 1e9) == pytest.approx(0.06)
    assert Tolerances(device="cuda:0").relative("bfloat16", None, 1e9) == 0.5


def test_a_shadow_of_bfloat16_is_allowed_the_jumps_of_rounded_weights_at_most():
    assert Tolerances(shadow_of="bfloat16").relative("float32", 1.0) == 1e-4
    assert Tolerances(shadow_of="bfloat16", jumps=5e-4).relative("float32", 1e-7) == 1e-3
    assert Tolerances(shadow_of="float16", jumps=5e-4).relative("float32", 1e-7) == 3e-4
    assert Tolerances(jumps=1.0).relative("float32", 1e-6) == pytest.approx(2.5e-6)
    assert Tolerances(shadow_of="bfloat16").relative("float32", 1e-6) == pytest.approx(2.5e-6)
    assert Tolerances(shadow_of="bfloat16", jumps=1e-5).relative("float32", 1e-6) == pytest.approx(8e-5)


def test_a_network_that_amplifies_rounding_is_allowed_to_amplify_jumps():
    own = Tolerances(shadow_of="bfloat16", jumps=1e-5)
    assert own.relative("float32", 200 * 2.0**-21) == pytest.approx(1e-3)  # half of 200 times 1e-5
    assert own.relative("float32", 10 * 2.0**-21) == pytest.approx(8e-5)  # less than eight times
    assert own.relative("float32", None) == 1e-4
    # whatever noise a baseline states
    assert own.relative("float32", 1e30) == pytest.approx(4e-3)
    assert Tolerances(shadow_of="float16", jumps=1e-5).relative("float32", float("inf")) == pytest.approx(1.2e-3)
    assert Tolerances(shadow_of="bfloat16").relative("float32", 1e30) == 1e-4


def test_an_update_leaves_alone_what_is_within_the_noise():
    assert Tolerances(scale=0.1).relative("float32", 1e-6) == pytest.approx(2.5e-6)
    assert Tolerances(scale=0.1).relative("float32", 1e-5) == pytest.approx(1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "int64"])
@pytest.mark.parametrize(
    "own",
    [
        Tolerances(),
        Tolerances(rtol=1e-3, scale=0.1),
        Tolerances(device="cuda:0", precision="tf32"),
        Tolerances(shadow_of="bfloat16", jumps=1e-5),
    ],
)
def test_many_tensors_are_allowed_what_each_of_them_is(own, dtype):
    allowed = own.by_noise(dtype)
    for noise in (None, 0.0, 1e-12, 2e-6, 200 * 2.0**-21, 1.0, float("inf")):
        assert allowed(noise) == own.relative(dtype, noise)
