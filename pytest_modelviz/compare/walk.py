"""The first event that differs: two passes side by side, in the order in which things happened.

A pass is a sequence of events: a module is entered with inputs, a module is left with outputs. The first event that
differs says whose code ran in between, and that module's own configuration and weights say why.

| the first differing event | the suspect |
|---|---|
| entering the model itself | nobody: the input changed |
| leaving M, all inside it agreed | M |
| entering M, all before agreed | M's parent, between its children |
| another module is entered or left here | the innermost module open at that moment |

A baseline is data to be compared, and anybody may have written it: what is allowed, and how much of a difference is
rounding, follows from the actual pass alone, and all that this one shows is compared.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pytest_modelviz.compare.tensors import (
    NOTHING_LEFT,
    allowed_for,
    is_no_more_than,
    leaf_errors,
    rms,
    rms_difference,
    worst,
)
from pytest_modelviz.compare.tolerance import Source, Tolerances, is_exact
from pytest_modelviz.records.trace import LENT, Call, Event, Leaf, Leaves, ModuleRecord, Trace
from pytest_modelviz.records.verdict import Finding, LayerError

_EXACT = Source()
# What lets nothing through of what is negative, and all of what is not, by the names that libraries have for it. What
# is bounded makes a large input small: ReLU6 is one of them only for inputs that are no larger than its bound.
_RECTIFIER = re.compile(
    r"ReLU6?|(?:Py[Tt]orch|New|Fast|Quick|Accurate)?GELU(?:Activation|Tanh)?|(?:SiLU|Mish)(?:Activation)?|Swish|Hard[Ss]wish"
)
_BOUNDS = {"ReLU6": 6.0}
_ENDS_NAME = re.compile(r"[.\[]")  # of an argument: what follows leads into it
_ROUNDED = 0.1  # of what is allowed: ten times less than that is what processors do
_LARGEST_SCALE = 1e8  # masks hold -1e9 and -3.4e38; they say nothing about the size of what is computed


class Seen(NamedTuple):
    """One event of both passes: the error of its worst leaf, what is allowed, and that leaf's path.

    `previous` is the layer that the module whose code ran up to this event had called last, None where it had called
    none. `full` is the error before rounding was forgiven.
    """

    event: Event
    error: float
    allowed: float
    path: str
    previous: str | None = None
    full: float = 0.0


@dataclass
class Walk:
    """Both passes side by side, the actual one under the baseline's names; `renamed` is what has another name there.

    `first` is the first event that differs, `seen` all up to it, `parted` the two events from which on the order of
    events itself differs, `passed_over` containers that only one of the passes calls, `lent` the calls (by their id)
    for which only one of the passes was given weights, `outputs` the paths within the model's output that drifted, None
    where it was not reached. `excused` says whether a result was passed over because it is no more than what its inputs
    differ by.
    """

    baseline: Trace
    actual: Trace
    tolerances: Tolerances
    renamed: list[Finding] = field(default_factory=list)
    sources: dict[str, Source] = field(default_factory=dict)
    layers: list[LayerError] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    first: Seen | None = None
    callers: set[int] = field(default_factory=set)
    passed_over: set[str] = field(default_factory=set)
    lent: set[int] = field(default_factory=set)
    parted: tuple[Event | None, Event | None] | None = None
    outputs: list[str] | None = None
    excused: bool = False
    _grants: dict[str, Source] = field(default_factory=dict)
    _nothing: set[str] = field(default_factory=set)  # those of them that were found to be no more than a difference
    _handed: set[str] = field(default_factory=set)  # what is made of those, for this event alone
    _let_nothing_through: bool = False  # whether the event before this one was such a result
    _compared: set[str] = field(default_factory=set)  # tensors of the actual pass

    def run(self) -> None:
        """Compare event by event until the order of events itself differs."""
        following = zip(self.actual.calls, self.actual.calls[1:], strict=False)
        self.callers = {id(call) for call, after in following if after.depth > call.depth}
        left, right = self.baseline.events(), self.actual.events()
        open_calls: list[Call] = []
        givers: list[Call] = []  # the same calls of the actual pass
        last: list[str | None] = [None]  # for each open call, the layer it called last
        frames = [_EXACT]  # for each open call, what led to all that its code has got as a result so far
        while True:
            before, after = self._next_two(left, right)
            if before is None and after is None:
                return
            if before is None or after is None or not _alike(before, after):
                self.parted = (before, after)
                if self.first is None:
                    culprit = open_calls[-1] if open_calls else Call("", 0, 0, {})
                    self.first = Seen(Event("order", culprit, None), math.inf, 0.0, "", last[-1])
                return
            callers = open_calls if before.kind == "enter" else open_calls[:-1]
            before = Event(before.kind, before.call, callers[-1] if callers else None)  # not one that was passed over
            led_to = self._led_to(before, after, frames[-1], givers[-1] if givers else after.call)
            if self._compare(before, after, last[-1]):
                led_to = _EXACT  # not a bit differs: no rounding comes from here
            elif self.excused:
                led_to = led_to.and_from(self._handed_on(after))
            if before.kind == "enter":
                open_calls.append(before.call)
                givers.append(after.call)
                last.append(None)
                frames.append(led_to)
            else:
                open_calls.pop()
                givers.pop()
                last.pop()
                last[-1] = before.call.layer
                frames.pop()
                frames[-1] = frames[-1].and_from(led_to)

    def callers_of(self, call: Call | None) -> list[Call]:
        """A call of the baseline and those around it, from the inside out."""
        around: list[Call] = []
        for before in reversed(self.baseline.calls):
            if before is call or (around and before.depth < around[-1].depth):
                around.append(before)
        return around

    def _next_two(self, left: Iterator[Event], right: Iterator[Event]) -> tuple[Event | None, Event | None]:
        """The next event of either pass, past containers that only one of them calls."""
        before, after = next(left, None), next(right, None)
        while not _alike(before, after):
            if before is not None and self._is_mere_container(before, self.baseline, self.actual):
                before = next(left, None)
            elif (
                after is not None
                and self._is_mere_container(after, self.actual, self.baseline)
                and (after.kind == "enter" or self._has_been_compared(after.call))
            ):
                after = next(right, None)
            else:
                break
        return before, after

    def _is_mere_container(self, event: Event, trace: Trace, other: Trace) -> bool:
        """A Sequential that the other pass does not call: its parts may as well be called one by one."""
        layer = event.call.layer
        modules = trace.modules.get(layer), other.modules.get(layer)
        if layer == "" or any(module is None or module.class_name != "Sequential" for module in modules):
            return False
        if layer not in self.passed_over and any(call.layer == layer for call in other.calls):
            return False
        self.passed_over.add(layer)
        return True

    def _has_been_compared(self, call: Call) -> bool:
        """Whether all tensors that a call was given, and returned, are those of calls that were compared."""
        leaves = (*call.inputs.values(), *(call.outputs or {}).values())
        return all(leaf.tensor is None or leaf.tensor in self._compared for leaf in leaves)

    def _led_to(self, event: Event, actual: Event, frame: Source, caller: Call) -> Source:
        """What led to the tensors of the actual event; notes it for each of them.

        What a module's code makes between two calls may come of anything that it has got from a call before; a Python
        number, which has every digit, also of what the code was given. What the module whose code ran is explicitly
        allowed is handed on with what it made.
        """
        led_to, granted = _EXACT, self._granted(_whose(event))
        for leaf in actual.leaves.values():
            if leaf.tensor is not None:
                record = self.actual.tensors[leaf.tensor]
                source = self.sources.get(leaf.tensor)
                if source is None:
                    number = record.dtype == _EXACT.dtype and not record.shape
                    source = frame.and_from(self._given(caller.inputs)) if number else frame
                    source = source.and_from(Source(record.dtype))
                self.sources[leaf.tensor] = source = source.and_from(granted)
                led_to = led_to.and_from(source)
        return led_to

    def _granted(self, layer: str) -> Source:
        if not self.tolerances.layers:
            return _EXACT
        if layer not in self._grants:
            self._grants[layer] = self.tolerances.granted(layer)
        return self._grants[layer]

    def _given(self, leaves: Leaves) -> Source:
        kinds = [self.actual.tensors[leaf.tensor].dtype for leaf in leaves.values() if leaf.tensor is not None]
        return functools.reduce(Source.and_from, map(Source, kinds), _EXACT)

    def _compare(self, before: Event, after: Event, previous: str | None) -> bool:
        """Compare one event; returns whether the two are the same to the last digit."""
        scale = self._scale(after)
        handed = self._let_nothing_through and before.kind == "enter"
        self._handed = self._made_of_nothing(after) if handed else set()
        self._let_nothing_through = False
        errors = self._errors(before, after, scale)
        error, allowed, path = worst(errors)
        full = worst(self._errors(before, after, None))[0] if scale or self._forgives else error
        gap = self._gap(before, after) if self.first is None and not full <= allowed else 0.0
        if gap and self._excuse(after, gap):
            errors = self._errors(before, after, scale)
            error, allowed, path = worst(errors)
            full = worst(self._errors(before, after, None))[0]
        if before.kind == "leave":
            self.layers.append(LayerError(before.call.layer, before.call.index, error, allowed))
            if before.parent is None:
                self.outputs = [path for path, (error, allowed) in errors.items() if not error <= allowed]
        if self.first is None:
            seen = Seen(before, error, allowed, path, previous, full)
            self.seen.append(seen)
            if not error <= allowed:
                self.first = seen
        return full == 0.0

    @property
    def _forgives(self) -> bool:
        """Whether an absolute tolerance may hide that two tensors differ."""
        return self.excused or bool(self.tolerances.atol) or any(layer.atol for layer in self.tolerances.layers)

    def _excuse(self, event: Event, gap: float) -> bool:
        """Of a result that is no more than what its inputs differ by, and of what comes of it, forgive that much."""
        found = False
        for leaf in event.leaves.values():
            if leaf.tensor is not None and is_no_more_than(self.actual.tensors[leaf.tensor], NOTHING_LEFT * gap):
                self.sources[leaf.tensor] = self.sources[leaf.tensor].and_from(Source(excused=NOTHING_LEFT * gap))
                self._nothing.add(leaf.tensor)
                self._let_nothing_through = self.excused = found = True
        return found

    def _made_of_nothing(self, event: Event) -> set[str]:
        """What the caller makes of nothing, and gives to the next module, is nothing there if it is as small."""
        found = set()
        for leaf in event.leaves.values():
            excused = self.sources[leaf.tensor].excused if leaf.tensor is not None else 0.0
            if leaf.tensor is not None and excused and is_no_more_than(self.actual.tensors[leaf.tensor], excused):
                found.add(leaf.tensor)
        return found

    def _handed_on(self, event: Event) -> Source:
        """What was forgiven to an event's tensors, for what is computed from them."""
        sources = [self.sources[leaf.tensor] for leaf in event.leaves.values() if leaf.tensor is not None]
        return functools.reduce(Source.and_from, sources, _EXACT)

    def _gap(self, before: Event, after: Event) -> float:
        """By how much the inputs of a rectifier differ, as it is left; of anything else zero.

        No more than rounding is: a baseline that is a little off everywhere must not excuse what it likes.
        """
        if after.kind != "leave" or id(after.call) in self.callers:
            return 0.0
        module = self.actual.modules[after.call.layer]
        if not _RECTIFIER.fullmatch(module.class_name) or module.weights:
            return 0.0  # its results may well be small because it made them so
        one, other = before.call.inputs, after.call.inputs
        gaps, bound = [0.0], _BOUNDS.get(module.class_name, _LARGEST_SCALE)
        for path in one.keys() & other.keys():
            key, name = one[path].tensor, other[path].tensor
            if key is not None and name is not None:
                record, source = self.actual.tensors[name], self.sources.get(name, _EXACT)
                allowed, _ = allowed_for(record, source, self.tolerances.of(_whose(before)))
                gap, size = rms_difference(self.baseline.tensors[key], record), rms(record)
                gaps.append(min(gap, _ROUNDED * allowed * size) if size < bound else 0.0)
        return max(gaps)

    def _errors(self, before: Event, after: Event, scale: float | None) -> dict[str, tuple[float, float]]:
        one, other = before.leaves, after.leaves
        if before.kind == "enter" and one.keys() != other.keys() and _lent(one) != _lent(other):
            # no earlier baseline knows of it
            self.lent.add(id(before.call))
            one, other = (
                {path: leaf for path, leaf in some.items() if path not in _lent(some)} for some in (one, other)
            )
        if before.kind == "enter" and set(one) != set(other):
            old, new = self.baseline.modules[before.call.layer], self.actual.modules[after.call.layer]
            renamed = old.config.get("forward") != new.config.get("forward")
            if renamed:
                one, other = _by_place(one, old, new), _by_place(other, new, old)
            one, other = _with_defaults(one, other, old), _with_defaults(other, one, new)
            if renamed:
                other = _by_old_names(one, other, old, new)
        self._compared.update(leaf.tensor for leaf in other.values() if leaf.tensor is not None)
        return leaf_errors(
            one,
            other,
            self.baseline.tensors,
            self.actual.tensors,
            sources=self.sources,
            tolerances=self.tolerances.of(_whose(before)),
            scale=scale,
            nothing=self._nothing | self._handed if self._handed else self._nothing,
            renamed=other.keys() - after.leaves.keys(),
        )

    def _scale(self, event: Event) -> float:
        """The size of the inputs of a module that calls no other, as it is left; of anything else zero.

        A single operation may cancel its inputs down to their rounding. Over several modules a signal may just as well
        fade, every digit of it meant.
        """
        if event.kind != "leave" or id(event.call) in self.callers:
            return 0.0
        leaves = [leaf for path, leaf in event.call.inputs.items() if not path.endswith(LENT)]
        records = [self.actual.tensors[leaf.tensor] for leaf in leaves if leaf.tensor is not None]
        sizes = [rms(record) for record in records if not is_exact(record.dtype) and record.shape]
        return max((size for size in sizes if size < _LARGEST_SCALE), default=0.0)


def _with_defaults(leaves: Leaves, others: Leaves, module: ModuleRecord) -> Leaves:
    """The arguments of a call, and of those that only the other call names what they are by default."""
    defaults = dict(line.split("=", 1) for line in module.config.get("defaults", "").splitlines() if "=" in line)
    missing = {path: Leaf(literal=defaults[path]) for path in others if path not in leaves and path in defaults}
    return {**leaves, **missing}


def _by_place(leaves: Leaves, module: ModuleRecord, other: ModuleRecord) -> Leaves:
    """What one forward takes as `*args`, under the names that the other forward has for those places."""
    names, others = (m.config.get("forward", "").partition("*")[0].strip(", ").split(", ") for m in (module, other))
    named = [name for name in names if name]
    rest = module.config.get("forward", "").partition("*")[2].partition(",")[0]
    places = {f"{rest}[{at}]": name for at, name in enumerate(others[len(named) :])}
    return _under({path: _moved(path, places) for path in leaves}, leaves)


def _by_old_names(before: Leaves, after: Leaves, module: ModuleRecord, other: ModuleRecord) -> Leaves:
    """Arguments under the names that the baseline has for them, where forward's own parameters were renamed.

    A parameter that has another name in the same place is no other input. Where the parameters were not renamed, or are
    more or fewer now, another name is another argument.
    """
    names, others = (_parameters(one) for one in (module, other))
    if len(names) != len(others):
        return after
    old = {new: name for name, new in zip(names, others, strict=True) if name not in others and new not in names}

    return _under({path: _moved(path, old) for path in after}, after)


def _moved(path: str, names: Mapping[str, str]) -> str:
    """A path within an argument that has another name: that of the longest beginning that has one."""
    for end in (len(path), *(found.start() for found in reversed(list(_ENDS_NAME.finditer(path))))):
        if path[:end] in names:
            return names[path[:end]] + path[end:]
    return path


def _under(names: Mapping[str, str], leaves: Leaves) -> Leaves:
    """Arguments under other names, unless one of them would stand for two."""
    moved = {names[path]: leaf for path, leaf in leaves.items()}
    return moved if len(moved) == len(leaves) else leaves


def _parameters(module: ModuleRecord) -> list[str]:
    """What forward's parameters are called, those behind `*` too."""
    return [name.strip("* ") for name in module.config.get("forward", "").split(",") if name.strip("* ")]


def _lent(leaves: Leaves) -> set[str]:
    return {path for path in leaves if path.endswith(LENT)}


def _alike(one: Event | None, other: Event | None) -> bool:
    if one is None or other is None:
        return one is other
    return what(one) == what(other)


def _whose(event: Event) -> str:
    """The layer whose code ran up to this event: the caller's, if a module is entered."""
    return event.parent.layer if event.kind == "enter" and event.parent is not None else event.call.layer


def what(event: Event) -> tuple[str, str, int]:
    """What makes two events the same event."""
    return event.kind, event.call.layer, event.call.index
