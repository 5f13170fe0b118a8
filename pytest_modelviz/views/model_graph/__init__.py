"""The operator graph: exported, or traced where export fails."""

from typing import TYPE_CHECKING

from pytest_modelviz.views.lazy import names_on_demand

if TYPE_CHECKING:
    from pytest_modelviz.views.model_graph.capture import ModelGraphView
else:
    __getattr__ = names_on_demand(__name__, {"ModelGraphView": "capture"})

__all__ = ["ModelGraphView"]
