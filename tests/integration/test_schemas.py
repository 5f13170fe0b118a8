"""The published JSON Schemas say what programs find, of checks with every status: no key is missing in them."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.effect import Merger, OutputEffect, Reappearance, ScoredClass, TopClassChange
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.records.verdict import Cause, Divergence
from pytest_modelviz.reports.details import details_document

FOLDER = Path(__file__).parents[2] / "docs/schemas"
TEST = """
import pytest
import torch
from net import load, photo
from torch import nn

class Noise(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)

def test_net(model_summary, feature_maps, cam_map, kernel_maps, training_curve):
    model_summary(load(), input_data=photo())
    feature_maps(load(), photo())
    cam_map(load(), photo(), name="x")
    kernel_maps(load())

def test_noise(feature_maps):
    feature_maps(Noise(), photo())

def test_gone(model_summary):
    model_summary(load())
"""
NEW = """
import pytest
from net import load, photo

@pytest.mark.xfail
def test_new(feature_maps):
    feature_maps(load(), photo())
"""


def closed(schema: Any, *, whole: bool = True) -> Any:
    """The schema without room for keys that it does not name, so that none can be forgotten there."""
    if isinstance(schema, list):
        return [closed(each, whole=whole) for each in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {
        key: {name: closed(each, whole=key == "properties") for name, each in value.items()}
        if key in ("properties", "$defs")
        else closed(value, whole=key not in ("allOf", "oneOf"))
        for key, value in schema.items()
    }
    is_object = whole and not parts.keys().isdisjoint(("properties", "$ref", "allOf"))
    return {"unevaluatedProperties": False, **parts} if is_object else parts


SCHEMAS = {path.name: closed(json.loads(path.read_text("utf-8"))) for path in sorted(FOLDER.glob("*.json"))}
REGISTRY = Registry().with_resources((name, Resource.from_contents(schema)) for name, schema in SCHEMAS.items())


def require_valid(document: Any, name: str) -> None:
    validator = Draft202012Validator(SCHEMAS[f"{name}.schema.json"], registry=REGISTRY)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)] == []


def require_valid_results(project) -> set[str]:
    """Validate what the last run has left; returns the statuses in it."""
    require_valid(project.results, "results")
    details = [check["details"] for check in project.results["checks"] if check["details"]]
    for path in details:
        require_valid(json.loads((project.path / path).read_text("utf-8")), "details")
    assert len(details) == sum(Status(check["status"]).fails for check in project.results["checks"])
    return {check["status"] for check in project.results["checks"]}


def test_real_runs_and_what_the_command_prints_of_them(project):
    project.test(TEST)
    project.run()
    seen = require_valid_results(project)
    project.run("--modelviz-update")
    seen |= require_valid_results(project)
    shutil.copytree(project.path / "baselines", project.path / "old")
    project.fault("weight")
    project.baseline("kernel_maps.safetensors").write_bytes(b"")
    project.test(TEST.replace("test_gone", "test_renamed"))
    project.test(NEW, "test_new")
    project.run("--modelviz")
    seen |= require_valid_results(project)
    assert seen == {status.value for status in Status}
    for words in (
        "list --json --all",
        "show --json -v",
        "orphans --json",
        "diff --json ./old ./baselines",
        "prune --json --dry-run",
        "reject --json test_new.py::test_new",
        "accept --json",
        "list --json",
        "diff --json ./old ./baselines",
    ):
        printed = json.loads(project.modelviz(*words.split()).output)
        require_valid(printed, "commands")
        assert any(printed.get(key) for key in ("checks", "orphans", "decisions")), words
    require_valid(json.loads((project.path / ".modelviz/diff/results.json").read_text("utf-8")), "results")


CHANGE = TopClassChange(0, ScoredClass(1, 0.5), ScoredClass(2))
ANY = CheckResult(nodeid="t.py::test", view="v", name="n", status=Status.MATCH, baseline="b")
WHOLE = replace(
    ANY,
    status=Status.DRIFT,
    cause=Cause.WEIGHTS,
    first_divergence=Divergence("conv", "Conv2d", 0, math.inf, 0.1),
    environment_changes={"torch": ("1", "2")},
    output=OutputEffect(math.inf, 0.1, "[0]", 1, 1, (CHANGE,), Reappearance(1, 2, (Merger(("a", "b"), "c"),))),
    location=("t.py", 1),
    candidate_sha256="0" * 64,
    accept_command="modelviz accept",
    former_nodeid="u.py::test",
    expected_failure=True,
    compared_with="c",
)
FACTS = RunFacts("R", "2", "3", "linux", "cpu", 1)
WHOLE_FACTS = replace(
    FACTS,
    lost_workers=("gw0",),
    project=".",
    commit="c",
    branch="b",
    dirty=False,
    revisions=("a", "b"),
    tensorboard="t",
)
ORPHAN = OrphanRecord("t.py::test", "v", "n", "cuda", "b", "0" * 64, None, {"t.py": "d"}, renamed_to="u.py::test")


@pytest.mark.parametrize("orphans", [(), (ORPHAN,)])
@pytest.mark.parametrize("facts", [FACTS, WHOLE_FACTS])
@pytest.mark.parametrize("checks", [(), (ANY,), (WHOLE,)])
def test_whatever_results_may_hold(checks, facts, orphans):
    require_valid(RunResult(facts, checks, ("t.py",) * len(orphans), orphans).to_json(), "results")
    for check in checks:
        require_valid(details_document(check, None), "details")


@pytest.mark.parametrize("broken", [{"status": "drifted"}, {"seconds": None}, {"more": 1}, {"location": ["t.py"]}])
def test_anything_else_is_noticed(broken):
    document = RunResult(FACTS, (ANY,)).to_json()
    document["checks"][0] |= broken
    with pytest.raises(AssertionError, match=r"\$\.checks\[0\]"):
        require_valid(document, "results")


def test_what_is_published_has_room_for_keys_of_later_versions():
    document = {**RunResult(FACTS, ()).to_json(), "later": 1}
    Draft202012Validator(json.loads((FOLDER / "results.schema.json").read_text("utf-8"))).validate(document)
