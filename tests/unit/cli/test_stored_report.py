"""A stored report of our own is printed as it was made, with the commands that are needed here."""

import dataclasses
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_modelviz.cli import main
from pytest_modelviz.cli.stored_report import own_report, without_command
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.reports.terminal import explain
from pytest_modelviz.storage.results import ResultsFolder

NODEID = "test_net.py::test_a"


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_net.py").write_text("def test_a(): ...\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(project: Path, status: Status, candidate: str | None) -> str:
    """The results of a run R with one check; returns its report."""
    result = CheckResult(nodeid=NODEID, view="v", name="n", status=status, baseline="b.json", candidate=candidate)
    message = explain(result, reason="it is damaged", commands=(NODEID, f"--run R {NODEID}"))
    result = dataclasses.replace(result, message=message)
    ResultsFolder(project / ".modelviz").write(RunResult(RunFacts("R", "2", "3", "linux", "cpu", 1), (result,)))
    return message


@pytest.mark.parametrize(
    ("status", "candidate", "commands"),
    [
        (Status.DRIFT, "c.json", [f"  accept    modelviz accept --run R {NODEID}"]),
        (Status.DRIFT, None, []),
        (
            Status.MISSING,
            "c.json",
            [f"  record it: modelviz accept --run R {NODEID}, or pytest --modelviz-update-missing {NODEID}"],
        ),
        (Status.MISSING, None, [f"  record it: pytest --modelviz-update-missing {NODEID}"]),
        (
            Status.UNREADABLE,
            None,
            [
                f"  to replace it with the current capture: pytest --modelviz-update-all {NODEID}",
                "  this records all checks of the test, not only this one",
            ],
        ),
        (Status.UNSTABLE, None, []),
    ],
)
def test_each_status_says_what_can_be_done(project, status, candidate, commands):
    message = write(project, status, candidate)
    assert message.endswith("\n".join(["", *commands]))
    shown = CliRunner().invoke(main, ["show"]).output
    assert f"\n{message}\n" in shown
    assert shown.count("modelviz") == message.count("modelviz")
    assert "left out" not in shown
    elsewhere = CliRunner().invoke(main, ["show", "--from", ".modelviz"]).output.splitlines()
    of_ours = [line.replace("--run R", "--run R --from .modelviz") for line in commands]
    assert [line for line in elsewhere if line in of_ours] == of_ours
    assert ("left out" in "\n".join(elsewhere)) == bool(commands)


@pytest.mark.parametrize("word", ["modelviz", "pytest", "modelviz.", "py.test'"])
def test_the_search_for_commands_takes_linear_time(word):
    """That of each `modelviz` to the end of its word would take minutes."""
    line = word * 100_000
    message = f"n drifted\n  cause     {line}"
    check = CheckResult(nodeid="t.py::t", view="v", name="n", status=Status.DRIFT, message=message, baseline="b")
    start = time.process_time()
    assert line in own_report(check, [])
    assert without_command(line) == line
    assert without_command(f"{line} x") == "(a line that holds a command is left out)"
    assert time.process_time() - start < 5.0
