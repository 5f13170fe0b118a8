"""Runs of one check that have captured different things: none is accepted before somebody chooses."""

import pytest

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.review.acceptance import accept_all
from pytest_modelviz.review.review import Review
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store

NODEID = "t.py::test"
WHERE = Location.of(NODEID, "n")


class Shards:
    """Results folders of runs A, B, ... that have captured a number each, of a check without a baseline."""

    def __init__(self, root):
        self.root, self.folders = root, []
        (root / "t.py").write_text("def test(): ...\n")

    def add(self, value, status=Status.MISSING):
        run_id = "ABC"[len(self.folders)]
        folder = ResultsFolder(self.root / run_id)
        store = Store(folder.candidates, kind="candidate")
        store.save(WHERE, Capture("v", {"peak": value}), nodeid=NODEID, name="n")
        check = CheckResult(
            nodeid=NODEID,
            view="v",
            name="n",
            status=status,
            baseline=f"baselines/{WHERE.path}.json",
            candidate=None if status is Status.MATCH else "c.json",
            candidate_sha256=None if status is Status.MATCH else store.digest(WHERE),
        )
        folder.write(RunResult(RunFacts(run_id, "2", "3", "linux", "cpu", 1), (check,)))
        self.folders.append(folder)

    def accept(self, *wanted):
        home = ResultsFolder(self.root / ".modelviz")
        review = Review(self.folders, home, self.root, self.root / "baselines", wanted=wanted)
        decisions = accept_all(review, review.chosen([]))
        return [(decision.done, decision.reason) for decision in decisions]

    @property
    def recorded(self):
        document = Store(self.root / "baselines").ids(WHERE.path)
        return None if document is None else document["facts"]["peak"]


@pytest.fixture
def shards(tmp_path):
    return Shards(tmp_path)


def test_captures_that_differ_are_refused_until_a_run_is_chosen(shards):
    for value in (1.0, 2.0):
        shards.add(value)
    reason = "runs A and B captured it differently: choose one with --run"
    assert shards.accept() == [("refused", reason)] * 2
    assert shards.recorded is None
    assert shards.accept("B") == [("accepted", "")]
    assert shards.recorded == 2.0


def test_captures_that_are_the_same_are_one(shards):
    for _ in range(2):
        shards.add(1.0)
    assert shards.accept() == [("accepted", ""), ("already accepted", "")]
    assert shards.recorded == 1.0


def test_a_run_that_found_a_match_speaks_against_a_drift_of_another(shards):
    shards.add(1.0)
    shards.add(1.0, Status.MATCH)
    reason = "run B found that it matches: use --run A to accept that run's capture"
    assert shards.accept() == [("refused", reason)]
    assert shards.accept("A") == [("accepted", "")]
