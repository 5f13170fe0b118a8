"""The fixture `model_summary`, as a test calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_modelviz.views.fixture import CheckFixture, ToleranceArgument

if TYPE_CHECKING:
    from torch import nn

    from pytest_modelviz.probe.forward import ModelInput
    from pytest_modelviz.views.model_summary.capture import InputSize
    from pytest_modelviz.views.model_summary.records import ModelSummary


class ModelSummaryFixture(CheckFixture):
    """Compare a model's module tree: names, classes, configuration, shapes, parameters, buffers, ties, mult-adds."""

    view = "model_summary"

    def __call__(
        self,
        model: nn.Module,
        input_size: InputSize | None = None,
        *,
        input_data: ModelInput = None,
        name: str | None = None,
        rtol: ToleranceArgument = None,
        atol: ToleranceArgument = None,
    ) -> ModelSummary:
        """Summarise the model and compare the summary with its baseline.

        Args:
            model: The model, on any device including `meta`. It runs in eval mode and is left as it was.
            input_size: A shape with its batch dimension, such as (1, 3, 224, 224), or several of them; zeros of those
                shapes are the input. A tensor, or a tuple or mapping of tensors, is `input_data`. Without an input the
                summary has no shapes.
            input_data: A tensor, a tuple or list of positional arguments or a mapping of keyword arguments; anything
                else is one argument.
            name: Distinguishes several checks of one test; by default the fixture's name.
            rtol: The relative tolerance: a number, or numbers by layer name or glob; by default that of the dtype.
            atol: The absolute tolerance, likewise.

        Returns:
            Totals, and each layer's class, configuration, tensors, shapes and calls; `str()` is torchinfo's table.

        Raises:
            ModelvizError: `input_size` is not a shape, or `input_data` is given as well.

        Example:
            >>> summary = model_summary(model, (1, 3, 224, 224))
            >>> assert summary.layers["conv1"].outputs == "float32[1, 64, 112, 112]"

        """
        __tracebackhide__ = True
        from pytest_modelviz.views.model_summary.capture import ModelSummaryView

        return self._check(lambda: ModelSummaryView(model, input_size, input_data=input_data), name, rtol, atol)
