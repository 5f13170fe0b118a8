"""Calls of one module that are given the same tensors one after another, and may be made in any order.

Code that loops over a set (`for kind in set(config.layer_types): tables[kind] = self.rotary(x, kind)`, as many decoders
of transformers do) calls in an order that follows from Python's hashes, which differ from process to process. That is
no change of the model; what each of the calls returns is compared all the same.
"""

from collections.abc import Sequence
from dataclasses import replace

from pytest_modelviz.records.trace import Call, ForwardTrace


def interchangeable_calls(calls: Sequence[Call]) -> list[list[int]]:
    """The positions of calls that may change places: of each group at least two.

    They are of one module, made by the same caller with nothing but each other's inner calls in between, and given the
    same tensors; their other arguments (strings, numbers) tell them apart. One of them may have left out some of these,
    because they have the defaults.

    Args:
        calls: the calls of a pass, in the order of entering.

    """
    groups: list[list[int]] = []
    open_groups: list[list[int]] = []  # at most one of each depth, the outermost first
    for at, call in enumerate(calls):
        while open_groups and calls[open_groups[-1][0]].depth > call.depth:
            open_groups.pop()
        latest = open_groups[-1] if open_groups and calls[open_groups[-1][0]].depth == call.depth else None
        if latest is not None and _are_given_the_same(calls[latest[0]], call):
            latest.append(at)
            continue
        if latest is not None:
            open_groups.pop()
        open_groups.append([at])
        groups.append(open_groups[-1])
    return [group for group in groups if len(group) > 1 and len({_literals(calls[at]) for at in group}) == len(group)]


def in_order_of(baseline: ForwardTrace, actual: ForwardTrace) -> ForwardTrace:
    """The actual pass with its interchangeable calls in the order in which the baseline makes them.

    Args:
        baseline: the recorded pass; where its calls have other arguments, the actual ones stay as they are.
        actual: the pass of this run, under the baseline's names.

    Example:
        >>> in_order_of(baseline, actual).calls[3].inputs["kind"].literal
        'sliding'

    """
    groups = {group[0]: group for group in interchangeable_calls(actual.calls)}
    if not groups:
        return actual
    recorded = _RecordedCalls(baseline.calls)
    ends, counts, calls = _ends(actual.calls), dict[str, int](), list[Call]()
    stretches = [(0, len(actual.calls))]  # of calls that come next, the last one first: one is looked at at a time
    while stretches:
        at, end = stretches.pop()
        while at < end and at not in groups:
            call = actual.calls[at]
            index = counts.get(call.layer, 0)
            counts[call.layer] = index + 1
            calls.append(call if call.index == index else replace(call, index=index))
            at += 1
        if at < end:
            group = groups.pop(at)
            stretches.append((ends[group[-1]], end))
            first = counts.get(actual.calls[at].layer, 0)
            stretches += ((each, ends[each]) for each in reversed(_ordered(actual.calls, group, first, recorded)))
    return replace(actual, calls=calls)


class _RecordedCalls:
    """The calls of a baseline, to be looked up by layer and number."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls, self._ends = calls, _ends(calls)
        self._positions = {(call.layer, call.index): at for at, call in enumerate(calls)}

    def from_on(self, layer: str, index: int, count: int) -> list[Call]:
        """A call, and up to `count` in all that its caller makes of the same layer, one after another.

        Such a layer may call itself: then these are not numbered one after another.
        """
        found: list[Call] = []
        at = self._positions.get((layer, index), len(self._calls))
        while len(found) < count and at < len(self._calls):
            call = self._calls[at]
            if call.layer != layer or (found and call.depth != found[0].depth):
                break
            found.append(call)
            at = self._ends[at]
        return found


def _ordered(calls: Sequence[Call], group: Sequence[int], first: int, recorded: _RecordedCalls) -> Sequence[int]:
    """The positions of a group in the order of the baseline, if that makes the same calls in another one.

    Args:
        calls: the actual calls.
        group: the positions of those that may change places.
        first: the number of the first of them, once all calls before it are in order.
        recorded: the calls of the baseline.

    """
    wanted = [_literals(call) for call in recorded.from_on(calls[group[0]].layer, first, len(group))]
    given = {_literals(calls[at]): at for at in group}
    is_other_order = len(wanted) == len(group) and set(wanted) == given.keys()
    return [given[literals] for literals in wanted] if is_other_order else group


def _are_given_the_same(one: Call, other: Call) -> bool:
    return one.layer == other.layer and _tensors(one) == _tensors(other)


def _tensors(call: Call) -> dict[str, str]:
    return {path: leaf.tensor for path, leaf in call.inputs.items() if leaf.tensor is not None}


def _literals(call: Call) -> tuple[str | None, ...]:
    return tuple(leaf.literal for leaf in call.inputs.values() if leaf.tensor is None)


def _ends(calls: Sequence[Call]) -> list[int]:
    """For each call the position after it and all that it calls."""
    ends, open_calls = [len(calls)] * len(calls), list[int]()
    for at, call in enumerate(calls):
        while open_calls and calls[open_calls[-1]].depth >= call.depth:
            ends[open_calls.pop()] = at
        open_calls.append(at)
    return ends
