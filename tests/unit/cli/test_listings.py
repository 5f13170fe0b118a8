"""The lines of `modelviz list` and `modelviz orphans`, as they are printed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_modelviz.cli import main
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.effect import OutputEffect
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.records.verdict import Cause, Divergence
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store


@pytest.fixture
def results(tmp_path, monkeypatch):
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "t.py").write_text("def test_a(): ...\n")
    monkeypatch.chdir(tmp_path)
    return ResultsFolder(tmp_path / ".modelviz")


def modelviz(*arguments: str) -> list[str]:
    return CliRunner().invoke(main, arguments, catch_exceptions=False).output.splitlines()


def write(results: ResultsFolder, checks=(), orphans=()) -> None:
    results.write(RunResult(RunFacts("R", "2", "3", "linux", "cpu", 1), tuple(checks), orphans=tuple(orphans)))


def save(store: Store, name: str, nodeid: str = "t.py::test_a", variant: str | None = None) -> None:
    store.save(Location.of(nodeid, name, variant), Capture("v", {}), nodeid=nodeid, name=name)


def check(name: str, status: Status, **facts: object) -> CheckResult:
    nodeid, baseline = "t.py::test_a", f"baselines/t/test_a/{name}.json"
    return CheckResult(
        nodeid=nodeid, view="v", name=name, status=status, baseline=baseline, candidate="c.json", **facts
    )


@pytest.mark.parametrize(
    ("status", "facts", "text"),
    [
        (Status.MISSING, {}, ""),
        (Status.DRIFT, {}, "  another result"),
        (Status.DRIFT, {"cause": Cause.WEIGHTS}, "  weights"),
        (
            Status.DRIFT,
            {"cause": Cause.WEIGHTS, "first_divergence": Divergence("conv", "Conv2d", 0, 0.05, 1e-4)},
            "  weights at conv",
        ),
        (
            Status.DRIFT,
            {"output": OutputEffect(0.5, 0.1, samples=2, top1_changed=1)},
            "  output off by 50 %, top-1 changed in 1 of 2: another result",
        ),
        (
            Status.DRIFT,
            {"first_divergence": Divergence("", "Net", 0, 0.05, 1e-4), "error": 0.05, "tolerance": 1e-4},
            "  another result at the model, 500 x allowed",
        ),
    ],
)
def test_a_drift_says_what_drifted_where_and_how_far(results, status, facts, text):
    write(results, [check("n", status, **facts)])
    save(Store(results.candidates, kind="candidate"), "n")
    assert modelviz("list") == [f"{status:10} t.py::test_a  n{text}", "1 waiting; run R"]


def test_an_expected_failure_is_marked_and_counted(results):
    write(results, [check("n", Status.MISSING, expected_failure=True), check("m", Status.MISSING)])
    for name in "nm":
        save(Store(results.candidates, kind="candidate"), name)
    assert modelviz("list") == [
        "missing    t.py::test_a  n  (xfail)",
        "missing    t.py::test_a  m",
        "2 waiting, 1 of them xfail; run R",
    ]


@pytest.mark.parametrize(
    ("names", "last"),
    [
        ([], "0 orphans (baselines whose test is gone)"),
        (["n"], "1 orphan (its test is gone)"),
        (["n", "m"], "2 orphans (baselines whose test is gone)"),
    ],
)
def test_orphans_are_listed_and_counted(results, names, last):
    write(results, orphans=[OrphanRecord("t.py::gone", "v", name, None, "b.json", None, None) for name in names])
    for name in names:
        save(Store(Path("baselines").absolute()), name, "t.py::gone")
    assert modelviz("orphans") == [*(f"t.py::gone  {name}" for name in names), last]


def test_an_orphan_s_variant_file_and_new_name_are_told(results):
    renamed = OrphanRecord("t.py::gone", "v", "n", "gpu", "b.json", None, None, renamed_to="t.py::test_a")
    write(results, orphans=[renamed])
    store = Store(Path("baselines").absolute())
    save(store, "n", "t.py::gone", "gpu")
    save(store, "n", "u.py::test")
    assert modelviz("orphans") == [
        "t.py::gone  n (gpu)  is it now t.py::test_a? modelviz mv t.py::gone t.py::test_a",
        "u.py::test  n  (its test file is gone: prune it by name)",
        "2 orphans (baselines whose test is gone)",
    ]


class TestCandidatesThatNoResultsTellOf:
    """Their run was broken off: who accepts everything is told that this is not everything."""

    @pytest.fixture
    def candidates(self, results):
        store = Store(results.candidates, kind="candidate")
        for name in ("n", "unnamed"):
            save(store, name)
        digest = store.digest(Location.of("t.py::test_a", "n"))
        write(results, [check("n", Status.MISSING, candidate_sha256=digest)])
        return store

    def accepted(self, *arguments):
        done = CliRunner().invoke(main, ["accept", *arguments], catch_exceptions=False)
        assert Store(Path("baselines").absolute()).digest(Location.of("t.py::test_a", "n")) is not None
        assert Store(Path("baselines").absolute()).digest(Location.of("t.py::test_a", "unnamed")) is None
        return done.exit_code, "no results here tell of this candidate" in done.output

    def test_are_left_with_an_error(self, candidates):
        assert self.accepted() == (1, True)

    def test_are_nothing_to_who_names_a_test(self, candidates):
        assert self.accepted("t.py::test_a") == (0, False)

    def test_are_told_to_programs_too(self, candidates):
        assert self.accepted("--json") == (1, True)
        for command in ("list", "show"):
            (left,) = json.loads("\n".join(modelviz(command, "--json")))["left"]
            assert (left["nodeid"], left["name"]) == ("t.py::test_a", "unnamed")

    def test_are_listed(self, candidates):
        assert modelviz("list")[2] == "left       t.py::test_a  unnamed  no results here tell of this candidate"
