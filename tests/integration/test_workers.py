"""pytest-xdist, and other plugins that run tests in other ways: always the same bytes, results and report."""

import re
import shutil

import pytest

pytestmark = pytest.mark.unwatched

TESTS = """
import pytest
from net import *
@pytest.mark.parametrize("n", range(4))
def test_maps(feature_maps, n):
    feature_maps(load(), photo() * (n + 1))
class TestNet:
    def test_summary(self, model_summary):
        model_summary(load())
    @pytest.mark.xdist_group("one")
    def test_map(self, saliency_map, feature_maps):
        saliency_map(load(), photo(), target=1)
        feature_maps(load(), photo())
"""
NUMBERS = """
import pytest
@pytest.mark.parametrize("n", range(4))
def test_each(numbers, n):
    numbers(n)
def test_both(numbers):
    numbers(1)
    numbers(2, name="other")
"""


def told(project) -> dict:
    """results.json without what differs from run to run."""
    results = project.results
    del results["run"]["id"], results["run"]["workers"]
    results["run"].pop("tensorboard", None)
    for check in results["checks"]:
        del check["seconds"]
        check["message"] = project.without_run(check["message"])
        check["commands"] = project.without_run(str(check["commands"]))
    return results


def report(project, result: pytest.RunResult) -> list[str]:
    """What the run says of models at its end."""
    lines = result.outlines
    start = next(at for at, line in enumerate(lines) if re.fullmatch("=+ modelviz =+", line))
    end = next(at for at in range(start + 1, len(lines)) if lines[at].startswith("==="))
    return [project.without_run(line) for line in lines[start + 1 : end]]


def stages(run, project, *options) -> dict:
    """Record, then drift with an orphan: what is written and said at each stage."""
    project.test(TESTS)
    seen = {}
    for stage, arguments in (("recorded", ("--modelviz-update",)), ("drift", ("--modelviz",))):
        if stage == "drift":
            project.fault("weight")
            project.test(TESTS.replace("range(4)", "range(3)"))
        result = run(*arguments, *options)
        seen[stage] = {
            "ret": result.ret,
            "results": told(project),
            "report": report(project, result),
            "baselines": project.files(),
            "candidates": project.files(".modelviz/candidates") if "candidate" in str(told(project)) else {},
        }
    return seen


@pytest.mark.usefixtures("closest_colours")
@pytest.mark.parametrize("options", [("-n2", "--dist=loadgroup"), ("-p", "randomly")], ids=" ".join)
def test_workers_and_order_make_no_difference(project, options, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as in this process; the number is part of a baseline
    plain = stages(project.run_once, project)
    for path in ("baselines", ".modelviz"):
        shutil.rmtree(project.path / path)
    project.fault("")
    here = stages(project.run_apart if options[0].startswith("-n") else project.run, project, *options)
    for stage, seen in plain.items():
        for part, value in seen.items():
            assert here[stage][part] == value, (stage, part)
    assert [seen["ret"] for seen in here.values()] == [0, 1]
    assert [row["nodeid"] for row in here["drift"]["results"]["orphans"]] == ["test_net.py::test_maps[3]"]
    totals = here["drift"]["results"]["totals"]
    assert (totals["drift"], totals["match"]) == (5, 1)
    if options[0].startswith("-n"):
        assert project.results["run"]["workers"] == int(options[0][2:])
        folders = {path.parent.name for path in (project.path / ".modelviz/tensorboard").rglob("events.*")}
        assert {"gw0", "gw1"} <= folders  # each process has its own event files, below those of the run
        name = project.results["run"]["tensorboard"]
        assert {path.name for path in (project.path / ".modelviz/tensorboard").iterdir()} == {"0_trend", name}
        assert (project.path / f".modelviz/tensorboard/{name}/gw0").is_dir()


def test_a_worker_that_dies_is_told_and_no_orphans_are_judged(project):
    project.with_numbers()
    project.test(NUMBERS)
    project.run_once("--modelviz-update")
    project.test(NUMBERS.replace("range(4)", "range(3)") + "import os\ndef test_dies(): os._exit(7)\n")
    result = project.run_apart("--modelviz", "--modelviz-orphans=fail", "-n2")
    assert result.ret == 1
    result.stdout.re_match_lines([r"worker gw\d died: checks that were not finished are not among the results, and no"])
    assert len(project.results["run"]["lost_workers"]) == 1
    assert "orphans" not in project.results
    assert {check["status"] for check in project.results["checks"]} == {"match"}
    assert len(project.results["checks"]) == 5
    assert "died" in (project.path / ".modelviz/report.html").read_text()


def test_every_test_in_every_worker(project):
    project.with_numbers()
    project.test(NUMBERS)
    project.run_apart("--modelviz-update", "-n2", "--dist=each")
    recorded = project.files()
    assert not [name for name in recorded if name.rpartition("/")[2].startswith(".")]
    assert project.results["totals"]["recorded"] + project.results["totals"]["match"] == 6
    project.run("--modelviz-update-all")
    assert project.files() == recorded


def test_a_run_of_workers_that_stops_early(project):
    project.with_numbers()
    project.test(NUMBERS)
    project.run_once("--modelviz-update")
    project.test(NUMBERS.replace("numbers(n)", "numbers(n + 1)"))
    project.run_apart("--modelviz", "-n1", "-x")
    assert project.results["totals"]["drift"] >= 1


class TestReruns:
    ONE = "from net import *\nfrom pathlib import Path\ndef test_net(feature_maps, model_summary):\n"

    def attempts(self, project, first: str, second: str) -> pytest.RunResult:
        """Run a test that does one thing the first time and another the second."""
        project.test(
            f"{self.ONE}    again = Path('again.txt').exists()\n    Path('again.txt').touch()\n"
            f"    if not again:\n        {first}\n    else:\n        {second}\n"
        )
        return project.run("--modelviz", "--reruns=1")

    @pytest.fixture(autouse=True)
    def _recorded(self, project):
        project.test(f"{self.ONE}    feature_maps(load(), photo())\n    model_summary(load())\n")
        project.run_once("--modelviz-update")

    DRIFT, MATCH = "feature_maps(load(), photo() * 2)", "feature_maps(load(), photo())"

    def test_what_drifts_first_and_matches_then_is_a_match(self, project):
        self.attempts(project, self.DRIFT, self.MATCH).assert_outcomes(passed=1)
        assert project.statuses() == {"feature_maps": "match"}
        assert project.files(".modelviz/candidates") == {}
        assert project.modelviz("list").output.startswith("0 waiting")

    def test_what_drifts_twice_is_a_drift_once(self, project):
        self.attempts(project, self.DRIFT, self.DRIFT).assert_outcomes(failed=1)
        assert project.results["totals"]["drift"] == 1
        assert project.modelviz("accept").output.count("accepted") == 1

    def test_only_the_last_attempt_counts(self, project):
        self.attempts(project, self.DRIFT, "model_summary(load())").assert_outcomes(passed=1)
        assert project.statuses() == {"model_summary": "match"}
        assert project.modelviz("accept").output == "nothing to accept\n"
        before = project.files()
        self.attempts(project, "raise ValueError", self.DRIFT)
        assert project.files() == before


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("test_doc.txt", ">>> 1 + 1\n2\n", ()),
        ("module.py", '"""\n>>> 1 + 1\n2\n"""\n', ("--doctest-modules", "module.py")),
        ("test_empty.py", "", ()),
        ("README.md", "", ()),
    ],
)
def test_doctests_alone_and_empty_runs(project, name, content, options):
    (project.path / name).write_text(content)
    (project.path / "net.py").unlink()
    result = project.run("--modelviz", *options)
    assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    assert project.results["checks"] == []
    result.stdout.no_fnmatch_line("*modelviz =*")


def test_baselines_are_not_judged_by_doctests_of_their_file(project):
    project.test(TESTS)
    project.run_once("--modelviz-update")
    project.run("--modelviz", "--modelviz-orphans=fail", "--doctest-modules", "test_net.py").assert_outcomes(passed=6)


THREADS = """
import os
import pytest
import torch
from pytest_modelviz.probe.threads import available_cores
from torch import nn

SEEN = []
WORKERS = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])


class Net(nn.Module):
    def forward(self, x):
        SEEN.append(torch.get_num_threads())
        if x.sum() < 0:
            raise ValueError("negative")
        return x + 1


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("number", [1, 2 * available_cores()])
def test_threads(feature_maps, number, sign):
    SEEN.clear()
    torch.set_num_threads(number)
    if sign > 0:
        feature_maps(Net(), torch.ones(3))
    else:
        with pytest.raises(ValueError, match="negative"):
            feature_maps(Net(), -torch.ones(3))
    share = available_cores() // WORKERS if WORKERS > 1 else number
    assert set(SEEN) == {min(number, max(1, share))}
    assert torch.get_num_threads() == number
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_share_the_cores_and_leave_the_number_of_threads(project, workers):
    project.test(THREADS)
    project.run_apart("--modelviz-update", f"-n{workers}").assert_outcomes(passed=4)
