"""Which operators of two lists are the same one: matched runs, and the gaps between them.

Operators that are unlike all others in both lists are anchors (as in patience diff), so that ten thousand of them are
aligned in the time of a sort; only what lies between two anchors is searched.
"""

from __future__ import annotations

import bisect
import collections
import difflib
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

_MOST_EDITS = 300
_MOST_PAIRS = 1_000_000  # a search looks at all pairs of equal items; beyond this it would take more than a second


class Block(NamedTuple):
    """A stretch of both lists, as half-open ranges. `equal` ones are of the same length and match item by item."""

    equal: bool
    before: range
    after: range


def align(before: Sequence[Hashable], after: Sequence[Hashable]) -> list[Block]:
    """Blocks that cover both lists in order; equal and unequal ones alternate."""
    pairs = list(_pairs(before, after, range(len(before)), range(len(after))))
    blocks: list[Block] = []
    i = j = 0
    for one, two in [*pairs, (len(before), len(after))]:
        if (i, j) != (one, two):
            blocks.append(Block(False, range(i, one), range(j, two)))
        if one < len(before) or two < len(after):
            last = blocks[-1] if blocks else None
            if last is not None and last.equal:
                blocks[-1] = Block(True, range(last.before.start, one + 1), range(last.after.start, two + 1))
            else:
                blocks.append(Block(True, range(one, one + 1), range(two, two + 1)))
        i, j = one + 1, two + 1
    return blocks


def _pairs(before: Sequence[Hashable], after: Sequence[Hashable], one: range, two: range) -> Iterator[tuple[int, int]]:
    """Matching positions, ascending in both lists."""
    i, j, i_end, j_end = one.start, two.start, one.stop, two.stop
    while i < i_end and j < j_end and before[i] == after[j]:
        yield i, j
        i, j = i + 1, j + 1
    tail = 0
    while i < i_end - tail and j < j_end - tail and before[i_end - tail - 1] == after[j_end - tail - 1]:
        tail += 1
    i_end, j_end = i_end - tail, j_end - tail
    if i < i_end and j < j_end:
        anchors = _anchors(before, after, range(i, i_end), range(j, j_end))
        if anchors:
            for anchor_i, anchor_j in [*anchors, (i_end, j_end)]:
                yield from _pairs(before, after, range(i, anchor_i), range(j, anchor_j))
                if anchor_i < i_end:
                    yield anchor_i, anchor_j
                i, j = anchor_i + 1, anchor_j + 1
        else:
            yield from _searched(before, after, range(i, i_end), range(j, j_end))
    yield from zip(range(i_end, i_end + tail), range(j_end, j_end + tail), strict=True)


def _anchors(before: Sequence[Hashable], after: Sequence[Hashable], one: range, two: range) -> list[tuple[int, int]]:
    """The longest ascending chain of items that occur once in either stretch."""
    counts = [collections.Counter(items[at] for at in part) for items, part in ((before, one), (after, two))]
    places = {after[j]: j for j in two if counts[1][after[j]] == 1}
    pairs = [(i, places[before[i]]) for i in one if counts[0][before[i]] == 1 and before[i] in places]
    ends: list[int] = []  # the smallest end of a chain of each length, and which pair it is
    chosen: list[int] = []
    previous: list[int] = []
    for number, (_, j) in enumerate(pairs):
        length = bisect.bisect_left(ends, j)
        previous.append(chosen[length - 1] if length else -1)
        ends[length : length + 1] = [j]
        chosen[length : length + 1] = [number]
    chain = []
    at = chosen[-1] if chosen else -1
    while at >= 0:
        chain.append(pairs[at])
        at = previous[at]
    return chain[::-1]


def _searched(before: Sequence[Hashable], after: Sequence[Hashable], one: range, two: range) -> list[tuple[int, int]]:
    first, second = [before[at] for at in one], [after[at] for at in two]
    pairs = _shortest(first, second)
    if pairs is None:
        counts = collections.Counter(second)
        crowded = sum(counts[item] for item in first) > _MOST_PAIRS
        blocks = difflib.SequenceMatcher(None, first, second, autojunk=crowded).get_matching_blocks()
        pairs = [(i + step, j + step) for i, j, size in blocks for step in range(size)]
    return [(one.start + i, two.start + j) for i, j in pairs]


def _shortest(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[tuple[int, int]] | None:
    """What is left in place by the fewest removals and additions; None where they are too many.

    E. W. Myers, "An O(ND) difference algorithm and its variations", Algorithmica 1 (1986).
    """
    size, other = len(first), len(second)
    reached = {1: 0}  # by diagonal: how far in `first` so many edits lead
    history: list[dict[int, int]] = []
    for edits in range(min(size + other, _MOST_EDITS) + 1):
        history.append(dict(reached))
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (diagonal != edits and reached[diagonal - 1] < reached[diagonal + 1])
            i = reached[diagonal + 1] if down else reached[diagonal - 1] + 1
            while i < size and i - diagonal < other and first[i] == second[i - diagonal]:
                i += 1
            reached[diagonal] = i
            if i >= size and i - diagonal >= other:
                return _walked_back(history, size, other)
    return None


def _walked_back(history: list[dict[int, int]], i: int, j: int) -> list[tuple[int, int]]:
    pairs = []
    for edits in range(len(history) - 1, -1, -1):
        reached, diagonal = history[edits], i - j
        down = diagonal == -edits or (diagonal != edits and reached[diagonal - 1] < reached[diagonal + 1])
        came = diagonal + 1 if down else diagonal - 1
        start = (reached[came], reached[came] - came)
        while i > start[0] and j > start[1]:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        i, j = start
    return pairs[::-1]
