"""`modelviz review` in a real terminal, on the results of a real run."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")

ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """The command in a terminal of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._own, other = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest_modelviz", *arguments],
            cwd=folder,
            stdin=other,
            stdout=other,
            stderr=other,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        )
        os.close(other)
        self.text = ""

    def until(self, end: str) -> str:
        """What is printed until this is."""
        start, limit = len(self.text), time.monotonic() + 60
        while end not in self.text[start:]:
            assert time.monotonic() < limit, self.text
            if select.select([self._own], [], [], 0.1)[0]:
                self.text += os.read(self._own, 4096).decode()
        return self.text[start:]

    def press(self, key: str) -> None:
        """Press a key when one is waited for: what is typed before is dropped, so that nothing unseen is accepted."""
        while termios.tcgetattr(self._own)[3] & termios.ICANON:
            time.sleep(0.01)
        os.write(self._own, key.encode())

    def wait(self) -> int:
        try:
            return self._process.wait(60)
        finally:
            self._process.kill()
            os.close(self._own)


@pytest.fixture
def drifted(project):
    project.test()
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.fault("weight")
    project.run_once("--modelviz").assert_outcomes(failed=1)
    return project


def test_keys_in_a_terminal(drifted):
    terminal = Terminal(drifted.path, "review")
    shown = terminal.until("q quit")
    assert "weights at conv2 (Conv2d): 2 checks of 1 test" in shown
    assert "conv2.weight differs by 0.05: all x 1.05" in shown
    terminal.press("d")
    details = terminal.until("q quit")
    assert "  layers    each with its error, and what is allowed" in details
    assert "  = 0 " in details
    terminal.press("a")
    assert "accepted   test_net.py::test_net  feature_maps" in terminal.until("q quit")
    terminal.press("q")
    terminal.until("1 accepted, 1 still waiting")
    assert terminal.wait() == 0
    drifted.run("--modelviz")
    assert drifted.statuses() == {"model_summary": "match", "feature_maps": "match", "cam_map": "drift"}


def test_an_interrupt_in_a_terminal(drifted):
    terminal = Terminal(drifted.path, "review")
    terminal.until("q quit")
    terminal.press("r")
    terminal.until("q quit")
    terminal.press("\x03")
    end = terminal.until("1 rejected, 1 still waiting")
    assert "interrupted: all decisions made so far stand" in end
    assert terminal.wait() == 0
    assert "1 waiting, 1 decided" in drifted.modelviz("list").output


def test_output_that_is_no_terminal(drifted):
    done = subprocess.run(
        [sys.executable, "-m", "pytest_modelviz", "review"],
        cwd=drifted.path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "Error: modelviz review asks for keys, and needs a terminal: elsewhere, use modelviz show and modelviz accept\n"
    )
