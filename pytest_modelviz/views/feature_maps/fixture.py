"""The fixture `feature_maps`, as a test calls it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pytest_modelviz.views.fixture import CheckFixture, ToleranceArgument

if TYPE_CHECKING:
    from torch import nn

    from pytest_modelviz.probe.forward import ModelInput
    from pytest_modelviz.views.feature_maps.records import FeatureMaps


class FeatureMapsFixture(CheckFixture):
    """Compare the inputs and outputs of every module call; keep pictures of `layers` (names or globs)."""

    view = "feature_maps"

    def __call__(
        self,
        model: nn.Module,
        input_data: ModelInput,
        *,
        layers: str | Collection[str] | None = None,
        name: str | None = None,
        rtol: ToleranceArgument = None,
        atol: ToleranceArgument = None,
    ) -> FeatureMaps:
        """Run the model once and compare all its layers with the baseline.

        Args:
            model: The model. It runs in eval mode and is left as it was.
            input_data: A tensor, a tuple or list of positional arguments or a mapping of keyword arguments; anything
                else is one argument.
            layers: Names or globs of the layers to show; by default the last of each spatial resolution.
            name: Distinguishes several checks of one test; by default the fixture's name.
            rtol: The relative tolerance: a number, or numbers by layer name or glob; by default that of the dtype.
            atol: The absolute tolerance, likewise.

        Returns:
            The model's output, the trace of the pass, and a picture of each layer, float32 (channels, h, w).

        Raises:
            ModelvizError: There is no layer of that name, or the input and the model are on different devices.

        Example:
            >>> maps = feature_maps(model, image, layers="layer4.*", rtol=1e-3)
            >>> assert maps.output.shape == (1, 1000)

        """
        __tracebackhide__ = True
        from pytest_modelviz.views.feature_maps.capture import FeatureMapsView

        return self._check(lambda: FeatureMapsView(model, input_data, layers=layers), name, rtol, atol)
