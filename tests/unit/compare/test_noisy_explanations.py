"""Which explanations have a gradient that rounding takes far: by the numbers that their baselines hold."""

import pytest
from traces_by_hand import trace

from pytest_modelviz.compare.noisy_explanations import explanation_noise_summary
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.noise import EXPLANATION_NOISE, packed_noise
from pytest_modelviz.records.noisy_calls import NoiseReason, NoisyCall
from pytest_modelviz.records.trace_arrays import pack_trace

MOVED = 2.0**-13


def summary(*noises, view="cam_map", **facts):
    arrays = {**pack_trace(trace()), **({EXPLANATION_NOISE: packed_noise(noises)} if noises else {})}
    return explanation_noise_summary(Capture(view, facts, arrays), Tolerances())


def test_a_map_that_moved_more_than_ten_times_as_far_as_the_weights():
    found = summary(8 * MOVED, 12 * MOVED, layer="block.b", call=2)
    assert (found.usual, found.is_of_gradient, found.large) == (MOVED, True, 1)
    share = 12 * MOVED / 0.12  # the most that a gradient in float32 is allowed
    assert found.calls == (
        NoisyCall("block.b", "Linear", 2, 12 * MOVED, pytest.approx(share), NoiseReason.DEEP_GRADIENT),
    )


def test_one_that_moved_less_is_not_listed():
    found = summary(10 * MOVED, layer="block.b")
    assert (found.usual, found.large, found.calls) == (MOVED, 0, ())


def test_a_gradient_on_the_input_is_the_model_s():
    (call,) = summary(20 * MOVED, view="saliency_map").calls
    assert (call.layer, call.class_name) == ("", trace().modules[""].class_name)


def test_of_a_climb_its_gradients_count_and_not_its_curve():
    assert not summary(MOVED, 0.3, 2 * MOVED, view="activation_maximization", layer="block.b").calls
    (call,) = summary(MOVED, 0.3, 2 * MOVED, 16 * MOVED, view="activation_maximization", layer="block.b").calls
    assert call.noise == 16 * MOVED


def test_a_map_of_several_layers_has_no_class():
    (call,) = summary(1.0, 1.0, layer="block.a, block.b").calls
    assert (call.layer, call.class_name) == ("block.a, block.b", "")


def test_what_was_not_measured():
    assert summary(layer="block.b") is None
