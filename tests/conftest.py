import pytest
import torch
from hypothesis import settings

settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")

pytest_plugins = ["pytester"]

torch.set_num_threads(1)  # several workers share the machine's cores


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests have one worker, in the order of the files: they share what is recorded for the first of them."""
    if config.getvalue("dist") != "load":  # which is what `-n` alone asks for
        return None
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # many tests come last, and they are quick
    return LoadFileScheduling(config, log)


@pytest.fixture(autouse=True)
def _same_random_weights():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _not_on_github(monkeypatch):
    """Runs within tests neither annotate nor sum up those that are run on GitHub Actions."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
