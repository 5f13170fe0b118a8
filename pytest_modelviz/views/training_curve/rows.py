"""A training in few digits, as the text of a baseline says it to people."""

from __future__ import annotations

from pytest_modelviz.views.captions import rounded
from pytest_modelviz.views.training_curve.records import Training


def step_rows(training: Training) -> dict[str, dict[str, float | str]]:
    """Each step's scalars, and the norm of the whole gradient."""
    curves = training.curves
    return {
        str(step): {name: rounded(float(values[step]), 3) for name, values in curves.items()}
        for step in range(training.steps)
    }


def parameter_rows(training: Training) -> dict[str, dict[str, list[float | str]]]:
    """Gradient and update of each parameter at the first step and at the last."""
    return {
        name: {
            key: [rounded(float(table[0, at]), 3), rounded(float(table[-1, at]), 3)]
            for key, table in (("gradient", training.gradients), ("update", training.updates))
        }
        for at, name in enumerate(training.parameters)
    }
