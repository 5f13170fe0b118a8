"""The formats of `modelviz show`, for people, pull requests and programs."""

import json
import re
from dataclasses import replace
from pathlib import Path

import check_results
import pytest
from click.testing import CliRunner, Result

from pytest_modelviz.cli import main
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.storage.results import ResultsFolder

DRIFT = replace(
    check_results.DRIFT,
    nodeid="test_net.py::test_a",
    message="feature_maps drifted\n  error     0.05\n  accept    modelviz accept evil",
    output=check_results.EFFECT,
    location=("test_net.py", 14),
    accept_command="modelviz accept evil",
)
MISSING = replace(check_results.MISSING, nodeid="test_net.py::test_b", name="n", expected_failure=True)
MATCH = CheckResult(nodeid="test_net.py::test_c", view="v", name="n", status=Status.MATCH, baseline="baselines/z.json")


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_net.py").write_text("def test_a(): ...\n")
    monkeypatch.chdir(tmp_path)


def write(*checks: CheckResult, folder: str = ".modelviz", run: str = "R") -> None:
    facts = RunFacts(run, "2", "3", "linux", "cpu", 1, project="sub")
    ResultsFolder(Path.cwd() / folder).write(RunResult(facts, checks))


def show(*arguments: str) -> str:
    done = invoke(*arguments)
    assert done.exit_code == 0, done.output
    return done.output


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["show", *arguments], catch_exceptions=False)


def test_text_and_json_are_what_they_were():
    write(DRIFT, MATCH)
    assert show("--format", "text") == show()
    assert show("--format", "json") == show("--json") == show("--json", "--format", "json")
    assert [check["name"] for check in json.loads(show("--json"))["checks"]] == ["feature_maps"]


def test_json_has_the_report_of_here_and_not_the_run_s_own():
    """Its command would accept another run's capture, or none."""
    write(DRIFT)
    for options, command in ((), "--run R"), (("--from", ".modelviz"), "--run R --from .modelviz"):
        (check,) = json.loads(show("--json", *options))["checks"]
        accept = f"modelviz accept {command} test_net.py::test_a"
        assert check["commands"] == {"accept": accept}
        assert check["message"].split("\n")[-1].split(None, 1) == ["accept", accept]
        assert "evil" not in check["message"]
        assert f"\n{check['message']}\n" in show(*options)


def test_short_is_a_line_for_each_check():
    write(DRIFT, MISSING, MATCH)
    assert show("--short") == (
        "test_net.py::test_a  feature_maps  output off by 2.5 %: weights at conv\n"
        "test_net.py::test_b  n  no baseline  (xfail)\n"
    )
    assert show("--short", "test_net.py::test_b").count("\n") == 1


def test_markdown_has_groups_then_reports_with_commands_of_our_own():
    write(DRIFT, MISSING, MATCH)
    text = show("--format", "markdown")
    assert text.startswith("### modelviz: 2 checks did not match (1 drift, 1 missing)\n\nRun `R`\n\n#### weights at")
    assert "```text\nmodelviz accept --run R --group weights@conv\n```" in text
    assert "  accept    modelviz accept --run R test_net.py::test_a\n```" in text
    assert "evil" not in text
    assert text.count("<summary>") == 2
    note = "Where the results folder was downloaded, add `--from` and its path to the commands.\n"
    assert show("--format", "markdown", "--short").endswith(f"--group weights@conv\n```\n\n{note}")
    assert note not in show("--format", "markdown", "--from", ".modelviz")


def test_a_group_of_which_nothing_was_kept_has_no_command():
    write(CheckResult.from_json({**DRIFT.to_json(), "candidate": None}))
    text = show("--format", "markdown")
    assert "#### weights at `conv`" in text
    assert "--group" not in text


def test_commands_of_a_choice_accept_what_is_shown_and_no_more():
    write(DRIFT, replace_name(DRIFT, "other"))
    text = show("--format", "markdown", "--check", "other", "test_net.py::*")
    assert "modelviz accept --run R --check other 'test_net.py::*' --group weights@conv\n" in text


def replace_name(check: CheckResult, name: str) -> CheckResult:
    return CheckResult.from_json({**check.to_json(), "name": name})


def test_of_several_runs_a_group_s_command_names_its_run_where_it_has_one():
    write(DRIFT, folder="ci/a", run="A")
    write(replace_name(DRIFT, "other"), folder="ci/b", run="B")
    text = show("--format", "markdown", "--from", "ci")
    assert "Run `A`\n\nRun `B`\n\n" in text
    assert "modelviz accept --run A --run B --from ci/a --from ci/b --group weights@conv\n" in text
    assert "  | feature_maps drifted\n" in text  # a stranger's words
    text = show("--format", "markdown", "--from", "ci", "--check", "other")
    assert "modelviz accept --run B --from ci/b --check other --group weights@conv\n" in text


def test_without_drifts_everything_matched():
    write(MATCH)
    assert show("--format", "markdown").startswith("### modelviz: all checks matched\n")
    assert json.loads(show("--format", "gitlab")) == []


def test_gitlab_gets_a_list_of_issues_at_their_lines():
    write(DRIFT, MISSING)
    issues = json.loads(show("--format", "gitlab"))
    assert [issue["location"] for issue in issues] == [
        {"path": "sub/test_net.py", "lines": {"begin": 14}},
        {"path": "sub/test_net.py", "lines": {"begin": 1}},
    ]
    assert [issue["severity"] for issue in issues] == ["critical", "minor"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--json", "--format", "text"), "--json and --format text exclude each other"),
        (("--short", "--json"), "--short goes with text and Markdown"),
        (("--short", "--format", "gitlab"), "--short goes with text and Markdown"),
        (("--short", "-v"), "--short goes with text and Markdown, and without --verbose"),
        (("-v", "--format", "markdown"), "--verbose goes with text and JSON, not with markdown"),
    ],
)
def test_options_that_do_not_go_together(options, error):
    done = invoke(*options)
    assert done.exit_code == 2
    assert error in done.output


@pytest.mark.parametrize("sentence", ["modelviz accept x.py::y", "x.py::y  feature_maps  accepted"])
@pytest.mark.parametrize("field", ["nodeid", "name", "layer"])
@pytest.mark.parametrize("options", [("--short",), ("--format", "markdown"), ("--format", "gitlab")])
def test_sentences_of_strangers_are_quoted(sentence, field, options):
    layer = {"first_divergence": {**DRIFT.to_json()["first_divergence"], "layer": sentence}}
    write(CheckResult.from_json({**DRIFT.to_json(), **(layer if field == "layer" else {field: sentence})}))
    text = show("--from", ".modelviz", *options).replace("&#x27;", "'")
    assert sentence not in re.sub(r"\$?'[^']*'", "", text)


@pytest.mark.parametrize("name", ["a\n::error::no", "##[error]no", "\x1b[2J"])
def test_names_neither_end_a_line_nor_command_a_terminal(name):
    first = {**DRIFT.to_json()["first_divergence"], "layer": name, "class": name}
    write(CheckResult.from_json({**DRIFT.to_json(), "nodeid": name, "name": name, "first_divergence": first}))
    for options in (("--short",), ("--format", "markdown"), ("--format", "gitlab")):
        lines = show(*options).splitlines()
        assert all(line.isprintable() and not line.startswith("::") and "##[" not in line for line in lines)


class TestMatchesWithNotes:
    """What was not compared is not hidden by the match."""

    NOTED = replace(MATCH, message="n: match\n  note      the baseline does not say where its integers are")

    def test_text(self):
        write(self.NOTED, MATCH)
        assert show() == (
            "all checks of the last run matched\n"
            "matched with notes  test_net.py::test_c  n\n"
            "modelviz show -v prints the notes, on what was not compared\n"
        )
        assert "  note      the baseline does not say where its integers are\n" in show("-v")

    def test_markdown_and_the_page(self):
        write(self.NOTED, DRIFT)
        line = "1 check matched with notes on what was not compared: `test_net.py::test_c n`"
        assert line in show("--format", "markdown").splitlines()
        CliRunner().invoke(main, ["report"], catch_exceptions=False)
        page = (Path.cwd() / ".modelviz/report.html").read_text()
        assert "1 check matched with notes</strong> on what was not compared: test_net.py::test_c" in page


def test_names_and_paths_from_elsewhere_are_quoted():
    sentence = "all verified; run make release"
    output = replace(check_results.EFFECT, path=sentence)
    write(replace(DRIFT, name=sentence, output=output, location=(sentence, 1), cause=None, first_divergence=None))
    (line,) = show("--from", ".modelviz", "--short").splitlines()
    assert line.count(sentence) == line.count(f"'{sentence}'") == 1
    CliRunner().invoke(main, ["report", "--from", ".modelviz"], catch_exceptions=False)
    page = (Path.cwd() / ".modelviz/report.html").read_text().partition("<body>")[2]
    assert page.count(sentence) == page.count(f"&#39;{sentence}&#39;") > 3


def test_folders_that_are_not_looked_into_are_named():
    write(MATCH, folder="ci/a/.modelviz")
    write(DRIFT, folder="other/.modelviz")
    (Path.cwd() / "ci/b").symlink_to("../other")
    assert "warning: ci/b not looked into for results" in invoke("--from", "ci").stderr
    assert invoke("--from", "ci/a").stderr == ""
