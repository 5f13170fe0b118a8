"""What a run says that it did, and what its commands do: options that are repeated, forks, reruns, checks not made."""

import sys

import pytest

pytestmark = pytest.mark.unwatched

CHOSEN = {
    "conftest": """
def pytest_addoption(parser):
    parser.addoption("--big", action="store_true")
    parser.addoption("--width", type=int, default=8)
    parser.addoption("--tag", action="append", default=[])
""",
    "test_net": """
from net import load, photo

def test_net(feature_maps, request):
    feature_maps(load(), photo() * (2 if request.config.getoption("big") else 1))
""",
}


def printed(result, word):
    """The options of the one printed pytest command of that kind (pytest's summary repeats it where CI is set)."""
    (options,) = {line.partition(f"pytest {word} ")[2] for line in result.stdout.lines if f"pytest {word}" in line}
    return options


class TestCommandsRepeatWhatTheRunWasTold:
    @pytest.mark.parametrize("form", ["-o {}", "--override-ini={}", "-o{}"])
    def test_settings_that_were_overridden(self, project, form):
        project.test()
        result = project.run("--modelviz", *form.format("modelviz_variant=cuda").split())
        assert {command.split(" test_net.py")[0] for command in commands(result)} == {"-o modelviz_variant=cuda"}

    def test_the_overridden_variant_is_recorded_and_no_other(self, project):
        project.test()
        project.run_once("--modelviz-update").assert_outcomes(passed=1)
        project.fault("eps")
        project.run("--modelviz-update", "-o", "modelviz_variant=cuda").assert_outcomes(passed=1)
        folder = project.path / "baselines/test_net/test_net"
        common = (folder / "feature_maps.json").read_bytes()
        (folder / "feature_maps@cuda.json").write_text("trash")
        result = project.run("--modelviz", "-o", "modelviz_variant=cuda")
        project.run("--modelviz-update-all", *printed(result, "--modelviz-update-all").split()).assert_outcomes(
            passed=1
        )
        assert (folder / "feature_maps.json").read_bytes() == common
        assert (folder / "feature_maps@cuda.json").read_text() != "trash"

    @pytest.mark.parametrize(
        ("given", "repeated"),
        [
            (["--big"], "--big "),
            (["--width=16"], "--width=16 "),
            (["--width", "16", "--tag", "a", "--tag=b c"], "--width=16 --tag=a '--tag=b c' "),
            (["-q", "-x", "-k", "net"], ""),
        ],
    )
    def test_options_of_the_project(self, project, given, repeated):
        project.pytester.makepyfile(**CHOSEN)
        result = project.run("--modelviz", *given)
        assert printed(result, "--modelviz-update-missing") == f"{repeated}test_net.py::test_net"


def commands(result):
    return [
        line.partition("--modelviz-update-missing ")[2]
        for line in result.stdout.lines
        if "--modelviz-update-missing " in line
    ]


FORKS = """
import multiprocessing
from net import load, photo

def test_net(feature_maps):
    context = multiprocessing.get_context("fork")
    process = context.Process(target=lambda: feature_maps(load(), photo()))
    process.start()
    process.join()

def test_other(model_summary):
    model_summary(load())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
@pytest.mark.parametrize(
    "options",
    [["--modelviz"], ["--modelviz-update"], ["--modelviz-update-all"], ["--modelviz-update-all", "-n", "1"]],
    ids=" ".join,
)
def test_a_check_in_a_forked_process_fails_the_run_and_records_nothing(project, options):
    project.test(FORKS)
    project.run_once("--modelviz-update", "-k", "other")
    result = project.run(*options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["a check of test_net.py::test_net was made in a forked process, and its result is lost*"]
    )
    assert [path.name for path in (project.path / "baselines/test_net").iterdir()] == ["test_other"]


FLAKY = """
from net import fault, load, photo
RUNS = []

def test_net(feature_maps):
    RUNS.append(1)
    if len(RUNS) == 1 or {again}:
        feature_maps(load(), photo())
    assert not fault() or len(RUNS) > 1, "hiccup"
"""


@pytest.mark.parametrize("again", [True, False])
def test_what_a_rerun_finds_recorded_was_recorded(project, again):
    project.test(FLAKY.format(again=again))
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.fault("eps")
    result = project.run("--modelviz-update", "--reruns", "1")
    assert project.results["totals"] == {**dict.fromkeys(project.results["totals"], 0), "recorded": 1}
    assert "1 recorded" in result.stdout.str()


class TestChecksThatAreNotMade:
    def test_they_are_named(self, project):
        project.test(
            "from net import *\n"
            "def test_half(feature_maps):\n"
            "    feature_maps(load(), photo(), name='a')\n"
            "    if not fault(): feature_maps(load(), photo(), name='b')\n"
            "def test_none(model_summary):\n"
            "    if not fault(): model_summary(load())\n"
        )
        assert "not compared" not in project.run_once("--modelviz-update").stdout.str()
        project.fault("none")
        result = project.run("--modelviz")
        result.assert_outcomes(passed=2)
        result.stdout.fnmatch_lines(
            [
                "2 baselines were not compared: the test passed without that check",
                "  test_net.py::test_half: b",
                "  test_net.py::test_none: model_summary",
            ]
        )
        assert "not compared" not in project.run("--modelviz", "-k", "nothing").stdout.str()
        assert "not compared" not in project.run("--modelviz", "--modelviz-orphans=ignore").stdout.str()

    def test_those_of_another_variant_are_not_asked_for(self, project):
        project.test("from net import *\ndef test_a(model_summary): model_summary(load())\n")
        project.run_once("--modelviz-update")
        project.test(
            "from net import *\n"
            "def test_a(model_summary, request):\n"
            "    model_summary(load())\n"
            "    if request.config.getoption('--modelviz-variant'): model_summary(load(), name='own')\n"
        )
        project.run("--modelviz-update", "--modelviz-variant=gpu")
        path = project.path / "baselines/test_net/test_a"
        assert (path / "own@gpu.json").exists() or (path / "own.json").exists()
        found = "not compared" in project.run("--modelviz").stdout.str()
        assert found == (path / "own.json").exists()

    def test_a_test_that_fails_has_not_had_its_turn(self, project):
        project.test(
            "from net import *\ndef test_a(model_summary):\n    assert not fault()\n    model_summary(load())\n"
        )
        project.run_once("--modelviz-update")
        project.fault("x")
        assert "not compared" not in project.run("--modelviz").stdout.str()


class TestPruning:
    def test_a_configuration_file_that_changed_may_bring_tests_back(self, project):
        project.test("from net import *\ndef check_a(model_summary): model_summary(load())\ndef test_b(): pass\n")
        ini = project.path / "pytest.ini"
        ini.write_text("[pytest]\npython_functions = test_* check_*\n")
        project.run_once("--modelviz-update").assert_outcomes(passed=2)
        ini.write_text("[pytest]\n")
        project.run("--modelviz")
        ini.write_text("[pytest]\npython_functions = test_* check_*\n")
        done = project.modelviz("prune")
        assert (done.exit_code, "pytest.ini has changed since" in done.output) == (1, True)

    def test_a_function_that_is_still_there_is_removed_only_by_name(self, project):
        project.test("from net import *\ndef test_a(model_summary): model_summary(load())\ndef test_b(): pass\n")
        project.run_once("--modelviz-update")
        project.run("--modelviz", "-o", "python_functions=test_b")
        done = project.modelviz("prune")
        assert (done.exit_code, "its function is still in its file" in done.output) == (1, True)
        assert project.modelviz("prune", "test_net.py::test_a").exit_code == 0
        assert not (project.path / "baselines/test_net").exists()


GPU = """
import os, pytest
from net import *
GPU = os.environ.get("GPU") == "1"
class TestGpu:
    __test__ = GPU
    @pytest.mark.parametrize("n", [1, 2])
    def test_param(self, model_summary, n): model_summary(load())
def test_here(): pass
"""


class TestTestsThatOtherOptionsFind:
    @pytest.fixture
    def gone(self, project, monkeypatch):
        project.test(GPU)
        monkeypatch.setenv("GPU", "1")
        project.run("--modelviz-update").assert_outcomes(passed=3)
        monkeypatch.delenv("GPU")
        project.run("--modelviz").assert_outcomes(passed=1)
        return project

    def test_their_baselines_are_removed_only_by_name(self, gone):
        done = gone.modelviz("prune")
        assert (done.exit_code, done.output.count("its function is still in its file")) == (1, 2)
        assert gone.modelviz("prune", "test_net.py::*").exit_code == 1
        assert gone.modelviz("prune", "test_net.py::TestGpu::test_param[1]").exit_code == 0
        assert [path.name for path in (gone.path / "baselines/test_net").iterdir()] == ["TestGpu.test_param[2]"]

    def test_no_move_is_advised(self, gone):
        gone.test(GPU + "@pytest.mark.parametrize('n', [1])\ndef test_cpu(model_summary, n): model_summary(load())\n")
        result = gone.run("--modelviz")
        assert "is it now test_net.py::test_cpu[1]?" in result.stdout.str()
        assert "modelviz mv" not in result.stdout.str()

    def test_a_parameter_that_is_gone_is_removed(self, project):
        source = (
            "import pytest\nfrom net import *\n"
            "@pytest.mark.parametrize('n', [1, 2])\ndef test_a(model_summary, n): model_summary(load())\n"
        )
        project.test(source)
        project.run_once("--modelviz-update").assert_outcomes(passed=2)
        project.test(source.replace("[1, 2]", "[1]"))
        project.run("--modelviz")
        assert project.modelviz("prune").exit_code == 0
        assert [path.name for path in (project.path / "baselines/test_net").iterdir()] == ["test_a[1]"]


class TestAResultsFolderOfSomebodyElse:
    @pytest.mark.parametrize("name", ["runs/exp1.json", "results.json", "report.html", "unfinished/draft.md", "notes"])
    def test_is_refused(self, project, name):
        project.test()
        path = project.path / "output" / name
        path.parent.mkdir(parents=True)
        path.write_text("mine")
        result = project.run("--modelviz-update", "--modelviz-results-dir=output")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*output holds files that no run of this plugin wrote*"])
        assert [file.name for file in (project.path / "output").rglob("*") if file.is_file()] == [path.name]

    def test_an_empty_one_and_one_of_a_run_are_taken(self, project):
        project.test()
        (project.path / "output").mkdir()
        for _ in range(2):
            project.run("--modelviz-update", "--modelviz-results-dir=output").assert_outcomes(passed=1)
            (project.path / "output/.gitignore").unlink()  # as artifacts come without hidden files


def test_a_drift_that_another_run_found_to_match_is_not_accepted_by_a_guess(project):
    project.test()
    project.run_once("--modelviz-update")
    project.run("--modelviz").assert_outcomes(passed=1)
    (project.path / ".modelviz").rename(project.path / "matching")
    project.fault("eps")
    project.run("--modelviz")
    drifted = project.results["run"]["id"]
    folders = ["--from", ".modelviz", "--from", "matching"]
    done = project.modelviz("accept", *folders)
    assert (done.exit_code, f"use --run {drifted}" in done.output) == (1, True)
    assert project.modelviz("accept", *folders, "--run", drifted).exit_code == 0
    project.run("--modelviz").assert_outcomes(passed=1)


INHERITED = {
    "shared": "from net import *\nclass Base:\n    def test_b(self, model_summary): model_summary(load())\n",
    "test_a": "from shared import Base\nclass TestA(Base): pass\n",
    "test_b": "from shared import Base\nclass TestB(Base): pass\n",
}


class TestInheritedTests:
    """A test that a file inherits or imports from another file of the project is there."""

    @pytest.fixture
    def inherited(self, project):
        project.pytester.makepyfile(**INHERITED)
        project.run("--modelviz-update", "test_a.py").assert_outcomes(passed=1)
        return project

    def test_no_move_is_advised_from_one(self, inherited):
        folder = inherited.path / "baselines"
        (folder / "test_b").mkdir()
        (folder / "test_a/TestA.test_b").rename(folder / "test_b/TestB.test_b")
        result = inherited.run("--modelviz")
        assert "modelviz mv" not in result.stdout.str()
        result.stdout.fnmatch_lines(["*it belongs to another test, 'test_a.py::TestA::test_b', which is still there"])

    def test_nor_where_nobody_can_tell(self, inherited):
        inherited.pytester.makepyfile(test_a="from torch.nn import Module\nclass TestA(Module): pass\n")
        folder = inherited.path / "baselines"
        (folder / "test_b").mkdir()
        (folder / "test_a/TestA.test_b").rename(folder / "test_b/TestB.test_b")
        result = inherited.run("--modelviz", "test_b.py")
        assert "modelviz mv" not in result.stdout.str()
        result.stdout.fnmatch_lines(["*'test_a.py::TestA::test_b', which may still be there*"])

    def test_none_is_moved(self, inherited):
        done = inherited.modelviz("mv", "test_a.py::TestA::test_b", "test_b.py::TestB::test_b")
        assert (done.exit_code, "is still there: rename it first" in done.output) == (1, True)
        assert (inherited.path / "baselines/test_a/TestA.test_b/model_summary.json").exists()

    def test_it_is_moved_once_it_is_gone(self, inherited):
        inherited.pytester.makepyfile(shared=INHERITED["shared"].replace("test_b", "test_c"))
        done = inherited.modelviz("mv", "test_a.py::TestA::test_b", "test_a.py::TestA::test_c")
        assert done.exit_code == 0, done.output
        inherited.run("--modelviz", "test_a.py").assert_outcomes(passed=1)
