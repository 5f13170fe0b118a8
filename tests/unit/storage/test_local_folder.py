"""Folders on this machine, as deep as a repository can hold them and named as no system can name them."""

import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_modelviz.cli import main
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.review.pruning import _newer_file
from pytest_modelviz.storage.local_folder import LocalFolder
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store

DEEP = f"{'a/' * 1200}n.json"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with the baseline of a test that has another name now."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_a.py").write_text("def test_b(): ...\n")
    monkeypatch.chdir(tmp_path)
    ids = {"nodeid": "test_a.py::test_a", "name": "n"}
    Store(tmp_path / "baselines").save(Location.of(**ids), Capture("v", {}), **ids)
    return tmp_path


def test_any_depth_is_looked_into(project):
    """What called itself for each level would fail on the way."""
    folder = LocalFolder(project / "baselines")
    folder.write(DEEP, b"{}")
    assert folder.find(".json") == [DEEP, "test_a/test_a/n.json"]
    assert CliRunner().invoke(main, ["mv", "test_a.py::test_a", "test_a.py::test_b"]).exit_code == 0
    assert folder.find(".json") == [DEEP, "test_a/test_b/n.json"]
    folder.delete("test_a/test_b/n.json")
    folder.delete(".gitattributes")
    assert _newer_file(project / "baselines", 0.0, ()) == Path(DEEP)
    folder.delete(DEEP)
    assert list(folder.root.iterdir()) == []


@pytest.mark.parametrize("command", ["list", "show", "accept", "reject", "report"])
def test_a_path_of_any_length_takes_no_time(project, command):
    """What is too long for the system is not looked for folder by folder."""
    facts = RunFacts("r", "2", "3", "linux", "cpu", 1)
    nodeid = f"{'a/' * 60_000}x.py::t"
    check = CheckResult(nodeid=nodeid, view="v", name="n", status=Status.MISSING, baseline="n.json", candidate="n.json")
    ResultsFolder(project / ".modelviz").write(RunResult(facts, (check,)))
    start = time.process_time()
    done = CliRunner().invoke(main, [command], catch_exceptions=False)
    assert time.process_time() - start < 2
    assert isinstance(done.exception, (SystemExit, type(None)))


def test_a_name_that_no_file_can_have_is_linked_to_nothing(tmp_path):
    folder = LocalFolder(tmp_path)
    for name in ("a/" * 3000, "x" * 5000):
        assert not folder.is_linked(name)
        with pytest.raises(UnreadableBaselineError):
            folder.read(name, 9)
        with pytest.raises(OSError, match="too long"):
            folder.write(name, b"")
