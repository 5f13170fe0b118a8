"""The fixture `cam_map`, as a test calls it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_modelviz.views.fixture import CheckFixture, ToleranceArgument

if TYPE_CHECKING:
    from torch import nn

    from pytest_modelviz.attribution.activation_recorder import Reshape
    from pytest_modelviz.attribution.targets import Target
    from pytest_modelviz.probe.forward import ModelInput
    from pytest_modelviz.views.cam_map.records import CamMap


class CamMapFixture(CheckFixture):
    """Compare a class activation map by any method of pytorch-grad-cam that is not random."""

    view = "cam_map"

    def __call__(
        self,
        model: nn.Module,
        input_data: ModelInput,
        *,
        target_layer: str | Sequence[str] | None = None,
        target: Target = None,
        method: str = "gradcam",
        reshape_transform: Reshape | None = None,
        name: str | None = None,
        rtol: ToleranceArgument = None,
        atol: ToleranceArgument = None,
    ) -> CamMap:
        """Explain the model's output as a class activation map and compare that with its baseline.

        Args:
            model: The model. It runs in eval mode and is left as it was.
            input_data: A tensor, a tuple or list of positional arguments or a mapping of keyword arguments; anything
                else is one argument.
            target_layer: The name of the layer to explain; by default the last with spatial extent. `refinecam` takes
                several names.
            target: A class, one class per sample, several classes of a single sample, or a function (or one per sample)
                that takes a sample's scores and returns a tensor with one number; `whole_output(function)` is given
                the model's whole output. By default the predicted class is explained.
            method: A method of pytorch-grad-cam, by the name of its class in lower case.
            reshape_transform: Turns the layer's output into (batch, channels, h, w) if that cannot be inferred.
            name: Distinguishes several checks of one test; by default the fixture's name.
            rtol: The relative tolerance: a number, or numbers by layer name or glob; by default that of the dtype.
            atol: The absolute tolerance, likewise.

        Returns:
            The map, raw and normalised, both float32 (maps, h, w), and the classes that it explains.

        Raises:
            ModelvizError: The layer, target or method is unknown, or no gradient reaches the layer.

        Example:
            >>> cam = cam_map(model, image, target_layer="layer4", target=285)
            >>> assert cam.normalized.shape == (1, 224, 224)

        """
        __tracebackhide__ = True
        from pytest_modelviz.views.cam_map.capture import CamMapView

        return self._check(
            lambda: CamMapView(
                model,
                input_data,
                target_layer=target_layer,
                target=target,
                method=method,
                reshape_transform=reshape_transform,
            ),
            name,
            rtol,
            atol,
        )
