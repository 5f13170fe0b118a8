"""The kernels of convolutions."""

from typing import TYPE_CHECKING

from pytest_modelviz.views.lazy import names_on_demand

if TYPE_CHECKING:
    from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
else:
    __getattr__ = names_on_demand(__name__, {"KernelMapsView": "capture"})

__all__ = ["KernelMapsView"]
