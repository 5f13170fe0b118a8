"""The fixture `modelviz`, as a test calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.text.printable import printable
from pytest_modelviz.views.fixture import CheckFixture, ToleranceArgument, require_name

if TYPE_CHECKING:
    from torch import nn

    from pytest_modelviz.attribution.targets import Target
    from pytest_modelviz.probe.forward import ModelInput
    from pytest_modelviz.views.base import View
    from pytest_modelviz.views.combined.capture import Views

_ResultT = TypeVar("_ResultT")


class ModelvizFixture(CheckFixture):
    """Compare a model's summary, feature maps and class activation map, from one forward and one backward pass."""

    view = "modelviz"

    def __call__(
        self,
        model: nn.Module,
        input_data: ModelInput,
        *,
        summary: bool = True,
        feature_maps: bool = True,
        cam: str | None = None,
        target: Target = None,
        name: str | None = None,
        rtol: ToleranceArgument = None,
        atol: ToleranceArgument = None,
    ) -> Views:
        """Capture several views from one pass and compare each with its own baseline.

        Args:
            model: The model. It runs in eval mode and is left as it was.
            input_data: A tensor, a tuple or list of positional arguments or a mapping of keyword arguments; anything
                else is one argument.
            summary: Whether to check `model_summary`.
            feature_maps: Whether to check `feature_maps`.
            cam: The layer at which to check `cam_map`; without it there is no such check.
            target: The class that `cam_map` explains, one class per sample, or a function (see `cam_map`).
            name: Prefix of the checks' names, which are the names of their views.
            rtol: The relative tolerance: a number, or numbers by layer name or glob; by default that of the dtype.
            atol: The absolute tolerance, likewise.

        Returns:
            The result of each view, None for views that were not requested.

        Raises:
            ModelvizError: No view is requested, there is no such layer, or `target` is given without `cam`.

        Example:
            >>> views = modelviz(model, image, cam="layer4", target=285)
            >>> assert views.cam is not None and views.cam.predicted == (285,)

        """
        __tracebackhide__ = True
        from pytest_modelviz.views.combined.capture import CombinedCapture, Views

        if name is not None:
            require_name(name)  # else the names of the checks, which begin with it, would pass
        try:
            views = CombinedCapture(
                model, input_data, summary=summary, feature_maps=feature_maps, cam=cam, target=target
            )
        except ModelvizError as error:
            raise ModelvizError(printable(str(error))) from None  # as for a single view: without the way here

        def check(view: View[_ResultT] | None) -> _ResultT | None:
            __tracebackhide__ = True
            if view is None:
                return None
            own = view.view if name is None else f"{name}_{view.view}"
            return self._run(lambda: view, own, view.view, rtol=rtol, atol=atol)

        return Views(check(views.summary), check(views.feature_maps), check(views.cam))
