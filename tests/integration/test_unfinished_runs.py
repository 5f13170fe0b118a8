"""Runs that die without a word, with exit code 0 or any other: whoever asks for results learns that there are none."""

import json
import re
import signal

import pytest

from pytest_modelviz.storage.results import ResultsFolder

NET = "from net import *\ndef test_net(model_summary):\n    model_summary(load())\n"
DEATHS = {
    "exit 0": "os._exit(0)",
    "killed": "os.kill(os.getpid(), 9)",
    "crashed": "import faulthandler; faulthandler.disable(); os.kill(os.getpid(), 11)",
}
COMMANDS = ("list", "show", "accept", "reject", "orphans", "report")


def dying(death: str) -> str:
    return f"import os\nfrom net import *\ndef test_z(model_summary):\n    model_summary(load())\n    {death}\n"


def marks(project) -> list[str]:
    return ResultsFolder(project.path / ".modelviz").marks.names()


@pytest.fixture
def compared(project):
    project.test(NET)
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.run_once("--modelviz").assert_outcomes(passed=1)
    return project


@pytest.mark.parametrize("death", DEATHS)
def test_every_command_says_so_until_a_run_ends(compared, death):
    before = compared.results["run"]["id"]
    compared.test(dying(DEATHS[death]), name="test_z")
    ended = compared.run_forked("--modelviz")
    assert ended == {"exit 0": 0, "killed": -signal.SIGKILL, "crashed": -signal.SIGSEGV}[death]
    assert compared.results["run"]["id"] == before
    (died,) = marks(compared)
    for command in COMMANDS:
        done = compared.modelviz(command)
        assert f"warning: the last run, {died}, did not end: it died or still runs" in done.stderr
    assert "all checks of the last run matched" not in compared.modelviz("show").output
    for command in ("list", "show"):
        assert json.loads(compared.modelviz(command, "--json").stdout)["unfinished_runs"] == [died]
    page = (compared.path / ".modelviz/report.html").read_text()
    assert f"the last run, {died}, did not end" in page
    compared.run("--modelviz", "test_net.py").assert_outcomes(passed=1)
    for command in COMMANDS:
        assert "did not end" not in compared.modelviz(command).output
    assert json.loads(compared.modelviz("list", "--json").stdout)["unfinished_runs"] == []
    assert "did not end" not in (compared.path / ".modelviz/report.html").read_text()
    assert not (compared.path / ".modelviz/unfinished").exists()


@pytest.mark.parametrize("where", ["collection", "test without checks"])
def test_also_where_it_dies_before_the_first_check(project, where):
    """There are no results at all, neither of this run nor of another."""
    project.test("import os\n" + ("os._exit(0)\n" if where == "collection" else "def test_a(): os._exit(0)\n"))
    assert project.run_forked("--modelviz") == 0
    done = project.modelviz("list")
    assert done.exit_code == 1
    assert "there are no results in " in done.output
    assert "; the last run, " in done.output
    project.test(NET)
    project.run_once("--modelviz-update")
    assert project.modelviz("list").exit_code == 0


def test_a_folder_from_ci_says_so_too(compared, tmp_path_factory):
    ResultsFolder(compared.path / ".modelviz").begin("2026-01-01_00-00-00.0_1")
    folder = tmp_path_factory.mktemp("ci") / "results"
    (compared.path / ".modelviz").rename(folder)
    assert "2026-01-01_00-00-00.0_1, did not end" in compared.modelviz("list", "--from", str(folder)).output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--modelviz", "test_net.py"), False),
        (("--modelviz-update", "test_net.py"), False),
        (("--modelviz", "test_net.py", "test_fails.py", "-x"), False),
        # runs that compare nothing leave the results as they are, and what is said of them
        (("--modelviz", "-k", "nothing"), True),
        (("--modelviz", "typo.py"), True),
        (("--modelviz", "test_plain.py"), True),
        (("--modelviz", "test_fails.py"), True),
        (("--modelviz", "--collect-only"), True),
        (("--modelviz", "--fixtures"), True),
        (("--modelviz", "test_broken.py"), True),
        (("test_net.py",), True),
    ],
)
def test_runs_that_end_leave_no_mark_of_their_own(compared, arguments, says):
    before = compared.results["run"]["id"]
    for name, text in {"plain": "pass", "fails": "assert False"}.items():
        compared.test(f"def test_x(): {text}\n", name=f"test_{name}")
    compared.test("import nothing_of_that_name\n", name="test_broken")
    compared.run(*arguments)
    assert marks(compared) == []
    ResultsFolder(compared.path / ".modelviz").begin("earlier")
    compared.run(*arguments)
    assert marks(compared) == (["earlier"] if says else [])
    assert (compared.results["run"]["id"] == before) == says
    assert ("did not end" in compared.modelviz("list").output) == says


def run_in_a_worker(project, death: str) -> None:
    project.with_numbers()
    test = "def test_net(numbers):\n    numbers(1)\n"
    project.test(test)
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.test(f"import os\n{test}def test_z(): {death}\n")
    project.run_apart("--modelviz", "-n", "1", "-p", "xdist")


def test_a_worker_that_dies_is_no_run_that_did(project):
    """The controlling process goes on, and tells of the worker itself."""
    run_in_a_worker(project, "os._exit(0)")
    assert marks(project) == []
    assert project.results["run"]["lost_workers"]
    done = project.modelviz("show")
    assert "did not end" not in done.output
    assert "warning: a worker of the last run died: checks that it did not finish are not among these" in done.stderr
    assert "all checks of the last run matched" not in done.output


def test_the_controlling_process_of_workers_that_dies_is_one(project):
    run_in_a_worker(project, "os.kill(os.getppid(), 9)")
    assert len(marks(project)) == 1
    assert "did not end" in project.modelviz("list").output


def test_a_folder_that_cannot_be_written_stops_no_run(compared):
    (compared.path / ".modelviz/unfinished").write_text("in the way")
    compared.run("--modelviz").assert_outcomes(passed=1)
    assert "did not end" not in compared.modelviz("list").output


class TestTwoRunsAtOnce:
    """A run that ends while another is on its way forgets what that has captured: nobody has rejected it."""

    SLOW = (
        "from net import *\nimport subprocess, sys\ndef test_slow(feature_maps):\n    feature_maps(load(), photo())\n"
    )
    OTHER = "from net import *\ndef test_quick(feature_maps):\n    feature_maps(load(), photo())\n"
    BESIDE = (
        "def test_then():\n"
        "    command = [sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider', '--modelviz', 'test_quick.py']\n"
        "    subprocess.run(command)\n"
    )
    LATE = "test_slow.py::test_slow"

    @pytest.fixture
    def overtaken(self, project):
        project.test(self.SLOW, name="test_slow")
        project.test(self.OTHER, name="test_quick")
        project.run_once("--modelviz-update").assert_outcomes(passed=2)
        project.fault("weight")
        project.test(self.SLOW + self.BESIDE, name="test_slow")
        project.run_once("--modelviz", "test_slow.py").assert_outcomes(failed=1, passed=1)
        return project

    @staticmethod
    def states(project) -> list[str]:
        return [row["state"] for row in json.loads(project.modelviz("list", "--json").stdout)["checks"]]

    def test_its_drifts_are_superseded_and_not_rejected(self, overtaken):
        assert self.states(overtaken) == ["gone"]
        listed = overtaken.modelviz("list").stdout
        assert listed.startswith(
            f"gone       {self.LATE}  feature_maps  output off by 0.3 %, top-1 kept: weights at conv2"
        )
        (run,) = re.findall(r"\(superseded by run (\S+)\)$", listed, re.M)
        assert run != overtaken.results["run"]["id"]
        assert f"{self.LATE}  (superseded by run {run})\n" in overtaken.modelviz("show").stdout
        overtaken.modelviz("report")
        assert f"drift &middot; superseded by run {run}</h3>" in (overtaken.path / ".modelviz/report.html").read_text()
        for patterns in ((), (self.LATE,)):
            done = overtaken.modelviz("accept", *patterns)
            assert done.exit_code == 1
            assert f"superseded by run {run}, and nothing of it is kept: run pytest --modelviz again" in done.output

    def test_who_rejects_it_then_has_rejected_it(self, overtaken):
        assert overtaken.modelviz("reject", self.LATE).stdout.startswith("rejected")
        assert self.states(overtaken) == ["rejected"]

    def test_the_note_goes_with_the_results(self, overtaken):
        assert len(overtaken.files(".modelviz/discarded")) == 1
        overtaken.run("--modelviz", "test_quick.py")
        assert overtaken.files(".modelviz/discarded") == {}

    @pytest.mark.parametrize("note", ["", "x", "0 rejected\n", "0" * 64 + " superseded by run\n", "\0" * 5000])
    def test_what_no_note_explains_is_gone(self, overtaken, note):
        (path,) = (overtaken.path / ".modelviz/discarded").rglob("*.txt")
        path.write_text(note)
        assert self.states(overtaken) == ["gone"]
        assert "superseded" not in overtaken.modelviz("list").stdout
        assert "its candidate is gone" in overtaken.modelviz("accept").output


CURVE = "def test_curve(training_curve):\n    training_curve(lambda number: {}, steps=3)\n"


def test_a_drift_as_large_as_a_float_can_be_is_a_drift(project):
    project.test(NET)
    project.test(CURVE.format("1 / (number + 1)"), name="test_curve")
    project.run("--modelviz-update").assert_outcomes(passed=2)
    project.test(CURVE.format("1e305"), name="test_curve")
    project.run("--modelviz").assert_outcomes(passed=1, failed=1)
    assert project.check("training_curve")["error"] > 1e300
    assert "matched" not in project.modelviz("show").output


UNREADABLE = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report):
    for row in getattr(report, "modelviz_checks", ()):
        {}
"""


@pytest.mark.parametrize(
    "damage", ["row['error'] = 'x'", "row['layers'] = 1", "row.clear()", "report.modelviz_checks = 1"]
)
def test_a_result_that_cannot_be_read_fails_the_run_and_ends_no_other_test(compared, damage):
    before = compared.results["run"]["id"]
    compared.pytester.makeconftest(UNREADABLE.format(damage))
    result = compared.run("--modelviz")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["the outcome of the checks of test_net.py::test_net cannot be read (*no results*"])
    assert_did_not_end(compared, before)


def test_so_does_an_internal_error(compared):
    before = compared.results["run"]["id"]
    compared.test("def test_z(): pass\n", name="test_z")
    compared.pytester.makeconftest("def pytest_runtest_logreport(report):\n    assert 'test_z' not in report.nodeid\n")
    assert compared.run("--modelviz").ret == pytest.ExitCode.INTERNAL_ERROR
    assert_did_not_end(compared, before)


def assert_did_not_end(project, before):
    (died,) = marks(project)
    assert project.results["run"]["id"] == before
    done = project.modelviz("show")
    assert f"the last run, {died}, did not end" in done.stderr
    assert "all checks of the last run matched" not in done.output
