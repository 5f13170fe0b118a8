"""The fixtures: one for each view.

They import nothing heavy: a view's code is imported when its fixture is first called.
"""

from collections.abc import Callable

import pytest

from pytest_modelviz.plugin.checks import ItemChecks, _modelviz_checks
from pytest_modelviz.views.activation_maximization.fixture import ActivationMaximizationFixture
from pytest_modelviz.views.cam_map.fixture import CamMapFixture
from pytest_modelviz.views.combined.fixture import ModelvizFixture
from pytest_modelviz.views.feature_maps.fixture import FeatureMapsFixture
from pytest_modelviz.views.fixture import CheckRunner
from pytest_modelviz.views.kernel_maps.fixture import KernelMapsFixture
from pytest_modelviz.views.model_graph.fixture import ModelGraphFixture
from pytest_modelviz.views.model_summary.fixture import ModelSummaryFixture
from pytest_modelviz.views.saliency_map.fixture import SaliencyMapFixture
from pytest_modelviz.views.training_curve.fixture import TrainingCurveFixture

__all__ = ["_modelviz_checks"]  # a fixture, too: pytest finds it in this module
_FIXTURES = (
    ModelSummaryFixture,
    FeatureMapsFixture,
    CamMapFixture,
    KernelMapsFixture,
    SaliencyMapFixture,
    ActivationMaximizationFixture,
    TrainingCurveFixture,
    ModelGraphFixture,
    ModelvizFixture,
)
NAMES = ("_modelviz_checks", *(fixture.view for fixture in _FIXTURES))


def named_fixture(name: str, doc: str | None, make: Callable[[CheckRunner], object]) -> object:
    """A fixture for pytest, of that name and docstring."""

    def fixture(_modelviz_checks: ItemChecks) -> object:
        return make(_modelviz_checks.run)

    fixture.__doc__ = doc
    return pytest.fixture(name=name)(fixture)


globals().update((fixture.view, named_fixture(fixture.view, fixture.__doc__, fixture)) for fixture in _FIXTURES)
