"""What results from elsewhere say of tests that are gone, or have other ids, is judged by the project's own files."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_modelviz.cli import main
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult, Status, totals_of
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.reports.terminal_summary import TerminalSummary, summary_lines
from pytest_modelviz.storage.baseline_files import encode_files
from pytest_modelviz.storage.formats import text_sha256
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store

A, B, GONE = "test_net.py::test_a", "test_net.py::test_b", "test_net.py::test_gone"
EVIL = "ci/evil.py::test_x"
CODE = "def test_a(): ...\ndef test_b(): ...\n"


@pytest.fixture
def baselines(tmp_path, monkeypatch):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_net.py").write_text(CODE)
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci/evil.py").write_text("def test_x(): ...\n")
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "baselines")
    for nodeid in (A, GONE):
        save(store, nodeid)
    return store


def save(store: Store, nodeid: str, name: str = "n") -> None:
    store.save(Location.of(nodeid, name), Capture("v", {}), nodeid=nodeid, name=name)


def orphan(baselines: Store, nodeid: str, **others) -> OrphanRecord:
    digest = baselines.digest(Location.of(nodeid, "n"))
    return OrphanRecord(nodeid, "v", "n", None, "b", digest, text_sha256(Path("test_net.py").read_bytes()), **others)


def write(*orphans: OrphanRecord, checks: tuple[CheckResult, ...] = (), folder: str = "ci/.modelviz") -> None:
    ResultsFolder(Path(folder)).write(RunResult(RunFacts("R", "2", "3", "linux", "cpu", 1), checks, (), orphans))


def drift(nodeid: str, *, owner: str | None = None) -> CheckResult:
    """A drift whose candidate says that it is the `owner`'s."""
    location = Location.of(nodeid, "n")
    files = encode_files(location, Capture("v", {}), nodeid=owner or nodeid, name="n")
    Store(Path("ci/.modelviz/candidates"), kind="candidate").put(location, files)
    return CheckResult(
        nodeid=nodeid,
        view="v",
        name="n",
        status=Status.DRIFT,
        message="n drifted",
        baseline=f"baselines/{location.path}.json",
        candidate=f".modelviz/candidates/{location.path}.json",
        baseline_sha256=Store(Path("baselines")).digest(location),
        accept_command="modelviz accept x",
    )


def modelviz(*arguments: str) -> str:
    return CliRunner().invoke(main, arguments).output


class TestOrphans:
    def test_no_command_names_code_that_came_with_the_results(self, baselines):
        write(orphan(baselines, GONE, renamed_to=EVIL))
        assert modelviz("orphans", "--from", "ci").splitlines()[0] == f"{GONE}  n"
        assert json.loads(modelviz("orphans", "--json", "--from", "ci"))["orphans"][0]["renamed_to"] is None

    @pytest.mark.parametrize("new", ["test_net.py::test_none", "other.py::test_b", "./test_net.py::test_b"])
    def test_no_command_names_a_test_that_is_not_there(self, baselines, new):
        write(orphan(baselines, GONE, renamed_to=new))
        assert modelviz("orphans", "--from", "ci").splitlines()[0] == f"{GONE}  n"

    @pytest.mark.parametrize("has_baseline", [False, True])
    @pytest.mark.parametrize("new", [B, f"{A}[1]"])
    @pytest.mark.parametrize("old", [A, f"{A}[0]"])
    def test_no_command_prunes_or_moves_the_baseline_of_a_live_test(self, baselines, old, new, has_baseline):
        save(baselines, old)
        if has_baseline:
            save(baselines, new)
        write(orphan(baselines, old, renamed_to=new, function_is_there=False, new_has_baseline=has_baseline))
        line = modelviz("orphans", "--from", "ci").splitlines()[0]
        assert "is it now" in line
        assert "modelviz" not in line

    def test_a_test_that_is_gone_has_its_command(self, baselines):
        """The baselines say whether the new test has one, not the results."""
        write(orphan(baselines, GONE, renamed_to=B, new_has_baseline=True))
        assert modelviz("orphans", "--from", "ci").splitlines()[0].endswith(f"? modelviz mv {GONE} {B}")
        save(baselines, B)
        assert modelviz("orphans", "--from", "ci").splitlines()[0].endswith(f"? modelviz prune --from ci {GONE}")

    def test_one_s_own_run_knows_of_parameters(self, baselines):
        save(baselines, f"{A}[0]")
        write(orphan(baselines, f"{A}[0]", renamed_to=f"{A}[1]", function_is_there=True), folder=".modelviz")
        assert f"? modelviz mv '{A}[0]' '{A}[1]'" in modelviz("orphans")

    @pytest.mark.parametrize("sentence", ["modelviz accept x.py::y", "all checks matched"])
    def test_ids_of_baselines_are_no_sentences(self, baselines, sentence):
        nodeid = f"test_net.py::test_gone[{sentence}]"
        for name in ("n", sentence):
            save(baselines, nodeid, name)
        record = orphan(baselines, nodeid)
        write(record, folder=".modelviz")
        lines = [line for line, _ in summary_lines(TerminalSummary(totals_of([]), orphans=[record]))]
        lines += [line for line, _ in summary_lines(TerminalSummary(totals_of([]), not_made=[(A, sentence)]))]
        moved = modelviz("mv", "--dry-run", "test_net.py::test_gone", B)
        for test in ("test_gone", "test_b"):
            save(baselines, f"test_net.py::{test}[{sentence}]")
        taken = modelviz("mv", "test_net.py::test_gone", B)
        assert "already has a baseline" in taken
        for text in (taken, "\n".join(lines), modelviz("orphans"), modelviz("prune", "--dry-run"), moved):
            assert sentence in text
            assert sentence not in re.sub(r"\$?'[^']*'", "", text)


def test_no_refusal_holds_a_command_that_a_candidate_forged(baselines):
    write(checks=(drift(A, owner=EVIL),))
    text = modelviz("accept", "--from", "ci")
    assert "refused" in text
    assert f"belongs to another test, {EVIL}: run pytest --modelviz again" in text
    assert "modelviz mv" not in text


@pytest.mark.parametrize("command", ["list", "show"])
def test_json_names_no_code_that_came_with_the_results(baselines, command):
    write(checks=(drift(EVIL), drift(A)))
    checks = json.loads(modelviz(command, "--json", "--from", "ci"))["checks"]
    commands = {check["nodeid"]: check["commands"].get("accept") for check in checks}
    assert commands == {EVIL: None, A: f"modelviz accept --run R --from ci/.modelviz {A}"}
