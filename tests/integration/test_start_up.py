"""What pytest runs load that do not need it: nothing heavy, and of this package a handful of modules."""

import subprocess
import sys

import pytest

from pytest_modelviz.plugin.data_folders import default_data_folders
from pytest_modelviz.plugin.start import RESULTS
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.run.settings import read_settings

HEAVY = ("torch", "numpy", "PIL", "matplotlib", "jinja2", "tensorboard", "safetensors", "fsspec", "click")
LISTING = (
    "import sys\n"
    "def pytest_unconfigure():\n"
    f"    print('heavy:', sorted(set({HEAVY}) & set(sys.modules)))\n"
    "    print('own:', *sorted(name for name in sys.modules if name.startswith('pytest_modelviz')))\n"
)
START = (
    "pytest_modelviz pytest_modelviz.plugin pytest_modelviz.plugin.data_folders pytest_modelviz.plugin.fixtures "
    "pytest_modelviz.plugin.start pytest_modelviz.run pytest_modelviz.run.options"
)
OTHERS = [word for name in ("hypothesispytest", "cacheprovider", "randomly", "html") for word in ("-p", f"no:{name}")]


def test_importing_the_public_names_imports_nothing_heavy():
    code = (
        "import sys; from pytest_modelviz import FeatureMapsFixture, ViewFixture, whole_output;"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_that_makes_no_check_loads_what_starts_one_and_nothing_else(pytester):
    """Everything that is added here is paid by every pytest run on a machine where the package is installed."""
    pytester.makepyfile("def test_nothing(): pass")
    pytester.makeconftest(LISTING)
    result = pytester.runpytest_subprocess(*OTHERS)
    result.stdout.fnmatch_lines(["heavy: []", f"own: {START}"])


def test_a_run_that_compares_but_makes_no_check_loads_nothing_heavy(pytester):
    pytester.makepyfile("def test_nothing(): pass")
    pytester.makeconftest(LISTING)
    result = pytester.runpytest_subprocess("--modelviz", *OTHERS)
    result.stdout.fnmatch_lines(["heavy: []"])


class Starts:
    """A plugin that says, at the end of each test's set-up and of the session, whether the run has started."""

    def __init__(self):
        self.at = {}

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_setup(self, item):
        self.at[item.name] = item.config.pluginmanager.hasplugin("modelviz-run")

    def pytest_sessionfinish(self, session):
        self.at["end"] = session.config.pluginmanager.hasplugin("modelviz-run")


@pytest.mark.parametrize(
    ("arguments", "ini", "starts_at_once"),
    [
        ((), "", False),
        (("--modelviz-rtol=1e-3",), "", False),
        ((), "modelviz_results_dir = results", False),
        (("--modelviz",), "", True),
        (("--modelviz-update",), "", True),
        (("--modelviz-require",), "", True),
        ((), "modelviz = true", True),
    ],
)
def test_the_run_starts_with_the_first_fixture_or_where_it_concerns_every_test(
    pytester, arguments, ini, starts_at_once
):
    pytester.makeini(f"[pytest]\n{ini}\n")
    pytester.makepyfile("def test_a(): pass\ndef test_b(model_summary): pass\ndef test_c(): pass\n")
    starts = Starts()
    pytester.runpytest_inprocess(*arguments, *OTHERS, plugins=[starts])
    assert starts.at == {"test_a": starts_at_once, "test_b": True, "test_c": True, "end": True}


def test_a_run_without_a_fixture_never_starts(pytester):
    pytester.makepyfile("def test_a(): pass\n")
    starts = Starts()
    pytester.runpytest_inprocess(*OTHERS, plugins=[starts]).assert_outcomes(passed=1)
    assert starts.at == {"test_a": False, "end": False}
    assert not (pytester.path / ".modelviz").exists()


@pytest.mark.parametrize("options", [(), ("-n", "1")])
def test_what_was_checked_before_the_run_started_is_counted(project, options):
    """A check in the set-up of a test, and one by a fixture that the test itself requests."""
    project.test(
        "import pytest\nfrom net import *\n"
        "@pytest.fixture\ndef checked(model_summary):\n    model_summary(load())\n"
        "def test_a(): pass\n"
        "def test_b(checked): pass\n"
        "def test_c(request):\n    request.getfixturevalue('model_summary')(load())\n"
    )
    result = project.run(*options)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*2 checks not compared*"])
    assert [check["nodeid"][-6:] for check in project.results["checks"]] == ["test_b", "test_c"]


def test_results_of_another_process_start_the_run(pytester):
    """As of pytest-forked, which runs a test in a process of its own and hands its reports to this one."""
    pytester.makepyfile("def test_a(): pass\n")
    made = CheckResult(
        nodeid="test_a.py::test_a",
        view="model_summary",
        name="model_summary",
        status=Status.NOT_COMPARED,
        baseline="b",
        message="m",
    )

    class Forks:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(self):
            report = yield
            if report.when == "call":
                setattr(report, RESULTS, [made.to_json()])
                report.modelviz_test = made.nodeid
            return report

    result = pytester.runpytest_inprocess(*OTHERS, plugins=[Forks()])
    result.stdout.fnmatch_lines(["*1 check not compared*"])


def test_the_folders_of_a_run_without_settings_are_those_of_the_default_settings(tmp_path):
    assert read_settings({}, {}, tmp_path).data_folders() == default_data_folders(tmp_path)


def test_a_results_folder_that_leads_into_the_project_is_an_error_of_the_first_test_that_checks(pytester):
    (pytester.path / ".modelviz").symlink_to(pytester.path)
    pytester.makepyfile("def test_a(): pass\ndef test_b(model_summary): pass\n")
    result = pytester.runpytest_inprocess(*OTHERS)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*--modelviz-results-dir takes a folder of its own*"])
