"""The fixture `activation_maximization`, as a test calls it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_modelviz.views.fixture import CheckFixture, ToleranceArgument

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pytest_modelviz.views.activation_maximization.records import ActivationMaximization


class ActivationMaximizationFixture(CheckFixture):
    """Compare the climb to an input that excites filters of a layer most; show those inputs."""

    view = "activation_maximization"

    def __call__(
        self,
        model: nn.Module,
        layer: str,
        *,
        filters: Sequence[int] | int = (0,),
        steps: int = 20,
        seed: int = 0,
        learning_rate: float = 0.5,
        input_size: Sequence[int] | None = None,
        image: Tensor | None = None,
        name: str | None = None,
        rtol: ToleranceArgument = None,
        atol: ToleranceArgument = None,
    ) -> ActivationMaximization:
        """Climb to the inputs that excite the filters most and compare the climb with its baseline.

        Args:
            model: The model. It runs in eval mode and is left as it was.
            layer: The name of the layer whose filters are excited.
            filters: The numbers of the filters, counted from 0.
            steps: The number of steps to climb.
            seed: The seed of the noise at the start.
            learning_rate: The size of a step along the gradient, whose root mean square is scaled to one.
            input_size: The shape of an input, without its batch dimension; by default (channels, 224, 224) where the
                model begins with a convolution of images.
            image: A floating tensor (1, channels, h, w) to start from instead of noise.
            name: Distinguishes several checks of one test; by default the fixture's name.
            rtol: The relative tolerance: a number, or numbers by layer name or glob; by default that of the dtype.
            atol: The absolute tolerance, likewise.

        Returns:
            The inputs, float32 (filters, *shape), and the activations on the way, float64 (steps + 1, filters).

        Raises:
            ModelvizError: There is no such layer or filter, or the input's size cannot be inferred.

        Example:
            >>> found = activation_maximization(model, "layer4", filters=(0, 3), input_size=(3, 64, 64))
            >>> assert found.images.shape == (2, 3, 64, 64)

        """
        __tracebackhide__ = True
        from pytest_modelviz.views.activation_maximization.capture import ActivationMaximizationView

        return self._check(
            lambda: ActivationMaximizationView(
                model,
                layer,
                filters=filters,
                steps=steps,
                seed=seed,
                learning_rate=learning_rate,
                input_size=input_size,
                image=image,
            ),
            name,
            rtol,
            atol,
        )
