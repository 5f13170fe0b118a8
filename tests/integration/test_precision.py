"""What products are computed in decides how much is allowed; what a baseline says of itself does not."""

import json

import pytest

from pytest_modelviz.storage import formats

pytestmark = pytest.mark.unwatched

TEST = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x) * {factor}


def test_net(feature_maps):
    torch.manual_seed(0)
    feature_maps(Net(), torch.ones(1, 3, 8, 8))
"""


@pytest.fixture
def precision(monkeypatch):
    def computing_in(name):
        monkeypatch.setattr("pytest_modelviz.probe.environment.float32_precision", lambda model, device: name)

    return computing_in


@pytest.mark.parametrize(("before", "after"), [("ieee", "tf32"), ("tf32", "tf32")])
def test_a_run_in_tf32_is_allowed_what_tf32_makes(project, precision, before, after):
    precision(before)
    project.test(TEST.format(factor=1.0))
    project.run("--modelviz-update").assert_outcomes(passed=1)
    precision(after)
    project.run("--modelviz").assert_outcomes(passed=1)
    project.test(TEST.format(factor=1.005))  # five times what was measured between TF32 and full precision
    project.run("--modelviz").assert_outcomes(passed=1)
    project.test(TEST.format(factor=1.02))
    result = project.run("--modelviz")
    result.assert_outcomes(failed=1)
    if before != after:
        result.stdout.fnmatch_lines(["  changed   float32_precision: *tf32*, since the baseline was recorded"])


def test_a_baseline_in_tf32_is_allowed_no_more_by_a_run_in_full_precision(project, precision):
    precision("tf32")
    project.test(TEST.format(factor=1.0))
    project.run("--modelviz-update").assert_outcomes(passed=1)
    precision("ieee")
    project.run("--modelviz").assert_outcomes(passed=1)
    project.test(TEST.format(factor=1.005))
    result = project.run("--modelviz")
    result.assert_outcomes(failed=1)
    note = "the difference is no more than TF32 rounding, and the baseline says that it was recorded in"
    result.stdout.fnmatch_lines([f"  note      {note}*"])
    project.test(TEST.format(factor=1.02))
    result = project.run("--modelviz")
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line(f"*{note}*")


def test_full_precision_on_both_sides_and_a_claim_that_is_none(project, precision):
    precision("ieee")
    project.test(TEST.format(factor=1.0))
    project.run("--modelviz-update").assert_outcomes(passed=1)
    path = project.baseline("feature_maps.json")
    document = json.loads(path.read_text("utf-8"))
    assert "float32_precision" not in document["environment"]  # on a CPU it goes without saying
    project.test(TEST.format(factor=1.005))
    project.run("--modelviz").assert_outcomes(failed=1)
    document["environment"]["float32_precision"] = "anything goes"
    path.write_bytes(formats._encoded(document))
    project.run("--modelviz").assert_outcomes(failed=1)
