"""The fixture `saliency_map`, as a test calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_modelviz.views.fixture import CheckFixture, ToleranceArgument

if TYPE_CHECKING:
    from torch import nn

    from pytest_modelviz.attribution.targets import Target
    from pytest_modelviz.probe.forward import ModelInput
    from pytest_modelviz.views.saliency_map.records import SaliencyMap


class SaliencyMapFixture(CheckFixture):
    """Compare the gradient of a score with respect to the input, by one of five methods."""

    view = "saliency_map"

    def __call__(
        self,
        model: nn.Module,
        input_data: ModelInput,
        *,
        target: Target = None,
        method: str = "gradient",
        name: str | None = None,
        rtol: ToleranceArgument = None,
        atol: ToleranceArgument = None,
    ) -> SaliencyMap:
        """Differentiate a score with respect to the input and compare the gradient with its baseline.

        Args:
            model: The model. It runs in eval mode and is left as it was.
            input_data: A tensor, a tuple or list of positional arguments or a mapping of keyword arguments; anything
                else is one argument.
            target: A class, one class per sample, several classes of a single sample, or a function (or one per sample)
                that takes a sample's scores and returns a tensor with one number; `whole_output(function)` is given
                the model's whole output. By default the predicted class is explained.
            method: "gradient", "guided", "integrated_gradients", "smoothgrad" or "input_x_gradient".
            name: Distinguishes several checks of one test; by default the fixture's name.
            rtol: The relative tolerance: a number, or numbers by layer name or glob; by default that of the dtype.
            atol: The absolute tolerance, likewise.

        Returns:
            The gradient, float32 (maps, *shape of one sample), and its magnitude, float32 (maps, h, w).

        Raises:
            ModelvizError: The target or method is unknown, or the score does not depend on the input.

        Example:
            >>> saliency = saliency_map(model, image, target=285, method="guided")
            >>> assert saliency.gradient.shape == (1, 3, 224, 224)

        """
        __tracebackhide__ = True
        from pytest_modelviz.views.saliency_map.capture import SaliencyMapView

        return self._check(lambda: SaliencyMapView(model, input_data, target=target, method=method), name, rtol, atol)
