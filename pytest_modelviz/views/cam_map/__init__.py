"""Heatmaps of the class activation methods of pytorch-grad-cam."""

from typing import TYPE_CHECKING

from pytest_modelviz.views.lazy import names_on_demand

if TYPE_CHECKING:
    from pytest_modelviz.views.cam_map.capture import CamMapView
else:
    __getattr__ = names_on_demand(__name__, {"CamMapView": "capture"})

__all__ = ["CamMapView"]
