"""The fixtures: one for each view.

Every pytest run loads this module, so what makes checks is imported when a test first requests a fixture, and a view's
own code when its fixture is first called.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import pytest

import pytest_modelviz
from pytest_modelviz.plugin.start import RunStarter

if TYPE_CHECKING:
    from pytest_modelviz.plugin.checks import ItemChecks
    from pytest_modelviz.views.fixture import CheckRunner

STARTER = pytest.StashKey[RunStarter]()
_TYPES = {  # fixture -> the public name of its type
    "model_summary": "ModelSummaryFixture",
    "feature_maps": "FeatureMapsFixture",
    "cam_map": "CamMapFixture",
    "kernel_maps": "KernelMapsFixture",
    "saliency_map": "SaliencyMapFixture",
    "activation_maximization": "ActivationMaximizationFixture",
    "training_curve": "TrainingCurveFixture",
    "model_graph": "ModelGraphFixture",
    "modelviz": "ModelvizFixture",
}
NAMES = ("_modelviz_checks", *_TYPES)


@pytest.fixture
def _modelviz_checks(request: pytest.FixtureRequest) -> Generator[ItemChecks, None, None]:
    from pytest_modelviz.plugin.checks import item_checks

    yield from item_checks(request.config.stash[STARTER].run(), request.node)


def fixture_function(make: Callable[[CheckRunner], object]) -> Callable[[ItemChecks], object]:
    """The function of a fixture that hands its tests what `make` returns."""

    def fixture(_modelviz_checks: ItemChecks) -> object:
        return make(_modelviz_checks.run)

    return fixture


def _function(public_name: str) -> Callable[[ItemChecks], object]:
    def make(runner: CheckRunner) -> object:
        fixture_type: Callable[[CheckRunner], object] = getattr(pytest_modelviz, public_name)  # imports it
        return fixture_type(runner)

    return fixture_function(make)


_FUNCTIONS = {name: _function(public_name) for name, public_name in _TYPES.items()}
globals().update((name, pytest.fixture(name=name)(function)) for name, function in _FUNCTIONS.items())


def add_docstrings() -> None:
    """Give the fixtures the docstrings of their types, which `pytest --fixtures` prints: this imports all of them."""
    for name, function in _FUNCTIONS.items():
        function.__doc__ = getattr(pytest_modelviz, _TYPES[name]).__doc__
