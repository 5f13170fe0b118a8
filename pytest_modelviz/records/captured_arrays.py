"""The arrays of a capture just made, whose trace is at hand: it is packed only where somebody stores it.

A trace that is only compared need be neither compressed nor read back, and what people look at need not be made.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping

from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.sketch_version import sketched_as
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_structure import TraceLayout, layout_of, packed_names, stated_version

MakeArrays = Callable[[], Mapping[str, Array]]


class CapturedArrays(Mapping[str, Array]):
    """A trace that is packed when one of its arrays is asked for, others, and pictures that are made when asked for.

    Attributes:
        trace: what reading the packed trace would give; nobody may change it.
        version: the version of its sketches.

    Args:
        trace: the same.
        version: the same.
        pack: returns the arrays of the trace.
        others: arrays that are compared beside it.
        pictures: returns the arrays that people look at; nobody asks for them but to store or to paint them.

    Example:
        >>> arrays = CapturedArrays(trace, 3, lambda: pack_trace(trace))
        >>> arrays.trace.calls[0].layer
        ''
        >>> sorted(arrays)
        ['trace.sketches', 'trace.structure', 'trace.wide']

    """

    def __init__(
        self,
        trace: ForwardTrace,
        version: int,
        pack: MakeArrays,
        others: Mapping[str, Array] | None = None,
        pictures: MakeArrays = dict,
    ) -> None:
        self.trace, self.version, self._pack, self._make_pictures = trace, version, pack, pictures
        self._others = dict(others or {})

    @functools.cached_property
    def layout(self) -> TraceLayout:
        """How the trace would be laid out to be packed."""
        return layout_of(self.trace, self.stated_version)

    @functools.cached_property
    def stated_version(self) -> int:
        """The version that the packed trace states."""
        with sketched_as(self.version):
            return stated_version(self.trace)

    @functools.cached_property
    def compared_names(self) -> frozenset[str]:
        """The names of all arrays but the pictures."""
        return packed_names(self.trace) | self._others.keys()

    @functools.cached_property
    def _packed(self) -> Mapping[str, Array]:
        return self._pack()

    @functools.cached_property
    def _pictures(self) -> Mapping[str, Array]:
        return self._make_pictures()

    @functools.cached_property
    def _all(self) -> Mapping[str, Array]:
        return {**self._packed, **self._others, **self._pictures}

    def __contains__(self, name: object) -> bool:
        return name in self.compared_names or name in self._pictures

    def __getitem__(self, name: str) -> Array:
        if name in self._others:
            return self._others[name]
        return self._packed[name] if name in self.compared_names else self._pictures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


def compared_names(arrays: Mapping[str, Array]) -> Iterable[str]:
    """The names of a capture's arrays, without those of pictures that nobody has made yet."""
    return arrays.compared_names if isinstance(arrays, CapturedArrays) else arrays
