"""Tests as users write them: `mypy --strict` has nothing to say."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from pytest_modelviz import (
    ActivationMaximization,
    ActivationMaximizationFixture,
    CamMap,
    CamMapFixture,
    FeatureMaps,
    FeatureMapsFixture,
    KernelMaps,
    KernelMapsFixture,
    ModelGraphFixture,
    ModelSummary,
    ModelSummaryFixture,
    ModelvizFixture,
    OperatorGraph,
    SaliencyMap,
    SaliencyMapFixture,
    TrainingCurve,
    TrainingCurveFixture,
    ViewFixture,
    Views,
    whole_output,
)

MODEL, IMAGE = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.LazyLinear(5)), torch.rand(1, 3, 16, 16)


def test_summary(model_summary: ModelSummaryFixture) -> None:
    summary: ModelSummary = model_summary(MODEL)
    for size in ((1, 3, 16, 16), [(1, 3, 16, 16)], IMAGE, (IMAGE, IMAGE), {"x": IMAGE}):
        summary = model_summary(MODEL, size)
    summary = model_summary(MODEL, input_data=IMAGE, name="again", rtol=1e-3)
    assert summary.total_params + summary.layers["0"].calls
    assert summary.layers["0"].outputs.startswith("float32")


def test_maps(feature_maps: FeatureMapsFixture, request: pytest.FixtureRequest) -> None:
    maps: FeatureMaps = feature_maps(MODEL, IMAGE, layers=["0", "1"], rtol={"0": 1e-3, "*": 1e-4})
    assert maps.output.shape == (1, 5)  # whatever the model returns
    assert maps.pictures["0"].shape == (8, 14, 14)
    maps = feature_maps(MODEL, {"input": IMAGE}, layers={"0"}, name=request.node.name, atol=1)


def test_cam(cam_map: CamMapFixture) -> None:
    cam: CamMap = cam_map(MODEL, (IMAGE,), target_layer="0", target=3, method="layercam")
    for target in (None, [1, 2], np.int64(3), whole_output(lambda output: output["scores"][0, 1])):
        cam = cam_map(MODEL, IMAGE, target=target, target_layer=["0"])
    cam = cam_map(MODEL, IMAGE, target=lambda row: row[3] - row[4], reshape_transform=lambda output: output[:, 1:])
    raw: npt.NDArray[np.float32] = cam.raw
    assert raw.shape[0] == len(cam.targets)


def test_saliency(saliency_map: SaliencyMapFixture) -> None:
    saliency: SaliencyMap = saliency_map(MODEL, IMAGE, target=1, method="guided")
    assert saliency.gradient.shape == (1, 3, 16, 16)


def test_kernels(kernel_maps: KernelMapsFixture) -> None:
    kernels: KernelMaps = kernel_maps(MODEL, layers="0")
    assert kernels.layers["0"].filters == 8


def test_maximization(activation_maximization: ActivationMaximizationFixture) -> None:
    found: ActivationMaximization = activation_maximization(MODEL, "0", filters=range(2), input_size=(3, 16, 16))
    found = activation_maximization(MODEL, "0", filters=1, image=IMAGE, steps=5, learning_rate=1)
    assert found.images.shape == (1, 3, 16, 16)


def test_training(training_curve: TrainingCurveFixture) -> None:
    optimizer = torch.optim.SGD(MODEL.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5)

    def step(number: int) -> torch.Tensor:
        return MODEL(IMAGE).sum() * number  # type: ignore[no-any-return]  # modules return Any

    def scalars(number: int) -> dict[str, float]:
        return {"loss": float(step(number))}

    curve: TrainingCurve = training_curve(step, steps=5, model=MODEL, optimizer=optimizer, seed=1)
    curve = training_curve(scalars, optimizer={"main": [optimizer, scheduler]}, name="scalars")
    assert curve.scalars["loss"].shape == (20,)


def test_graph(model_graph: ModelGraphFixture) -> None:
    graph: OperatorGraph = model_graph(MODEL, IMAGE)
    assert [operator.kind for operator in graph.operators]


def test_several(modelviz: ModelvizFixture) -> None:
    views: Views = modelviz(MODEL, IMAGE, cam="0", target=3)
    assert views.cam is not None
    assert views.cam.layer == "0"


def test_own_view(norms: ViewFixture[dict[str, npt.NDArray[np.float32]]]) -> None:
    assert norms(MODEL, factor=2.0, name="twice", rtol=1e-3)["0.weight"].shape == (1,)
