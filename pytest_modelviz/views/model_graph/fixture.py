"""The fixture `model_graph`, as a test calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_modelviz.views.fixture import CheckFixture, ToleranceArgument

if TYPE_CHECKING:
    from torch import nn

    from pytest_modelviz.probe.forward import ModelInput
    from pytest_modelviz.views.model_graph.records import OperatorGraph


class ModelGraphFixture(CheckFixture):
    """Compare the operators that a model runs, with their arguments, shapes and order."""

    view = "model_graph"

    def __call__(
        self,
        model: nn.Module,
        input_data: ModelInput,
        *,
        name: str | None = None,
        rtol: ToleranceArgument = None,
        atol: ToleranceArgument = None,
    ) -> OperatorGraph:
        """Follow the model with `torch.export` and compare its operators with the baseline.

        Args:
            model: The model. It runs in eval mode and is left as it was.
            input_data: A tensor, a tuple or list of positional arguments or a mapping of keyword arguments; anything
                else is one argument.
            name: Distinguishes several checks of one test; by default the fixture's name.
            rtol: The relative tolerance: a number, or numbers by layer name or glob; by default that of the dtype.
            atol: The absolute tolerance, likewise.

        Returns:
            The operators in the order of execution; `str()` lists them.

        Raises:
            ModelvizError: `input_data` is None, or the input and the model are on different devices.

        Example:
            >>> graph = model_graph(model, image)
            >>> assert "dropout" not in {operator.kind for operator in graph.operators}

        """
        __tracebackhide__ = True
        from pytest_modelviz.views.model_graph.capture import ModelGraphView

        return self._check(lambda: ModelGraphView(model, input_data), name, rtol, atol)
