"""What lies among baselines or results is data: pytest runs none of it, whatever it is called, unless it is named."""

import pytest

NET = "from net import *\ndef test_net(model_summary):\n    model_summary(load())\n"
RUNS = "import pathlib\npathlib.Path({!r}).touch()\ndef test_x(): pass\n"
FOLDERS = {
    "baselines": ("baselines", ()),
    # pytest loads the conftest.py of folders called test* before it collects anything
    "chosen baselines": ("test_shots", ("--modelviz-baseline-dir=test_shots",)),
    "baselines among the tests": ("tests/shots", ("--modelviz-baseline-dir=tests/shots",)),
    "results": (".modelviz", ("-o", "norecursedirs=")),
    "chosen results": ("test-results", ("--modelviz-results-dir=test-results",)),
}
each_folder = pytest.mark.parametrize("folder", FOLDERS)


def put(project, folder: str, file: str):
    """A file that leaves a mark when it is run."""
    mark = project.path / "has_run"
    path = project.path / folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(RUNS.format(str(mark)))
    return mark


@pytest.fixture
def recorded(project):
    project.test(NET)

    def record(folder):
        project.run_once("--modelviz-update", *FOLDERS[folder][1]).assert_outcomes(passed=1)
        return FOLDERS[folder]

    project.record = record
    return project


@each_folder
@pytest.mark.parametrize("file", ["test_x.py", "__init__.py", "below/test_x.py", "below/conftest.py"])
def test_nothing_in_them_is_collected(recorded, folder, file):
    path, options = recorded.record(folder)
    mark = put(recorded, path, file)
    for mode in ("--modelviz", "--modelviz-update-all"):
        recorded.run(mode, *options).assert_outcomes(passed=1)
    if folder != "baselines":
        recorded.run(*options).assert_outcomes(passed=1)
    assert not mark.exists()


@each_folder
def test_a_conftest_in_them_is_refused_before_it_runs(recorded, folder):
    path, options = recorded.record(folder)
    mark = put(recorded, path, "conftest.py")
    for arguments in ((), ("test_net.py",)):
        result = recorded.run("--modelviz", *options, *arguments)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: modelviz: *{path}/conftest.py lies among baselines or results*"])
    assert not mark.exists()


def test_nor_by_a_link(recorded):
    recorded.record("baselines")
    mark = put(recorded, "baselines", "test_x.py")
    (recorded.path / "also").symlink_to("baselines")
    recorded.run("--modelviz").assert_outcomes(passed=1)
    assert not mark.exists()


@pytest.mark.parametrize("named", ["baselines/test_x.py", "baselines/test_x.py::test_x", "baselines"])
def test_what_is_named_is_run(recorded, named):
    recorded.record("baselines")
    mark = put(recorded, "baselines", "test_x.py")
    put(recorded, "baselines", "conftest.py")
    recorded.run("--modelviz", named).assert_outcomes(passed=1)
    assert mark.exists()


def test_tests_beside_their_baselines_are_found_where_they_are_named(project):
    project.pytester.makeini("[pytest]\nmodelviz_baseline_dir = tests\ntestpaths = tests\n")
    mark = put(project, "tests", "conftest.py")
    (project.path / "tests/test_net.py").write_text(NET)
    for arguments in ((), ("tests/test_net.py",)):
        project.run("--modelviz-update", *arguments).assert_outcomes(passed=1)
    assert mark.exists()


def test_a_folder_of_that_name_is_anybodys_where_nothing_is_compared(project):
    mark = put(project, "baselines", "test_x.py")
    put(project, "baselines", "conftest.py")
    project.run().assert_outcomes(passed=1)
    assert mark.exists()
