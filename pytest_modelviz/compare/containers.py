"""Containers that only hand on: the calls inside stand for theirs, unless the user allows them less."""

from collections.abc import Sequence

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.structure import NAMESAKE, ModuleRecord
from pytest_modelviz.records.trace import Call, ForwardTrace


def is_sequential(module: ModuleRecord) -> bool:
    """Whether a module is torch's own Sequential."""
    return module.class_name == "Sequential" and NAMESAKE not in module.config


def is_allowed_less(call: Call, passes: Sequence[ForwardTrace], tolerances: Tolerances) -> bool:
    """Whether the user allows a container less than the layers around and within it, which would stand for it.

    What is allowed by default depends on dtypes: it is neither less nor more than a number that a user gives.

    Args:
        call: a call of the container.
        passes: those of which one makes this call.
        tolerances: what is allowed.

    """
    if not tolerances.layers:
        return False
    own = tolerances.of(call.layer)
    for other in map(tolerances.of, _around_and_within(call, passes)):
        is_other_kind = (own.rtol is None) != (other.rtol is None)
        if is_other_kind or (own.rtol or 0.0) < (other.rtol or 0.0) or own.absolute < other.absolute:
            return True
    return False


def _around_and_within(call: Call, passes: Sequence[ForwardTrace]) -> set[str]:
    """The layers that a call is made by, whatever they are called, and those that it calls, at any depth."""
    calls = next(trace.calls for trace in passes if any(other is call for other in trace.calls))
    layers, open_calls = set[str](), list[Call]()
    for other in calls:
        while open_calls and open_calls[-1].depth >= other.depth:
            open_calls.pop()
        if other is call:
            layers |= {outer.layer for outer in open_calls}
        elif any(outer is call for outer in open_calls):
            layers.add(other.layer)
        open_calls.append(other)
    return layers
