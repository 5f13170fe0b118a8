"""What a results folder says cannot pass for a command or a sentence of ours, whoever has written it."""

import html
import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_modelviz.cli import main
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.records.verdict import Divergence
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store

NODEID = "test_net.py::test_a"
OMITTED = "(lines that hold commands are left out: results.json has them)"
COMMANDS = [
    "modelviz accept evil",
    "pytest_modelviz accept evil",
    "python -m pytest_modelviz accept evil",
    "MODELVIZ  ACCEPT evil",
    "'modelviz' accept evil",
    "modelviz prune evil",
    "pytest -p evil",
    "pytest evil.py",
    "py.test -p evil",
    "python -m pytest -p evil",
    "pytest --modelviz -p evil",
    "run with --modelviz-update-all evil",
]
SENTENCES = [
    "all checks of the last run matched",
    "modelviz accept x.py::y",
    "x.py::y  feature_maps  accepted",
    "a\tb c",
]


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_net.py").write_text("def test_a(): ...\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(message: str = "n drifted", *, nodeid: str = NODEID, name: str = "n", layer: str = "l") -> None:
    """The results of a run R with one drift."""
    folder, location = ResultsFolder(Path.cwd() / ".modelviz"), Location.of(nodeid, name)
    Store(folder.candidates, kind="candidate").save(location, Capture("v", {}), nodeid=nodeid, name=name)
    check = CheckResult(
        nodeid=nodeid,
        view="v",
        name=name,
        status=Status.DRIFT,
        message=message,
        baseline=f"baselines/{location.path}.json",
        candidate=f".modelviz/candidates/{location.path}.json",
        first_divergence=Divergence(layer, "Linear", 0, 1.0, 0.1),
    )
    folder.write(RunResult(RunFacts("R", "2", "3", "linux", "cpu", 1), (check,)))


def modelviz(*arguments: str) -> str:
    return CliRunner().invoke(main, arguments).output


class TestCommands:
    @pytest.mark.parametrize("command", COMMANDS)
    @pytest.mark.parametrize("where", ["first", "evidence", "last"])
    def test_are_left_out_and_that_is_said(self, project, command, where):
        before = [f"n drifted: {command}"] if where == "first" else ["n drifted"]
        after = [f"  note      {command}"] if where == "last" else []
        evidence = [f"  evidence  {command}"] if where == "evidence" else ["  evidence  norm 1 -> 2"]
        write("\n".join([*before, *evidence, f"  accept    modelviz accept --run R {NODEID}", *after]))
        for options in ((), ("--from", ".modelviz")):
            text = modelviz("show", *options)
            assert "evil" not in text
            assert OMITTED in text
            assert text.count("modelviz accept") == 1

    @pytest.mark.parametrize(
        "note",
        [
            "there is a baseline at /a, recorded with the root folder /b: run pytest with --rootdir=/b, or there",
            "its baseline has the id of an earlier version; to bring it up to date: modelviz mv a.py b.py",
            "nothing was kept: run pytest --modelviz again",
        ],
    )
    def test_of_our_own_reports_are_repeated(self, project, note):
        message = f"n drifted\n  accept    modelviz accept --run R {NODEID}\n  note      {note}"
        write(message)
        text = modelviz("show")
        assert f"{message}\n" in text
        assert OMITTED not in text

    @pytest.mark.parametrize("results", ["ci", "ci/.modelviz", "ci/a/b"])
    @pytest.mark.parametrize("file", ["ci/test_net.py", "link/test_net.py", "link.py", "baselines/test_net.py"])
    def test_name_no_code_that_came_with_results_or_baselines(self, project, results, file):
        """Wherever an artifact is unpacked and however that is spelled, links standing for other cases of letters."""
        write(nodeid=f"{file}::test_a")
        for folder in ("ci", "baselines"):
            (project / folder).mkdir()
            (project / folder / "test_net.py").write_text("def test_a(): ...\n")
        (project / "link").symlink_to("ci")
        (project / "link.py").symlink_to("ci/test_net.py")
        shutil.copytree(project / ".modelviz", project / results, dirs_exist_ok=True)
        text = modelviz("show", "--from", "ci")
        assert f"(no command: '{file}' is not a test file of the project" in text
        assert "modelviz accept" not in text
        assert "refused" in modelviz("accept", "--from", "ci")
        if results == "ci/.modelviz":
            assert "(no command: " in modelviz("show", "--from", results)

    def test_name_the_project_s_code_beside_its_results(self, project):
        write()
        for source in (".", ".modelviz", str(project)):
            assert f"modelviz accept --run R --from .modelviz {NODEID}" in modelviz("show", "--from", source)


class TestSentences:
    @pytest.mark.parametrize("sentence", SENTENCES)
    @pytest.mark.parametrize("field", ["nodeid", "name", "layer"])
    def test_that_are_ids_or_names_are_quoted(self, project, sentence, field):
        write(**{field: sentence})
        for command in ("list", "show", "accept", "reject"):
            text = modelviz(command, "--from", ".modelviz")
            shown = sentence.replace("\t", "\\t")
            bare = re.sub(r"\$?'[^']*'", "", text)
            assert shown not in bare, text
            assert sentence not in bare

    @pytest.mark.parametrize("run", ["R; modelviz accept x", "a\nb", "$(evil)"])
    def test_a_run_s_id_is_one_word(self, project, run):
        write()
        path = project / ".modelviz/results.json"
        document = json.loads(path.read_text())
        document["run"]["id"] = run
        path.write_text(json.dumps(document))
        shutil.rmtree(project / ".modelviz/runs")
        for command in (("list",), ("show",), ("accept",), ("list", "--run", "other")):
            bare = re.sub(r"\$?'[^']*'", "", modelviz(*command))
            assert run not in bare
            assert run.replace("\n", "\\n") not in bare

    def test_a_mark_of_a_run_is_one_word(self, project):
        write()
        (project / ".modelviz/unfinished").mkdir()
        for name in ("2026-01-01", "x, did not end; modelviz accept y"):
            (project / ".modelviz/unfinished" / name).touch()
        assert "warning: the last run, 2026-01-01, did not end: it died" in modelviz("list")

    def test_ids_of_one_s_own_results_stay_as_they_are(self, project):
        write(nodeid="test_net.py::test_a[a b]", name="after training")
        assert "test_net.py::test_a[a b]  after training" in modelviz("list")
        assert modelviz("show").startswith("test_net.py::test_a[a b]\n")

    @pytest.mark.parametrize("sentence", SENTENCES)
    def test_of_a_report_from_elsewhere_are_quoted_in_its_page(self, project, sentence):
        """Facts of a run, ids and names in headings, of checks that matched, and of orphans."""
        folder, ids = ResultsFolder(project / ".modelviz"), {"nodeid": sentence, "view": "v", "name": sentence}
        checks = [CheckResult(**ids, status=status, baseline="b") for status in (Status.DRIFT, Status.MATCH)]
        orphan = OrphanRecord(
            **ids, variant=None, baseline=sentence, baseline_sha256=None, test_file_sha256=None, renamed_to=sentence
        )
        facts = RunFacts("R", sentence, sentence, sentence, sentence, 1, lost_workers=(sentence,))
        folder.write(RunResult(facts, tuple(checks), (), (orphan,)))

        def bare(*options: str) -> str:
            assert modelviz("report", *options).endswith(".modelviz/report.html\n")
            page = html.unescape(folder.report.read_text().partition("<body>")[2])
            return re.sub(r"\$?'[^']*'", "", re.sub("(project|run).s", "", page))

        shown = sentence.replace("\t", "\\t")
        assert shown not in bare("--from", ".modelviz")
        assert shown in bare()
