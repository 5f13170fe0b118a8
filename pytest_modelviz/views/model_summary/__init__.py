"""What a model is: its module tree with shapes, parameters and mult-adds."""

from typing import TYPE_CHECKING

from pytest_modelviz.views.lazy import names_on_demand

if TYPE_CHECKING:
    from pytest_modelviz.views.model_summary.capture import ModelSummaryView
else:
    __getattr__ = names_on_demand(__name__, {"ModelSummaryView": "capture"})

__all__ = ["ModelSummaryView"]
