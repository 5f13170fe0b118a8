"""What a run makes of results that several attempts at one test, in one process or several, have sent."""

import pytest

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.run.summary import RunSummary
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store


def recorded(digest, **changes):
    about = {
        "nodeid": "t.py::test",
        "view": "v",
        "name": "n",
        "status": Status.RECORDED,
        "baseline": "baselines/n.json",
    }
    return CheckResult(**{**about, "baseline_sha256": digest, **changes})


def summary(root, mode, results):
    made = RunSummary("run", Settings(mode, root, root / "baselines", root / ".modelviz", orphans="ignore", html=False))
    for attempt, result in results:
        made.add_results(result.nodeid, attempt, [result])
    return made


@pytest.mark.parametrize("mode", [Mode.UPDATE_MISSING, Mode.UPDATE, Mode.UPDATE_ALL])
@pytest.mark.parametrize(
    ("second", "fails"),
    [
        (("gw1", recorded("b")), True),
        (("gw0 2", recorded("b")), True),  # the same process, collected twice
        (("gw1", recorded("a")), False),
        (("gw1", recorded("b", name="other")), False),
        (("gw1", recorded("b", variant="cuda")), False),
        (("gw1", recorded("b", nodeid="t.py::test_other")), False),
        (("gw1", recorded("b", status=Status.MATCH)), True),
        (("gw1", recorded("a", status=Status.MATCH)), False),
    ],
)
def test_a_test_that_is_not_the_same_each_time_fails_the_run(tmp_path, mode, second, fails):
    run = summary(tmp_path, mode, [("gw0", recorded("a")), second])
    run.write(ended=True)
    assert run.has_failed is fails
    texts = [line for line, _ in run.lines(tmp_path, "") if "and its n was not the same" in line]
    assert len(texts) == fails


def test_a_test_that_is_run_again_counts_once_and_keeps_that_it_was_recorded(tmp_path):
    run = summary(tmp_path, Mode.UPDATE, [("gw0", recorded("a"))])
    run.start_test("t.py::test", "gw0")
    run.add_results("t.py::test", "gw0", [recorded("a", status=Status.MATCH)])
    assert [result.status for result in run.results] == [Status.RECORDED]
    run.write(ended=True)
    assert not run.has_failed


class TestMarks:
    """A run that has begun leaves a mark until there are results, or until it has ended without any."""

    @pytest.fixture
    def marks(self, tmp_path):
        return ResultsFolder(tmp_path / ".modelviz").marks

    def test_one_that_compares_leaves_a_mark_until_its_results_are_written(self, tmp_path, marks):
        marks.set("earlier")
        run = summary(tmp_path, Mode.COMPARE, [("main", recorded("a", status=Status.MATCH))])
        run.begin()
        assert marks.names() == ["earlier", "run"]
        run.write(ended=True)
        assert marks.names() == []

    def test_one_that_compares_nothing_takes_away_its_own_alone(self, tmp_path, marks):
        summary(tmp_path, Mode.COMPARE, [("main", recorded("a", status=Status.MATCH))]).write(ended=True)
        marks.set("earlier")
        run = summary(tmp_path, Mode.COMPARE, [("main", recorded("a", status=Status.NOT_COMPARED))])
        run.begin()
        run.write(ended=True)
        assert marks.names() == ["earlier"]
        (check,) = ResultsFolder(tmp_path / ".modelviz").read().checks
        assert check.status is Status.MATCH

    def test_one_that_is_off_leaves_none(self, tmp_path, marks):
        summary(tmp_path, Mode.OFF, []).begin()
        assert marks.names() == []
        assert not (tmp_path / ".modelviz").exists()

    def test_one_that_was_abandoned_leaves_it(self, tmp_path, marks):
        run = summary(tmp_path, Mode.COMPARE, [("main", recorded("a", status=Status.MATCH))])
        run.begin()
        run.abandon("the disk is on fire")
        run.write(ended=True)
        assert marks.names() == ["run"]
        assert run.has_failed
        assert run.lines(tmp_path, "") == [("the disk is on fire: no results of this run were written", True)]

    def test_a_folder_that_cannot_be_written_is_told_at_the_end(self, tmp_path):
        (tmp_path / ".modelviz").write_text("in the way")
        run = summary(tmp_path, Mode.COMPARE, [("main", recorded("a", status=Status.MATCH))])
        run.begin()
        run.write(ended=True)
        errors = [line for line, is_error in run.lines(tmp_path, "") if is_error]
        assert [line.partition(" (")[0] for line in errors] == ["cannot write into the results folder"]


@pytest.mark.parametrize(("status", "left"), [(Status.MISSING, ["own"]), (Status.NOT_COMPARED, ["earlier", "own"])])
def test_of_candidates_only_those_of_the_last_run_that_compared_are_left(tmp_path, status, left):
    summary(tmp_path, Mode.COMPARE, [("main", recorded("a", status=Status.MATCH))]).write(ended=True)
    candidates = Store(tmp_path / ".modelviz/candidates", kind="candidate")
    for name in ("own", "earlier"):
        candidates.save(Location.of("t.py::test", name), Capture("v", {}), nodeid="t.py::test", name=name)
    result = recorded(None, name="own", status=status, candidate="c.json")
    summary(tmp_path, Mode.COMPARE, [("main", result)]).write(ended=True)
    assert sorted(stem.name for stem in candidates.stems()) == left


def test_a_report_that_cannot_be_made_takes_nothing_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for key, value in {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}.items():
        monkeypatch.setenv(key, value)

    def broken(*_, **__):
        raise OverflowError("Numerical result\nout of range")

    drift = recorded("a", status=Status.DRIFT, message="n drifted", tensorboard_tags=("t",))
    for module, name in (
        ("run.summary", "write_run_events"),
        ("reports.html", "write_report"),
        ("reports.markdown", "MarkdownSummary.text"),
        ("reports.github", "annotation_lines"),
    ):
        monkeypatch.setattr(f"pytest_modelviz.{module}.{name}", broken)
    settings = Settings(Mode.COMPARE, tmp_path, tmp_path / "baselines", tmp_path / ".modelviz", orphans="ignore")
    run = RunSummary("run", settings)
    run.add_results(drift.nodeid, "gw0", [drift])
    run.write(ended=True, review=str)
    assert run.report_to_github(tmp_path, "") == []
    assert ResultsFolder(tmp_path / ".modelviz").read().checks[0].status is Status.DRIFT
    lines = [line for line, is_error in run.lines(tmp_path, "") if is_error]
    made = ("the event files", "report.html", "the summary of the step", "annotations")
    assert lines[:4] == [f"{name} could not be made (OverflowError: Numerical result out of range)" for name in made]
