"""Visual regression testing for PyTorch models, as a pytest plugin.

The names here are for tests: the types of the fixtures and of their results, targets of explanations, and weights for
models without a checkpoint. Importing this package imports neither torch nor numpy nor pillow, so that a run which uses
none of the fixtures pays nothing; what a fixture returns (`FeatureMaps`) is imported with its view when it is first
named.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_modelviz.attribution.targets import WholeOutput, whole_output
    from pytest_modelviz.probe.seeding import seed_weights
    from pytest_modelviz.views.activation_maximization.fixture import ActivationMaximizationFixture
    from pytest_modelviz.views.activation_maximization.records import ActivationMaximization
    from pytest_modelviz.views.cam_map.fixture import CamMapFixture
    from pytest_modelviz.views.cam_map.records import CamMap
    from pytest_modelviz.views.combined.capture import Views
    from pytest_modelviz.views.combined.fixture import ModelvizFixture
    from pytest_modelviz.views.feature_maps.fixture import FeatureMapsFixture
    from pytest_modelviz.views.feature_maps.records import FeatureMaps
    from pytest_modelviz.views.fixture import ViewFixture
    from pytest_modelviz.views.kernel_maps.fixture import KernelMapsFixture
    from pytest_modelviz.views.kernel_maps.records import KernelMaps
    from pytest_modelviz.views.model_graph.fixture import ModelGraphFixture
    from pytest_modelviz.views.model_graph.records import OperatorGraph
    from pytest_modelviz.views.model_summary.fixture import ModelSummaryFixture
    from pytest_modelviz.views.model_summary.records import ModelSummary
    from pytest_modelviz.views.saliency_map.fixture import SaliencyMapFixture
    from pytest_modelviz.views.saliency_map.records import SaliencyMap
    from pytest_modelviz.views.training_curve.fixture import TrainingCurveFixture
    from pytest_modelviz.views.training_curve.records import TrainingCurve

__all__ = [
    "ActivationMaximization",
    "ActivationMaximizationFixture",
    "CamMap",
    "CamMapFixture",
    "FeatureMaps",
    "FeatureMapsFixture",
    "KernelMaps",
    "KernelMapsFixture",
    "ModelGraphFixture",
    "ModelSummary",
    "ModelSummaryFixture",
    "ModelvizFixture",
    "OperatorGraph",
    "SaliencyMap",
    "SaliencyMapFixture",
    "TrainingCurve",
    "TrainingCurveFixture",
    "ViewFixture",
    "Views",
    "WholeOutput",
    "seed_weights",
    "whole_output",
]

__version__ = "0.1.0"

_MODULES = {
    "ActivationMaximization": "views.activation_maximization.records",
    "ActivationMaximizationFixture": "views.activation_maximization.fixture",
    "CamMap": "views.cam_map.records",
    "CamMapFixture": "views.cam_map.fixture",
    "FeatureMaps": "views.feature_maps.records",
    "FeatureMapsFixture": "views.feature_maps.fixture",
    "KernelMaps": "views.kernel_maps.records",
    "KernelMapsFixture": "views.kernel_maps.fixture",
    "ModelGraphFixture": "views.model_graph.fixture",
    "ModelSummary": "views.model_summary.records",
    "ModelSummaryFixture": "views.model_summary.fixture",
    "ModelvizFixture": "views.combined.fixture",
    "OperatorGraph": "views.model_graph.records",
    "SaliencyMap": "views.saliency_map.records",
    "SaliencyMapFixture": "views.saliency_map.fixture",
    "TrainingCurve": "views.training_curve.records",
    "TrainingCurveFixture": "views.training_curve.fixture",
    "ViewFixture": "views.fixture",
    "Views": "views.combined.capture",
    "WholeOutput": "attribution.targets",
    "seed_weights": "probe.seeding",
    "whole_output": "attribution.targets",
}


if not TYPE_CHECKING:  # which would take any name then

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
