"""The structure of a forward trace as JSON holds it: all of it but the numbers in its sketches."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.captured_arrays import CapturedArrays
from pytest_modelviz.records.limits import STRUCTURE, is_structure
from pytest_modelviz.records.sketch_version import EARLIER_VERSION, LARGEST_ALIKE, sketch_version, sketched_as
from pytest_modelviz.records.tensor_rows import Position, RowWriter, structure_text
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaves

SHADOW = f"shadow{STRUCTURE}"  # the array that says that a trace has a shadow
_STRUCTURE, _NUMBERS = f"trace{STRUCTURE}", ("trace.sketches", "trace.wide")


class TraceLayout(NamedTuple):
    """A trace as it is about to be packed, without its shadow and its noise.

    Attributes:
        text: its structure, not compressed yet.
        sketches: the numbers of its sketches in single precision, float32.
        wide: those in double precision, float64.
        positions: where the sketches of each of its tensors, gradients and weights lie.

    """

    text: bytes
    sketches: Array
    wide: Array
    positions: Sequence[Position]


def layout_of(trace: ForwardTrace) -> TraceLayout:
    """Lay out a trace, without its shadow and its noise."""
    writer = RowWriter()
    text = structure_text(structure_of(trace, writer))
    return TraceLayout(text, *writer.sketches(), writer.positions)


def matching_layout(baseline: Mapping[str, Array], actual: CapturedArrays) -> TraceLayout | None:
    """How a capture just made is laid out, if a baseline has the same structure byte for byte; None if not.

    Nothing of the baseline is unpacked beyond the length of that structure. Passes that have a shadow are never alike.
    """
    names = (_STRUCTURE, *_NUMBERS)
    if actual.trace.shadow is not None or SHADOW in baseline or not all(name in baseline for name in names):
        return None
    if not is_structure(_STRUCTURE, baseline[_STRUCTURE]):
        return None  # which no reader reads
    with sketched_as(actual.version):
        layout = layout_of(actual.trace)
    for name, own in zip(_NUMBERS, (layout.sketches, layout.wide), strict=True):
        if (baseline[name].dtype, baseline[name].shape) != (own.dtype, own.shape):
            return None
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(baseline[_STRUCTURE].tobytes(), len(layout.text) + 1)
    except zlib.error:
        return None
    return layout if text == layout.text and inflater.eof and not inflater.unused_data else None


def structure_of(trace: ForwardTrace, writer: RowWriter) -> dict[str, Any]:
    """The structure of a trace; the `writer` takes its sketches."""
    return {
        "sketch": sketch_version() if needs_version(trace) else EARLIER_VERSION,
        "modules": {n: [m.class_name, dict(m.config), dict(m.weights)] for n, m in trace.modules.items()},
        "calls": list(map(packed_call, trace.calls)),
        "tensors": {key: writer.row(record) for key, record in (*trace.tensors.items(), *trace.gradients.items())},
        "weights": {key: writer.row(record) for key, record in trace.weights.items()},
        "ties": [list(group) for group in trace.structure.ties],
    }


def needs_version(trace: ForwardTrace) -> bool:
    """Whether a trace holds a tensor whose sketch is another one in each version."""
    shadow = {} if trace.shadow is None else trace.shadow.tensors
    tables = (trace.tensors, trace.gradients, trace.weights, shadow)
    return any(record.numbers > LARGEST_ALIKE and record.sketch.size for table in tables for record in table.values())


def packed_call(call: Call) -> list[Any]:
    """A call as a structure holds it."""
    outputs = None if call.outputs is None else _packed_leaves(call.outputs)
    return [call.layer, call.index, call.depth, _packed_leaves(call.inputs), outputs]


def _packed_leaves(leaves: Leaves) -> dict[str, Any]:
    return {path: leaf.tensor if leaf.tensor is not None else [leaf.literal] for path, leaf in leaves.items()}
