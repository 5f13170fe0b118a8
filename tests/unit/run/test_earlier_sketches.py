"""Baselines whose sketches an earlier version has made: the model is captured once more, with such sketches."""

import dataclasses
import zlib
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.check_result import Status
from pytest_modelviz.records.sketch_version import EARLIER_VERSION, SKETCH_VERSION, sketched_as
from pytest_modelviz.records.trace_arrays import stated_version
from pytest_modelviz.run.check import Check
from pytest_modelviz.run.session import Session
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.run.stored_comparison import compared
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store
from pytest_modelviz.views.base import measured
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView

NODEID, LOCATION = "test_net.py::test", Location.of("test_net.py::test", "n")
NOTE = "recorded by an earlier version of pytest-modelviz, and the model was captured again"
COMMAND = "pytest --modelviz-update-all test_net.py::test"


class Net(nn.Module):
    """Large activations and a large weight."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 9000)

    def forward(self, x):
        return self.head(self.conv(x).relu().mean((2, 3)))


class Small(Net):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 5)


def net(kind=Net, factor=1.0):
    torch.manual_seed(0)
    model = kind().eval()
    with torch.no_grad():
        model.conv.weight.mul_(factor)
    return model


def image(side=100):
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def recorded(view, version):
    with sketched_as(version):
        return measured(view, view.capture())


VIEWS = {
    "feature_maps": lambda model: FeatureMapsView(model, image()),
    "kernel_maps": lambda model: KernelMapsView(nn.Sequential(nn.Conv2d(256, 300, 1), model.conv)),
    "saliency_map": lambda model: SaliencyMapView(model, image(), target=1),
    "cam_map of modelviz": lambda model: CombinedCapture(model, image(), cam="conv", target=1).cam,
}


class Project:
    def __init__(self, root, baseline):
        self.root, self.store = root, Store(root / "baselines")
        self.store.save(LOCATION, baseline, nodeid=NODEID, name="n")

    def check(self, view, mode=Mode.COMPARE):
        settings = Settings(mode, self.root, self.root / "baselines", self.root / ".modelviz")
        return Session("run").check(Check(NODEID, "test", NODEID, "n", view, settings))[1]

    @property
    def version(self):
        return stated_version(self.store.load(LOCATION, nodeid=NODEID, name="n").capture.arrays)


@pytest.mark.parametrize("view", VIEWS)
def test_they_match_with_a_note_and_a_drift_is_one(view, tmp_path):
    torch.manual_seed(0)
    project = Project(tmp_path, recorded(VIEWS[view](net()), EARLIER_VERSION))
    torch.manual_seed(0)
    result = project.check(VIEWS[view](net()))
    assert result.status is Status.MATCH, result.message
    assert NOTE in result.message
    assert COMMAND in result.message
    torch.manual_seed(0)
    drift = project.check(VIEWS[view](net(factor=1.05)))
    assert (drift.status, drift.first_divergence.layer) == (Status.DRIFT, "1" if view == "kernel_maps" else "conv")
    assert NOTE in drift.message
    assert "all x 1.05" in drift.message or view not in ("feature_maps", "kernel_maps")


class Steady(Net):
    """Scaled by a table of the module that it is defined in, which no check puts back."""

    table: ClassVar[list[float]] = []

    def forward(self, x):
        return super().forward(x) * (self.table.pop() if self.table else 1.0)


@pytest.mark.parametrize(("table", "status"), [([], Status.MATCH), ([7.0], Status.UNSTABLE)])
def test_a_second_capture_does_not_stand_for_another_first_one(tmp_path, monkeypatch, table, status):
    project = Project(tmp_path, recorded(FeatureMapsView(net(Steady), image()), EARLIER_VERSION))
    monkeypatch.setattr(Steady, "table", table)
    assert project.check(FeatureMapsView(net(Steady), image())).status is status


class Restless(nn.Module):
    """Negates the result of some of its passes, by a count that no check puts back: in the test's own capture, say."""

    passes: ClassVar[list[int]] = []

    def __init__(self, negates, size):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(size, size)
        self.__dict__["negates"] = negates

    def forward(self, x):
        self.passes.append(1)
        y = self.layer(x)
        return -y if self.negates(len(self.passes)) else y


def is_odd(number):
    return number % 2 == 1


def is_first(number):
    return number == 1


def is_first_of_three(number):
    return number % 3 == 1


class Tail(Restless):
    """The same, with a result of few numbers beside the large one."""

    def forward(self, x):
        y = super().forward(x)
        return y, y.sum(0)


@pytest.mark.parametrize(
    ("kind", "negates", "dtype"),
    [
        (Restless, is_first, torch.float32),
        (Restless, is_first, torch.bfloat16),
        (Restless, is_odd, torch.float32),
        (Tail, is_first, torch.bfloat16),
        (Tail, is_odd, torch.float32),
        (Tail, is_first_of_three, torch.float32),
    ],
)
def test_a_model_that_alternates_is_as_unstable_as_beside_a_baseline_of_this_version(
    tmp_path, monkeypatch, kind, negates, dtype
):
    x = torch.ones(300, 300, dtype=dtype)
    stable, restless = (FeatureMapsView(kind(which, 300).to(dtype), x) for which in (lambda number: False, negates))
    statuses = {}
    for version in (EARLIER_VERSION, SKETCH_VERSION):
        project = Project(tmp_path / str(version), recorded(stable, version))
        assert project.check(stable).status is Status.MATCH
        monkeypatch.setattr(Restless, "passes", [])
        statuses[version] = project.check(restless).status
    assert statuses[EARLIER_VERSION] is Status.UNSTABLE
    assert statuses[SKETCH_VERSION] in (Status.UNSTABLE, Status.DRIFT)


def test_what_is_recorded_has_the_sketches_of_this_version(tmp_path):
    project = Project(tmp_path, recorded(FeatureMapsView(net(), image()), EARLIER_VERSION))
    assert project.check(FeatureMapsView(net(), image()), Mode.UPDATE).status is Status.MATCH  # and is left alone
    assert project.version == EARLIER_VERSION
    result = project.check(FeatureMapsView(net(), image()), Mode.UPDATE_ALL)
    assert (result.status, project.version) == (Status.RECORDED, SKETCH_VERSION)
    again = project.check(FeatureMapsView(net(), image()))
    assert (again.status, NOTE in again.message) == (Status.MATCH, False)


def test_a_candidate_has_the_sketches_of_this_version(tmp_path):
    project = Project(tmp_path, recorded(FeatureMapsView(net(), image()), EARLIER_VERSION))
    project.check(FeatureMapsView(net(factor=1.05), image()))
    candidates = Store(tmp_path / ".modelviz" / "candidates")
    capture = candidates.load(LOCATION, nodeid=NODEID, name="n").capture
    assert stated_version(capture.arrays) == SKETCH_VERSION
    assert " mean " in capture.facts["layers"]["conv"]["out"]


def test_small_tensors_have_the_same_sketches_in_all_versions(tmp_path):
    view = FeatureMapsView(net(Small), image(30))
    earlier, later = (recorded(view, version) for version in (EARLIER_VERSION, SKETCH_VERSION))
    assert all(np.array_equal(earlier.arrays[key], later.arrays[key]) for key in later.arrays)
    result = Project(tmp_path, earlier).check(view)
    assert (result.status, NOTE in result.message) == (Status.MATCH, False)


@pytest.mark.parametrize("of", [EARLIER_VERSION, SKETCH_VERSION])
@pytest.mark.parametrize("claimed", [1, 2, 3, 4, 99])
def test_a_version_that_is_claimed_weakens_nothing(tmp_path, of, claimed):
    baseline = recorded(FeatureMapsView(net(), image()), of)
    text = zlib.decompress(baseline.arrays["trace.structure"].tobytes())
    text = text.replace(b'{"sketch":%d' % of, b'{"sketch":%d' % claimed)
    forged = {**baseline.arrays, "trace.structure": np.frombuffer(zlib.compress(text), np.uint8)}
    project = Project(tmp_path, dataclasses.replace(baseline, arrays=forged))
    drift, match = (project.check(FeatureMapsView(net(factor=f), image())).status for f in (1.05, 1.0))
    expected = (Status.DRIFT, Status.MATCH if claimed == of else Status.DRIFT)
    assert (drift, match) == (expected if claimed in (2, 3) else (Status.UNREADABLE, Status.UNREADABLE))


def test_views_of_one_pass_are_captured_in_each_version_by_themselves():
    combined = CombinedCapture(net(), image(), cam="conv", target=1)
    captures = [combined.feature_maps.capture(), combined.cam.capture()]
    with sketched_as(EARLIER_VERSION):
        captures.append(combined.feature_maps.capture())
    captures += [combined.cam.capture(), combined.feature_maps.capture()]
    assert [stated_version(capture.arrays) for capture in captures] == [3, 3, 2, 3, 3]


def test_what_was_stored_in_two_versions_is_not_compared():
    view = FeatureMapsView(net(), image())
    pair = [recorded(view, version) for version in (EARLIER_VERSION, SKETCH_VERSION)]
    for baseline, actual in (pair, pair[::-1]):
        with pytest.raises(UnreadableBaselineError, match="record it anew"):
            compared(view, baseline, actual, Tolerances())


def test_a_model_that_has_grown_is_a_drift(tmp_path):
    for before, after in ((30, 100), (100, 30)):
        project = Project(tmp_path / str(before), recorded(FeatureMapsView(net(), image(before)), SKETCH_VERSION))
        result = project.check(FeatureMapsView(net(), image(after)))
        assert (result.status, NOTE in result.message) == (Status.DRIFT, False)
