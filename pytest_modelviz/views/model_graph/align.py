"""Which operators of two lists correspond: matched runs, and the gaps between them.

Operators that are unlike all others in both lists are anchors (as in patience diff), so that ten thousand of them are
aligned in the time of a sort; only what lies between two anchors is searched. The work of all searches together is
bounded: whoever made a baseline has chosen one of the lists.
"""

import bisect
import collections
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

Items = Sequence[Hashable]
Match = tuple[int, int]
Chain = tuple[Match, "Chain"] | None  # of matches: the last one, and those before it

_MOST_EDITS = 300
# In all searches: steps along a diagonal, and pairs of equal items. More would take more than a second or two.
_MOST_STEPS, _MOST_PAIRS = 2_000_000, 500_000
_MOST_LEVELS = 100  # of anchors between anchors


class Block(NamedTuple):
    """A stretch of both lists, as half-open ranges. `equal` ones are of the same length and match item by item."""

    equal: bool
    before: range
    after: range


def align(before: Items, after: Items) -> list[Block]:
    """Blocks that cover both lists in order; equal and unequal ones alternate."""
    search = _Search(before, after)
    pairs = list(search.pairs(range(len(before)), range(len(after))))
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


class _Search:
    """A search for matches in two lists, and how much more work it may be."""

    def __init__(self, before: Items, after: Items) -> None:
        self._before, self._after = before, after
        self._steps, self._equal_pairs = _MOST_STEPS, _MOST_PAIRS

    def pairs(self, rows: range, columns: range, level: int = 0) -> Iterator[Match]:
        """Matching positions, ascending in both lists."""
        before, after = self._before, self._after
        i, j, i_end, j_end = rows.start, columns.start, rows.stop, columns.stop
        while i < i_end and j < j_end and before[i] == after[j]:
            yield i, j
            i, j = i + 1, j + 1
        tail = 0
        while i < i_end - tail and j < j_end - tail and before[i_end - tail - 1] == after[j_end - tail - 1]:
            tail += 1
        i_end, j_end = i_end - tail, j_end - tail
        if i < i_end and j < j_end:
            is_deep = level == _MOST_LEVELS
            anchors = [] if is_deep else _anchors(before, after, range(i, i_end), range(j, j_end))
            if anchors:
                for anchor_i, anchor_j in [*anchors, (i_end, j_end)]:
                    yield from self.pairs(range(i, anchor_i), range(j, anchor_j), level + 1)
                    if anchor_i < i_end:
                        yield anchor_i, anchor_j
                    i, j = anchor_i + 1, anchor_j + 1
            else:
                yield from self._searched(range(i, i_end), range(j, j_end))
        yield from zip(range(i_end, i_end + tail), range(j_end, j_end + tail), strict=True)

    def _searched(self, rows: range, columns: range) -> list[Match]:
        first, second = self._before[rows.start : rows.stop], self._after[columns.start : columns.stop]
        pairs = self._shortest(first, second)
        if pairs is None:
            pairs = self._longest_chain(first, second)
        return [(rows.start + i, columns.start + j) for i, j in pairs]

    def _shortest(self, first: Items, second: Items) -> list[Match] | None:
        """What the fewest removals and additions leave; None where they are too many, or take too long to find.

        E. W. Myers, "An O(ND) difference algorithm and its variations", Algorithmica 1 (1986).
        """
        size, other = len(first), len(second)
        reached: dict[int, tuple[int, Chain]] = {1: (0, None)}  # by diagonal: how far in `first` so many edits lead
        for edits in range(min(size + other, _MOST_EDITS) + 1):
            for diagonal in range(-edits, edits + 1, 2):
                down = diagonal == -edits or (diagonal != edits and reached[diagonal - 1][0] < reached[diagonal + 1][0])
                i, chain = reached[diagonal + 1] if down else reached[diagonal - 1]
                i += not down
                start = i
                while i < size and i - diagonal < other and first[i] == second[i - diagonal]:
                    chain = (i, i - diagonal), chain
                    i += 1
                self._steps -= i - start + 1
                if self._steps < 0:
                    return None
                reached[diagonal] = i, chain
                if i >= size and i - diagonal >= other:
                    return _listed(chain)
        return None

    def _longest_chain(self, first: Items, second: Items) -> list[Match]:
        """The longest ascending chain of equal items, without the most frequent ones where these are too many.

        J. W. Hunt and T. G. Szymanski, "A fast algorithm for computing longest common subsequences", CACM 20 (1977).
        """
        positions: dict[Hashable, list[int]] = {}
        for j, item in enumerate(second):
            positions.setdefault(item, []).append(j)
        counts = collections.Counter(item for item in first if item in positions)
        numbers = {item: count * len(positions[item]) for item, count in counts.items()}
        chosen = set()
        for item, number in sorted(numbers.items(), key=lambda pair: pair[1]):
            if number > self._equal_pairs:
                break
            self._equal_pairs -= number
            chosen.add(item)
        return _longest_ascending(
            (i, j) for i, item in enumerate(first) if item in chosen for j in reversed(positions[item])
        )


def _anchors(before: Items, after: Items, rows: range, columns: range) -> list[Match]:
    """The longest ascending chain of items that occur once in either stretch."""
    counts = collections.Counter(before[i] for i in rows), collections.Counter(after[j] for j in columns)
    positions = {after[j]: j for j in columns if counts[1][after[j]] == 1}
    return _longest_ascending(
        (i, positions[before[i]]) for i in rows if counts[0][before[i]] == 1 and before[i] in positions
    )


def _longest_ascending(pairs: Iterable[Match]) -> list[Match]:
    """The longest chain that ascends in both lists, of pairs in the order of the first list.

    Those with the same item of that list come in descending order of the other, so that no chain holds two of them.
    """
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
