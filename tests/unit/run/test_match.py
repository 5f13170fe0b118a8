"""What a check that matches does not do: nothing is painted, opened or written, and no library for that is touched."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from forgery_subjects import image, net

import pytest_modelviz
from pytest_modelviz.run.check import Check
from pytest_modelviz.run.session import Session
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.views.activation_maximization.capture import ActivationMaximizationView
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView
from pytest_modelviz.views.training_curve.capture import TrainingCurveView

_HOME = Path(pytest_modelviz.__file__).parent
# Views whose facts state the scale of their pictures, which these make of numbers that the fixture returns.
_SCALED = {"kernel_maps": {"stored_pictures"}, "saliency_map": {"stored_pictures"}}


def training():
    model = net()

    def step(number):
        loss = model(image()).square().mean()
        loss.backward()
        return loss

    return TrainingCurveView(step, steps=3, model=model)


def of_all(view):
    return getattr(CombinedCapture(net(), image(), cam="block", target=1), view)


VIEWS = {
    "activation_maximization": lambda: ActivationMaximizationView(net(), "stem.0", steps=2),
    "cam_map": lambda: CamMapView(net(), image(), target_layer="block", target=1),
    "feature_maps": lambda: FeatureMapsView(net(), image()),
    "kernel_maps": lambda: KernelMapsView(net()),
    "model_graph": lambda: ModelGraphView(net(), image()),
    "model_summary": lambda: ModelSummaryView(net(), input_data=image()),
    "saliency_map": lambda: SaliencyMapView(net(), image(), target=1),
    "training_curve": training,
    "modelviz: summary": lambda: of_all("summary"),
    "modelviz: feature_maps": lambda: of_all("feature_maps"),
    "modelviz: cam": lambda: of_all("cam"),
}


def check(view, folder, mode):
    """Make one check of a run of its own; returns its result."""
    settings = Settings(mode, folder, folder / "baselines", folder / "results")
    own = Check(nodeid="t.py::test", title="test", arguments="t.py::test", name="check", view=view, settings=settings)
    return Session("run").check(own)[1]


class Calls:
    """The files and names of the functions that are called in a block; those that are `allowed` paint nothing."""

    def __init__(self, allowed=()):
        self._allowed = allowed

    def __enter__(self):
        self.files, self.names = set(), Counter()
        self._before = sys.getprofile()
        sys.setprofile(self._note)
        return self

    def __exit__(self, *raised):
        sys.setprofile(self._before)

    def _note(self, frame, event, argument):
        if event == "call":
            self.files.add(frame.f_code.co_filename)
            self.names[frame.f_code.co_name] += 1

    @property
    def painting(self):
        """Those of them that make pictures."""
        return {file for file in self.files if self._paints(Path(file))}

    def _paints(self, file):
        if {"PIL", "matplotlib", "tensorboard"} & set(file.parts):
            return True
        is_own = _HOME in file.parents and file.stem not in self._allowed
        return is_own and ("pictures" in file.parts or file.stem.endswith("pictures"))


@pytest.mark.parametrize("name", VIEWS)
def test_no_picture_is_made(name, tmp_path):
    view, allowed = VIEWS[name], _SCALED.get(name, ())
    with Calls(allowed) as recorded:
        assert check(view(), tmp_path, Mode.UPDATE).status.value == "recorded"
    assert recorded.painting, "this test would see it"
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    view = view()
    with Calls(allowed) as compared:
        assert check(view, tmp_path, Mode.COMPARE).status.value == "match"
    assert compared.painting == set()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files


@pytest.mark.parametrize("name", ["cam_map", "feature_maps", "model_summary"])
def test_a_baseline_is_read_once_and_no_pass_is_laid_out_twice(name, tmp_path):
    check(VIEWS[name](), tmp_path, Mode.UPDATE)
    view = VIEWS[name]()
    with Calls() as compared:
        assert check(view, tmp_path, Mode.COMPARE).status.value == "match"
    assert compared.names["decode_json"] == 1
    assert compared.names["layout_of"] == (name == "feature_maps")
    assert {"pack_trace", "_unpacked_calls", "compare_traces", "renames"} & compared.names.keys() == set()
