"""What the plugin itself takes of a suite of many small checks, beside the passes of the model.

    python benchmarks/suite.py [CHECKS]

A project with one small network and CHECKS parametrised tests (default 300), and as many tests that do nothing, is run
as users run it: recorded, compared while all matches, compared with one weight changed so that all drift; then all of
it is accepted. The times are processor time, which depends little on what else the machine does: medians of one test,
less what pytest takes of one that does nothing. The passes of the model are those that a view makes to capture, to
capture again, and to measure its noise; all else is the plugin's own part.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TEST = """
import os

import pytest
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()

    def forward(self, x):
        return x + self.act(self.norm(self.conv(x)))


torch.manual_seed(0)
MODEL = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Block(), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
IMAGE = torch.rand(1, 3, 16, 16)
CHECKS = int(os.environ["CHECKS"])


@pytest.mark.parametrize("number", range(CHECKS))
def test_nothing(number):
    pass


@pytest.mark.parametrize("number", range(CHECKS))
def test_net(number, feature_maps):
    if os.environ.get("DRIFT"):  # by another number in each test
        with torch.no_grad():
            MODEL[1].conv.weight.mul_(1.1 if number == 0 else 1.001)
    feature_maps(MODEL, IMAGE)
"""
CONFTEST = """
import json
import statistics
import time

import pytest

TIMES = {"capture": [], "capture_again": [], "with_noise": [], "compare": []}
TESTS = {"test_nothing": [], "test_net": []}
END = []


@pytest.fixture(scope="session", autouse=True)
def _timed():
    from pytest_modelviz.run.checked_view import CheckedView

    for method in TIMES:
        setattr(CheckedView, method, timed(getattr(CheckedView, method), TIMES[method]))


def timed(call, times):
    def measured(*args):
        start = time.thread_time()
        try:
            return call(*args)
        finally:
            times.append(time.thread_time() - start)

    return measured


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    start = time.thread_time()
    result = yield
    TESTS[item.originalname].append(time.thread_time() - start)
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish():
    start = time.thread_time()
    result = yield
    END.append(time.thread_time() - start)
    return result


def pytest_unconfigure():
    nothing, test = (statistics.median(times) for times in TESTS.values())
    calls = len(TESTS["test_net"])
    per_test = {name: statistics.median(times) * len(times) / calls for name, times in TIMES.items() if times}
    with open("times.json", "w") as file:
        json.dump({"test": test - nothing, "end": END[0], **per_test}, file)
"""
PASSES = ("capture", "capture_again", "with_noise")


def seconds(folder: Path, *command: str, **environment: str) -> tuple[float, float]:
    """Processor and wall-clock time of one command, in seconds."""
    around = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = (sys.executable, "-m", *command)
    subprocess.run(command, cwd=folder, env=around, stdout=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - started


def main(checks: int = 300) -> None:
    runs = {
        "recorded": (("--modelviz-update",), {}),
        "matching": (("--modelviz",), {}),
        "drifting": (("--modelviz",), {"DRIFT": "1"}),
    }
    columns = f"{'passes':>8} {'compared':>9} {'all else':>9} {'end of run':>11} {'wall':>8}"
    print(f"{checks} checks  {'ms a check':>12} {columns}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in (("test_many.py", TEST), ("conftest.py", CONFTEST), ("pytest.ini", "[pytest]\n")):
            (folder / file).write_text(text)
        for run, (options, environment) in runs.items():
            command = ("pytest", "-q", "-p", "no:cacheprovider", "--tb=no", "--junitxml=junit.xml", *options)
            wall = seconds(folder, *command, CHECKS=str(checks), **environment)[1]
            times = json.loads((folder / "times.json").read_text())
            passes, compared = sum(times.get(each, 0.0) for each in PASSES), times.get("compare", 0.0)
            own = times["test"] - passes - compared
            columns = f"{1e3 * times['test']:12.1f} {1e3 * passes:8.1f} {1e3 * compared:9.1f} {1e3 * own:9.1f}"
            print(f"{run:{len(str(checks)) + 7}}  {columns} {times['end']:9.1f} s {wall:6.0f} s", flush=True)
        processor, wall = seconds(folder, "pytest_modelviz", "accept")
        print(f"modelviz accept: {processor:.1f} s of processor time, {wall:.1f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
