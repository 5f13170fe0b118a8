"""A process that stays alive for many models, so that torch and a library are imported once.

It reads one request a line and answers each by a line of JSON. It is ended, and the next request starts another one,
where a model takes too long or kills it.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Worker:
    """The side of the process that asks.

    Args:
        environment: environment variables that its process has beside those of this one.

    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def ask(self, step: str, name: str, folder: Path, seconds: float) -> dict[str, Any]:
        """Have one step of a model done; returns what was found, or the `reason` why nothing was."""
        process = self._started()
        assert process.stdin is not None
        print(json.dumps([step, name, str(folder)]), file=process.stdin, flush=True)
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            self.stop()
            return {"reason": f"took longer than {seconds:.0f} s"}
        if not answer:
            code = process.wait()
            self.stop()
            return {"reason": f"its process ended with {code}"}
        found: dict[str, Any] = json.loads(answer)
        return found

    def stop(self) -> None:
        """End the process; the next request starts another one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.zoo.worker"],
                env={**os.environ, **self._environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._answers = queue.SimpleQueue()
            threading.Thread(target=_read, args=(self._process, self._answers), daemon=True).start()
        return self._process


def _read(process: subprocess.Popen[str], answers: queue.SimpleQueue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        answers.put(line)
    answers.put("")


def serve() -> None:
    """The side of the process that answers."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what libraries print is no answer
        warnings.simplefilter("ignore")
        for line in sys.stdin:
            step, name, folder = json.loads(line)
            print(json.dumps(_answer(step, name, Path(folder))), file=answers, flush=True)
            gc.collect()


def _answer(step: str, name: str, folder: Path) -> dict[str, Any]:
    from benchmarks.zoo.steps import compare, record

    started = time.process_time()
    try:
        found = (record if step == "record" else compare)(name, folder)
    except Exception as error:  # of a model, its library or the plugin: what the zoo is there to find
        traceback.print_exc()
        return {"reason": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return {**found, "processor_seconds": time.process_time() - started}


if __name__ == "__main__":
    serve()
