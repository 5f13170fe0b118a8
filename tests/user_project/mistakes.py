"""Mistakes: the comment behind each line is the code of the error that mypy finds in it."""

# ruff: noqa: B018  # attributes that are not there

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pytest_modelviz import (
    ActivationMaximizationFixture,
    CamMapFixture,
    FeatureMapsFixture,
    KernelMapsFixture,
    ModelGraphFixture,
    ModelSummaryFixture,
    ModelvizFixture,
    SaliencyMapFixture,
    TrainingCurveFixture,
    ViewFixture,
)

MODEL, IMAGE = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.LazyLinear(5)), torch.rand(1, 3, 16, 16)


def test_keywords(
    model_summary: ModelSummaryFixture,
    feature_maps: FeatureMapsFixture,
    cam_map: CamMapFixture,
    kernel_maps: KernelMapsFixture,
    model_graph: ModelGraphFixture,
    modelviz: ModelvizFixture,
) -> None:
    model_summary(MODEL, inputs=IMAGE)  # error: call-arg
    feature_maps(MODEL)  # error: call-arg
    feature_maps(MODEL, IMAGE, ["0"])  # error: call-arg
    cam_map(MODEL, IMAGE, layer="0")  # error: call-arg
    kernel_maps(MODEL, IMAGE)  # error: call-arg
    model_graph(MODEL, IMAGE, target=1)  # error: call-arg
    modelviz(MODEL, IMAGE, saliency=True)  # error: call-arg


def test_types(
    model_summary: ModelSummaryFixture,
    feature_maps: FeatureMapsFixture,
    cam_map: CamMapFixture,
    saliency_map: SaliencyMapFixture,
    activation_maximization: ActivationMaximizationFixture,
    training_curve: TrainingCurveFixture,
) -> None:
    model_summary("resnet18")  # error: arg-type
    model_summary(MODEL, 224)  # error: arg-type
    feature_maps(MODEL, IMAGE, layers=3)  # error: arg-type
    feature_maps(MODEL, IMAGE, name=3)  # error: arg-type
    feature_maps(MODEL, IMAGE, rtol="1e-3")  # error: arg-type
    feature_maps(MODEL, IMAGE, rtol={"0": "1e-3"})  # error: dict-item
    cam_map(MODEL, IMAGE, target_layer=MODEL[0])  # error: arg-type
    cam_map(MODEL, IMAGE, target=0.5)  # error: arg-type
    cam_map(MODEL, IMAGE, method=None)  # error: arg-type
    saliency_map(MODEL, IMAGE, target="cat")  # error: arg-type
    activation_maximization(MODEL, 0)  # error: arg-type
    activation_maximization(MODEL, "0", filters="all")  # error: arg-type
    training_curve(MODEL(IMAGE).sum(), steps=0.5)  # error: arg-type
    training_curve(lambda: 1.0)  # error: arg-type, misc
    training_curve(lambda number: "low")  # error: arg-type, return-value
    training_curve(lambda number: 1.0, optimizer=MODEL)  # error: arg-type


def test_results(
    model_summary: ModelSummaryFixture,
    feature_maps: FeatureMapsFixture,
    cam_map: CamMapFixture,
    training_curve: TrainingCurveFixture,
    modelviz: ModelvizFixture,
    norms: ViewFixture[dict[str, npt.NDArray[np.float32]]],
) -> None:
    model_summary(MODEL).parameters  # error: attr-defined
    feature_maps(MODEL, IMAGE).maps  # error: attr-defined
    cam_map(MODEL, IMAGE).raw.sizes  # error: attr-defined
    cam_map(MODEL, IMAGE).score.item()  # error: attr-defined
    training_curve(lambda number: 1.0).losses  # error: attr-defined
    modelviz(MODEL, IMAGE).cam.layer  # error: union-attr
    norms(MODEL, name=3)  # error: arg-type
    norms(MODEL)[0]  # error: index
