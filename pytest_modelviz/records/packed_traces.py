"""The traces that were packed last, by what they were packed into: what has just been packed need not be read again.

A baseline that holds the same bytes holds the same trace, whoever wrote it. Nothing else is ever taken for granted.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import ForwardTrace

_MOST = 4  # of one test, whose captures are compared as soon as they are made
_ARRAYS = ("trace.structure", "trace.sketches", "trace.wide")

_Content = tuple[tuple[str, tuple[int, ...], bytes], ...]


class Position(NamedTuple):
    """Where the sketches of a record lie: in which of the two arrays, from where on, and how many numbers."""

    is_wide: bool
    start: int
    size: int


class PackedTrace(NamedTuple):
    """A trace as it is unpacked again, and the position of each record: of its tensors, gradients and weights."""

    trace: ForwardTrace
    positions: Sequence[Position]


_recent: dict[_Content, PackedTrace] = {}
_lock = threading.Lock()


def remember(arrays: Mapping[str, Array], trace: ForwardTrace, positions: Sequence[Position]) -> None:
    """Note what a trace without noise and shadow was packed into."""
    with _lock:
        while len(_recent) >= _MOST:
            del _recent[next(iter(_recent))]
        _recent[_content(arrays)] = PackedTrace(_as_unpacked(trace), tuple(positions))


def recent(arrays: Mapping[str, Array]) -> PackedTrace | None:
    """The trace, without its noise, that these very bytes hold, if it was packed lately; None if not."""
    if not all(name in arrays for name in _ARRAYS):
        return None
    with _lock:
        return _recent.get(_content(arrays))


def _content(arrays: Mapping[str, Array]) -> _Content:
    own = [arrays[name] for name in _ARRAYS]
    return tuple((array.dtype.str, array.shape, array.tobytes()) for array in own)


def _as_unpacked(trace: ForwardTrace) -> ForwardTrace:
    """A trace as it is unpacked again: without what is only for people, and what nothing refers to."""
    leaves = (leaf for call in trace.calls for leaf in (*call.inputs.values(), *(call.outputs or {}).values()))
    used = {leaf.tensor for leaf in leaves}
    held = {key for module in trace.modules.values() for key in module.weights.values()}
    weights = {key: _without_mean(record) for key, record in trace.weights.items() if key in held}
    return ForwardTrace(
        replace(trace.structure, weights=weights),
        trace.calls,
        {key: _without_mean(record) for key, record in trace.tensors.items() if key in used},
        {key: _without_mean(record) for key, record in trace.gradients.items()},
    )


def _without_mean(record: TensorRecord) -> TensorRecord:
    return record if record.mean is None else replace(record, mean=None)
