"""A short training: losses, gradients and moves of the parameters."""

from typing import TYPE_CHECKING

from pytest_modelviz.views.lazy import names_on_demand

if TYPE_CHECKING:
    from pytest_modelviz.views.training_curve.capture import TrainingCurveView
else:
    __getattr__ = names_on_demand(__name__, {"TrainingCurveView": "capture"})

__all__ = ["TrainingCurveView"]
