"""The fixtures: one for each view.

They import nothing heavy: a view's code is imported when its fixture is first called.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_modelviz.plugin.checks import ItemChecks, _modelviz_checks
from pytest_modelviz.views.activation_maximization.fixture import ActivationMaximizationFixture
from pytest_modelviz.views.cam_map.fixture import CamMapFixture
from pytest_modelviz.views.combined.fixture import ModelvizFixture
from pytest_modelviz.views.feature_maps.fixture import FeatureMapsFixture
from pytest_modelviz.views.fixture import CheckFixture, CheckRunner
from pytest_modelviz.views.kernel_maps.fixture import KernelMapsFixture
from pytest_modelviz.views.model_graph.fixture import ModelGraphFixture
from pytest_modelviz.views.model_summary.fixture import ModelSummaryFixture
from pytest_modelviz.views.saliency_map.fixture import SaliencyMapFixture
from pytest_modelviz.views.training_curve.fixture import TrainingCurveFixture

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


def named_fixture(name: str, doc: str | None, make: Callable[[CheckRunner], object]) -> object:
    """A fixture for pytest, of that name and docstring."""

    def fixture(_modelviz_checks: ItemChecks) -> object:
        return make(_modelviz_checks.run)

    fixture.__doc__ = doc
    return pytest.fixture(name=name)(fixture)


def _fixture(made: type[CheckFixture]) -> object:
    return named_fixture(made.view, made.__doc__, made)


model_summary = _fixture(ModelSummaryFixture)
feature_maps = _fixture(FeatureMapsFixture)
cam_map = _fixture(CamMapFixture)
kernel_maps = _fixture(KernelMapsFixture)
saliency_map = _fixture(SaliencyMapFixture)
activation_maximization = _fixture(ActivationMaximizationFixture)
training_curve = _fixture(TrainingCurveFixture)
model_graph = _fixture(ModelGraphFixture)
modelviz = _fixture(ModelvizFixture)
