"""How this suite itself is run: what coverage watches, and which worker gets which tests."""

import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parent.parent / "conftest.py"
TESTS = """
import sys
import pytest

@pytest.mark.parametrize("n", range(3))
def test_cases(n):
    assert (sys.gettrace() is None) == (n > 0)

def test_cases_of_another_name():
    assert sys.gettrace()

@pytest.mark.unwatched
def test_of_great_length():
    assert sys.gettrace() is None

class TestNet:
    @pytest.mark.parametrize("n", range(2))
    def test_cases(self, n):
        assert (sys.gettrace() is None) == (n > 0)
"""


def tracer(frame, event, argument):
    return None


@pytest.mark.parametrize("watches_all", ["", "1"])
def test_coverage_watches_the_first_case_of_each_test_that_is_not_marked(pytester, monkeypatch, watches_all):
    monkeypatch.setenv("MODELVIZ_WATCH_ALL", watches_all)
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(test_net=TESTS)
    outer = sys.gettrace()
    sys.settrace(tracer)
    try:
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly")
        left = sys.gettrace()
    finally:
        sys.settrace(outer)
    failed = 4 if watches_all else 0  # of seven, those that are not to be watched
    result.assert_outcomes(passed=7 - failed, failed=failed)
    assert left is tracer


@pytest.mark.parametrize(("dist", "is_ours"), [("load", True), ("worksteal", False)])
def test_the_tests_of_a_file_have_one_worker(pytester, pytestconfig, dist, is_ours):
    scheduling = pytest.importorskip("xdist.scheduler")
    config = pytester.parseconfig(f"--dist={dist}")
    config.option.tx = ["popen"] * 2  # as `-n 2` has it
    hooks = pytestconfig.pluginmanager.get_plugin(str(CONFTEST))
    scheduler = hooks.pytest_xdist_make_scheduler(config, log=None)
    assert isinstance(scheduler, scheduling.LoadFileScheduling) == is_ours
    assert config.option.loadscopereorder != is_ours  # the order of the files is kept
