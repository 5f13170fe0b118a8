"""Inputs that drive a unit as high as it goes, and what its climb looks like."""

from typing import TYPE_CHECKING

from pytest_modelviz.views.lazy import names_on_demand

if TYPE_CHECKING:
    from pytest_modelviz.views.activation_maximization.capture import ActivationMaximizationView
else:
    __getattr__ = names_on_demand(__name__, {"ActivationMaximizationView": "capture"})

__all__ = ["ActivationMaximizationView"]
