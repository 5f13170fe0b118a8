"""Arguments that are alike for consecutive indices, written once: `cache.layers[0..79].is_initialized: False`.

A decoder hands its cache to every layer, and a cache holds as much for each layer: written out, the baseline of a model
of twice as many layers would take four times the room.
"""

import itertools
import re
from collections.abc import Iterator

from pytest_modelviz.text.side_by_side import split_items

_FEWEST = 4  # indices that are written as a range
_INDEXED = re.compile(r"(?s:(?P<prefix>[^:\[]*)\[(?P<index>0|[1-9]\d{0,8})\](?P<rest>.*))")
_RANGE = re.compile(r"[^:\[]*\[\d+\.\.\d+\]")


def with_ranges(text: str) -> str:
    """A list of arguments with ranges of indices; one that has ranges already stays as it is.

    Example:
        >>> with_ranges("x: int64[2], past[0]: None, past[1]: None, past[2]: None, past[3]: None")
        'x: int64[2], past[0..3]: None'

    """
    if f"[{_FEWEST - 1}]" not in text:
        return text
    items = split_items(text)
    if any(map(_RANGE.match, items)):  # somebody's key is written like one
        return text
    written: list[str] = []
    blocks = list(_blocks(items))
    at, before = 0, None
    while at < len(blocks):
        prefix, index, rests = blocks[at]
        end = at + 1
        while index is not None and end < len(blocks) and blocks[end] == (prefix, index + end - at, rests):
            end += 1
        # two ranges in a row of the same indices would read like one that goes through both for each index
        if index is not None and end - at >= _FEWEST and before != (prefix, index, end - at):
            before = (prefix, index, end - at)
            written += [f"{prefix}[{index}..{index + end - at - 1}]{rest}" for rest in rests]
        else:
            end, before = at + 1, None
            written += rests if index is None else [f"{prefix}[{index}]{rest}" for rest in rests]
        at = end
    return ", ".join(written)


def _blocks(items: list[str]) -> Iterator[tuple[str, int | None, list[str]]]:
    """Consecutive items of one index: what is before it, the index and what follows; None for those without one."""
    for (prefix, index), group in itertools.groupby(items, key=_index_of):
        rests = [match["rest"] if index is not None and (match := _INDEXED.fullmatch(item)) else item for item in group]
        yield prefix, index, rests


def _index_of(item: str) -> tuple[str, int | None]:
    match = _INDEXED.fullmatch(item)
    return ("", None) if match is None else (match["prefix"], int(match["index"]))
