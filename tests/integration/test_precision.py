"""What products were computed in, on either side, decides how much is allowed."""

import json

import pytest

from pytest_modelviz.baselines import formats

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


@pytest.mark.parametrize(("before", "after"), [("ieee", "tf32"), ("tf32", "ieee"), ("tf32", "tf32")])
def test_one_side_in_tf32_is_enough(project, precision, before, after):
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
