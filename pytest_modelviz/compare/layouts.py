"""Whether a baseline holds a pass of the very structure that a capture just made has. None of it is parsed for that."""

import zlib
from collections.abc import Mapping

from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.captured_arrays import CapturedArrays
from pytest_modelviz.records.limits import is_structure
from pytest_modelviz.records.trace_structure import SHADOW, TraceLayout

_STRUCTURE, _SKETCHES, _WIDE = "trace.structure", "trace.sketches", "trace.wide"


def matching_layout(baseline: Mapping[str, Array], actual: CapturedArrays) -> TraceLayout | None:
    """How a capture just made is laid out, if a baseline has the same structure byte for byte; None if not.

    Nothing of the baseline is unpacked beyond the length of that structure. Passes that have a shadow are never alike.
    """
    is_whole = all(name in baseline for name in (_STRUCTURE, _SKETCHES, _WIDE))
    if actual.trace.shadow is not None or SHADOW in baseline or not is_whole:
        return None
    if not is_structure(_STRUCTURE, baseline[_STRUCTURE]):
        return None  # which no reader reads
    layout = actual.layout
    for name, own in ((_SKETCHES, layout.sketches), (_WIDE, layout.wide)):
        if (baseline[name].dtype, baseline[name].shape) != (own.dtype, own.shape):
            return None
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(baseline[_STRUCTURE].tobytes(), len(layout.text) + 1)
    except zlib.error:
        return None
    return layout if text == layout.text and inflater.eof and not inflater.unused_data else None
