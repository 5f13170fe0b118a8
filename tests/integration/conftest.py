"""A small project to run: a model whose faults are switched on by a file, and one test that looks at it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import os
import pkgutil
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from torch import nn
from torch.utils import tensorboard

import pytest_modelviz
from pytest_modelviz.cli import main
from pytest_modelviz.pictures import files
from pytest_modelviz.views.activation_maximization.capture import ActivationMaximizationView
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView
from pytest_modelviz.views.training_curve.capture import TrainingCurveView

# pytester forgets what an inner run imported, and torch aborts the process when its parts are imported twice: all of
# it must have been imported before. Of our own modules a second copy would escape a test that patches the first.
_IMPORTED = (
    jinja2,
    tensorboard,
    *(
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(pytest_modelviz.__path__, "pytest_modelviz.")
        if not module.name.endswith("__main__")
    ),
)
for _view in (
    FeatureMapsView,
    CamMapView,
    lambda model, x: ModelSummaryView(model, input_data=x),
    lambda model, x: KernelMapsView(model),
    ModelGraphView,
    SaliencyMapView,
    lambda model, x: SaliencyMapView(model, x, method="integrated_gradients"),
    lambda model, x: ActivationMaximizationView(model, "0", image=x, steps=1),
):
    _view(nn.Sequential(nn.Conv2d(3, 3, 3), nn.Flatten(), nn.LazyLinear(2)), torch.rand(1, 3, 8, 8)).capture()
_curve = TrainingCurveView(lambda number: number, steps=1)
_curve.picture(_curve.capture())

NET = """
import pathlib
import torch
from torch import nn

here = pathlib.Path(__file__).parent


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 12, 3, stride=2)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        return self.head(torch.relu(self.conv2(x)).mean((2, 3)))


def fault():
    return (here / "fault.txt").read_text() if (here / "fault.txt").exists() else ""


def load():
    torch.manual_seed(0)
    net = Net().eval()
    if "weight" in fault():
        with torch.no_grad():
            net.conv2.weight.mul_(1.05)
    if "eps" in fault():
        net.bn1.eps = 1e-1
    return net


def photo():
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return image.flip(1) if "input" in fault() else image


def training(net, rate=0.1):
    optimiser = torch.optim.SGD(net.parameters(), lr=rate)

    def step(number):
        optimiser.zero_grad()
        loss = net(torch.rand(4, 3, 16, 16)).square().mean()
        loss.backward()
        optimiser.step()
        return {"loss": loss, "number": number}

    return step
"""

TEST = """
from net import load, photo

def test_net(model_summary, feature_maps, cam_map):
    model_summary(load(), input_data=photo())
    feature_maps(load(), photo())
    cam_map(load(), photo())
"""


# A view of numbers that a test gives. Without a model a comparison needs no torch, which each worker takes seconds to
# import.
NUMBERS = """
import numpy as np
import pytest


class Numbers:
    view = "numbers"

    def __init__(self, *values):
        self.values = values

    def capture(self):
        from pytest_modelviz.records.capture import Capture

        # there is no model whose randomness a second capture would show: that would import torch
        arrays = {"numbers": np.float32(self.values)}
        return Capture(self.view, {}, arrays, {}, result=self.values, repeatable=False)

    def compare(self, baseline, actual, tolerances):
        from pytest_modelviz.compare.arrays import compare_arrays

        return compare_arrays(baseline, actual, tolerances)

    def picture(self, actual, baseline=None, verdict=None):
        return []

    def describe(self, actual):
        return str(self.values)


@pytest.hookimpl(optionalhook=True)
def pytest_modelviz_views():
    return [Numbers]
"""


_PLUGINS = ("cacheprovider", "randomly", "hypothesispytest", "anyio", "pytest_jsonreport", "html", "metadata")
_PLUGINS += ("regressions", "pytest-datadir", "pytest_torch")  # which are there for benchmarks


def _remembered(attribute: str) -> Callable[[importlib.metadata.PathDistribution], Any]:
    """What is read of an installed package, once for all runs: pytest reads each of hundreds twice a run."""
    read = getattr(importlib.metadata.Distribution, attribute).fget
    known: dict[str, Any] = {}

    def remembered(package: importlib.metadata.PathDistribution) -> Any:
        path = str(package._path)
        if path not in known:
            known[path] = read(package)
        return known[path]

    return remembered


_REMEMBERED = {attribute: _remembered(attribute) for attribute in ("entry_points", "metadata")}
_CLOSEST_COLOURS = files._in_256_colours
_RUNS: dict[tuple[object, ...], tuple[pytest.RunResult, dict[str, bytes]]] = {}  # runs and what they left


class Project:
    """A project in a folder of its own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        pytester.makepyfile(net=NET)
        pytester.syspathinsert()

    def test(self, source: str = TEST, name: str = "test_net") -> None:
        self.pytester.makepyfile(**{name: source})

    def with_numbers(self, more: str = "") -> None:
        """Give its tests the fixture `numbers`, for what is no matter of models, and what else its conftest.py has."""
        self.pytester.makeconftest(NUMBERS + more)

    def fault(self, kind: str) -> None:
        (self.path / "fault.txt").write_text(kind)

    def run(self, *arguments: str) -> pytest.RunResult:
        sys.modules.pop("net", None)
        return self.pytester.runpytest_inprocess(*self._without(arguments), *arguments)

    def run_once(self, *arguments: str) -> pytest.RunResult:
        """The same as `run`, for what many tests begin with: made for the first of them, and copied for the others.

        Only where nothing but the files in the folder can make a difference to the run.
        """
        before = self._contents()
        key = (arguments, files._in_256_colours is _CLOSEST_COLOURS, *sorted(before.items()))
        if key not in _RUNS:
            _RUNS[key] = self.run(*arguments), self._contents()
        result, after = _RUNS[key]
        for path in before.keys() - after.keys():
            (self.path / path).unlink(missing_ok=True)
        for path in sorted(
            after, key=lambda path: path.endswith("results.json")
        ):  # which is the last that a run writes
            if after[path] != before.get(path):
                (self.path / path).parent.mkdir(parents=True, exist_ok=True)
                (self.path / path).write_bytes(after[path])
        return result

    def _contents(self) -> dict[str, bytes]:
        paths = [path for path in self.path.rglob("*") if not path.is_dir()]
        assert not any(path.is_symlink() for path in paths)
        return {str(path.relative_to(self.path)): path.read_bytes() for path in paths}

    def run_forked(self, *arguments: str) -> int:
        """The same as `run`, in a process that may die; how it ended, negative where a signal has ended it."""
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                os._exit(int(self.run(*arguments).ret))
            os._exit(-1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def run_apart(self, *arguments: str) -> pytest.RunResult:
        """The same as `run`, in a new process, whose imports take seconds: for workers, and for what is imported."""
        return self.pytester.runpytest_subprocess(*self._without(arguments), *arguments)

    def _without(self, arguments: tuple[str, ...]) -> list[str]:
        """Other plugins stay out, unless the run asks for them: their import takes each process more than a second."""
        names = [name for name in _PLUGINS if name not in arguments]
        if not any(word.startswith("--reruns") for word in arguments):
            names.append("rerunfailures")  # each run of it leaves a socket and a thread in the process
        return [word for name in names for word in ("-p", f"no:{name}")]

    def modelviz(self, *arguments: str) -> Result:
        """Run the command in the project's folder."""
        return CliRunner().invoke(main, arguments, catch_exceptions=False)

    @property
    def results(self) -> dict[str, Any]:
        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        return json.loads((self.path / ".modelviz" / "results.json").read_text("utf-8"), parse_constant=refuse)

    def statuses(self) -> dict[str, str]:
        return {check["name"]: check["status"] for check in self.results["checks"]}

    def check(self, name: str) -> dict[str, Any]:
        (check,) = [check for check in self.results["checks"] if check["name"] == name]
        return check

    @staticmethod
    def without_run(text: str) -> str:
        """What is printed, without the run's id, which is another one each time."""
        return re.sub(r" --run \d{4}-\d\d-\d\d_[\d._-]+", "", text)

    def check_of(self, nodeid: str, name: str) -> dict[str, Any]:
        (check,) = [c for c in self.results["checks"] if (c["nodeid"], c["name"]) == (nodeid, name)]
        return check

    def files(self, folder: str = "baselines") -> dict[str, bytes]:
        root = self.path / folder
        paths = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != ".gitattributes"]
        return {str(path.relative_to(root)): path.read_bytes() for path in paths}

    def baseline(self, name: str, test: str = "test_net/test_net") -> Path:
        return self.path / "baselines" / test / name


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    # a file changed within a second and by no byte in length would come out of Python's cache
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    # which 256 colours are closest takes a tenth of a second a picture, and is tried in tests/unit/pictures
    monkeypatch.setattr(files, "_in_256_colours", lambda image: image.quantize(256, method=Image.Quantize.FASTOCTREE))
    for attribute in ("entry_points", "metadata"):
        monkeypatch.setattr(importlib.metadata.Distribution, attribute, property(_REMEMBERED[attribute]))
    return Project(pytester)


@pytest.fixture
def closest_colours(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures with the bytes that they have in processes of their own."""
    monkeypatch.setattr(files, "_in_256_colours", _CLOSEST_COLOURS)
