"""A user's own view, with types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
import torch

if TYPE_CHECKING:
    from pytest_modelviz.extend import Capture, Exhibit, Tolerances, Verdict, View

Norms = dict[str, npt.NDArray[np.float32]]


class NormsView:
    """The norm of each parameter."""

    view = "norms"

    def __init__(self, model: torch.nn.Module, factor: float = 1.0) -> None:
        self.model, self.factor = model, factor

    def capture(self) -> Capture[Norms]:
        from pytest_modelviz.extend import Capture, environment

        norms = {
            name: np.array([float(p.norm()) * self.factor], np.float32) for name, p in self.model.named_parameters()
        }
        return Capture(self.view, {"count": len(norms)}, norms, environment(self.model), result=norms)

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        from pytest_modelviz.extend import compare_arrays

        return compare_arrays(baseline, actual, tolerances)

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        return []

    def describe(self, actual: Capture) -> str:
        return str(actual.facts)


@pytest.hookimpl(optionalhook=True)
def pytest_modelviz_views() -> list[type[View]]:
    return [NormsView]
