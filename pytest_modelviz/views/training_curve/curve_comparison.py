"""The curves of two short trainings side by side: at which step they part, and in what.

A step computes scalars, then gradients, then moves the parameters; what parts first in that order is where to look.
"""

from dataclasses import dataclass

import numpy as np

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.views.training_curve.curve_tables import GRADIENT, UPDATE, CurveDifference, Curves, tabulate
from pytest_modelviz.views.training_curve.records import Training


@dataclass(frozen=True)
class CurveComparison:
    """How far two trainings are apart.

    `differences` are those of the step and kind that parted first, the worst first. `drifted` names the parameters that
    drifted then or later, in gradient or update. `worst` is what came nearest to what is allowed, or went farthest
    beyond it. `judged_steps` is the number of steps that could be compared, where that is not all of them; then no
    difference is of a later step, but for what is a number in one training only. `unsure` names the parameters whose
    updates differ and were not compared, since their gradients may be rounding.
    """

    differences: tuple[CurveDifference, ...]
    drifted: frozenset[str]
    worst: CurveDifference
    judged_steps: int | None = None
    unsure: tuple[str, ...] = ()


def compare_curves(baseline: Training, actual: Training, dtype: str, tolerances: Tolerances) -> CurveComparison:
    """Compare two trainings of as many steps, the same scalars and the same parameters, step by step."""
    with np.errstate(all="ignore"):
        tables, unsure = tabulate(baseline, actual, dtype, tolerances)
    parted = [int(step) for table in tables for step in table.beyond_steps[:1]]
    if parted:
        step = min(parted)
        found = [pair for table in tables for pair in table.differences(step)]  # in the order of what a step does
        differences = [pair for pair in found if pair[1].kind.stage == found[0][1].kind.stage]
        differences.sort(key=lambda pair: -pair[0])
        # where a whole update differs, how far of it is along the parameter says no more
        worst_of: dict[str, CurveDifference] = {}
        for _, difference in differences:
            worst_of.setdefault(difference.name, difference)
        return CurveComparison(tuple(worst_of.values()), _drifted(tables, step), differences[0][1])
    table = max(tables, key=lambda candidate: float(candidate.excess.max()))
    nearest = divmod(int(table.excess.argmax()), len(table.names))
    unjudged = np.flatnonzero(~np.logical_and.reduce([table.judged.all(axis=1) for table in tables]))
    judged_steps = int(unjudged[0]) if unjudged.size else None
    return CurveComparison((), frozenset(), table.difference(*nearest), judged_steps, unsure)


def _drifted(tables: list[Curves], first: int) -> frozenset[str]:
    """The parameters that are beyond what the first step that parted allows, at that step or later.

    An update by itself is measured here with what all of them together are allowed.
    """
    names: set[str] = set()
    updates = min((float(table.allowed[first].min()) for table in tables if table.kind == UPDATE), default=0.0)
    for table in tables:
        if table.kind in (GRADIENT, UPDATE):
            beyond = ~(table.error[first:] <= (updates if table.kind == UPDATE else table.allowed[first]))
            names.update(table.names[at] for at in np.flatnonzero(beyond.any(axis=0)))
    return frozenset(names - {""})
