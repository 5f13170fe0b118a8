"""The noise of a baseline's layers as lines, whatever names a baseline gives them."""

import math

import pytest

from pytest_modelviz.records.noisy_calls import NoiseReason, NoiseSummary, NoisyCall
from pytest_modelviz.reports.noise import no_noise_line, noise_lines


def call(layer="conv", class_name="Conv2d", reason=NoiseReason.AMPLIFIED, **fields):
    given = {"call": 0, "noise": 3e-5, "share": 0.3, "origin": None, "origin_call": None, **fields}
    return NoisyCall(layer, class_name, reason=reason, **given)


def lines(*calls, usual=2e-6, large=None, is_shadow=False):
    return noise_lines(NoiseSummary(usual, is_shadow, len(calls) if large is None else large, calls))


def test_a_table():
    assert lines(
        call("layer4.bn", "BatchNorm2d", NoiseReason.CANCELLATION),
        call("", "Net", noise=1.2e-5, share=0.12, reason=NoiseReason.CANCELLATION, origin="layer4.bn", origin_call=2),
        call("(gradient)", "", NoiseReason.DEEP_GRADIENT, noise=8e-6, share=0.08),
        large=12,
    ) == [
        "  noise     usually 2e-06, far more in 12 layers, the 3 noisiest:",
        "            layer                    noise    times the usual  share of what is allowed  why",
        "            layer4.bn (BatchNorm2d)  3e-05    15               0.3                       cancellation",
        "            (model) (Net)            1.2e-05  6                0.12                      "
        "handed on from layer4.bn, call 2: cancellation",
        "            (gradient)               8e-06    4                0.08                      deep gradient",
    ]


def test_no_layer_is_far_above_the_usual():
    assert lines() == ["  noise     usually 2e-06, nowhere far more"]
    assert lines(is_shadow=True) == ["  noise     of the float32 shadow usually 2e-06, nowhere far more"]


def test_a_single_layer_and_its_second_call():
    heading, _, row = lines(call("conv", call=1))
    assert heading == "  noise     usually 2e-06, far more in 1 layer:"
    assert row.startswith("            conv, call 1 (Conv2d)  3e-05  15 ")


@pytest.mark.parametrize("reason", NoiseReason)
def test_every_reason_has_words(reason):
    assert lines(call(reason=reason))[-1].rpartition("  ")[2]


def test_what_only_hands_on_an_amplified_noise():
    assert lines(call(origin="fc", origin_call=0))[-1].endswith("  handed on from fc")


def test_numbers_without_end():
    row = lines(call(noise=math.inf, share=math.inf, reason=NoiseReason.UNSTEADY), usual=0.0)[-1]
    assert row.split()[2:5] == ["unlimited", "-", "unlimited"]
    assert "unlimited" in lines(usual=math.inf)[0]


def test_large_numbers_are_readable():
    assert [lines(call(noise=times * 2e-6))[-1].split()[3] for times in (15, 99.4, 99.6, 1234, 2e6)] == [
        "15",
        "99",
        "100",
        "1,234",
        "2e+06",
    ]


@pytest.mark.parametrize("name", ["a\n::error::b", "\x1b[2Jb", "a\u202eb", "all checks matched"])
def test_names_are_words_on_the_line(name):
    rows = lines(call(layer=name, class_name=name, origin=name, origin_call=0))
    assert len(rows) == 3
    assert all(row.isprintable() for row in rows)
    assert name not in rows[-1].replace(f"'{name}'", "")


def test_long_names_are_cut():
    assert len(lines(call(layer="a" * 9999, class_name="b" * 9999, origin="c" * 9999, origin_call=0))[-1]) < 500
    assert len(no_noise_line("a" * 9999)) < 400
