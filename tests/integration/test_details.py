"""What a run leaves of each check that did not match: all of it, for programs."""

import json
import shutil
import subprocess

import pytest

from pytest_modelviz.storage.picture_files import PARTS

TEST = """
from net import load, photo

def check(fixture):
    fixture(load(), photo())

def test_net(feature_maps):
    check(feature_maps)

def test_other(feature_maps):
    feature_maps(
        load(),
        photo(),
    )
"""


def drifted(project):
    project.test(TEST)
    project.run_once("--modelviz-update").assert_outcomes(passed=2)
    project.fault("weight")
    project.run_once("--modelviz").assert_outcomes(failed=2)
    return project.results["checks"]


def test_details_hold_all_that_was_found_out(project):
    checks = drifted(project)
    assert checks[0]["details"] == ".modelviz/details/test_net/test_net/feature_maps.json"
    details = json.loads((project.path / checks[0]["details"]).read_text())
    assert details["check"]["nodeid"] == "test_net.py::test_net"
    (weight,) = (finding for finding in details["findings"] if finding["kind"] == "weight")
    assert weight["role"] == "evidence"
    assert weight["error"] == pytest.approx(0.05, rel=1e-3)
    assert weight["change"] == {"factor": 1.05, "offset": 0.0}
    assert weight["text"] == "conv2.weight differs by 0.05: all x 1.05"
    errors = {row["layer"]: row["error"] for row in details["layers"]}
    assert errors["conv1"] == 0.0
    assert errors["conv2"] == pytest.approx(0.05, rel=0.5)
    assert details["pictures"]
    for picture in details["pictures"]:
        files = [path for role, path in picture.items() if role in ("composite", *PARTS)]
        assert picture["composite"] in files
        assert all((project.path / path).is_file() for path in files)
    assert "conv2" in details["description"]


def test_results_say_what_the_drift_does_and_where_the_check_is_made(project):
    checks = drifted(project)
    assert [check["location"] for check in checks] == [["test_net.py", 4], ["test_net.py", 10]]
    effect = checks[0]["output"]
    assert 0.0 < effect["tolerance"] < effect["error"] < 1.0
    assert (effect["samples"], effect["top1_changed"]) == (1, 0)
    assert "\n  output    off by " in checks[0]["message"]
    assert "top class kept in the sample" in checks[0]["message"]


def test_a_match_has_no_details_and_takes_those_of_the_last_run_away(project):
    drifted(project)
    project.fault("")
    project.run("--modelviz").assert_outcomes(passed=2)
    assert not list((project.path / ".modelviz/details").rglob("*.json"))
    assert all(check["details"] is None and check["output"] is None for check in project.results["checks"])


def test_a_missing_baseline_has_details_too(project):
    project.test(TEST)
    project.run("--modelviz").assert_outcomes(failed=2)
    details = json.loads((project.path / project.results["checks"][0]["details"]).read_text())
    assert details["check"]["status"] == "missing"
    assert details["findings"] == []


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_run_names_its_commit(project):
    project.test(TEST)
    for words in (["init", "-b", "topic"], ["add", "."], ["commit", "-m", "first"]):
        command = ["git", "-c", "user.name=n", "-c", "user.email=e@x", *words]
        subprocess.run(command, cwd=project.path, check=True, capture_output=True)
    project.run("--modelviz-update")
    run = project.results["run"]
    assert len(run["commit"]) == 40
    assert (run["branch"], run["dirty"]) == ("topic", False)
