"""Containers that only hand on: the calls inside stand for theirs, unless the user allows them less."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.structure import NAMESAKE, ModuleRecord
from pytest_modelviz.records.trace import Call, ForwardTrace

_Allowed = tuple[float | None, float]  # rtol, None for the default, and atol


def is_sequential(module: ModuleRecord) -> bool:
    """Whether a module is torch's own Sequential."""
    return module.class_name == "Sequential" and NAMESAKE not in module.config


class ContainerTolerances:
    """Whether a container is allowed less by the user than the layers around and within it, which would stand for it.

    What is allowed by default depends on dtypes: it is neither less nor more than a number that a user gives.
    """

    def __init__(self, trace: ForwardTrace, tolerances: Tolerances) -> None:
        self._tolerances = tolerances
        self._own: dict[str, _Allowed] = {}
        self._others = self._around_and_within(trace.calls) if tolerances.layers else {}

    def is_less(self, call: Call) -> bool:
        """Whether that is so of the container that this call of the pass is of."""
        own = self._of(call.layer)
        return any(_is_looser(other, own) for other in self._others.get(id(call), ()))

    def _of(self, layer: str) -> _Allowed:
        if layer not in self._own:
            tolerances = self._tolerances.of(layer)
            self._own[layer] = tolerances.rtol, tolerances.absolute
        return self._own[layer]

    def _around_and_within(self, calls: Sequence[Call]) -> dict[int, set[_Allowed]]:
        """What the layers are allowed that make a call or are called by it, at any depth: a few different things."""
        others: dict[int, set[_Allowed]] = {}
        open_calls: list[tuple[Call, set[_Allowed], set[_Allowed]]] = []  # with what is around it, and within it

        def close() -> None:
            call, around, within = open_calls.pop()
            others[id(call)] = around | within
            if open_calls:
                open_calls[-1][2].update(within, [self._of(call.layer)])

        for call in calls:
            while open_calls and open_calls[-1][0].depth >= call.depth:
                close()
            outer = {*open_calls[-1][1], self._of(open_calls[-1][0].layer)} if open_calls else set()
            open_calls.append((call, outer, set()))
        while open_calls:
            close()
        return others


def _is_looser(other: _Allowed, own: _Allowed) -> bool:
    is_other_kind = (own[0] is None) != (other[0] is None)
    return is_other_kind or (own[0] or 0.0) < (other[0] or 0.0) or own[1] < other[1]
