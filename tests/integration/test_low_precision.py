"""A model in bfloat16 under pytest: recorded, matched, and judged in float32 unless that is turned off."""

import pytest

pytestmark = pytest.mark.unwatched

NET = """
import torch
from torch import nn


def test_net(feature_maps):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 300)).bfloat16()
    model[2].weight.data *= {factor}
    feature_maps(model, torch.ones(4, 16, dtype=torch.bfloat16))
"""


@pytest.fixture
def recorded(pytester):
    pytester.makepyfile(test_net=NET.format(factor=1.0))
    pytester.inline_run("--modelviz-update").assertoutcome(passed=1)
    return pytester


def test_a_fault_that_bfloat16_hides(recorded):
    recorded.runpytest_inprocess("--modelviz").assert_outcomes(passed=1)
    recorded.makepyfile(test_net=NET.format(factor=1.006))
    result = recorded.runpytest_inprocess("--modelviz")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "feature_maps drifted, first at 2 (Linear)",
            "  cause     weights",
            "  error     0.00* times what is allowed (*)",
            "*compared in float32: what differs is not how layers of a lower precision round*",
        ]
    )


def test_the_option_and_the_ini_key_turn_it_off(recorded):
    recorded.makepyfile(test_net=NET.format(factor=1.006))
    result = recorded.runpytest_inprocess("--modelviz", "--modelviz-shadow=never", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*was not repeated in float32*"])
    recorded.makeini("[pytest]\nmodelviz_shadow = never\n")
    recorded.runpytest_inprocess("--modelviz").assert_outcomes(passed=1)
    recorded.runpytest_inprocess("--modelviz", "--modelviz-shadow=auto").assert_outcomes(failed=1)


def test_a_model_that_refuses_to_be_run_for_its_noise_is_noted(pytester):
    pytester.makepyfile(
        test_once="""
        import torch
        from torch import nn

        class Strict(nn.Linear):
            def forward(self, x):
                if float(x.max()) > 0.75:
                    raise ValueError("not normalised")
                return super().forward(x)

        def test_net(feature_maps):
            torch.manual_seed(0)
            feature_maps(Strict(16, 64){dtype}, torch.full((4, 16), 0.75){dtype})
        """.replace("{dtype}", ".bfloat16()")
    )
    note = "  note      how far rounding takes this model was not measured (*, the model raises ValueError: not normal*"
    result = pytester.runpytest_inprocess("--modelviz-update")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*feature_maps: recorded", note])
    result = pytester.runpytest_inprocess("--modelviz")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*rounding*")


def test_another_word_is_refused(pytester):
    pytester.makepyfile(test_net=NET.format(factor=1.0))
    result = pytester.runpytest_inprocess("--modelviz-shadow=sometimes")
    result.stderr.fnmatch_lines(["*--modelviz-shadow takes auto, always or never, not 'sometimes'*"])
