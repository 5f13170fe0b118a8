"""The arrays of a capture just made, whose trace is at hand: it is packed only where somebody stores it.

A trace that is only compared need be neither compressed nor read back.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.tensor_rows import PackedRows
from pytest_modelviz.records.trace import ForwardTrace

SHADOW = "shadow.structure"  # the array that says that a trace has a shadow
_PACKED = {"trace.structure", "trace.sketches", "trace.wide"}


class CapturedArrays(Mapping[str, Array]):
    """A trace that is packed when one of the arrays is asked for.

    Attributes:
        trace: what reading the packed trace would give; nobody may change it.
        version: the version of its sketches.

    Args:
        trace: the same.
        version: the same.
        rows: returns the trace without noise and shadow as text and sketches, which are not compressed yet.
        pack: returns the arrays.

    Example:
        >>> arrays = captured_arrays(trace)
        >>> arrays.trace.calls[0].layer
        ''
        >>> sorted(arrays)
        ['trace.sketches', 'trace.structure', 'trace.wide']

    """

    def __init__(
        self,
        trace: ForwardTrace,
        version: int,
        rows: Callable[[], PackedRows],
        pack: Callable[[], Mapping[str, Array]],
    ) -> None:
        self.trace, self.version, self.rows, self._pack = trace, version, rows, pack

    @functools.cached_property
    def _arrays(self) -> Mapping[str, Array]:
        return self._pack()

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def are_sketches_of(self, stored: Mapping[str, Array]) -> bool:
        """Whether stored arrays hold the same structure, text by text, and sketches of the same length."""
        if self.trace.shadow is not None or not stored.keys() >= _PACKED or SHADOW in stored:
            return False
        rows, structure = self.rows(), stored["trace.structure"]
        sizes = [(stored[name].dtype, stored[name].shape) for name in ("trace.sketches", "trace.wide")]
        if sizes != [(own.dtype, own.shape) for own in (rows.narrow, rows.wide)] or structure.dtype != np.uint8:
            return False
        inflater = zlib.decompressobj()
        try:
            text = inflater.decompress(structure.tobytes(), len(rows.text) + 1)
        except zlib.error:
            return False
        return text == rows.text and inflater.eof and not inflater.unused_data
