import gc
import os
import sys

import pytest
import torch
from hypothesis import settings

settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")

pytest_plugins = ["pytester"]

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)  # coverage watches the workers, not what they start

torch.set_num_threads(1)  # several workers share the machine's cores


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests have one worker, in the order of the files: they share what is recorded for the first of them."""
    if config.getvalue("dist") != "load":  # which is what `-n` alone asks for
        return None
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # many tests come last, and they are quick
    return LoadFileScheduling(config, log)


def pytest_collection_finish():
    """Spare the collector what was imported and collected, and most of its passes: they take a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def pytest_configure(config):
    text = "unwatched: coverage does not watch this test: it takes time, and other tests run the same lines"
    config.addinivalue_line("markers", text)


_covered: set[str] = set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Let coverage watch the first case of each test that may be watched: the others take time and add few lines.

    MODELVIZ_WATCH_ALL=1 has it watch all of them, for who wants to know which tests run a line (mutants.py).
    """
    test, _, _ = item.nodeid.partition("[")
    tracer = sys.gettrace()
    watches_all = bool(os.environ.get("MODELVIZ_WATCH_ALL"))
    if not watches_all and (test in _covered or item.get_closest_marker("unwatched")):
        sys.settrace(None)
    _covered.add(test)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


@pytest.fixture(autouse=True)
def _same_random_weights():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    """No test survives a loss of power; which files are flushed is tried in tests/unit/run/test_file_access.py."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def _not_on_github(monkeypatch):
    """Runs within tests neither annotate nor sum up those that are run on GitHub Actions."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
