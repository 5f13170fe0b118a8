"""Calls of one module that are given the same tensors one after another, and may be made in any order.

Code that loops over a set (`for kind in set(config.layer_types): tables[kind] = self.rotary(x, kind)`, as many decoders
of transformers do) calls in an order that follows from Python's hashes, which differ from process to process. That is
no change of the model; what each of the calls returns is compared all the same.
"""

from collections.abc import Iterator, Mapping, Sequence
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
    groups = interchangeable_calls(actual.calls)
    if not groups:
        return actual
    recorded = {(call.layer, call.index): call for call in baseline.calls}
    calls = list(actual.calls)
    for depth in sorted({calls[group[0]].depth for group in groups}):
        # a call inside others has the number by which the baseline knows it once those around it are in order
        for group in interchangeable_calls(calls):
            if calls[group[0]].depth == depth:
                _put_in_order(calls, group, recorded)
        calls = list(_numbered(calls))
    return replace(actual, calls=calls)


def _put_in_order(calls: list[Call], group: Sequence[int], recorded: Mapping[tuple[str, int], Call]) -> None:
    """Exchange the calls of a group, each with all that it calls, if the baseline makes the same in another order."""
    before = [recorded.get((calls[at].layer, calls[at].index)) for at in group]
    wanted = [_literals(call) for call in before if call is not None]
    given = {_literals(calls[at]): at for at in group}
    if wanted != list(given) and len(wanted) == len(group) and set(wanted) == given.keys():
        ends = [*group[1:], _end(calls, group[-1])]
        pieces = {at: calls[at:end] for at, end in zip(group, ends, strict=True)}
        calls[group[0] : ends[-1]] = [call for literals in wanted for call in pieces[given[literals]]]


def _are_given_the_same(one: Call, other: Call) -> bool:
    return one.layer == other.layer and _tensors(one) == _tensors(other)


def _tensors(call: Call) -> dict[str, str]:
    return {path: leaf.tensor for path, leaf in call.inputs.items() if leaf.tensor is not None}


def _literals(call: Call) -> tuple[str | None, ...]:
    return tuple(leaf.literal for leaf in call.inputs.values() if leaf.tensor is None)


def _end(calls: Sequence[Call], at: int) -> int:
    """The position after a call and all that it calls."""
    return next((after for after in range(at + 1, len(calls)) if calls[after].depth <= calls[at].depth), len(calls))


def _numbered(calls: Sequence[Call]) -> Iterator[Call]:
    """The calls, each with the number of earlier calls of its module."""
    counts: dict[str, int] = {}
    for call in calls:
        index = counts.get(call.layer, 0)
        counts[call.layer] = index + 1
        yield call if call.index == index else replace(call, index=index)
