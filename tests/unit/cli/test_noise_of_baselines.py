"""`modelviz show --verbose`: the noise that the baselines of checks hold, whoever has written them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from traces_by_hand import trace

from pytest_modelviz.cli import main
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.noise import EXPLANATION_NOISE, packed_noise
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.records.structure import ModuleRecord
from pytest_modelviz.records.trace import Call, ForwardTrace
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store

NODEID, NAME = "test_net.py::test_a", "feature_maps"
USUAL, LARGE = 2.0**-20, 2.0**-16  # as two bytes hold them
QUIET = "  noise     usually 9.5e-07, nowhere far more\n"
UNKNOWN = "  noise     not known: "


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_net.py").write_text("def test_a(): ...\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def noisy(layer: str = "block.b", **noises: float) -> ForwardTrace:
    """The usual noise but for some results of `traces_by_hand.trace`, whose layer block.b is called something else."""
    recorded = trace()
    modules = {layer if name == "block.b" else name: module for name, module in recorded.modules.items()}
    calls = [replace(call, layer=layer) if call.layer == "block.b" else call for call in recorded.calls]
    tensors = {key: replace(record, noise=noises.get(key, USUAL)) for key, record in recorded.tensors.items()}
    return replace(recorded, structure=replace(recorded.structure, modules=modules), calls=calls, tensors=tensors)


def record(recorded: ForwardTrace | None, name: str = NAME, variant: str | None = None) -> None:
    arrays = {} if recorded is None else pack_trace(recorded)
    location = Location.of(NODEID, name, variant)
    Store(Path.cwd() / "baselines").save(location, Capture("v", {}, arrays), nodeid=NODEID, name=name)


def result(status: Status, name: str = NAME, variant: str | None = None) -> CheckResult:
    baseline = f"baselines/{Location.of(NODEID, name, variant).path}.json"
    return CheckResult(nodeid=NODEID, view="v", name=name, status=status, message=f"{name} x", baseline=baseline)


def write(*checks: CheckResult, project: str | None = None) -> None:
    facts = RunFacts("R", "2", "3", "linux", "cpu", 1, project=project)
    ResultsFolder(Path.cwd() / ".modelviz").write(RunResult(facts, checks))


def show(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["show", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


class TestReport:
    def test_of_a_check_that_matched(self):
        record(noisy(b=LARGE))
        write(result(Status.MATCH))
        assert show() == "all checks of the last run matched\n"
        heading, name, noise, _, row, end, last = show("-v").splitlines()
        assert (heading, name) == (NODEID, "feature_maps: match")
        assert noise == "  noise     usually 9.5e-07, far more in 1 layer:"
        assert row == ("            block.b (Linear)  1.5e-05  16               0.15                      few numbers")
        assert (end, last) == ("", "all checks of the last run matched")

    def test_of_a_drift_stands_under_its_report(self):
        record(noisy())
        write(result(Status.DRIFT))
        assert show("--verbose") == show().replace("x\n", f"x\n{QUIET}")

    def test_of_a_variant(self):
        record(noisy(b=LARGE))
        record(noisy(), variant="gpu")
        write(result(Status.MATCH, variant="gpu"))
        assert QUIET in show("-v")

    def test_of_a_shadow(self):
        recorded = trace()
        recorded.shadow = noisy()
        record(recorded)
        write(result(Status.MATCH))
        assert QUIET.replace("usually", "of the float32 shadow usually") in show("-v")

    def test_of_a_gradient(self):
        arrays = {**pack_trace(trace()), EXPLANATION_NOISE: packed_noise([2.0**-6, 2.0**-7])}
        capture = Capture("cam_map", {"layer": "block.b"}, arrays)
        Store(Path.cwd() / "baselines").save(Location.of(NODEID, NAME, None), capture, nodeid=NODEID, name=NAME)
        write(result(Status.MATCH))
        heading, _, row = show("-v").splitlines()[2:5]
        assert heading == "  noise     of the gradient usually 0.00012, far more in 1 layer:"
        assert row == "            block.b (Linear)  0.016  128              0.13                      deep gradient"

    def test_nothing_where_nothing_was_measured(self):
        for recorded in (None, trace()):
            record(recorded)
            write(result(Status.MATCH))
            assert show("-v") == "all checks of the last run matched\n"

    def test_of_the_chosen_tests_alone(self):
        record(noisy())
        write(result(Status.MATCH), replace(result(Status.MATCH), nodeid="test_net.py::test_b"))
        assert show("-v", NODEID).count("  noise  ") == 1

    def test_json(self):
        record(noisy(b=LARGE))
        write(result(Status.DRIFT), result(Status.MATCH, "other"))
        assert "noise" not in json.loads(show("--json"))
        document = json.loads(show("--json", "-v"))
        assert [check["name"] for check in document["checks"]] == [NAME]
        known, missing = document["noise"]
        assert missing == {"nodeid": NODEID, "name": "other", "error": "there is no baseline"}
        assert known == {
            "nodeid": NODEID,
            "name": NAME,
            "usual": USUAL,
            "is_shadow": False,
            "is_of_gradient": False,
            "large": 1,
            "calls": [
                {
                    "layer": "block.b",
                    "class": "Linear",
                    "call": 0,
                    "noise": LARGE,
                    "share": pytest.approx(LARGE / 1e-4),
                    "reason": "few numbers",
                    "origin": None,
                    "origin_call": None,
                }
            ],
        }


class TestUnknown:
    def test_no_baseline(self):
        write(result(Status.MISSING))
        assert f"{UNKNOWN}there is no baseline\n" in show("-v")

    def test_a_baseline_of_another_project(self, monkeypatch):
        record(noisy())
        write(result(Status.MATCH), project="elsewhere")
        monkeypatch.setattr("pytest_modelviz.review.review.path_in_repository", lambda root: "here")
        assert f"{UNKNOWN}the baseline is another project's\n" in show("-v")

    @pytest.mark.parametrize("ending", [".json", ".safetensors"])
    @pytest.mark.parametrize("content", [None, b"", b"{}", b"\x1b[2J"])
    def test_damaged_files(self, ending, content):
        record(noisy())
        path = Path("baselines", f"{Location.of(NODEID, NAME).path}{ending}")
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        write(result(Status.UNREADABLE))
        (line,) = [line for line in show("-v").splitlines() if line.startswith("  noise")]
        assert line.startswith(f"{UNKNOWN}the baseline cannot be read: ")
        assert line.isprintable()

    def test_damaged_arrays(self):
        for damaged in ({"trace.structure": b"x"}, {"trace.noise": b"\0\0"}):
            arrays = {**pack_trace(noisy()), **{key: _bytes(key, text) for key, text in damaged.items()}}
            Store(Path.cwd() / "baselines").save(
                Location.of(NODEID, NAME), Capture("v", {}, arrays), nodeid=NODEID, name=NAME
            )
            write(result(Status.MATCH))
            assert show("-v").count(f"{UNKNOWN}the baseline cannot be read: ") == 1
            assert json.loads(show("-v", "--json"))["noise"][0]["error"].startswith("the baseline cannot be read: ")

    def test_numbers_that_json_does_not_hold(self):
        record(noisy(b=float("inf")))
        write(result(Status.MATCH))
        (found,) = json.loads(show("-v", "--json"))["noise"]
        assert (found["calls"][0]["noise"], found["calls"][0]["reason"]) == (None, "unsteady")


def _bytes(key: str, text: bytes):
    return np.frombuffer(text, np.uint8 if key == "trace.structure" else np.uint16)


class TestForeignNames:
    @pytest.mark.parametrize("name", ["a\n::error::b", "\x1b[2Jb", "a\u202eb", "::error::x", "##[error]x"])
    def test_command_nothing(self, name):
        record(noisy(name, b=LARGE))
        write(result(Status.MATCH))
        for arguments in (("-v",), ("-v", "--json"), ("-v", "--from", ".modelviz")):
            text = show(*arguments)
            assert all(line.isprintable() for line in text.splitlines())
            assert "##[" not in text
            assert not any(line.lstrip().startswith("::") for line in text.splitlines())

    @pytest.mark.parametrize("command", ["modelviz accept evil", "pytest -p evil", "run --modelviz-update-all evil"])
    def test_hold_no_commands(self, command):
        named = noisy(command, b=LARGE)
        classes = noisy(b=LARGE)
        classes.modules["block.b"] = ModuleRecord(command, {}, {})
        for recorded in (named, classes):
            record(recorded)
            write(result(Status.MATCH))
            text = show("-v")
            assert "evil" not in text
            assert "(a line that holds a command is left out)" in text

    def test_hold_no_commands_where_a_baseline_is_damaged(self):
        broken = noisy()
        broken.calls.append(Call("modelviz accept evil", 0, 1, {}))
        record(broken)
        write(result(Status.MATCH))
        assert "evil" not in show("-v")
