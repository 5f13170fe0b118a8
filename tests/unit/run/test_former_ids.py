"""A baseline under the id that an earlier version gave to a test: when it is compared, and when it is only told of."""

import dataclasses

import numpy as np
import pytest

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import Status
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.run import comparison
from pytest_modelviz.run.check import Check
from pytest_modelviz.run.session import Session
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store

FORMER, NODEID = "test_net.py::test", "../b/test_net.py::test"
COMMAND = f"modelviz mv {FORMER} {NODEID}"
ITS_OWN = f"its baseline has the id that an earlier version gave to this test; to bring it up to date: {COMMAND}"
PERHAPS = f"if it is this test's: {COMMAND}"


def number(value):
    return Capture("fake", {}, {"value": np.float64([value])})


class FakeView:
    """Captures 1.0, and compares without a tolerance."""

    view = "fake"

    def capture(self):
        return number(1.0)

    def compare(self, baseline, actual, tolerances):
        return Verdict.match(compared=1) if baseline.arrays["value"] == actual.arrays["value"] else Verdict.drift()

    def picture(self, actual, baseline=None, verdict=None):
        return []

    def describe(self, actual):
        return "a number"


@pytest.fixture(autouse=True)
def _no_torch(monkeypatch):
    monkeypatch.setattr(comparison, "capture_with_other_randomness", lambda view, first: view.capture())


class Project:
    """A project whose test has another id than it had; `stored` are the ids under which there is a baseline."""

    def __init__(self, root, stored, variant=None):
        settings = Settings(Mode.COMPARE, root, root / "baselines", root / ".modelviz", variant=variant)
        self.check = Check(NODEID, "test", NODEID, "n", FakeView(), settings, former_nodeid=FORMER)
        self.store = Store(root / "baselines")
        for nodeid, value in stored.items():
            self.store.save(Location.of(nodeid, "n"), number(value), nodeid=nodeid, name="n")

    def compared(self, **former):
        check = dataclasses.replace(self.check, **former)
        result = Session("run").check(check)[1]
        return result, [note for note in (ITS_OWN, PERHAPS) if note in result.message]


@pytest.mark.parametrize("variant", [None, "gpu"])
@pytest.mark.parametrize(
    ("stored", "former", "status", "notes"),
    [
        ({FORMER: 1.0}, {"is_former": True}, Status.MATCH, [ITS_OWN]),
        ({FORMER: 2.0}, {"is_former": True}, Status.DRIFT, [ITS_OWN]),
        ({FORMER: 1.0}, {}, Status.MISSING, [PERHAPS]),
        ({FORMER: 1.0}, {"is_former_taken": True}, Status.MISSING, []),
        ({FORMER: 1.0}, {"former_nodeid": None}, Status.MISSING, []),
        ({FORMER: 1.0, NODEID: 1.0}, {}, Status.MATCH, []),
        ({FORMER: 2.0, NODEID: 1.0}, {"is_former": True}, Status.MATCH, []),
        ({FORMER: 1.0, NODEID: 2.0}, {"is_former": True}, Status.DRIFT, []),
        ({}, {"is_former": True}, Status.MISSING, []),
        ({}, {}, Status.MISSING, []),
        ({}, {"is_former_taken": True}, Status.MISSING, []),
    ],
)
def test_what_a_baseline_of_the_former_id_counts_for(tmp_path, stored, former, status, notes, variant):
    result, told = Project(tmp_path, stored, variant).compared(**former)
    assert (result.status, told) == (status, notes)
    is_compared = notes == [ITS_OWN]
    assert result.former_nodeid == (FORMER if is_compared else None)
