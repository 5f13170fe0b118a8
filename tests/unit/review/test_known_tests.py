"""Which tests the runs, or what is stored, tell of."""

from pathlib import Path

import pytest

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.review.review import Review
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store


def run(run_id: str, nodeid: str, *orphans: str, former: str | None = None) -> RunResult:
    check = CheckResult(nodeid=nodeid, view="v", name="n", status=Status.MATCH, baseline="b.json", former_nodeid=former)
    records = tuple(OrphanRecord(orphan, "v", "n", None, "b.json", None, None) for orphan in orphans)
    return RunResult(RunFacts(run_id, "2", "3", "linux", "cpu", 1), (check,), orphans=records)


@pytest.fixture
def review(tmp_path: Path) -> Review:
    """Two runs in two folders, of which one is wanted, a baseline and a candidate."""
    folders = [ResultsFolder(tmp_path / name) for name in ("a", "b")]
    folders[0].write(run("A", "t.py::checked", "t.py::gone", former="old.py::checked"))
    folders[1].write(run("B", "t.py::of_another_run", "u.py::gone", "[tu].py"))
    stores = {"baseline": Store(tmp_path / "baselines"), "candidate": Store(folders[1].candidates, kind="candidate")}
    for kind, store in stores.items():
        nodeid = f"t.py::with_a_{kind}"
        store.save(Location.of(nodeid, "n"), Capture("v", {}), nodeid=nodeid, name="n")
    return Review(folders, folders[0], tmp_path, tmp_path / "baselines", wanted=["A"])


@pytest.mark.parametrize(
    "nodeid",
    [
        *("t.py::checked", "old.py::checked", "t.py::gone", "t.py::of_another_run", "u.py::gone"),
        *("t.py::with_a_baseline", "t.py::with_a_candidate"),
    ],
)
def test_a_test_that_was_checked_or_is_stored_is_known(review, nodeid):
    assert review.knows(nodeid)


@pytest.mark.parametrize("nodeid", ["t.py::other", "t.py::check*", "old.py::gone", "t.py", "checked", "b.json", ""])
def test_others_are_not(review, nodeid):
    assert not review.knows(nodeid)


def test_what_is_no_test_id_is_not(review):
    """Results are untrusted: a glob for files must stay one."""
    assert not review.knows("[tu].py")
