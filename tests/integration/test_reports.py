"""What a run leaves behind for people and programs."""

import re

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


def events(project) -> EventAccumulator:
    read = EventAccumulator(str(project.path / ".modelviz/tensorboard" / project.results["run"]["id"]))
    read.Reload()
    return read


def test_results_json_is_as_promised(project):
    project.test()
    project.run_once("--modelviz-update")
    project.fault("weight")
    project.run("--modelviz")
    results = project.results
    assert results["schema"] == 1
    assert set(results["run"]) == {"id", "torch", "python", "platform", "device", "workers"}
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
    assert tags == ["test_net/feature_maps/conv2", "test_net/cam_map/conv2"]
    assert all(len(read.Images(tag)) == 1 for tag in tags)


def test_tensorboard_has_the_error_of_every_check_compared_and_a_text_of_each_drift(project):
    project.test()
    project.run_once("--modelviz-update")
    project.run("--modelviz")
    assert {tag: read.value for tag in events(project).Tags()["scalars"] for read in events(project).Scalars(tag)} == {
        f"errors/test_net/{name}": 0.0 for name in ("model_summary", "feature_maps", "cam_map")
    }
    project.fault("eps")
    project.run("--modelviz")
    texts = [tag for tag in events(project).Tags()["tensors"] if tag.endswith("text_summary")]
    assert len(texts) == 3
    (text,) = [
        events(project).Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in texts if "model_summary" in tag
    ]
    assert "bn1 config: eps=1e-05 -> eps=0.1" in text
    assert "BatchNorm2d (bn1)" in text  # torchinfo's table


def test_each_run_has_a_folder_of_its_own(project):
    project.test()
    project.run_once("--modelviz-update")
    for _ in range(2):
        project.run("--modelviz")
    assert len(list((project.path / ".modelviz/tensorboard").iterdir())) == 2


def test_names_that_two_files_share_are_told_apart(project):
    source = "from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n"
    project.test(source)
    project.test(source, name="test_other")
    project.run_once("--modelviz-update")
    project.fault("weight")
    project.run("--modelviz").assert_outcomes(failed=2)
    tags = [tag for check in project.results["checks"] for tag in check["tensorboard_tags"]]
    assert tags == ["test_net.py::test_net/feature_maps/conv2", "test_other.py::test_net/feature_maps/conv2"]
    assert sorted(events(project).Tags()["images"]) == tags


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
    (tag,) = [tag for tag in read.Tags()["tensors"] if tag.endswith("text_summary")]
    assert "8 parameter bias: float32[9] -> float32[10]" in read.Tensors(tag)[0].tensor_proto.string_val[0].decode()
