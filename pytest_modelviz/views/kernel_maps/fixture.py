"""The fixture `kernel_maps`, as a test calls it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pytest_modelviz.views.fixture import CheckFixture, ToleranceArgument

if TYPE_CHECKING:
    from torch import nn

    from pytest_modelviz.views.kernel_maps.records import KernelMaps


class KernelMapsFixture(CheckFixture):
    """Compare the kernels of convolutions as weights; show those of `layers` (names or globs)."""

    view = "kernel_maps"

    def __call__(
        self,
        model: nn.Module,
        *,
        layers: str | Collection[str] | None = None,
        name: str | None = None,
        rtol: ToleranceArgument = None,
        atol: ToleranceArgument = None,
    ) -> KernelMaps:
        """Compare the kernels of the model's convolutions with the baseline.

        Args:
            model: The model. It is not run.
            layers: Names or globs of the convolutions to compare and show; by default all are compared, and the first
                of each stage is shown.
            name: Distinguishes several checks of one test; by default the fixture's name.
            rtol: The relative tolerance: a number, or numbers by layer name or glob; by default that of the dtype.
            atol: The absolute tolerance, likewise.

        Returns:
            Statistics of each layer's kernels, and float32 pictures of them (`KernelMaps` gives the shapes).

        Raises:
            ModelvizError: The model has no convolution of that name, or none at all.

        Example:
            >>> kernels = kernel_maps(model, layers=["conv1"])
            >>> assert kernels.layers["conv1"].filters == 64

        """
        __tracebackhide__ = True
        from pytest_modelviz.views.kernel_maps.capture import KernelMapsView

        return self._check(lambda: KernelMapsView(model, layers=layers), name, rtol, atol)
