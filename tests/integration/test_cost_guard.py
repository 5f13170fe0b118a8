"""No check has become twice as dear as its goal: `benchmarks.cost.guard` measures small models within the test run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cost import guard
from benchmarks.cost.goals import COUNTED, GUARDED, TIMED, allowed

pytestmark = pytest.mark.unwatched
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def counted():
    return dict(guard.counted())


@pytest.fixture(scope="module")
def timed():
    """Timed in a process of its own, where coverage does not slow the package's functions down."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_PROCESS")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.cost.guard"],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    return json.loads(done.stdout.splitlines()[-1])


def require(figures, key):
    goal = GUARDED[key]
    text = f"{goal.title}: {figures[key]:.2f} {goal.unit}, {allowed(key):g} allowed; the goal: {goal.text()}"
    assert figures[key] <= allowed(key), text


@pytest.mark.parametrize("key", [goal.key for goal in COUNTED])
def test_work_that_can_be_counted(counted, key):
    require(counted, key)


@pytest.mark.parametrize("key", [goal.key for goal in TIMED])
def test_time_beside_the_pass(timed, key):
    require(timed, key)


def test_every_figure_of_the_guard_has_a_goal(counted, timed):
    assert counted.keys() == {goal.key for goal in COUNTED}
    assert timed.keys() == {goal.key for goal in TIMED}
