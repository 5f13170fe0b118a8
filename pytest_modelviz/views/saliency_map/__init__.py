"""Gradients of a score with respect to the input."""

from typing import TYPE_CHECKING

from pytest_modelviz.views.lazy import names_on_demand

if TYPE_CHECKING:
    from pytest_modelviz.views.saliency_map.capture import SaliencyMapView
else:
    __getattr__ = names_on_demand(__name__, {"SaliencyMapView": "capture"})

__all__ = ["SaliencyMapView"]
