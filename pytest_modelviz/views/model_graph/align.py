"""Which operators of two lists correspond: matched runs, and the gaps between them.

Operators that are unlike all others in both lists are anchors (as in patience diff), so that ten thousand of them are
aligned in the time of a sort; only what lies between two anchors is searched.
"""

import bisect
import collections
import difflib
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

Items = Sequence[Hashable]
Match = tuple[int, int]
Chain = tuple[Match, "Chain"] | None  # of matches: the last one, and those before it

_MOST_EDITS = 300
_MOST_PAIRS = 1_000_000  # a search looks at all pairs of equal items; beyond this it would take more than a second


class Block(NamedTuple):
    """A stretch of both lists, as half-open ranges. `equal` ones are of the same length and match item by item."""

    equal: bool
    before: range
    after: range


def align(before: Items, after: Items) -> list[Block]:
    """Blocks that cover both lists in order; equal and unequal ones alternate."""
    pairs = list(_pairs(before, after, range(len(before)), range(len(after))))
    blocks: list[Block] = []
    i = j = 0
    for next_i, next_j in [*pairs, (len(before), len(after))]:
        if (i, j) != (next_i, next_j):
            blocks.append(Block(False, range(i, next_i), range(j, next_j)))
        i, j = next_i + 1, next_j + 1
        if next_i < len(before) or next_j < len(after):
            start_i, start_j = next_i, next_j
            if blocks and blocks[-1].equal:
                last = blocks.pop()
                start_i, start_j = last.before.start, last.after.start
            blocks.append(Block(True, range(start_i, i), range(start_j, j)))
    return blocks


def _pairs(before: Items, after: Items, rows: range, columns: range) -> Iterator[Match]:
    """Matching positions, ascending in both lists."""
    i, j, i_end, j_end = rows.start, columns.start, rows.stop, columns.stop
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


def _anchors(before: Items, after: Items, rows: range, columns: range) -> list[Match]:
    """The longest ascending chain of items that occur once in either stretch."""
    counts = collections.Counter(before[i] for i in rows), collections.Counter(after[j] for j in columns)
    positions = {after[j]: j for j in columns if counts[1][after[j]] == 1}
    pairs = [(i, positions[before[i]]) for i in rows if counts[0][before[i]] == 1 and before[i] in positions]
    ends: list[int] = []  # the smallest end of a chain of each length, and that chain
    chains: list[Chain] = [None]
    for pair in pairs:
        length = bisect.bisect_left(ends, pair[1])
        ends[length : length + 1] = [pair[1]]
        chains[length + 1 : length + 2] = [(pair, chains[length])]
    return _listed(chains[-1])


def _listed(chain: Chain) -> list[Match]:
    matches = []
    while chain is not None:
        match, chain = chain
        matches.append(match)
    return matches[::-1]


def _searched(before: Items, after: Items, rows: range, columns: range) -> list[Match]:
    first, second = before[rows.start : rows.stop], after[columns.start : columns.stop]
    pairs = _shortest(first, second)
    if pairs is None:
        counts = collections.Counter(second)
        crowded = sum(counts[item] for item in first) > _MOST_PAIRS
        blocks = difflib.SequenceMatcher(None, first, second, autojunk=crowded).get_matching_blocks()
        pairs = [(i + step, j + step) for i, j, size in blocks for step in range(size)]
    return [(rows.start + i, columns.start + j) for i, j in pairs]


def _shortest(first: Items, second: Items) -> list[Match] | None:
    """What the fewest removals and additions leave; None where they are too many.

    E. W. Myers, "An O(ND) difference algorithm and its variations", Algorithmica 1 (1986).
    """
    size, other = len(first), len(second)
    reached: dict[int, tuple[int, Chain]] = {1: (0, None)}  # by diagonal: how far in `first` so many edits lead
    for edits in range(min(size + other, _MOST_EDITS) + 1):
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (diagonal != edits and reached[diagonal - 1][0] < reached[diagonal + 1][0])
            i, chain = reached[diagonal + 1] if down else reached[diagonal - 1]
            i += not down
            while i < size and i - diagonal < other and first[i] == second[i - diagonal]:
                chain = (i, i - diagonal), chain
                i += 1
            reached[diagonal] = i, chain
            if i >= size and i - diagonal >= other:
                return _listed(chain)
    return None
