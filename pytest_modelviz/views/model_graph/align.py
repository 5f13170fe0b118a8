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
    pairs = list(_Search().pairs(before, after))
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
    """A search for matches in stretches of two lists, and how much more work it may be."""

    def __init__(self) -> None:
        self._steps, self._equal_pairs = _MOST_STEPS, _MOST_PAIRS

    def pairs(self, first: Items, second: Items, level: int = 0) -> Iterator[Match]:
        """Matching positions, ascending in both lists."""
        head = count_equal(first, second)
        yield from zip(range(head), range(head), strict=True)
        tail = count_equal(first[head:][::-1], second[head:][::-1])
        first_end, second_end = len(first) - tail, len(second) - tail
        for i, j in self._between(first[head:first_end], second[head:second_end], level):
            yield head + i, head + j
        yield from zip(range(first_end, len(first)), range(second_end, len(second)), strict=True)

    def _between(self, first: Items, second: Items, level: int) -> Iterator[Match]:
        if not (first and second):
            return
        anchors = [] if level == _MOST_LEVELS else _anchors(first, second)
        if not anchors:
            shortest = self._shortest(first, second)
            yield from self._longest_chain(first, second) if shortest is None else shortest
            return
        start_i = start_j = 0
        for anchor in [*anchors, (len(first), len(second))]:
            for i, j in self.pairs(first[start_i : anchor[0]], second[start_j : anchor[1]], level + 1):
                yield start_i + i, start_j + j
            start_i, start_j = anchor[0] + 1, anchor[1] + 1
            if anchor[0] < len(first):
                yield anchor

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


def count_equal(first: Items, second: Items) -> int:
    """How many items at the beginning of two lists are equal."""
    differing = (at for at, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1])
    return next(differing, min(len(first), len(second)))


def _anchors(first: Items, second: Items) -> list[Match]:
    """The longest ascending chain of items that occur once in either stretch."""
    counts = collections.Counter(first), collections.Counter(second)
    positions = {item: j for j, item in enumerate(second) if counts[1][item] == 1}
    return _longest_ascending(
        (i, positions[item]) for i, item in enumerate(first) if counts[0][item] == 1 and item in positions
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
