"""Memory at its peak, of one action in a process of its own.

    python -m benchmarks.cost.memory [--size N] MODEL ACTION

Two numbers, in bytes. `allocated` is what torch's allocator held at most while the action ran, as `torch.profiler` saw
it, with the model's weights: the same in every run. NumPy's arrays are not in it. `resident` is the most physical
memory that the process ever had, so with Python, torch and the other libraries.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from benchmarks.cost import by_hand, views
from benchmarks.cost.models import Subject, build

ACTIONS: Mapping[str, Callable[[Subject], object]] = {
    "forward": by_hand.forward,
    "forward and backward": by_hand.forward_and_backward,
    "feature_maps": lambda subject: views.feature_maps(subject).capture(),
    "model_summary": lambda subject: views.model_summary(subject).capture(),
    "modelviz": views.capture_combined,
}


def measure(model: str, size: int | None, action: str) -> dict[str, int]:
    """Peaks of an action in a process of its own, with one thread."""
    command = [sys.executable, "-m", "benchmarks.cost.memory", model, action]
    command += [] if size is None else ["--size", str(size)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    peaks: dict[str, int] = json.loads(done.stdout.strip().splitlines()[-1])
    return peaks


def peaks_of(subject: Subject, action: Callable[[Subject], object]) -> dict[str, int]:
    action(subject)
    resident = resident_peak()
    weights = sum(tensor.nbytes for tensor in (*subject.model.parameters(), *subject.model.buffers()))
    return {"resident": resident, "allocated": weights + highest(allocations(lambda: action(subject)))}


def resident_peak() -> int:
    """The most physical memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux hands getrusage's figure on to the programs that a process starts
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def allocations(action: Callable[[], object]) -> list[int]:
    """Bytes that torch's allocator hands out on the CPU, and (negative) takes back, in the order in which it does."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        action()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    return [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]


def highest(changes: Iterable[int]) -> int:
    """The highest sum on the way, 0 at the start."""
    current = most = 0
    for change in changes:
        current += change
        most = max(most, current)
    return most


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost.memory", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("--size", type=int)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(json.dumps(peaks_of(build(options.model, options.size), ACTIONS[options.action])))


if __name__ == "__main__":
    main()
