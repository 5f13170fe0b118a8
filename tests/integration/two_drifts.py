"""A project of three tests of which two have drifted, and what of it waits to be reviewed."""

import json

TWO = """
import pytest
from net import *
@pytest.mark.parametrize("n", ["a", "b"])
def test_net(feature_maps, model_summary, n):
    feature_maps(load(), photo())
    model_summary(load())
def test_other(model_summary):
    model_summary(load(), name="quiet")
"""
A, B = "test_net.py::test_net[a]", "test_net.py::test_net[b]"


def drift_two_checks(project):
    """Two checks have drifted, feature_maps of test_net[a] and [b]; the others match."""
    project.test(TWO)
    project.run_once("--modelviz-update").assert_outcomes(passed=3)
    project.fault("weight")
    project.run_once("--modelviz").assert_outcomes(failed=2, passed=1)
    return project


def waiting(project) -> list[str]:
    rows = json.loads(project.modelviz("list", "--json").output)["checks"]
    return [row["nodeid"] for row in rows if row["state"] == "waiting"]
