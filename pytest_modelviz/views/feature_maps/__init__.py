"""Activations of every layer in one forward pass."""

from typing import TYPE_CHECKING

from pytest_modelviz.views.lazy import names_on_demand

if TYPE_CHECKING:
    from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
else:
    __getattr__ = names_on_demand(__name__, {"FeatureMapsView": "capture"})

__all__ = ["FeatureMapsView"]
