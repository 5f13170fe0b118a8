"""Test ids in a results folder from elsewhere: none becomes an option, or a file, of a command that is printed."""

import json

import pytest

pytestmark = pytest.mark.unwatched


@pytest.mark.parametrize("status", ["drift", "missing", "unreadable"])
@pytest.mark.parametrize(
    "nodeid", ["--baseline-dir=../elsewhere", "--basetemp=victim", "art/test_net.py::test_net", "/etc/passwd::t"]
)
def test_no_command_is_printed_for_what_is_no_test_of_the_project(project, nodeid, status):
    project.test()
    project.run("--modelviz")
    (project.path / ".modelviz").rename(project.path / "art")
    (project.path / "art/test_net.py").write_text("raise SystemExit\n")
    path = project.path / "art/results.json"
    document = json.loads(path.read_text())
    check = document["checks"][0] | {"nodeid": nodeid, "status": status}
    path.write_text(json.dumps({**document, "checks": [check]}))
    done = project.modelviz("show", "--from", "art")
    assert "(no command: " in done.output, done.output
    assert "modelviz accept" not in done.output
    assert "pytest --" not in done.output
