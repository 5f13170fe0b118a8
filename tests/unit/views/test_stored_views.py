"""Views of stored captures: the same verdicts and pictures as those of the views that hold the models."""

import numpy as np
import pytest
from forgery_subjects import cam, climb, convolved, image, negated, net, saliency, smooth, training, wider

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.pictures.exhibits import pictures_of
from pytest_modelviz.plugin.fixtures import NAMES as FIXTURES
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.stored import NAMES, stored_view
from pytest_modelviz.views.training_curve.capture import TrainingCurveView

IDS = {"nodeid": "t.py::test", "name": "n"}
DRIFTS = {
    "activation_maximization": lambda: (climb(), climb(convolved)),
    "cam_map": lambda: (cam(), cam(negated)),
    "feature_maps": lambda: (FeatureMapsView(net(), image()), FeatureMapsView(net(convolved), image())),
    "kernel_maps": lambda: (KernelMapsView(net()), KernelMapsView(net(convolved))),
    "model_graph": lambda: (ModelGraphView(net(), image()), ModelGraphView(net(smooth), image())),
    "model_summary": lambda: (
        ModelSummaryView(net(), input_data=image()),
        ModelSummaryView(net(wider), input_data=image()),
    ),
    "saliency_map": lambda: (saliency(), saliency(negated)),
    "training_curve": lambda: (training(), training("rate")),
}


def reloaded(folder, capture):
    Store(folder).save(Location.of(**IDS), capture, **IDS)
    return Store(folder).load(Location.of(**IDS), **IDS).capture


def test_there_is_one_for_each_fixture_but_the_combined_one():
    assert sorted(NAMES) == sorted({*FIXTURES} - {"_modelviz_checks", "modelviz"}) == sorted(DRIFTS)


@pytest.mark.parametrize("name", NAMES)
def test_it_finds_what_the_view_with_the_model_finds(name, tmp_path):
    old, new = DRIFTS[name]()
    before, after = old.capture(), new.capture()
    expected = new.compare(reloaded(tmp_path / "a", before), after, Tolerances())
    view, captures = stored_view(name), (reloaded(tmp_path / "a", before), reloaded(tmp_path / "b", after))
    verdict = view.compare(*captures, Tolerances())
    assert not verdict.matched
    assert (verdict.cause, verdict.first, verdict.findings) == (expected.cause, expected.first, expected.findings)
    pictures = pictures_of(view.picture(captures[1], captures[0], verdict))
    own = pictures_of(new.picture(after, captures[0], expected))
    assert [picture.label for picture in pictures] == [picture.label for picture in own] != []
    assert all(np.array_equal(a.image, b.image) for a, b in zip(pictures, own, strict=True))
    assert view.compare(captures[0], captures[0], Tolerances()).matched


def test_causes_mean_the_same():
    assert stored_view("training_curve").cause_texts == TrainingCurveView.cause_texts != {}


@pytest.mark.parametrize("name", ["", "base", "combined", "modelviz", "feature_maps.capture", "../x", "os", "a\0b"])
def test_nothing_else_is_imported(name):
    assert stored_view(name) is None
