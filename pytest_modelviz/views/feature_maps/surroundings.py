"""The call that a verdict names and those around it, which are always pictured. Knows no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pytest_modelviz.records.trace import Call, ForwardTrace
from pytest_modelviz.records.verdict import Cause, Verdict

_NAMED, _BEFORE, _CALLER, _OUTPUT = "where the drift begins", "called just before", "the caller", "the model's output"


@dataclass
class Neighbour:
    """A call of the actual pass to be pictured, and what it is to the call that is named."""

    call: Call
    roles: list[str] = field(default_factory=list)

    @property
    def is_named(self) -> bool:
        return _NAMED in self.roles


def surroundings(
    verdict: Verdict, traces: tuple[ForwardTrace, ForwardTrace], baseline_name: Callable[[str], str]
) -> list[Neighbour]:
    """The call that is named, the last that was left before it, its caller, and the model, as far as the model has it.

    Calls that return the same are one. `traces` are those of the baseline and of the actual pass.
    """
    baseline, actual = traces
    if verdict.first is None or not (baseline.calls and actual.calls):
        return []
    named = verdict.first.layer, verdict.first.call
    calls = {(baseline_name(call.layer), call.index): call for call in actual.calls}
    trace = actual if named in calls else baseline
    found = calls.get(named) or next((call for call in trace.calls if _position(call) == named), None)
    begins_outside = verdict.cause == Cause.INPUT  # in what the model is given, not in what it returns
    around = [] if found is None or begins_outside else _around(trace, found)
    merged: dict[object, Neighbour] = {}
    for call, role in [*around, (trace.calls[0], _OUTPUT)]:
        own = call if trace is actual else calls.get(_position(call))
        if own is not None:
            merged.setdefault(_key(own), Neighbour(own)).roles.append(role)
    return list(merged.values())


def _around(trace: ForwardTrace, named: Call) -> list[tuple[Call, str]]:
    around, before = [(named, _NAMED)], None
    for event in trace.events():
        if event.kind == "leave":
            if event.call is named:
                caller = None if event.parent is trace.calls[0] else event.parent
                around += [(call, role) for call, role in ((before, _BEFORE), (caller, _CALLER)) if call is not None]
                break
            before = event.call
    return around


def _position(call: Call) -> tuple[str, int]:
    return call.layer, call.index


def _key(call: Call) -> tuple[object, ...]:
    """The tensors that a call returned; of one that returned none, the call itself."""
    return tuple(leaf.tensor for leaf in (call.outputs or {}).values() if leaf.tensor is not None) or (id(call),)
