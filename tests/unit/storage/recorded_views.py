"""A view of each kind over one small model, and how a run takes a baseline of theirs that was changed on disk."""

from pathlib import Path

import torch
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store
from pytest_modelviz.views.activation_maximization.capture import ActivationMaximizationView
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView
from pytest_modelviz.views.training_curve.capture import TrainingCurveView

IDS = {"nodeid": "t.py::test", "name": "n"}
WHERE = Location.of(**IDS)


def views():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    image = torch.rand(1, 3, 8, 8)
    return {
        "model_summary": ModelSummaryView(model, input_data=image),
        "feature_maps": FeatureMapsView(model, image),
        "cam_map": CamMapView(model, image, target=0),
        "kernel_maps": KernelMapsView(model),
        "saliency_map": SaliencyMapView(model, image, target=0),
        "training_curve": TrainingCurveView(lambda i: model(image).sum().backward() or 1.0, steps=2, model=model),
        "model_graph": ModelGraphView(model, image),
        "activation_maximization": ActivationMaximizationView(model, "0", input_size=(3, 8, 8), steps=2),
    }


VIEWS = views()


def outcome(view, folder: Path, capture: Capture) -> "Capture | Verdict | None":
    """What a run makes of the files: the baseline's capture and verdict, None for unreadable."""
    try:
        stored = Store(folder).load(WHERE, **IDS)
        if stored is None:
            return None
        if stored.capture.view != capture.view:
            return None  # the session says so
        verdict = view.compare(stored.capture, capture, Tolerances())
        if not verdict.matched:
            view.picture(capture, stored.capture, verdict)
    except UnreadableBaselineError:
        return None
    return stored.capture, verdict
