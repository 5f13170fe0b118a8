"""What is removed only if it is still what was judged, and which files may have brought a test back."""

import dataclasses
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.review.orphaned import without_file
from pytest_modelviz.review.pruning import _newer_file, prune_all
from pytest_modelviz.review.review import Decision, Review
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.orphans import file_digest
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store

NODEID = "test_net.py::test_a"


class Orphaned:
    """A project with one baseline, whose test is gone from its file."""

    def __init__(self, root: Path, nodeid: str = NODEID) -> None:
        self.root, self.store, self.results = root, Store(root / "baselines"), ResultsFolder(root / ".modelviz")
        self.nodeid, self.where = nodeid, Location.of(nodeid, "n")
        (root / "test_net.py").write_text("def test_b(): ...\n")
        self.save(1.0)
        digest, path = self.store.digest(self.where), self.store.display_path(self.where)
        self.orphan = OrphanRecord(nodeid, "v", "n", None, path, digest, file_digest(root, nodeid))
        self.results.write(RunResult(RunFacts("R", "2", "3", "linux", "cpu", 1), (), orphans=(self.orphan,)))

    def save(self, value: float) -> None:
        self.store.save(self.where, Capture("v", {"peak": value}), nodeid=self.nodeid, name="n")

    def prune(self, named: Sequence[str] = (), **judged: object) -> Decision:
        review = Review([self.results], self.results, self.root, self.root / "baselines")
        (decision,) = prune_all(review, [dataclasses.replace(self.orphan, **judged)], named=named)
        return decision

    @property
    def copies(self) -> list[str]:
        return sorted(path.name for path in self.results.pruned.rglob("*") if path.is_file())


@pytest.fixture
def orphaned(tmp_path):
    return Orphaned(tmp_path)


def test_what_was_judged_is_removed_and_a_copy_stays(orphaned):
    assert orphaned.prune() == Decision(NODEID, "n", "removed", path=orphaned.orphan.baseline)
    assert orphaned.store.digest(orphaned.where) is None
    assert orphaned.copies == ["n.json"]


@pytest.mark.parametrize("since", ["recorded anew", "removed", "of no known digest"])
def test_what_is_not_what_was_judged_stays_and_leaves_no_copy(orphaned, since):
    """Another process may have recorded or removed it; older results may not say what they judged."""
    if since == "recorded anew":
        orphaned.save(2.0)
    elif since == "removed":
        orphaned.store.remove(orphaned.where, expected_digest=orphaned.orphan.baseline_sha256)
    before = orphaned.store.digest(orphaned.where)
    decision = orphaned.prune(**({"baseline_sha256": None} if since == "of no known digest" else {}))
    assert (decision.done, decision.reason) == ("refused", "it has changed since: run pytest --modelviz again")
    assert orphaned.store.digest(orphaned.where) == before
    assert orphaned.copies == []


@pytest.mark.parametrize(
    ("nodeid", "source", "was_collected", "reason"),
    [
        ("t.py::test_a", "", True, ""),
        ("t.py::test_a", "def test_a(): ...", True, "its function is still in its file"),
        ("t.py::test_a", "def test_a(): ...", False, "its function is still in its file"),
        ("t.py::test_a[1]", "def test_a(): ...", False, "its function is still in its file"),
        ("t.py::test_a[1]", "", True, ""),
        # all that is gone are parameters, and a file that is newer than the results may bring them back
        ("t.py::test_a[1]", "def test_a(): ...", True, "its function is still there, and its parameters"),
        (
            "t.py::test_a[1]",
            "from elsewhere import *",
            True,
            "its function is still there, and its parameters",
        ),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_a_test_that_may_be_back_stays_unless_it_is_named(tmp_path, nodeid, source, was_collected, reason, named):
    project = Orphaned(tmp_path, nodeid)
    (tmp_path / "t.py").write_text(source)
    os.utime(project.results.results, (0, 0))
    (tmp_path / "data.csv").touch()
    judged = {"test_file_sha256": file_digest(tmp_path, nodeid), "function_was_collected": was_collected}
    decision = project.prune([nodeid] if named else [], **judged)
    assert decision.done == ("refused" if reason and not named else "removed")
    assert decision.reason.startswith("" if named else reason)


@pytest.mark.parametrize("where", ["own", "elsewhere", "elsewhere, of another test"])
def test_a_test_without_a_file_that_a_run_from_elsewhere_has_checked_stays(tmp_path, where):
    """That run is of other files than these; the project's own last run may be older than the removal of the file."""
    project = Orphaned(tmp_path, "gone.py::test_a")
    nodeid = "gone.py::test_b" if "another" in where else project.nodeid
    check = CheckResult(nodeid=nodeid, view="v", name="n", status=Status.MATCH, baseline="b")
    results = project.results if where == "own" else ResultsFolder(tmp_path / "ci")
    results.write(RunResult(RunFacts("R", "2", "3", "linux", "cpu", 1), (check,)))
    review = Review([results], project.results, tmp_path, tmp_path / "baselines")
    (decision,) = prune_all(review, without_file(review), named=[project.nodeid])
    assert decision.done == ("refused" if where == "elsewhere" else "removed")
    assert decision.reason.startswith("run R has checked this test, whose file is not in" if decision.refused else "")


@pytest.mark.parametrize(
    ("modified", "since", "is_newer"), [(-60, -30, True), (-60, 60, False), (60, 30, True), (60, 60, False)]
)
def test_a_file_is_newer_by_when_it_was_changed_or_came(tmp_path, modified, since, is_newer):
    """In seconds from when it came. What was moved here, or unpacked, keeps the time at which it was changed."""
    data = tmp_path / "data.csv"
    data.touch()
    came = int(data.stat().st_ctime)
    os.utime(data, (came, came + modified))
    assert _newer_file(tmp_path, came + since, ()) == (Path("data.csv") if is_newer else None)


@pytest.mark.parametrize("folder", [".cache", "node_modules", "__pycache__", "results"])
def test_some_folders_hold_no_data(tmp_path, folder):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "data.csv").touch()
    assert _newer_file(tmp_path, 0.0, [tmp_path / "results"]) is None


@pytest.mark.parametrize("rules", ["*", "*\n", "\n *\n"])
def test_a_folder_that_hides_itself_holds_no_data(tmp_path, rules):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/.gitignore").write_text(rules)
    (tmp_path / "cache/data.csv").touch()
    assert _newer_file(tmp_path, 0.0, ()) is None


@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "folder", "size", "nothing"])
def test_rules_for_git_that_are_no_file_hide_nothing_and_take_no_time(tmp_path, kind):
    (tmp_path / "art").mkdir()
    rules = tmp_path / "art/.gitignore"
    if kind == "pipe":
        os.mkfifo(rules)
    elif kind == "folder":
        rules.mkdir()
    elif kind == "size":
        with rules.open("wb") as file:
            file.truncate(2**33)
    else:
        rules.symlink_to({"device": "/dev/zero", "loop": rules, "nothing": tmp_path / "nothing"}[kind])
    (tmp_path / "art/data.csv").touch()
    found: list[Path | None] = []
    search = threading.Thread(target=lambda: found.append(_newer_file(tmp_path, 0.0, ())), daemon=True)
    search.start()
    search.join(10)
    assert found == [Path("art/data.csv")]
