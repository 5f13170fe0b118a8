"""What lies in a results folder and is no run's counts for none, and keeps nothing from being cleared."""

from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.storage.results import ResultsFolder


def result(run_id: str) -> RunResult:
    return RunResult(RunFacts(run_id, "2", "3", "linux", "cpu", 1), ())


def test_a_folder_is_no_mark_of_a_run_and_keeps_none(tmp_path):
    marks = ResultsFolder(tmp_path).marks
    marks.set("b")
    for name in ("a", "c"):
        (marks.root / name).mkdir(parents=True)
    (marks.root / "linked").symlink_to(tmp_path)
    assert marks.names() == ["b"]
    marks.clear()
    assert marks.names() == []
    for name in ("a", "c"):
        (marks.root / name).rmdir()
    (marks.root / "linked").unlink()
    marks.set("d")
    marks.clear()
    assert not marks.root.exists()


def test_a_mark_that_cannot_be_removed_keeps_no_other(tmp_path, monkeypatch):
    marks = ResultsFolder(tmp_path).marks
    marks.set("a")
    marks.set("c")
    monkeypatch.setattr(type(marks), "names", lambda self: ["a", "b", "c"])
    (marks.root / "b").mkdir()
    marks.clear()
    assert [path.name for path in marks.root.iterdir()] == ["b"]


def test_a_folder_is_no_result_of_a_run(tmp_path):
    folder = ResultsFolder(tmp_path)
    folder.write(result("a"))
    (folder.runs / "0.json").mkdir()
    assert [run.run.id for run in folder.all_runs()] == ["a"]
    folder.forget_others((), "b")
    folder.write(result("b"))
    assert [run.run.id for run in folder.all_runs()] == ["b"]
