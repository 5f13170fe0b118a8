"""The fixtures: one for each view.

With `checks`, `registered`, `plugin` and `collected` all that knows pytest. A view's code is imported when its fixture
is first called.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelviz.plugin.checks import TestChecks, _modelviz_checks

if TYPE_CHECKING:
    from pytest_modelviz.views.base import View

__all__ = [
    "_modelviz_checks",
    "activation_maximization",
    "cam_map",
    "feature_maps",
    "kernel_maps",
    "model_graph",
    "model_summary",
    "modelviz",
    "saliency_map",
    "training_curve",
]

# A number for all layers, or numbers by layer names and globs.
Tolerance = float | Mapping[str, float] | None


@pytest.fixture
def model_summary(_modelviz_checks: TestChecks) -> Callable[..., Any]:
    """Compare a model's module tree: names, classes, configuration, shapes, parameters, buffers, ties, mult-adds."""

    def check(
        model: Any,
        input_size: Any = None,
        *,
        input_data: Any = None,
        name: str | None = None,
        rtol: Tolerance = None,
        atol: Tolerance = None,
    ) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.model_summary.capture import ModelSummaryView

        return _modelviz_checks.run(
            lambda: ModelSummaryView(model, input_size, input_data=input_data),
            name,
            "model_summary",
            rtol=rtol,
            atol=atol,
        )

    return check


@pytest.fixture
def feature_maps(_modelviz_checks: TestChecks) -> Callable[..., Any]:
    """Compare the inputs and outputs of every module call; keep pictures of `layers` (names or globs)."""

    def check(
        model: Any,
        input_data: Any,
        *,
        layers: Sequence[str] | str | None = None,
        name: str | None = None,
        rtol: Tolerance = None,
        atol: Tolerance = None,
    ) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.feature_maps.capture import FeatureMapsView

        return _modelviz_checks.run(
            lambda: FeatureMapsView(model, input_data, layers=layers), name, "feature_maps", rtol=rtol, atol=atol
        )

    return check


@pytest.fixture
def cam_map(_modelviz_checks: TestChecks) -> Callable[..., Any]:
    """Compare a class activation map by any method of pytorch-grad-cam that is not random."""

    def check(
        model: Any,
        input_data: Any,
        *,
        target_layer: str | None = None,
        target: Any = None,
        method: str = "gradcam",
        reshape_transform: Callable[[Any], Any] | None = None,
        name: str | None = None,
        rtol: Tolerance = None,
        atol: Tolerance = None,
    ) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.cam_map.capture import CamMapView

        def view() -> View:
            return CamMapView(
                model,
                input_data,
                target_layer=target_layer,
                target=target,
                method=method,
                reshape_transform=reshape_transform,
            )

        return _modelviz_checks.run(view, name, "cam_map", rtol=rtol, atol=atol)

    return check


@pytest.fixture
def kernel_maps(_modelviz_checks: TestChecks) -> Callable[..., Any]:
    """Compare the kernels of convolutions as weights; show those of `layers` (names or globs)."""

    def check(
        model: Any,
        *,
        layers: Sequence[str] | str | None = None,
        name: str | None = None,
        rtol: Tolerance = None,
        atol: Tolerance = None,
    ) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.kernel_maps.capture import KernelMapsView

        return _modelviz_checks.run(
            lambda: KernelMapsView(model, layers=layers), name, "kernel_maps", rtol=rtol, atol=atol
        )

    return check


@pytest.fixture
def saliency_map(_modelviz_checks: TestChecks) -> Callable[..., Any]:
    """Compare the gradient of a score on the input; `method` is one of five, from "gradient" to "smoothgrad"."""

    def check(
        model: Any,
        input_data: Any,
        *,
        target: Any = None,
        method: str = "gradient",
        name: str | None = None,
        rtol: Tolerance = None,
        atol: Tolerance = None,
    ) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.saliency_map.capture import SaliencyMapView

        return _modelviz_checks.run(
            lambda: SaliencyMapView(model, input_data, target=target, method=method),
            name,
            "saliency_map",
            rtol=rtol,
            atol=atol,
        )

    return check


@pytest.fixture
def modelviz(_modelviz_checks: TestChecks) -> Callable[..., Any]:
    """Compare a model's summary, feature maps and class activation map, from one forward and one backward pass."""

    def check(
        model: Any,
        input_data: Any,
        *,
        summary: bool = True,
        feature_maps: bool = True,
        cam: str | None = None,
        target: Any = None,
        name: str | None = None,
        rtol: Tolerance = None,
        atol: Tolerance = None,
    ) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.combined import CombinedCapture, Views

        views = CombinedCapture(
            model, input_data, summary=summary, feature_maps=feature_maps, cam=cam, target=target
        ).views()
        made = {}
        for part, view in views.items():
            own = view.view if name is None else f"{name}_{view.view}"
            member = functools.partial(views.__getitem__, part)
            made[part] = _modelviz_checks.run(member, own, view.view, rtol=rtol, atol=atol)
        return Views(**made)

    return check


@pytest.fixture
def training_curve(_modelviz_checks: TestChecks) -> Callable[..., Any]:
    """Compare a short seeded run of `step(i)`, which trains and returns a loss or a dict of scalars."""

    def check(
        step: Callable[[int], Any],
        *,
        steps: int = 20,
        model: Any = None,
        optimizer: Any = None,
        seed: int = 0,
        name: str | None = None,
        rtol: Tolerance = None,
        atol: Tolerance = None,
    ) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.training_curve.capture import TrainingCurveView

        return _modelviz_checks.run(
            lambda: TrainingCurveView(step, steps=steps, model=model, optimizer=optimizer, seed=seed),
            name,
            "training_curve",
            rtol=rtol,
            atol=atol,
        )

    return check


@pytest.fixture
def model_graph(_modelviz_checks: TestChecks) -> Callable[..., Any]:
    """Compare the operators that a model runs, with their arguments, shapes and order."""

    def check(
        model: Any, input_data: Any, *, name: str | None = None, rtol: Tolerance = None, atol: Tolerance = None
    ) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.model_graph.capture import ModelGraphView

        return _modelviz_checks.run(
            lambda: ModelGraphView(model, input_data), name, "model_graph", rtol=rtol, atol=atol
        )

    return check


@pytest.fixture
def activation_maximization(_modelviz_checks: TestChecks) -> Callable[..., Any]:
    """Compare the climb to an input that excites filters of a layer most; show those inputs."""

    def check(
        model: Any,
        layer: str,
        *,
        filters: Sequence[int] | int = (0,),
        steps: int = 20,
        seed: int = 0,
        learning_rate: float = 0.5,
        input_size: Sequence[int] | None = None,
        image: Any = None,
        name: str | None = None,
        rtol: Tolerance = None,
        atol: Tolerance = None,
    ) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.activation_maximization.capture import ActivationMaximizationView

        def view() -> View:
            return ActivationMaximizationView(
                model,
                layer,
                filters=filters,
                steps=steps,
                seed=seed,
                learning_rate=learning_rate,
                input_size=input_size,
                image=image,
            )

        return _modelviz_checks.run(view, name, "activation_maximization", rtol=rtol, atol=atol)

    return check
