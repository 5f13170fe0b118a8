"""A run on GitHub Actions: what it adds to the summary of its step, and which lines it annotates."""

import shutil

import pytest

from pytest_modelviz.reports.markdown import STEP_SUMMARY_BYTES

TEST = """
import pytest
from net import load, photo

def test_net(model_summary, feature_maps):
    model_summary(load(), input_data=photo())
    feature_maps(load(), photo())

@pytest.mark.xfail
def test_expected(feature_maps):
    feature_maps(load(), photo())
"""


@pytest.fixture
def summary(monkeypatch, tmp_path_factory):
    """The file of the step's summary, into which another tool has written."""
    file = tmp_path_factory.mktemp("runner") / "summary.md"
    file.write_text("## Other\n")
    for key, value in {
        "ACTIONS": "true",
        "STEP_SUMMARY": str(file),
        "SERVER_URL": "https://github.com",
        "REPOSITORY": "owner/name",
        "RUN_ID": "123",
    }.items():
        monkeypatch.setenv(f"GITHUB_{key}", value)
    return file


@pytest.fixture
def drifted(project, monkeypatch):
    project.test(TEST)
    project.run_once("--modelviz-update").assert_outcomes(passed=1, xpassed=1)
    project.fault("weight")
    return project


def commands(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("::")]


def test_a_drift_is_summed_up_and_annotated(drifted, summary):
    result = drifted.run("--modelviz")
    run = drifted.results["run"]["id"]
    text = summary.read_text("utf-8")
    assert text.startswith("## Other\n\n### modelviz: 1 check did not match (1 drift)\n\nRun `")
    assert "#### weights at `conv2` (`Conv2d`): 1 check of 1 test\n\n- output: off by 0." in text
    assert f"modelviz accept --run {run} --from ../from-ci --group weights@conv2\n" in text
    assert f"  accept    modelviz accept --run {run} --from ../from-ci test_net.py::test_net\n" in text
    assert "[artifacts of this run](https://github.com/owner/name/actions/runs/123#artifacts)" in text
    assert "gh run download 123 --repo owner/name --dir ../from-ci\n" in text
    assert "`.modelviz/report.html`" in text
    assert "data:" not in text
    download = "gh run download 123 --repo owner/name --dir ../from-ci"
    result.stdout.fnmatch_lines(
        [f"review: modelviz list --run {run} --from ../from-ci; *", f"the commands*: {download}"]
    )
    (line,) = commands(result)
    assert line.startswith("::error file=test_net.py,line=6,title=modelviz%3A output off by ")
    assert line.endswith(f"%0Amodelviz accept --run {run} --from ../from-ci test_net.py::test_net")


@pytest.mark.parametrize("setting", ["auto", "off"])
def test_what_is_downloaded_has_commands_for_there(drifted, summary, setting):
    drifted.run("--modelviz", f"--modelviz-github={setting}")
    run, where = drifted.results["run"], " --from ../from-ci" if setting == "auto" else ""
    page = (drifted.path / ".modelviz/report.html").read_text("utf-8")
    events = b"".join(path.read_bytes() for path in (drifted.path / ".modelviz/tensorboard").rglob("events*"))
    for text in (
        page,
        events.decode("utf-8", "replace"),
        drifted.check_of("test_net.py::test_net", "feature_maps")["message"],
    ):
        assert f"modelviz accept --run {run['id']}{where} test_net.py::test_net" in text
    for text in (page, events.decode("utf-8", "replace")):
        assert f"modelviz accept --run {run['id']}{where} --group weights@conv2" in text


def test_the_commands_work_where_the_artifacts_were_downloaded(drifted, summary):
    drifted.run("--modelviz")
    downloaded = drifted.path.parent / "from-ci"
    shutil.rmtree(downloaded, ignore_errors=True)  # another test of this process may have left one
    (drifted.path / ".modelviz").rename(downloaded)
    command = next(line for line in summary.read_text().splitlines() if line.startswith("modelviz accept"))
    assert "accepted   test_net.py::test_net  feature_maps" in drifted.modelviz(*command.split()[1:]).output
    downloaded.rename(drifted.path / ".modelviz")


@pytest.mark.parametrize("setting", ["option", "ini", "elsewhere", "matched", "not compared"])
def test_where_there_is_nothing_to_say(drifted, summary, monkeypatch, setting):
    options = {"option": ["--modelviz", "--modelviz-github=off"], "not compared": []}.get(setting, ["--modelviz"])
    if setting == "ini":
        drifted.pytester.makeini("[pytest]\nmodelviz_github = off\n")
    if setting == "elsewhere":
        monkeypatch.delenv("GITHUB_ACTIONS")
    if setting == "matched":
        drifted.fault("")
    result = drifted.run(*options)
    assert commands(result) == []
    assert summary.read_text() == "## Other\n"


def test_a_choice_that_does_not_exist(project):
    result = project.run("--modelviz-github=yes")
    result.stderr.fnmatch_lines(["*--modelviz-github takes auto or off, not 'yes'*"])


def test_the_summary_stays_within_github_s_limit(drifted, summary):
    summary.write_text("x" * (STEP_SUMMARY_BYTES - 5_000))
    drifted.run("--modelviz")
    assert STEP_SUMMARY_BYTES - 5_000 < summary.stat().st_size <= STEP_SUMMARY_BYTES
    summary.write_text("x" * (STEP_SUMMARY_BYTES - 3_000))
    result = drifted.run("--modelviz")
    result.stdout.fnmatch_lines(["GitHub's summary of this step is full: nothing of this run was added to it"])
    assert summary.stat().st_size == STEP_SUMMARY_BYTES - 3_000


def test_a_summary_that_cannot_be_written_fails_nothing_else(drifted, summary, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary.parent))
    result = drifted.run("--modelviz")
    result.stdout.fnmatch_lines(["cannot write GitHub's summary of this step (*)", "::error *"])
    assert drifted.results["totals"]["drift"] == 2
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    monkeypatch.setenv("GITHUB_REPOSITORY", "a](https://evil.example)")
    assert len(commands(drifted.run("--modelviz"))) == 1


def test_of_workers_the_controller_alone_speaks(project, summary):
    project.with_numbers()
    project.test("def test_net(numbers): numbers(1)\n")
    project.run_once("--modelviz-update")
    project.test("def test_net(numbers): numbers(2)\n")
    summary.write_text("")
    result = project.run_apart("--modelviz", "-n1")
    assert len(commands(result)) == 1
    assert summary.read_text().count("### modelviz: ") == 1


def test_names_start_no_workflow_command(project, summary):
    name = "test_a\n::error::no%0A::error::no"
    test = "from net import *\ndef test(feature_maps):\n    feature_maps(load(), photo())\n"
    project.test(f"{test}globals()[{name!r}] = test\ndel test\n")
    result = project.run("--modelviz", "-q", "--no-summary", "--tb=no")
    (line,) = [line for line in commands(result) if line.startswith("::error file=test_net.py,line=3,")]
    assert "::test_net.py::test_a\\n::error::no%250A::error::no%0Afeature_maps: no baseline%0Amodelviz accept" in line
    assert "<code>test_net.py::test_a\\n::error::no%0A::error::no</code>" in summary.read_text()
