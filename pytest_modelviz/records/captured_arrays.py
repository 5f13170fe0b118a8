"""The arrays of a capture just made, whose trace is at hand: it is packed only where somebody stores it.

A trace that is only compared need be neither compressed nor read back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.trace import ForwardTrace


class CapturedArrays(Mapping[str, Array]):
    """A trace that is packed when one of the arrays is asked for.

    Attributes:
        trace: what reading the packed trace would give; nobody may change it.
        version: the version of its sketches.

    Args:
        trace: the same.
        version: the same.
        pack: returns the arrays.

    Example:
        >>> arrays = CapturedArrays(trace, 3, lambda: pack_trace(trace))
        >>> arrays.trace.calls[0].layer
        ''
        >>> sorted(arrays)
        ['trace.sketches', 'trace.structure', 'trace.wide']

    """

    def __init__(self, trace: ForwardTrace, version: int, pack: Callable[[], Mapping[str, Array]]) -> None:
        self.trace, self.version, self._pack = trace, version, pack

    @functools.cached_property
    def _arrays(self) -> Mapping[str, Array]:
        return self._pack()

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)
