"""Two forward passes event by event, up to the first event that differs.

A pass is a sequence of events: a module is entered with inputs, or left with outputs. The first event that differs
says whose code ran just before, and that module's configuration and weights say why.

| first differing event | suspect |
|---|---|
| the model itself is entered | none: the input changed |
| M is left, everything inside agreed | M |
| M is entered, everything before agreed | M's caller, between its calls |
| another module is entered or left here | the innermost module open at that moment |

Anybody may have written a baseline: what is allowed, and how much of a difference is rounding, follows from the actual
pass alone, and everything in the actual pass is compared.
"""

import functools
import itertools
import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pytest_modelviz.compare.arguments import lent_weights, matched_arguments, with_actual_names
from pytest_modelviz.compare.containers import ContainerTolerances, is_sequential
from pytest_modelviz.compare.error_propagation import EXACT, ErrorPropagation
from pytest_modelviz.compare.leaves import leaf_errors, worst
from pytest_modelviz.compare.tolerance import Source, Tolerances
from pytest_modelviz.records.findings import RenameFinding
from pytest_modelviz.records.structure import EMPTY, SIDE_EFFECTS, WRITTEN, ModelStructure
from pytest_modelviz.records.tensors import INTEGERS
from pytest_modelviz.records.trace import Call, Event, ForwardTrace, Leaves
from pytest_modelviz.records.verdict import LayerError

_NUMBERS = ("float64", "complex128")  # dtypes that Python numbers are recorded with


class ComparedEvent(NamedTuple):
    """One event in both passes.

    Attributes:
        event: the event of the baseline.
        error: the error of its worst leaf.
        allowed: the tolerance for that leaf.
        path: where in the inputs or outputs that leaf is.
        last_callee: the layer that the executing layer had called last, None where it had called none.
        full_error: the error without anything forgiven as rounding.

    """

    event: Event
    error: float
    allowed: float
    path: str
    last_callee: str | None = None
    full_error: float = 0.0


@dataclass
class _Frame:
    """A call that is open in both passes; the outermost frame stands for the code that calls the model."""

    baseline: Call | None = None
    actual: Call | None = None
    received: Source = EXACT  # what led to all that its code has received so far
    last_callee: str | None = None


@dataclass
class LockstepComparison:
    """Both passes, the actual one under the baseline's names.

    Attributes:
        renamed: modules that have another name in the actual pass.
        layers: the error of every call that was compared, in the order of leaving.
        events: all events up to the first that differs.
        first: the first event that differs.
        order_divergence: the two events from which on the order of events itself differs.
        skipped_containers: Sequentials that only one of the passes calls.
        lent_calls: the ids of calls for which only one of the passes was given weights.
        drifted_outputs: paths within the model's output that drifted; None where the output was not reached.
        lacks_integers: whether the baseline does not say where the integers of a tensor are that was compared.

    """

    baseline: ForwardTrace
    actual: ForwardTrace
    tolerances: Tolerances
    renamed: list[RenameFinding] = field(default_factory=list)
    layers: list[LayerError] = field(default_factory=list)
    events: list[ComparedEvent] = field(default_factory=list)
    first: ComparedEvent | None = None
    order_divergence: tuple[Event | None, Event | None] | None = None
    skipped_containers: set[str] = field(default_factory=set)
    lent_calls: set[int] = field(default_factory=set)
    drifted_outputs: list[str] | None = None
    lacks_integers: bool = False
    _compared: set[Hashable] = field(default_factory=set)  # of the actual pass
    _handed_over: dict[tuple[str, str], tuple[float, float, float]] = field(default_factory=dict)
    _latest: Leaves = field(default_factory=dict)  # what the actual pass handed over at its latest event
    _presumed: ComparedEvent | None = None  # the first whose arguments correspond only if the baseline is believed

    def __post_init__(self) -> None:
        self._propagation = ErrorPropagation(self.baseline, self.actual, self.tolerances)
        self._following = {id(call): following for call, following in itertools.pairwise(self.actual.calls)}
        self._called = [{call.layer for call in trace.calls} for trace in (self.baseline, self.actual)]

    @property
    def structures(self) -> tuple[ModelStructure, ModelStructure]:
        return self.baseline.structure, self.actual.structure

    def run(self) -> None:
        """Compare event by event until the order of events itself differs."""
        remaining = self.baseline.events(), self.actual.events()
        stack = [_Frame()]
        while True:
            baseline, actual = self._next_events(*remaining, is_within=len(stack) > 1)
            if baseline is None and actual is None:
                self.first = self.first or self._presumed
                return
            innermost = stack[-1]
            if baseline is None or actual is None or event_key(baseline) != event_key(actual):
                self.order_divergence = (baseline, actual)
                if self.first is None:
                    culprit = Event("order", innermost.baseline or Call("", 0, 0, {}), None)
                    self.first = ComparedEvent(culprit, math.inf, 0.0, "", innermost.last_callee)
                return
            caller = innermost if baseline.kind == "enter" else stack[-2]
            baseline = Event(baseline.kind, baseline.call, caller.baseline)  # not a container that was skipped
            source = self._compare(baseline, actual, innermost)
            if baseline.kind == "enter":
                stack.append(_Frame(baseline.call, actual.call, source))
            else:
                stack.pop()
                caller.last_callee = baseline.call.layer
                caller.received = caller.received.and_from(source)

    def callers_of(self, call: Call | None) -> list[Call]:
        """A call of the baseline and those around it, from the inside out."""
        around: list[Call] = []
        for earlier in reversed(self.baseline.calls):
            if earlier is call or (around and earlier.depth < around[-1].depth):
                around.append(earlier)
        return around

    def _next_events(
        self, baseline_events: Iterator[Event], actual_events: Iterator[Event], *, is_within: bool
    ) -> tuple[Event | None, Event | None]:
        """The next event of each pass, past containers that only one of them calls: those `is_within` the model."""
        baseline, actual = next(baseline_events, None), next(actual_events, None)
        while is_within and (baseline and event_key(baseline)) != (actual and event_key(actual)):
            if baseline is not None and self._skips(baseline, called=self._called[1]):
                baseline = next(baseline_events, None)
            elif (
                actual is not None
                and self._skips(actual, called=self._called[0])
                and (actual.kind == "enter" or self._hands_on(actual.call))
            ):
                self._latest = actual.leaves
                actual = next(actual_events, None)
            else:
                break
        self._latest = actual.leaves if actual else {}
        return baseline, actual

    def _skips(self, event: Event, called: set[str]) -> bool:
        """Whether it is of a Sequential that the other pass has not `called`: its children may be called one by one."""
        layer = event.call.layer
        modules = self.baseline.modules.get(layer), self.actual.modules.get(layer)
        if layer == "" or not all(module is not None and is_sequential(module) for module in modules):
            return False
        if (layer not in self.skipped_containers and layer in called) or self._is_allowed_less(event.call):
            return False
        self.skipped_containers.add(layer)
        return True

    @functools.cached_property
    def _containers(self) -> tuple[ContainerTolerances, ContainerTolerances]:
        """Of the baseline's calls, and of the actual ones."""
        return ContainerTolerances(self.baseline, self.tolerances), ContainerTolerances(self.actual, self.tolerances)

    @functools.cached_property
    def _integers(self) -> set[str]:
        """The tensors of the actual pass of whose integers it is known where they are."""
        return {key for key, record in self.actual.tensors.items() if INTEGERS in record.value_fingerprints}

    def _has_only_sums(self, key: str) -> bool:
        record = self.baseline.tensors[key]
        return INTEGERS not in record.value_fingerprints and record.sketch.size > 0

    def _is_allowed_less(self, call: Call) -> bool:
        return any(containers.is_less(call) for containers in self._containers)

    def _hands_on(self, call: Call) -> bool:
        """Whether a call gives its first module what it was given, and returns what its last returned: no more."""
        given, returned = (self._values(leaves) for leaves in (call.inputs, call.outputs or {}))
        following = self._following.get(id(call))
        received = self._values(following.inputs) if following and following.depth > call.depth else returned
        return given == received and returned == self._values(self._latest) and self._compared.issuperset(given)

    def _values(self, leaves: Leaves) -> list[Hashable]:
        """The leaves of the actual pass; a Python number, which is recorded anew at each event, by its value."""
        values: list[Hashable] = []
        for leaf in leaves.values():
            record = None if leaf.tensor is None else self.actual.tensors[leaf.tensor]
            if record is not None and record.dtype in _NUMBERS and not record.shape and record.sketch.size:
                values.append((record.sketch.tobytes(), *record.value_fingerprints.items()))
            else:
                values.append(leaf)
        return values

    def _compare(self, baseline: Event, actual: Event, innermost: _Frame) -> Source:
        """Compare one event; returns what led to its tensors, as far as rounding may come from there."""
        propagation, layer = self._propagation, executing_call(baseline).layer
        source = propagation.add(actual, layer, innermost.received, innermost.actual or actual.call)
        scale = propagation.input_scale(actual)
        propagation.begin_event(actual)
        leaves = self._matched_leaves(baseline, actual, innermost.last_callee)
        errors = self._errors(baseline, actual, leaves, scale)
        strict = self._errors(baseline, actual, leaves, None) if scale or propagation.forgives else dict(errors)
        if baseline.kind == "leave":
            for at, (error, strict_error, allowed) in self._as_handed_over(baseline, leaves).items():
                errors[at], strict[at] = (error, allowed), (strict_error, allowed)
        error, allowed, path = worst(errors)
        full_error = worst(strict)[0]
        gap = 0.0
        if self.first is None and not full_error <= allowed:
            gap = propagation.input_gap(baseline, actual, layer)
        if gap and propagation.excuse(actual, gap):
            errors, strict = (self._errors(baseline, actual, leaves, given) for given in (scale, None))
            error, allowed, path = worst(errors)
            full_error = worst(strict)[0]
        if baseline.kind == "leave":
            paths = {at: pair for at, pair in _pairs(leaves).items() if at in errors}
            self._handed_over = {pair: (errors[at][0], strict[at][0], errors[at][1]) for at, pair in paths.items()}
            self.layers.append(LayerError(baseline.call.layer, baseline.call.index, error, allowed))
            if baseline.parent is None:
                self.drifted_outputs = [path for path, (error, allowed) in errors.items() if not error <= allowed]
        if self.first is None:
            compared = ComparedEvent(baseline, error, allowed, path, innermost.last_callee, full_error)
            self.events.append(compared)
            if not error <= allowed:
                self.first = compared
        if full_error == 0.0:
            return EXACT  # no bit differs: no rounding comes from here
        return source.and_from(propagation.source_of(actual)) if propagation.excuses else source

    def _as_handed_over(self, baseline: Event, leaves: tuple[Leaves, Leaves]) -> dict[str, tuple[float, float, float]]:
        """What a Sequential hands on: the results that the last module in it has just returned, judged as there.

        Called one by one, the modules in it stand for it, whichever of the passes calls it. The error of each, the
        error with nothing forgiven, and the tolerance.
        """
        if baseline.parent is None or not any(leaves):
            return {}
        if not is_sequential(self.actual.modules[baseline.call.layer]) or self._is_allowed_less(baseline.call):
            return {}
        pairs = _pairs(leaves)
        return {path: self._handed_over[pair] for path, pair in pairs.items() if pair in self._handed_over}

    def _matched_leaves(self, baseline: Event, actual: Event, last_callee: str | None) -> tuple[Leaves, Leaves]:
        before, after = baseline.leaves, actual.leaves
        if not (before or after):
            return before, after
        if baseline.kind == "leave":
            if baseline.parent is not None:
                return before, after
            root = self.baseline.modules[baseline.call.layer]  # the model itself: nothing is skipped before it
            before = with_actual_names(before, after, root, self.actual.modules[actual.call.layer])
            if SIDE_EFFECTS in root.config:
                return before, after
            # earlier versions did not record these
            lacking = {path: leaf for path, leaf in after.items() if path not in before}
            written = {path for path in lacking if path.endswith(WRITTEN)}
            empty = {path for path, leaf in lacking.items() if leaf.literal == EMPTY} - written
            return before, {path: leaf for path, leaf in after.items() if path not in written | empty}
        lent = lent_weights(before), lent_weights(after)
        if lent[0] != lent[1]:  # earlier versions did not record them
            self.lent_calls.add(id(baseline.call))
            before = {path: leaf for path, leaf in before.items() if path not in lent[0]}
            after = {path: leaf for path, leaf in after.items() if path not in lent[1]}
        modules = self.baseline.modules[baseline.call.layer], self.actual.modules[actual.call.layer]
        leaves = matched_arguments(before, after, *modules)
        unmatched = sorted(leaves[0].keys() ^ leaves[1].keys())
        if unmatched:
            leaves = matched_arguments(before, after, *modules, trusting=True)
            self._presumed = self._presumed or ComparedEvent(baseline, math.inf, 0.0, unmatched[0], last_callee)
        return leaves

    def _errors(
        self, baseline: Event, actual: Event, leaves: tuple[Leaves, Leaves], scale: float | None
    ) -> dict[str, tuple[float, float]]:
        before, after = leaves
        self._compared.update(self._values(after))
        pairs = _pairs(leaves).values() if self._integers else ()
        self.lacks_integers |= any(new in self._integers and self._has_only_sums(old) for old, new in pairs)
        return leaf_errors(
            before,
            after,
            self.baseline.tensors,
            self.actual.tensors,
            sources=self._propagation.sources,
            tolerances=self.tolerances.of(executing_call(baseline).layer),
            scale=scale,
            negligible=self._propagation.negligible,
            cancels=self._propagation.may_cancel(actual),
            returned=baseline.kind == "leave",
        )


def executing_call(event: Event) -> Call:
    """The call whose code ran just before an event: the caller's, if a module is entered."""
    return event.parent if event.kind == "enter" and event.parent is not None else event.call


def event_key(event: Event) -> tuple[str, str, int]:
    """What two events have in common that are the same event of two passes."""
    return event.kind, event.call.layer, event.call.index


def _pairs(leaves: tuple[Leaves, Leaves]) -> dict[str, tuple[str, str]]:
    """The tensors of both passes at each path."""
    before, after = leaves
    tensors = {path: (before[path].tensor, leaf.tensor) for path, leaf in after.items() if path in before}
    return {path: (old, new) for path, (old, new) in tensors.items() if old is not None and new is not None}
