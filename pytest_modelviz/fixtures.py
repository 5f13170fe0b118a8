"""The fixtures: one for each view.

With `checks`, `plugin` and `collected` all that knows pytest. A view's code is imported when its fixture is first
called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelviz.checks import TestChecks

if TYPE_CHECKING:
    from pytest_modelviz.views import View


@pytest.fixture
def model_summary(_modelviz_checks: TestChecks) -> Callable[..., Any]:
    """Compare a model's module tree: names, classes, configuration, shapes, parameters, buffers, ties, mult-adds."""

    def check(
        model: Any, input_size: Sequence[Any] | None = None, *, input_data: Any = None, name: str | None = None
    ) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.model_summary import ModelSummaryView

        return _modelviz_checks.run(
            lambda: ModelSummaryView(model, input_size, input_data=input_data), name, "model_summary"
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
        rtol: float | Mapping[str, float] | None = None,
    ) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.feature_maps import FeatureMapsView

        return _modelviz_checks.run(
            lambda: FeatureMapsView(model, input_data, layers=layers), name, "feature_maps", rtol=rtol
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
        atol: float | Mapping[str, float] | None = None,
    ) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.cam_map import CamMapView

        def view() -> View:
            return CamMapView(
                model,
                input_data,
                target_layer=target_layer,
                target=target,
                method=method,
                reshape_transform=reshape_transform,
            )

        return _modelviz_checks.run(view, name, "cam_map", atol=atol)

    return check


@pytest.fixture
def model_graph(_modelviz_checks: TestChecks) -> Callable[..., Any]:
    """Compare the operators that a model runs, with their arguments, shapes and order."""

    def check(model: Any, input_data: Any, *, name: str | None = None) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.model_graph import ModelGraphView

        return _modelviz_checks.run(lambda: ModelGraphView(model, input_data), name, "model_graph")

    return check
