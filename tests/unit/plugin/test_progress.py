"""What is written to the terminal while a slow check is made."""

import contextlib
import io
import os
import sys
import time
import types

import pytest

from pytest_modelviz.plugin.progress import Progress, progress


def screen(written):
    """What a terminal shows of a line: a backspace goes back, letters take the place of others."""
    line, at = [], 0
    for letter in written:
        if letter == "\b":
            at -= 1
        else:
            line[at : at + 1] = [letter]
            at += 1
    return "".join(line), at


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("fails", [False, True])
def test_a_slow_check_is_named_and_the_line_is_put_back(fails):
    file = Terminal()
    ends = pytest.raises(ValueError, match="x") if fails else contextlib.nullcontext()
    with ends, Progress(file, lambda: 40, patience=0.01).of("cam_map"):
        while not file.getvalue().endswith("\b"):
            time.sleep(0.01)
        shown = screen(file.getvalue())
        if fails:
            raise ValueError("x")
    assert shown == (" cam_map: 0 s", 0)
    line, at = screen(file.getvalue())
    assert (line.strip(), at) == ("", 0)


@pytest.mark.parametrize(("room", "stdout", "patience"), [(15, None, 0.0), (40, Terminal(), 0.0), (40, None, 60.0)])
def test_nothing_is_written_where_it_has_no_place(monkeypatch, room, stdout, patience):
    """On a line that is nearly full, to a terminal that somebody else writes to, of a quick check."""
    file = Terminal()
    if stdout is not None:
        monkeypatch.setattr(sys, "stdout", stdout)
    with Progress(file, lambda: room, patience=patience).of("cam_map"):
        time.sleep(0.05)
    assert file.getvalue() == ""


def test_a_terminal_that_is_gone_stops_no_check():
    file = Terminal()
    told = Progress(file, lambda: 40, patience=0.0)
    told.close()
    with told.of("cam_map"):
        time.sleep(0.02)


def test_there_is_none_in_a_run_whose_output_is_no_terminal(pytestconfig, monkeypatch):
    assert progress(pytestconfig)._file is None
    monkeypatch.setattr(sys, "stdout", Terminal())  # which has no file of the system
    assert progress(pytestconfig)._file is None


@pytest.mark.parametrize(
    ("capture", "shows_logs", "is_worker", "ci", "is_told"),
    [
        ("fd", False, False, "", True),
        ("sys", False, False, "", True),
        ("no", False, False, "", False),
        ("tee-sys", False, False, "", False),
        ("fd", True, False, "", False),
        ("fd", False, True, "", False),
        ("fd", False, False, "1", False),
    ],
)
def test_only_a_terminal_is_written_to_that_nobody_else_uses(monkeypatch, capture, shows_logs, is_worker, ci, is_told):
    plugins = {
        "terminalreporter": types.SimpleNamespace(_tw=types.SimpleNamespace(fullwidth=80, width_of_current_line=9)),
        "logging-plugin": types.SimpleNamespace(_log_cli_enabled=lambda: shows_logs),
    }
    manager = types.SimpleNamespace(get_plugin=plugins.get)
    config = types.SimpleNamespace(getoption=lambda *_: capture, pluginmanager=manager)
    if is_worker:
        config.workerinput = {}
    monkeypatch.delenv("BUILD_NUMBER", raising=False)
    monkeypatch.setenv("CI", ci)
    master, slave = pytest.importorskip("pty").openpty()  # not on Windows
    with os.fdopen(master), os.fdopen(slave, "w") as stdout, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stdout)
        told = progress(config)
        assert (told._file is not None) is is_told
        assert told._room() == 70
        told.close()
