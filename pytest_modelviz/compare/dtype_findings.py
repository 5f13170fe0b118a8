"""What a drift says of dtypes: those between which weights, tensors or autocast have changed.

Shadows are all in float32, so their findings name no dtype that a user gave.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pytest_modelviz.compare.evidence import is_change_of_dtype
from pytest_modelviz.compare.leaves import mismatch
from pytest_modelviz.compare.precision import changed_autocast
from pytest_modelviz.records.findings import (
    AUTOCAST,
    COMPUTED_IN,
    AnyFinding,
    CodeFinding,
    DivergingEvent,
    DtypeFinding,
    EventFinding,
    FactFinding,
    OutputsFinding,
    Role,
    ShapeFinding,
)
from pytest_modelviz.records.trace import ForwardTrace, Leaves
from pytest_modelviz.records.verdict import Verdict

_ENGINE = "quantized_engine"  # in an environment
_ABSENT = "absent"
_NO_OTHER = "that of its output"
_AUTOCAST_STATES = {"": "off", _ABSENT: "as around the model"}


def event_of(verdict: Verdict) -> EventFinding | None:
    """The first event that differs, as a drift names it."""
    return next((finding for finding in verdict.findings if isinstance(finding, EventFinding)), None)


def event_dtypes(verdict: Verdict) -> list[AnyFinding]:
    """The dtypes between which the first event that differs has changed."""
    event = event_of(verdict)
    if event is None:
        return []
    if event.path == AUTOCAST:
        texts = (text.replace("torch.", "") for text in (event.before, event.after))
        before, after = (_AUTOCAST_STATES.get(text, text) for text in texts)
        return [DtypeFinding(event.layer, "autocast", before, after)]
    if event.path == COMPUTED_IN:
        before, after = (_NO_OTHER if text == _ABSENT else text for text in (event.before, event.after))
        return [DtypeFinding(event.layer, "dtype of intermediate results", before, after)]
    before, after = (text.partition("[")[0] for text in (event.before, event.after))
    name = f"dtype of the input {event.path}" if event.event is DivergingEvent.INPUT else "dtype"
    return [DtypeFinding(event.layer, name, before, after)] if before != after else []


def given_dtypes(baseline: ForwardTrace, actual: ForwardTrace) -> Iterator[AnyFinding]:
    """The inputs of another dtype, which shadows do not show."""
    before, after = (trace.calls[0].inputs if trace.calls else {} for trace in (baseline, actual))
    for path in before.keys() & after.keys():
        keys = before[path].tensor, after[path].tensor
        if keys[0] is not None and keys[1] is not None:
            dtypes = baseline.tensors[keys[0]].dtype, actual.tensors[keys[1]].dtype
            if dtypes[0] != dtypes[1]:
                yield DtypeFinding("", f"dtype of the input {path}", *dtypes, role=Role.ALSO)


def with_weight_dtypes(verdict: Verdict) -> Verdict:
    """A verdict that says of weights of another dtype no more than that."""
    return replace(verdict, findings=tuple(_dtype_of_weight(finding) for finding in verdict.findings))


def _dtype_of_weight(finding: AnyFinding) -> AnyFinding:
    if not (is_change_of_dtype(finding) and isinstance(finding, ShapeFinding)):
        return finding
    before, after = (text.partition("[")[0] for text in (finding.before, finding.after))
    return DtypeFinding(finding.layer, f"dtype of {finding.name}", before, after, role=finding.role)


def with_native_texts(verdict: Verdict, baseline: ForwardTrace, actual: ForwardTrace) -> Verdict:
    """A verdict on two shadows that describes what differs first as it is in the passes themselves."""
    event = event_of(verdict)
    if event is None or event.before == event.after or event.path == COMPUTED_IN:
        return verdict
    before, after = (_leaves_of(event, trace) for trace in (baseline, actual))
    if before is None or after is None:
        return verdict
    texts = mismatch(before.get(event.path), after.get(event.path), baseline.tensors, actual.tensors)
    native = replace(event, before=texts[0], after=texts[1])
    return replace(verdict, findings=tuple(native if finding is event else finding for finding in verdict.findings))


def _leaves_of(event: EventFinding, trace: ForwardTrace) -> Leaves | None:
    """The inputs or outputs of the first call of a layer, None where it has not been called, or more than once."""
    calls = [call for call in trace.calls if call.layer == event.layer]
    if len(calls) != 1:
        return None
    return (calls[0].outputs or {}) if event.event is DivergingEvent.LEAVE else calls[0].inputs


def changes_around(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[AnyFinding, ...]:
    """What in two environments decides how the code of a model computes: autocast, the engine of quantised layers."""
    autocast = changed_autocast(before, after)
    engines = before.get(_ENGINE), after.get(_ENGINE)
    findings: list[AnyFinding] = [] if autocast is None else [DtypeFinding("", "autocast", *autocast)]
    if engines[0] is not None and engines[1] is not None and engines[0] != engines[1]:
        findings.append(FactFinding("engine of quantised layers", engines[0], engines[1]))
    return tuple(findings)


def under_other_conditions(verdict: Verdict, around: Sequence[AnyFinding]) -> Verdict:
    """A verdict on passes around which something has changed: that is then not blamed on the code of a layer.

    Args:
        verdict: the verdict.
        around: what has changed, as `changes_around` gives it.

    """
    if verdict.matched or verdict.cause != "computation" or not around:
        return verdict
    findings = [finding for finding in verdict.findings if not isinstance(finding, CodeFinding)]
    return replace(verdict, findings=(*findings, *around))


def with_extent_of(verdict: Verdict, native: Verdict) -> Verdict:
    """A verdict on how two models are built, with what that does to the passes, which their shadows do not show."""
    extent = [f for f in native.findings if isinstance(f, (EventFinding, OutputsFinding))]
    others = [f for f in verdict.findings if not isinstance(f, (EventFinding, OutputsFinding))]
    return replace(
        verdict,
        compared=native.compared,
        drifted=native.drifted,
        findings=(*extent, *others),
        layers=native.layers,
    )
