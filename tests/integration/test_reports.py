"""What a run leaves behind for people and programs."""

import re
import subprocess

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

KEYS = {
    "nodeid",
    "view",
    "name",
    "status",
    "seconds",
    "message",
    "layers",
    "error",
    "tolerance",
    "first_divergence",
    "cause",
    "environment_changes",
    "output",
    "location",
    "details",
    "baseline",
    "candidate",
    "candidate_sha256",
    "commands",
    "baseline_sha256",
    "tensorboard_tags",
}


def events(project, folder: str = "") -> EventAccumulator:
    """The events of the last run, or in another folder."""
    name = folder or project.results["run"]["tensorboard"]
    read = EventAccumulator(str(project.path / ".modelviz/tensorboard" / name))
    read.Reload()
    return read


def test_results_json_is_as_promised(project):
    project.test()
    project.run_once("--modelviz-update")
    project.fault("weight")
    project.run("--modelviz")
    results = project.results
    assert results["schema"] == 1
    assert set(results["run"]) == {"id", "torch", "python", "platform", "device", "workers", "tensorboard"}
    assert (results["run"]["device"], results["run"]["workers"]) == ("cpu", 1)
    assert results["totals"] == {
        "match": 1,
        "drift": 2,
        "missing": 0,
        "unreadable": 0,
        "unstable": 0,
        "recorded": 0,
        "not_compared": 0,
    }
    assert all(set(check) == KEYS for check in results["checks"])
    check = project.check("feature_maps")
    assert check["nodeid"] == "test_net.py::test_net"
    assert check["layers"] == {"compared": 6, "drifted": 3}
    assert check["first_divergence"]["layer"] == "conv2"
    assert check["first_divergence"]["class"] == "Conv2d"
    assert check["first_divergence"]["call"] == 0
    assert check["cause"] == "weights"
    assert check["baseline"] == "baselines/test_net/test_net/feature_maps.json"
    assert check["candidate"] == ".modelviz/candidates/test_net/test_net/feature_maps.json"
    assert re.fullmatch("[0-9a-f]{64}", check["baseline_sha256"])
    assert check["message"].startswith("feature_maps drifted, first at conv2 (Conv2d)")
    assert check["seconds"] > 0


def test_what_cannot_be_measured_is_null(project):
    project.test("from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n")
    project.run_once("--modelviz-update")
    project.test(
        "from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo().repeat(2, 1, 1, 1))\n"
    )
    project.run("--modelviz")
    assert project.check("feature_maps")["error"] is None
    assert "x: float32[1, 3, 16, 16] -> float32[2, 3, 16, 16]" in project.check("feature_maps")["message"]


def test_tensorboard_has_exactly_the_pictures_that_results_name(project):
    project.test()
    project.run_once("--modelviz-update")
    project.fault("weight")
    project.run("--modelviz")
    read = events(project)
    tags = [tag for check in project.results["checks"] for tag in check["tensorboard_tags"]]
    assert sorted(tags) == sorted(read.Tags()["images"])
    around = [f"test_net/feature_maps/{layer}" for layer in ("conv2", "relu", "(model)")]
    assert tags == [*around, "test_net/cam_map/conv2"]
    assert all(len(read.Images(tag)) == 1 for tag in tags)


def test_tensorboard_has_a_text_of_each_drift_and_a_summary(project):
    project.test()
    project.run_once("--modelviz-update")
    project.fault("eps")
    project.run("--modelviz")
    texts = {
        tag.removesuffix("/text_summary"): events(project).Tensors(tag)[0].tensor_proto.string_val[0].decode()
        for tag in events(project).Tags()["tensors"]
    }
    assert sorted(texts) == ["!summary", *(f"test_net/{name}" for name in ("cam_map", "feature_maps", "model_summary"))]
    assert "bn1 config: eps=1e-05 -> eps=0.1" in texts["test_net/model_summary"]
    assert "BatchNorm2d (bn1)" in texts["test_net/model_summary"]  # torchinfo's table
    run = project.results["run"]["id"]
    assert f"modelviz accept --run {run} --group architecture@bn1\n" in texts["!summary"]


def test_the_errors_of_all_runs_are_one_series(project):
    project.test()
    project.run_once("--modelviz-update")
    project.run("--modelviz")
    project.fault("weight")
    project.run("--modelviz")
    trend = events(project, "0_trend")
    maps = "test_net.py::test_net/feature_maps"
    series = {tag: [(event.step, event.value) for event in trend.Scalars(tag)] for tag in trend.Tags()["scalars"]}
    assert series["!checks/drifted"] == [(1, 0.0), (2, 2.0)]
    assert series[f"layers drifted/{maps}"] == [(1, 0.0), (2, 3.0)]
    check = project.check("feature_maps")
    error, output = (part["error"] / part["tolerance"] for part in (check, check["output"]))
    assert series[f"error (1 = allowed)/{maps}"] == [(1, 0.0), (2, pytest.approx(error))]
    assert series[f"output error (1 = allowed)/{maps}"] == [(2, pytest.approx(output))]
    assert [event.step for event in trend.Tensors("!summary")] == [1, 2]


def test_each_run_has_a_folder_of_its_own(project):
    project.test()
    project.run_once("--modelviz-update")
    names = []
    for _ in range(2):
        project.run("--modelviz")
        names.append(project.results["run"]["tensorboard"])
    assert sorted(path.name for path in (project.path / ".modelviz/tensorboard").iterdir()) == ["0_trend", *names]
    assert names[0] < names[1]


def test_a_run_is_called_by_time_branch_and_commit(project):
    project.test()
    project.run_once("--modelviz-update")
    git(project, "init", "-b", "fix/eyes")
    git(project, "add", ".")
    git(project, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "first")
    commit = git(project, "rev-parse", "HEAD")[:7]
    project.run("--modelviz")
    run = project.results["run"]
    assert run["tensorboard"] == f"{run['id'].partition('.')[0]}_fix-eyes_{commit}"
    project.fault("weight")
    git(project, "add", ".")
    project.run("--modelviz")
    assert project.results["run"]["tensorboard"].endswith(f"_fix-eyes_{commit}-dirty")


def test_what_an_update_writes_does_not_make_its_run_dirty(project):
    project.test()
    project.run_once("--modelviz-update")
    project.fault("weight")
    git(project, "init")
    git(project, "add", ".")
    git(project, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "first")
    project.run("--modelviz-update")
    assert git(project, "status", "--porcelain", "baselines")
    assert project.results["run"]["dirty"] is False


def git(project, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=project.path, check=True, capture_output=True, text=True).stdout


def test_a_run_that_compares_nothing_leaves_no_folder(project):
    project.test()
    project.run("--modelviz-update")
    project.run("--modelviz", "-k", "nothing")
    assert list((project.path / ".modelviz/tensorboard").iterdir()) == []
    assert "tensorboard" not in project.results["run"]


def test_names_that_two_files_share_are_told_apart(project):
    source = "from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n"
    project.test(source)
    project.test(source, name="test_other")
    project.run_once("--modelviz-update")
    project.fault("weight")
    project.run("--modelviz").assert_outcomes(failed=2)
    tags = [tag for check in project.results["checks"] for tag in check["tensorboard_tags"]]
    named = [tag for tag in tags if tag.endswith("/conv2")]
    assert named == ["test_net.py::test_net/feature_maps/conv2", "test_other.py::test_net/feature_maps/conv2"]
    assert sorted(events(project).Tags()["images"]) == sorted(tags)


def test_changes_of_the_environment_are_told(project):
    project.test("from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n")
    project.run_once("--modelviz-update")
    path = project.baseline("feature_maps.json")
    path.write_text(re.sub(r'"torch": "[^"]*"', '"torch": "1.0"', path.read_text()))
    project.run("--modelviz").assert_outcomes(passed=1)
    assert project.check("feature_maps")["environment_changes"]["torch"][0] == "1.0"
    project.fault("weight")
    project.run("--modelviz").stdout.fnmatch_lines(["  changed   torch: 1.0 -> *, since the baseline was recorded"])


def test_many_findings_are_cut_and_counted(project):
    code = """
        from net import *
        def test_net(model_summary):
            model_summary(nn.Sequential(*[nn.Linear(2, n + {}) for n in range(1, 10)]))
        """
    project.test(code.format(0))
    project.run_once("--modelviz-update")
    project.test(code.format(1))
    project.run("--modelviz").stdout.fnmatch_lines(["  evidence  0 config: *", "* and 20 more"])
    read = events(project)
    (tag,) = [tag for tag in read.Tags()["tensors"] if tag != "!summary"]
    assert "8 parameter bias: float32[9] -> float32[10]" in read.Tensors(tag)[0].tensor_proto.string_val[0].decode()
