"""Many runs in one folder: what they say together, in linear time."""

import random
import time
from pathlib import Path

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.review.acceptance import accept_all
from pytest_modelviz.review.review import Review
from pytest_modelviz.review.selection import Choice
from pytest_modelviz.storage.orphans import judged_together
from pytest_modelviz.storage.results import ResultsFolder


def check(nodeid: str, status: Status = Status.MATCH) -> CheckResult:
    candidate = "n.json" if status is Status.MISSING else None
    return CheckResult(nodeid=nodeid, view="v", name="n", status=status, baseline="n.json", candidate=candidate)


def orphan(nodeid: str) -> OrphanRecord:
    return OrphanRecord(nodeid, "v", "n", None, "n.json", None, None)


def run(run_id: str, checks: list[str], orphans: list[str], files: list[str]) -> RunResult:
    facts = RunFacts(run_id, "2", "3", "linux", "cpu", 1)
    records = tuple(map(orphan, orphans))
    return RunResult(facts, tuple(map(check, checks)), orphans=records, judged_files=tuple(files))


def gone_in_all(results: list[RunResult]) -> set[str]:
    """The orphans that no run knows better, each compared with each."""
    return {
        record.nodeid
        for result in results
        for record in result.orphans
        if not any(
            record not in other.orphans
            and (record.test_file in other.judged_files or record.nodeid in [check.nodeid for check in other.checks])
            for other in results
        )
    }


def test_what_one_of_several_runs_has_found_is_not_gone():
    draw, sizes = random.Random(3), set()
    files = ["a.py", "b.py"]
    ids = [*(f"{file}::{test}" for file in files for test in "xyz"), *files]
    for _ in range(300):
        results = [
            run(
                str(n),
                draw.sample(ids, 2),
                draw.sample(ids, draw.randint(0, 6)),
                draw.sample(files, draw.randint(0, 2)),
            )
            for n in range(draw.randint(1, 4))
        ]
        together = {record.nodeid for record in judged_together(results)}
        assert together == gone_in_all(results)
        sizes.add(len(together))
    assert len(sizes) > 4


def test_orphans_and_runs_are_not_multiplied():
    results = [run(f"r{n}", ["a.py::x"], [], []) for n in range(4000)]
    results[0] = run("r0", [], [f"a.py::o{n}" for n in range(4000)], ["a.py"])
    start = time.process_time()
    assert len(judged_together(results)) == 4000
    assert time.process_time() - start < 2


def test_waiting_checks_and_all_checks_are_not_multiplied(tmp_path: Path):
    folder = ResultsFolder(tmp_path / ".modelviz")
    waiting = tuple(check(f"a.py::w{n}", Status.MISSING) for n in range(100))
    checks = (*waiting, *(check(f"a.py::m{n}") for n in range(6000)))
    folder.write(RunResult(RunFacts("r", "2", "3", "linux", "cpu", 1), checks))
    review = Review([folder], folder, tmp_path, tmp_path / "baselines")
    start = time.process_time()
    assert {decision.done for decision in accept_all(review, review.chosen(Choice()))} == {"refused"}
    assert time.process_time() - start < 4
