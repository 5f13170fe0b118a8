"""The structure of a forward trace as JSON holds it: all of it but the numbers in its sketches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.limits import STRUCTURE
from pytest_modelviz.records.sketch_version import EARLIER_VERSION, LARGEST_ALIKE, sketch_version
from pytest_modelviz.records.tensor_rows import Position, RowWriter, structure_text
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaves

SHADOW = f"shadow{STRUCTURE}"  # the array that says that a trace has a shadow
PARTS = (STRUCTURE, ".sketches", ".wide")  # end the names of the arrays that each trace is packed into


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


def layout_of(trace: ForwardTrace, version: int | None = None) -> TraceLayout:
    """Lay out a trace, without its shadow and its noise; `version` is what `stated_version` says, where that is known.

    Sketches are taken to be of the version that is made now.
    """
    writer = RowWriter()
    text = structure_text(_structure_of(trace, writer, stated_version(trace) if version is None else version))
    return TraceLayout(text, *writer.sketches(), writer.positions)


def packed_names(trace: ForwardTrace) -> frozenset[str]:
    """The names of the arrays that a trace is packed into, those of its noise and of its shadow included."""
    names = set(_names_of("trace", trace))
    if trace.shadow is not None:
        names.update(_names_of("shadow", trace.shadow))
    return frozenset(names)


def _names_of(prefix: str, trace: ForwardTrace) -> Iterator[str]:
    yield from (f"{prefix}{part}" for part in PARTS)
    if any(record.noise is not None for record in (*trace.tensors.values(), *trace.gradients.values())):
        yield f"{prefix}.noise"


def stated_version(trace: ForwardTrace) -> int:
    """The version of sketches that a packed trace states: small tensors have the same ones in both."""
    return sketch_version() if needs_version(trace) else EARLIER_VERSION


def _structure_of(trace: ForwardTrace, writer: RowWriter, version: int) -> dict[str, Any]:
    """The structure of a trace; the `writer` takes its sketches."""
    return {
        "sketch": version,
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
