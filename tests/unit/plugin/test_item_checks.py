"""When a test may make a check, and under which names; in a run that is none, with views that are never compared."""

import mmap
import os
import types

import pytest

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.plugin.checks import ForkedChecks, ItemChecks
from pytest_modelviz.plugin.identity import CollectedTests
from pytest_modelviz.plugin.progress import Progress
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.run.settings import Mode, Settings


class FakeRun:
    """Finds that every check has `status`."""

    def __init__(self, item, status=Status.MATCH):
        root = item.config.rootpath
        self.settings = Settings(Mode.COMPARE, root, root / "baselines", root / ".modelviz")
        self.status, self.forks, self.troubles, self.made = status, ForkedChecks(), [], []
        self.fail = self.troubles.append
        self._tests = CollectedTests([item], whole=True)
        self.progress = Progress(None, int)

    def opened(self, _):
        self.forks.prepare()

    def tests(self):
        return self._tests

    def review(self):
        return ""

    def arguments(self):
        return []

    def session(self):
        return self

    def check(self, check):
        self.made.append(check)
        result = CheckResult(
            nodeid=check.nodeid,
            view="v",
            name=check.name,
            status=self.status,
            baseline="b",
            message=f"{check.name}: {self.status}",
        )
        return Capture("v", {}, result="what was captured"), result


@pytest.fixture
def run(request):
    return FakeRun(request.node)


@pytest.fixture
def checks(request, run):
    return ItemChecks(run, request.node)


def view():
    return types.SimpleNamespace(view="v")


def test_a_check_is_named_as_it_is_called_else_as_its_view(checks, run):
    assert checks.run(view, None, "v") == "what was captured"
    checks.run(view, "other", "v")
    assert [(check.nodeid, check.name) for check in run.made] == [(checks.nodeid, "v"), (checks.nodeid, "other")]
    assert [result.name for result in checks.unreported] == ["v", "other"]
    assert checks.take_failures() == ""


@pytest.mark.parametrize("name", ["", "a\nb", "\0", 3, b"v"])
def test_other_names_are_refused(checks, run, name):
    with pytest.raises(ModelvizError, match="name= takes a non-empty printable string, not "):
        checks.run(view, name, "v")
    assert not run.made


def test_a_refusal_is_shown_at_the_test_s_own_line(checks):
    with pytest.raises(ModelvizError) as caught:
        checks.run(view, "", "v")
    assert [entry.name for entry in caught.traceback if not entry.ishidden(caught)] == [
        "test_a_refusal_is_shown_at_the_test_s_own_line"
    ]


def test_two_checks_of_a_name_are_refused(checks, run):
    checks.run(view, None, "v")
    with pytest.raises(ModelvizError, match="this test has two checks named 'v': pass name= to tell them apart"):
        checks.run(view, "v", "v")
    assert len(run.made) == 1


@pytest.mark.parametrize("status", Status)
def test_what_fails_is_kept_until_it_is_asked_for_once(request, status):
    checks = ItemChecks(FakeRun(request.node, status), request.node)
    for name in "ab":
        checks.run(view, name, "v")
    assert checks.take_failures() == (f"a: {status}\n\nb: {status}" if status.fails else "")
    assert checks.take_failures() == ""


def test_a_check_after_the_test_fails_the_run(checks, run):
    checks.end()
    with pytest.raises(ModelvizError, match="was made after that test had ended") as caught:
        checks.run(view, None, "v")
    assert run.troubles == [str(caught.value)]
    assert not run.made


def test_a_check_that_the_test_s_end_overtakes_is_none(checks, run):
    def late():
        checks.end()
        return view()

    with pytest.raises(ModelvizError, match="was made after that test had ended"):
        checks.run(late, None, "v")
    assert len(run.troubles) == len(run.made) == 1
    assert not checks.unreported


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_check_in_a_forked_process_is_refused_there_and_known_here(checks, run):
    assert run.forks.nodeid() == ""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            checks.run(view, None, "v")
        except ModelvizError as error:
            code = 0 if "was made in a forked process" in str(error) and not run.made else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert run.forks.nodeid() == checks.nodeid


@pytest.mark.parametrize(
    ("nodeid", "found"),
    [
        ("t.py::test[é]", "t.py::test[é]"),
        ("t.py::test[\udc80]", "t.py::test[?]"),
        ("t" * 2 * mmap.PAGESIZE, "t" * mmap.PAGESIZE),
    ],
    ids=["letters", "no letter", "long"],
)
def test_any_id_fits_what_forked_processes_share(nodeid, found):
    forks = ForkedChecks()
    forks.note("before there was room")
    forks.prepare()
    assert forks.nodeid() == ""
    forks.note(nodeid)
    forks.prepare()
    assert forks.nodeid() == found
