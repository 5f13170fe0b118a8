"""The update policy, as one table: mode of the run x state of the baseline x verdict, by a view that is no model's."""

import dataclasses

import numpy as np
import pytest

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import Status
from pytest_modelviz.records.verdict import Cause, Verdict
from pytest_modelviz.run import comparison
from pytest_modelviz.run.check import Check
from pytest_modelviz.run.policy import BaselineState, intended_status
from pytest_modelviz.run.session import Session
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store

NODEID = "t.py::test"
BASELINE = 1.0
CAPTURED = {"noise": 1 + 1e-8, "match": 1.5, "drift": 6.0, "unstable": 6.0}  # a difference of 1 is allowed
MODES = (Mode.COMPARE, Mode.UPDATE_MISSING, Mode.UPDATE, Mode.UPDATE_ALL)

# What a check comes to in each of these modes. "kept": it is recorded, and no byte of its files changes.
TABLE = {
    ("none", "match"): "missing recorded recorded recorded",
    ("none", "unstable"): "missing unstable unstable unstable",
    ("own", "noise"): "match match match kept",
    ("own", "match"): "match match match recorded",
    ("own", "drift"): "drift drift recorded recorded",
    ("own", "unstable"): "unstable unstable unstable unstable",
    # a variant that has no baseline of its own: what is recorded is what was captured, never the common baseline
    ("common", "noise"): "match match match recorded",
    ("common", "match"): "match match match recorded",
    ("common", "drift"): "drift drift recorded recorded",
    ("common", "unstable"): "unstable unstable unstable unstable",
    ("unreadable", "match"): "unreadable unreadable unreadable recorded",
    ("unreadable", "unstable"): "unreadable unreadable unreadable unstable",
    ("foreign", "match"): "unreadable unreadable unreadable recorded",
    ("foreign", "unstable"): "unreadable unreadable unreadable unstable",
    ("of another view", "match"): "unreadable unreadable unreadable recorded",
    # running the same test once more does not replace what this run has recorded or found to match
    ("decided now", "noise"): "- match match match",
    ("decided now", "match"): "- match match match",
    ("decided now", "drift"): "- drift drift drift",
    ("decided now", "unstable"): "- unstable unstable unstable",
}


def number(value, view="fake"):
    return Capture(view, {}, {"value": np.float64([value])})


def number_in(capture):
    return capture.arrays["value"].item()


class FakeView:
    """Captures a number. An unstable one is another number each time."""

    view = "fake"

    def __init__(self, value, step=0.0):
        self.value, self.step = value, step

    def capture(self):
        self.value += self.step
        return number(self.value)

    def compare(self, baseline, actual, tolerances):
        error = abs(number_in(baseline) - number_in(actual))
        matched = error <= tolerances.scale
        return Verdict(matched, 1, int(not matched), error, 1.0, cause=None if matched else "weights")

    def picture(self, actual, baseline=None, verdict=None):
        return []

    def describe(self, actual):
        return "a number"


class FakeEvents:
    """Keeps what is shown, or fails with an error."""

    def __init__(self, error=None):
        self.texts, self.error = {}, error

    def text(self, tag, text):
        if self.error is not None:
            raise self.error
        self.texts[tag] = text


class FakeSession(Session):
    def __init__(self, error=None):
        super().__init__("run")
        self.is_opened = False
        self.fake = FakeEvents(error)

    def events(self, settings):
        self.is_opened = True
        return self.fake


class Project:
    """A project with one check, whose baseline is in a state."""

    def __init__(self, root, state):
        self.state, self.session = state, FakeSession()
        self.settings = Settings(
            Mode.UPDATE, root, root / "baselines", root / ".modelviz", variant="gpu" if state == "common" else None
        )
        self.store = Store(root / "baselines")
        self.own = Location.of(NODEID, "n", self.settings.variant)
        self.path = root / f"baselines/{self.own.path}.json"
        self.candidate = root / f".modelviz/candidates/{self.own.path}.json"
        if state in ("own", "common"):
            self.save(self.own.common)
        elif state == "unreadable":
            self.save(self.own)
            self.path.write_bytes(b"{")
        elif state == "foreign":
            self.save(self.own, nodeid="t.py::test_other")
        elif state == "of another view":
            self.save(self.own, view="other")

    def save(self, location, *, nodeid=NODEID, view="fake"):
        self.store.save(location, number(BASELINE, view), nodeid=nodeid, name="n")

    def check(self, mode, view, session=None):
        settings = dataclasses.replace(self.settings, mode=mode)
        check = Check(NODEID, "test", NODEID, "n", view, settings)
        return (session or self.session).check(check)[1]

    def stored(self):
        return self.path.read_bytes() if self.path.exists() else None

    def value(self, location=None):
        return number_in(self.store.load(location or self.own, nodeid=NODEID, name="n").capture)


@pytest.fixture(autouse=True)
def _no_torch(monkeypatch):
    monkeypatch.setattr(comparison, "capture_with_other_randomness", lambda view, first: view.capture())


@pytest.mark.parametrize(
    ("state", "verdict", "mode", "outcome"),
    [
        (state, verdict, mode, outcome)
        for (state, verdict), outcomes in TABLE.items()
        for mode, outcome in zip(MODES, outcomes.split(), strict=True)
        if outcome != "-"
    ],
)
def test_what_becomes_of_a_check(tmp_path, state, verdict, mode, outcome):
    project = Project(tmp_path, state)
    if state == "decided now":
        assert project.check(mode, FakeView(BASELINE)).status is Status.RECORDED
    before = project.stored()
    view = FakeView(CAPTURED[verdict], step=10.0 if verdict == "unstable" else 0.0)
    captured = view.value + view.step
    result = project.check(mode, view)
    assert result.status == ("recorded" if outcome == "kept" else outcome)
    assert result.status.fails is (outcome not in ("match", "recorded", "kept"))
    if outcome == "recorded":
        assert project.value() == captured
        assert result.baseline.endswith(f"{project.own.path}.json")
    else:
        assert project.stored() == before
    if state == "common":
        assert project.value(project.own.common) == BASELINE
    is_kept = outcome in ("missing", "unreadable", "drift")
    assert (result.candidate is not None) == project.candidate.exists() == is_kept
    assert (result.accept_command is not None) == (outcome in ("missing", "drift"))
    assert result.cause is (Cause.WEIGHTS if outcome == "drift" else None)
    assert (result.error is not None) == (outcome in ("match", "drift", "unstable"))


@pytest.mark.parametrize("state", ["none", "own", "unreadable"])
def test_a_run_that_compares_nothing_writes_nothing(tmp_path, state):
    project = Project(tmp_path, state)
    before = project.stored()
    result = project.check(Mode.OFF, FakeView(CAPTURED["drift"]))
    assert (result.status, project.stored(), result.candidate) == (Status.NOT_COMPARED, before, None)
    assert not (tmp_path / ".modelviz").exists()


class TestWhereNothingCanBeShown:
    @pytest.mark.parametrize("verdict", ["match", "drift"])
    def test_a_verdict_is_a_verdict_all_the_same(self, tmp_path, verdict):
        project = Project(tmp_path, "own")
        session = FakeSession(ModelvizError("the disk is full"))
        result = project.check(Mode.COMPARE, FakeView(CAPTURED[verdict]), session)
        assert result.status == verdict
        assert ("its pictures could not be kept: the disk is full" in result.message) == (verdict == "drift")
        assert (result.candidate is not None) == (verdict == "drift")

    def test_any_other_error_is_not_hidden(self, tmp_path):
        project = Project(tmp_path, "own")
        with pytest.raises(RuntimeError, match="a bug"):
            project.check(Mode.COMPARE, FakeView(CAPTURED["drift"]), FakeSession(RuntimeError("a bug")))

    def test_a_match_opens_no_event_files(self, tmp_path):
        project = Project(tmp_path, "own")
        session = FakeSession()
        result = project.check(Mode.COMPARE, FakeView(CAPTURED["match"]), session)
        assert (result.status, session.is_opened) == (Status.MATCH, False)


@pytest.mark.parametrize("baseline", BaselineState)
@pytest.mark.parametrize("mode", MODES)
def test_only_update_all_replaces_what_matches_or_cannot_be_read(mode, baseline):
    replaces = intended_status(mode, baseline, matched=True) is Status.RECORDED
    may = baseline in (BaselineState.UNREADABLE, BaselineState.RECORDED_BEFORE)
    assert replaces == (may and mode is Mode.UPDATE_ALL) or baseline is BaselineState.MISSING


@pytest.mark.parametrize("key", ["moved_from", "approved_by"])
def test_an_update_of_all_keeps_no_file_with_a_key_that_no_recording_has(tmp_path, key):
    project = Project(tmp_path, "own")
    as_recorded = project.stored()
    project.path.write_bytes(as_recorded.replace(b"{", b'{\n  "%s": "t.py::test_old",' % key.encode(), 1))
    assert project.check(Mode.UPDATE, FakeView(BASELINE)).status is Status.MATCH
    assert key.encode() in project.stored()  # a match is left alone
    again = Project(tmp_path, "as it is")
    assert again.check(Mode.UPDATE_ALL, FakeView(BASELINE)).status is Status.RECORDED
    assert again.stored() == as_recorded


class Overtaken(FakeView):
    """While what it captured is about to be recorded, another process records something else."""

    def __init__(self, project, value):
        super().__init__(value)
        self.project = project

    def picture(self, actual, baseline=None, verdict=None):
        if baseline is None and self.project is not None:
            store, self.project = self.project.store, None
            store.save(Location.of(NODEID, "n"), number(100.0), nodeid=NODEID, name="n")
        return []


@pytest.mark.parametrize("state", ["none", "own", "unreadable"])
def test_what_another_process_has_recorded_meanwhile_stays_and_is_compared(tmp_path, state):
    project = Project(tmp_path, state)
    result = project.check(Mode.UPDATE_ALL, Overtaken(project, CAPTURED["drift"]))
    assert (result.status, result.error, project.value()) == (Status.DRIFT, 100.0 - CAPTURED["drift"], 100.0)
