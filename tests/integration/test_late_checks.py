"""A check that nobody listens to any more must not be lost: its test has passed already."""

import pytest

pytestmark = pytest.mark.unwatched

LATE = {
    "teardown_method": """
class TestNet:
    def test_net(self, feature_maps):
        self.check = feature_maps
    def teardown_method(self):
        self.check(load(), photo())
""",
    "a fixture that was set up before": """
import pytest
@pytest.fixture
def ends():
    checks = []
    yield checks
    checks[0](load(), photo())
def test_net(ends, feature_maps):
    ends.append(feature_maps)
""",
    "another test": """
KEPT = []
def test_net(feature_maps):
    KEPT.append(feature_maps)
def test_other():
    KEPT[0](load(), photo())
""",
    "another test, swallowed": """
import contextlib
KEPT = []
def test_net(feature_maps):
    KEPT.append(feature_maps)
def test_other():
    with contextlib.suppress(Exception):
        KEPT[0](load(), photo())
""",
    "the end of the session": """
def test_net(feature_maps, request):
    request.session.addfinalizer(lambda: feature_maps(load(), photo()))
""",
    "a class's clean-up": """
import unittest, pytest
class TestNet(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _given(self, feature_maps):
        self.check = feature_maps
    def test_net(self):
        self.addClassCleanup(lambda: self.check(load(), photo()))
""",
    "a thread that goes on": """
import threading, time
STARTED = []
def test_net(feature_maps):
    def later():
        while not ended:
            time.sleep(0.01)
        feature_maps(load(), photo())
    ended = []
    STARTED.append((threading.Thread(target=later), ended))
    STARTED[0][0].start()
def test_other():
    thread, ended = STARTED[0]
    ended.append(True)
    thread.join()
""",
}


@pytest.mark.parametrize("option", ["--modelviz", "--modelviz-update"])
@pytest.mark.parametrize("when", LATE)
def test_a_check_after_its_test_fails_the_run_and_records_nothing(project, when, option):
    project.test(f"from net import *\n{LATE[when]}")
    result = project.run(option, "-p", "no:randomly")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*test_net was made after that test had ended*"])
    assert not list(project.path.rglob("feature_maps.json"))


def test_so_does_one_in_a_worker(project):
    project.test(f"from net import *\n{LATE['another test, swallowed']}")
    result = project.run_apart("--modelviz", "-n1")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*test_net was made after that test had ended*"])


@pytest.mark.parametrize(
    "test",
    [
        "import pytest\n@pytest.fixture\ndef last(feature_maps):\n    yield\n    feature_maps(load(), photo())\n"
        "def test_net(last):\n    pass\n",
        "def test_net(feature_maps, request):\n    request.addfinalizer(lambda: feature_maps(load(), photo()))\n",
        "import threading\ndef test_net(feature_maps):\n"
        "    one = threading.Thread(target=lambda: feature_maps(load(), photo()))\n    one.start()\n    one.join()\n",
    ],
    ids=["a fixture that requests it", "a finaliser of the test", "a thread that is waited for"],
)
def test_what_is_made_in_time_counts(project, test):
    project.test(f"from net import *\n{test}")
    project.run_once("--modelviz-update")
    project.run("--modelviz").assert_outcomes(passed=1)
    project.test(f"from net import *\n{test.replace('photo()', 'photo() * 2')}")
    assert project.run("--modelviz").ret == 1
