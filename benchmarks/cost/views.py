"""The views of a subject, each made anew as a fixture makes it for a check."""

from __future__ import annotations

from torch import nn

from benchmarks.cost.models import TARGET, Subject
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView


def feature_maps(subject: Subject, model: nn.Module | None = None) -> FeatureMapsView:
    return FeatureMapsView(subject.model if model is None else model, subject.data)


def model_summary(subject: Subject) -> ModelSummaryView:
    return ModelSummaryView(subject.model, input_data=subject.data)


def cam_map(subject: Subject) -> CamMapView:
    reshape = None if subject.finds_layout else subject.reshape
    return CamMapView(
        subject.model, subject.data, target_layer=subject.cam_layer, target=TARGET, reshape_transform=reshape
    )


def kernel_maps(subject: Subject) -> KernelMapsView:
    return KernelMapsView(subject.model)


def model_graph(subject: Subject) -> ModelGraphView:
    return ModelGraphView(subject.model, subject.data)


def capture_one_by_one(subject: Subject) -> None:
    """The three views of the README, a pass each."""
    for view in (model_summary, feature_maps, cam_map):
        view(subject).capture()


def capture_combined(subject: Subject) -> list[Capture]:
    """The same three as `modelviz` captures them, which can do so where `cam_map` finds the layout."""
    combined = CombinedCapture(subject.model, subject.data, cam=subject.cam_layer, target=TARGET)
    views = (combined.summary, combined.feature_maps, combined.cam)
    return [view.capture() for view in views if view is not None]
