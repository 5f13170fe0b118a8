"""What anybody may have written, in each channel that shows it: no field makes a line of its own, or commands a reader.

Fields come from the user's code, from a baseline and from a results folder that somebody else has made.
"""

import dataclasses
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner
from families import FAMILIES, example
from tensorboard.plugin_util import markdown_to_safe_html
from torch.utils import tensorboard

from pytest_modelviz.cli import main
from pytest_modelviz.pictures.exhibits import Curve, Graph, Node
from pytest_modelviz.pictures.layout import labelled
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.findings import OutputsFinding
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.records.verdict import Cause, Divergence
from pytest_modelviz.reports.html import write_report
from pytest_modelviz.reports.run_markdown import run_markdown
from pytest_modelviz.reports.tensorboard import EventFiles
from pytest_modelviz.reports.terminal import explain
from pytest_modelviz.reports.terminal_summary import TerminalSummary, summary_lines
from pytest_modelviz.storage.renaming import move_command
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.text.printable import command_line, printable, printable_json, quoted

HOSTILE = {
    "newline": "a\naccepted   test_net.py::test_x  feature_maps",
    "return": "a\raccepted   test_net.py::test_x",
    "separators": "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg",
    "escape": "\x1b[2J\x1b]8;;http://a\x07",
    "escape in one byte": "\x9b2J",
    "command of GitHub": "::error file=a.py,line=1::no",
    "command of GitHub behind blanks": "  ::stop-commands::token",
    "command of GitHub on a line of its own": "a\n::add-mask::e",
    "old command of GitHub": "a ##[error]no",
    "command of Azure": "a ##vso[task.complete result=Succeeded;]",
    "command of TeamCity": "a ##TeamCity[testFinished name='a']",
    "order of letters": "a\u202etxt.\u2066\u200fb",
    "half a pair": "a\ud800b\udcff",
    "nothing": "a\0b\u200b\ufeff",
    "fence": "a\n~~~~~\n# title\n~~~~~~~",
    "other fence": "a\n```\n</code></pre><img src=x onerror=alert(1)>",
    "markup": "<script>alert(1)</script>&amp;\"'",
    "table": "a | b `c` [d](javascript:e)",
}
HONEST = (
    "tests/test_net.py::TestA::test_b[resnet18-0.5-a b]",
    "layer4.1.conv2",
    "aten::add",
    "a | b `c` # d ## e",
    "ünïcödé 模型 😀",
    "C:\\new\\text",
)
COMMANDS = re.compile(r"^\s*::|##(\[|vso\[|teamcity\[)", re.IGNORECASE)

each_hostile = pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)


def require_harmless(text: str, lines: int) -> None:
    """So many lines as with any other field, and nothing in them that is more than text."""
    assert len(text.split("\n")) == lines
    for line in text.split("\n"):
        assert line.isprintable()
        assert not COMMANDS.search(line)


@pytest.mark.parametrize("text", HONEST)
def test_what_is_only_text_stays_as_it_is(text):
    assert printable(text) == text
    assert printable({text: [text, (text,)]}) == {text: [text, (text,)]}
    assert printable_json(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)


@each_hostile
def test_it_becomes_one_harmless_line_and_stays_that(hostile):
    require_harmless(printable(hostile), 1)
    assert printable(printable(hostile)) == printable(hostile)


@each_hostile
def test_json_says_the_same_and_commands_nothing(hostile):
    text = printable_json(json.dumps({hostile: hostile}, indent=1, ensure_ascii=False))
    assert json.loads(text) == {hostile: hostile}
    assert all(line.isprintable() and not COMMANDS.search(line) for line in text.split("\n"))
    text.encode()


def entry(field: str = "a", **changed):
    row = {
        "nodeid": field,
        "view": field,
        "name": field,
        "variant": None,
        "status": "drift",
        "seconds": 0.1,
        "message": "",
        "layers": {"compared": 2, "drifted": 1},
        "error": 1.0,
        "tolerance": 0.5,
        "first_divergence": {"layer": field, "class": field, "call": 0, "error": 1.0, "tolerance": 0.5},
        "cause": "weights",
        "environment_changes": {field: [field, field]},
        "device": "cpu",
        "baseline": f"baselines/{field}.json",
        "candidate": f"{field}.json",
        "candidate_sha256": None,
        "baseline_sha256": None,
        "tensorboard_tags": [field],
        "commands": {"accept": f"modelviz accept {field}"},
    }
    return CheckResult.from_json({**row, **changed})


def findings(text: str, count: int = 1):
    found = [example(family, text) for family in FAMILIES for _ in range(count)]
    numbered = [
        dataclasses.replace(finding, layer=f"{text}{at % count or ''}") if hasattr(finding, "layer") else finding
        for at, finding in enumerate(found)
    ]
    return [*numbered, OutputsFinding(2, (f".{text}",))]


@each_hostile
@pytest.mark.parametrize("status", ["drift", "missing", "unstable", "unreadable", "match"])
@pytest.mark.parametrize("count", [1, 4])
def test_reports_of_a_check(hostile, status, count):
    def told(field: str) -> str:
        commands = (f"--rootdir={quoted(field)} {quoted(field)}", quoted(field))
        row = entry(field, status=status, cause="weights" if status == "drift" else None)
        return explain(row, findings(field, count), reason=field, commands=commands, notes=[field], whole=True)

    require_harmless(told(hostile), told("a").count("\n") + 1)


@each_hostile
def test_last_lines_of_a_run(hostile):
    def told(field: str) -> str:
        orphan = OrphanRecord(field, field, field, None, field, None, None, renamed_to=f"{field}2")
        quiet = entry(field, status="match", message=explain(entry(field, status="match"), notes=[field]))
        run = TerminalSummary(
            totals={"match": 1, "drift": 1, "not_compared": 1},
            results=[quiet, entry(field)],
            orphans=[orphan, dataclasses.replace(orphan, nodeid=f"{field}3", new_has_baseline=True)],
            lost=[field],
            folder=field,
            run_id="R",
            review=command_line(["--from", field]),
            has_report=True,
            written=False,
        )
        return "\n".join(line for line, _ in summary_lines(run))

    require_harmless(told(hostile), told("a").count("\n") + 1)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Makes a results folder, as somebody who means harm would, in the project where we are."""
    monkeypatch.chdir(tmp_path)

    def make(field: str) -> ResultsFolder:
        shutil.rmtree(tmp_path / ".modelviz", ignore_errors=True)
        folder = ResultsFolder(tmp_path / ".modelviz")
        run = RunFacts(field, field, field, field, field, workers=1, lost_workers=(field,), project=field)
        orphan = OrphanRecord(field, field, field, None, field, None, None, sources={field: field}, renamed_to=field)
        checks = (
            entry(field, message=f"{field}\n{field}\n  accept    modelviz accept {field}"),
            entry(field, name=f"{field}2", status="unreadable", cause=None),
            entry(field, name=f"{field}3", status="match", message=field),
        )
        folder.write(RunResult(run, checks, orphans=(orphan,)))
        return folder

    return make


@each_hostile
def test_results_json_reads_as_it_was_written(hostile, results):
    folder = results(hostile)
    assert folder.read().checks[0].nodeid == hostile
    assert all(line.isprintable() for line in folder.results.read_text("utf-8").split("\n"))


@each_hostile
@pytest.mark.parametrize(
    "command",
    [
        *("list", "list --all", "list --all --json", "list x", "show --json", "accept", "accept --json", "orphans"),
        *("reject", "prune x", "accept --run x", "accept --baseline-dir elsewhere"),
    ],
)
def test_the_command_line(hostile, command, results):
    def told(field: str) -> str:
        results(field)
        done = CliRunner().invoke(main, command.split(), catch_exceptions=False)
        return done.output

    require_harmless(told(hostile), told("a").count("\n") + 1)


@each_hostile
def test_a_report_that_is_shown_again_stays_indented(hostile, results):
    """The message is a text of several lines by its nature; none of them can look like another report's."""
    results(hostile)
    output = CliRunner().invoke(main, ["show"], catch_exceptions=False).output
    for line in output.split("\n"):
        assert line.isprintable()
        assert not COMMANDS.search(line)
        assert line == "" or line.startswith(("  ", printable(hostile), "warning: a worker of the last run died: "))


@pytest.mark.parametrize("printed", ["e", "", " ", "drifted", 1, None, ["e"]])
def test_a_report_is_only_changed_where_its_command_stands(printed, results):
    folder = results("a")
    document = json.loads(folder.results.read_text())
    check = {**document["checks"][0], "message": "a drifted\n  evidence  e", "commands": {"accept": printed}}
    folder.results.write_text(json.dumps({**document, "checks": [check]}))
    assert "a drifted\n  evidence  e\n" in CliRunner().invoke(main, ["show"], catch_exceptions=False).output


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, tuple(sorted(name for name, _ in attrs))))


@each_hostile
def test_report_html(hostile, results):
    def told(field: str):
        text = write_report(results(field)).read_text("utf-8")
        tags = _Tags()
        tags.feed(text)
        return tags.found, text

    found, text = told(hostile)
    assert found == told("a")[0]
    assert all(line.isprintable() for line in text.split("\n"))


@each_hostile
def test_tensorboard(hostile, tmp_path, monkeypatch):
    texts = []
    writer = tensorboard.SummaryWriter
    monkeypatch.setattr(writer, "add_text", lambda self, tag, text, step: texts.append((tag, text)))
    events = EventFiles(tmp_path / "events")
    events.text(hostile, f"feature_maps drifted\n  evidence  {hostile}")
    tag = events.show(hostile, Curve(hostile, {hostile: [1.0]}))
    events.show("t", Graph(hostile, (Node(hostile, hostile, (hostile,), (1,), {hostile: hostile}),)))
    events.close()
    require_harmless(tag, 1)
    ((tag, text),) = texts
    require_harmless(tag, 1)
    tags = _Tags()
    tags.feed(markdown_to_safe_html(text))
    assert [name for name, _ in tags.found] == ["pre", "code"]


@each_hostile
def test_summary_in_tensorboard(hostile):
    def told(field: str) -> tuple[str, list[str]]:
        facts = RunFacts(field, field, field, field, field, 1, commit=field, branch=field)
        checks = [
            drift_of(field),
            dataclasses.replace(drift_of(field), status=Status.MISSING, name=f"{field} 2"),
        ]
        text = run_markdown(RunResult(facts, tuple(checks)), quoted(field), 1)
        tags = _Tags()
        tags.feed(markdown_to_safe_html(text))
        return text, [name for name, _ in tags.found]

    text, tags = told(hostile)
    assert tags == told("a")[1]
    require_harmless(text, told("a")[0].count("\n") + 1)


def drift_of(field: str) -> CheckResult:
    return CheckResult(
        nodeid=field,
        view=field,
        name=field,
        status=Status.DRIFT,
        message=f"{printable(field)} drifted",
        first_divergence=Divergence(field, field, 0, 1.0, 0.1),
        cause=Cause.WEIGHTS,
        baseline=field,
        candidate=field,
    )


@each_hostile
def test_pictures(hostile):
    assert labelled(np.zeros((4, 4, 3), np.uint8), hostile, hostile[::-1]).shape[0] == 4 + 2 * 16


class TestCommands:
    """A command that is printed is copied into a shell: it is one line, and runs nothing but itself."""

    @pytest.fixture
    def arguments(self):
        bash = shutil.which("bash")
        if bash is None:
            pytest.skip("needs bash")

        def run(command: str) -> list[bytes]:
            script = f"modelviz() {{ printf '%s\\0' \"$@\"; }}\n{command}\n"
            environment = {**os.environ, "LC_ALL": "C.UTF-8"}
            done = subprocess.run(
                [bash, "-c", script.encode()], capture_output=True, check=True, env=environment, timeout=20
            )
            assert done.stderr == b""
            return done.stdout.split(b"\0")[:-1]

        return run

    @pytest.mark.parametrize(
        "word",
        [
            *HONEST,
            *(text for text in HOSTILE.values() if "\0" not in text and "\ud800" not in text),
            *("a\ntouch x", "'; touch x #\n", "$(touch x)`touch x`\t", "it's\x07\\", "\udcff\x01f", "##\n##[a"),
        ],
    )
    def test_words_arrive_as_they_are(self, word, arguments):
        line = f"modelviz {command_line(['accept', word])}"
        require_harmless(line, 1)
        assert arguments(line) == [b"accept", os.fsencode(word)]

    @pytest.mark.parametrize("folder", ["a b", "a\nb", "it's", "a\"b'c\n", "$'x'"])
    def test_options_are_carried_over(self, folder, arguments):
        options = command_line(["--run", "R", "--rootdir", folder, "--baseline-dir", f"{folder}2"])
        line = move_command("t.py::old\n", "t.py::new", options=options)
        require_harmless(line, 1)
        wanted = ["mv", "--rootdir", folder, "--baseline-dir", f"{folder}2", "t.py::old\n", "t.py::new"]
        assert arguments(line) == [os.fsencode(word) for word in wanted]

    @pytest.mark.parametrize("text", HONEST)
    def test_honest_words_are_quoted_as_python_does(self, text):
        import shlex

        assert quoted(text) == shlex.quote(text)
