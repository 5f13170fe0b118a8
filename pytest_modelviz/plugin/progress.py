"""Says on the terminal which check is being made, and for how long, if it takes more than a moment."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, TextIO

import pytest

from pytest_modelviz.plugin.drift_report import is_on_ci

_PATIENCE, _INTERVAL = 2.0, 1.0  # seconds
_LEAST = 16  # columns that are wanted for it


class Progress:
    """Writes to the terminal in which pytest was started, and takes back what it wrote.

    It holds a file of its own there, since pytest puts another one in the place of standard output during a test.
    """

    def __init__(self, file: TextIO | None, room: Callable[[], int], *, patience: float = _PATIENCE) -> None:
        self._file, self._room, self._patience = file, room, patience

    @contextlib.contextmanager
    def of(self, name: str) -> Generator[None, None, None]:
        """Tell of the check `name` while it is made."""
        if self._file is None:
            yield
            return
        done = threading.Event()
        thread = threading.Thread(target=self._tell, args=(name, done.wait), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _tell(self, name: str, wait: Callable[[float], bool]) -> None:
        started, text, delay = time.monotonic(), "", self._patience
        while not wait(delay):
            delay = _INTERVAL
            self._write(" " * len(text))
            room = 0 if sys.stdout.isatty() else self._room()  # others write there: a debugger, or tests run with -s
            text = f" {name}: {time.monotonic() - started:.0f} s"[:room] if room >= _LEAST else ""
            self._write(text)
        self._write(" " * len(text))

    def _write(self, text: str) -> None:
        """Leave the cursor where it was, so that whatever comes next takes the place of the text."""
        with contextlib.suppress(OSError, ValueError):
            if self._file is not None:
                self._file.write(text + "\b" * len(text))
                self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def progress(config: pytest.Config) -> Progress:
    """How the run of this process tells of slow checks: not at all but on a terminal that is its own."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    logging: Any = config.pluginmanager.get_plugin("logging-plugin")
    is_shared = config.getoption("capture", "no") not in ("fd", "sys")
    is_shared = is_shared or (logging is not None and logging._log_cli_enabled()) or hasattr(config, "workerinput")
    file = None
    if reporter is not None and not is_shared and not is_on_ci():
        manager: Any = config.pluginmanager.get_plugin("capturemanager")
        # a run may start in the middle of a test, when pytest has another file in the terminal's place
        with contextlib.nullcontext() if manager is None else manager.global_and_fixture_disabled():
            if sys.stdout.isatty():
                with contextlib.suppress(OSError, ValueError):
                    copy = os.dup(sys.stdout.fileno())
                    file = os.fdopen(copy, "w", encoding=sys.stdout.encoding, errors="replace")
    return Progress(file, lambda: int(reporter._tw.fullwidth - reporter._tw.width_of_current_line - 1))
