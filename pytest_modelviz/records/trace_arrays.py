"""A forward trace as three arrays, and back. Whatever cannot have been packed here is refused as a damaged baseline.

The structure is compressed JSON in an array of bytes, so that the trace of a whole ResNet-50 takes kilobytes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.captured_arrays import CapturedArrays, MakeArrays
from pytest_modelviz.records.limits import FIXED, STRUCTURE, is_structure
from pytest_modelviz.records.noise import packed_noise, unpacked_noise
from pytest_modelviz.records.sketch_version import (
    EARLIER_VERSION,
    SKETCH_VERSION,
    sketch_version,
    sketched_as,
)
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord, require_recordable
from pytest_modelviz.records.tensor_rows import (
    RowWriter,
    SketchReader,
    sketch_readers,
    structure_text,
    unpacked_record,
)
from pytest_modelviz.records.tensors import LARGEST_PIECE, TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf, Leaves
from pytest_modelviz.records.trace_structure import PARTS, SHADOW, TraceLayout, layout_of, needs_version, packed_call
from pytest_modelviz.text.strict_json import parse_json

_VERSIONS = (EARLIER_VERSION, SKETCH_VERSION)
_STATED_VERSION = re.compile(rb'\{"sketch":(\d+),')  # how the structure begins
# What reading a trace that somebody else has written may raise.
DAMAGE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, zlib.error)
_GRADIENT = re.compile(r"\(gradient(?: \d+)?\)")  # keys of observed tensors contain "<" or ">"


def pack_trace(trace: ForwardTrace) -> dict[str, Array]:
    """Pack a trace.

    Returns:
        "trace.structure" (uint8, compressed JSON), "trace.sketches" (float32), "trace.wide" (float64) and, if noise was
        measured, "trace.noise" (uint16), each of one dimension; the same of its shadow.

    """
    arrays = {**_pack_layout(layout_of(trace), "trace"), **_pack_noise(trace, "trace")}
    if trace.shadow is not None:
        writer = RowWriter()
        same = trace.shadow.calls == trace.calls
        structure = {
            "calls": None if same else list(map(packed_call, trace.shadow.calls)),
            "tensors": {key: writer.row(record) for key, record in trace.shadow.tensors.items()},
        }
        own = TraceLayout(structure_text(structure), *writer.sketches(), writer.positions)
        arrays |= {**_pack_layout(own, "shadow"), **_pack_noise(trace.shadow, "shadow")}
    return arrays


def _pack_layout(layout: TraceLayout, prefix: str) -> dict[str, Array]:
    packed = np.frombuffer(zlib.compress(layout.text, 9), dtype=np.uint8)
    return {f"{prefix}{part}": array for part, array in zip(PARTS, (packed, *layout[1:3]), strict=True)}


def captured_arrays(
    trace: ForwardTrace, others: Mapping[str, Array] | None = None, pictures: MakeArrays = dict
) -> CapturedArrays:
    """The arrays of a capture: a trace, which nobody may change any more, others by name, and pictures made later."""
    version = sketch_version()

    def pack() -> dict[str, Array]:
        with sketched_as(version):
            return pack_trace(trace)

    return CapturedArrays(_as_read(trace), version, pack, others, pictures)


def _as_read(trace: ForwardTrace) -> ForwardTrace:
    """A trace as it is after packing and unpacking: without notes and means, and without what nothing refers to."""
    keys = {key for module in trace.modules.values() for key in module.weights.values()}
    weights = _without_means(_only(trace.weights, keys))
    tensors, shadow = _without_means(_of_calls(trace.calls, trace.tensors)), trace.shadow
    structure = replace(trace.structure, weights=weights)
    if shadow is not None:
        own = _without_means(_of_calls(shadow.calls, shadow.tensors))
        shadow = ForwardTrace(structure, shadow.calls, own)
    return ForwardTrace(structure, trace.calls, tensors, _without_means(trace.gradients), shadow=shadow)


def _without_means(records: Mapping[str, TensorRecord]) -> dict[str, TensorRecord]:
    unstored = {k: r for k, r in records.items() if r.mean is not None or r.shadow_distance is not None}
    return {**records, **{k: replace(r, mean=None, shadow_distance=None) for k, r in unstored.items()}}


def stated_version(arrays: Mapping[str, Array]) -> int | None:
    """The version of a trace's sketches, as its first bytes say; None where there is no trace, or a damaged one.

    What has no tensor of more than `LARGEST_ALIKE` numbers is of the earlier version: its sketches are the same.
    """
    if isinstance(arrays, CapturedArrays):
        return arrays.stated_version
    packed = arrays.get("trace.structure")
    try:
        match = None if packed is None else _STATED_VERSION.match(zlib.decompressobj().decompress(packed.tobytes(), 32))
    except zlib.error:
        return None
    return None if match is None else int(match[1])


def are_sketched_alike(first: Mapping[str, Array], second: Mapping[str, Array]) -> bool:
    """Whether the sketches of two captures can be compared: of one version, or of small tensors in one of the two.

    Raises UnreadableBaselineError for damaged arrays.
    """
    if None in (versions := {stated_version(arrays) for arrays in (first, second)}) or len(versions) == 1:
        return True
    return not all(needs_version(unpack_trace(arrays)) for arrays in (first, second))


def is_of_pass(arrays: Mapping[str, Array]) -> bool:
    """Whether arrays hold a trace."""
    return "trace.structure" in arrays


def pack_noise(trace: ForwardTrace) -> dict[str, Array]:
    """The arrays of a trace that hold the noise of its tensors, and of those of its shadow, if any was measured."""
    shadow = {} if trace.shadow is None else _pack_noise(trace.shadow, "shadow")
    return {**_pack_noise(trace, "trace"), **shadow}


def _pack_noise(trace: ForwardTrace, prefix: str) -> dict[str, Array]:
    """The noise of each tensor in turn, rounded up to two bytes."""
    noises = [record.noise for record in (*trace.tensors.values(), *trace.gradients.values())]
    if all(noise is None for noise in noises):
        return {}
    return {f"{prefix}.noise": packed_noise(noises)}


def unpack_trace(arrays: Mapping[str, Array]) -> ForwardTrace:
    """Unpack what `pack_trace` made.

    Raises:
        UnreadableBaselineError: the arrays are anything else.

    """
    if isinstance(arrays, CapturedArrays):
        return arrays.trace
    try:
        return _unpacked(arrays)
    except UnreadableBaselineError:
        raise
    except DAMAGE as error:
        raise damaged_trace(error) from error


def holds_nothing_else(trace: ForwardTrace, arrays: Mapping[str, Array]) -> bool:
    """Whether the structures in arrays that a trace was unpacked from are what it is packed into, key by key."""
    version = stated_version(arrays)
    if version is None:
        return False
    with sketched_as(version):  # a training sketches large tensors as the earlier version does
        packed = {key: array for key, array in pack_trace(trace).items() if is_structure(key, array)}
    return all(_text(array) == _text(arrays[key]) for key, array in packed.items())


def _text(structure: Array) -> bytes:
    return zlib.decompress(structure.tobytes())


def damaged_trace(error: Exception) -> UnreadableBaselineError:
    """The error to raise where reading a stored trace has led to `error`."""
    return UnreadableBaselineError(f"its trace is damaged ({type(error).__name__}: {error})")


def _unpacked(arrays: Mapping[str, Array]) -> ForwardTrace:
    structure = _parsed(arrays, "trace")
    readers = sketch_readers(arrays, "trace")
    version = structure["sketch"]
    if version not in _VERSIONS:
        raise UnreadableBaselineError(
            "its sketches were made by another version of pytest-modelviz and cannot be compared: record it anew"
        )
    tensors = _unpacked_tensors(structure["tensors"], version, readers, arrays.get("trace.noise"))
    gradients = {key: tensors.pop(key) for key in list(tensors) if _GRADIENT.fullmatch(key)}
    weights = _unpacked_tensors(structure["weights"], version, readers)
    modules = {
        str(name): ModuleRecord(str(class_name), _strings(config), _strings(names))
        for name, (class_name, config, names) in structure["modules"].items()
    }
    require_recordable(modules)
    for module in modules.values():
        _require(module.weights.values(), weights)
    calls = _unpacked_calls(structure["calls"], modules, tensors)
    weights = _only(weights, (key for module in modules.values() for key in module.weights.values()))
    for reader in readers.values():
        reader.require_end()
    ties = tuple(tuple(str(name) for name in group) for group in structure["ties"])
    trace = ForwardTrace(ModelStructure(modules, weights, ties), calls, _of_calls(calls, tensors), gradients)
    if SHADOW in arrays:
        trace.shadow = _unpacked_shadow(arrays, trace, structure["calls"], version)
    return trace


def _unpacked_shadow(arrays: Mapping[str, Array], trace: ForwardTrace, calls: Any, version: int) -> ForwardTrace:
    structure, readers = _parsed(arrays, "shadow"), sketch_readers(arrays, "shadow")
    tensors = _unpacked_tensors(structure["tensors"], version, readers, arrays.get("shadow.noise"))
    own = structure["calls"]
    unpacked = _unpacked_calls(calls if own is None else own, trace.modules, tensors)
    for reader in readers.values():
        reader.require_end()
    return ForwardTrace(trace.structure, unpacked, _of_calls(unpacked, tensors))


def _unpacked_tensors(
    rows: Any, version: int, readers: Mapping[int, SketchReader], noise: Array | None = None
) -> dict[str, TensorRecord]:
    tensors = {str(key): unpacked_record(row, readers) for key, row in rows.items()}
    if version == EARLIER_VERSION:
        tensors = {key: _of_earlier_version(record) for key, record in tensors.items()}
    if noise is None:
        return tensors
    noises = unpacked_noise(noise, len(tensors))
    return {key: replace(tensors[key], noise=own) for key, own in zip(tensors, noises, strict=True)}


def _of_earlier_version(record: TensorRecord) -> TensorRecord:
    """A record of a baseline of version 2: that of a large tensor without a second sketch is older still."""
    is_older = record.former is None and record.numbers > LARGEST_PIECE and record.sketch.size > 0
    return replace(record, is_of_earlier_version=True) if is_older else record


def _unpacked_calls(rows: Any, layers: Collection[str], tensors: Mapping[str, TensorRecord]) -> list[Call]:
    calls = []
    for layer, index, depth, inputs, outputs in rows:
        if str(layer) not in layers:
            raise UnreadableBaselineError(f"its trace calls a layer it does not hold: {str(layer)!r}")
        call = Call(str(layer), int(index), int(depth), _unpacked_leaves(inputs, tensors))
        call.outputs = None if outputs is None else _unpacked_leaves(outputs, tensors)
        calls.append(call)
    return calls


def _parsed(arrays: Mapping[str, Array], prefix: str) -> Any:
    """The structure under a prefix. How large it is has been looked at when the file was read: `is_structure`."""
    packed = arrays[name := f"{prefix}{STRUCTURE}"]
    if not is_structure(name, packed):
        raise UnreadableBaselineError("its trace is not a byte string")
    inflater = zlib.decompressobj()
    text = inflater.decompress(packed.tobytes(), FIXED.structure_bytes)
    if not inflater.eof or inflater.unused_data:
        raise UnreadableBaselineError("its trace is truncated or absurdly large")
    try:
        return parse_json(text, most_values=FIXED.structure_values)
    except RecursionError as error:
        raise UnreadableBaselineError("its trace is nested absurdly deeply") from error


def _unpacked_leaves(packed: Mapping[str, Any], tensors: Mapping[str, TensorRecord]) -> Leaves:
    leaves = {}
    for path, value in packed.items():
        if isinstance(value, str):
            _require([value], tensors)
            leaves[str(path)] = Leaf(tensor=value)
        else:
            leaves[str(path)] = Leaf(literal=str(value[0]))
    return leaves


def _of_calls(calls: Iterable[Call], tensors: Mapping[str, TensorRecord]) -> dict[str, TensorRecord]:
    keys: set[str | None] = set()
    for call in calls:
        for leaves in (call.inputs, call.outputs or {}):
            keys.update([leaf.tensor for leaf in leaves.values()])
    return _only(tensors, keys)


def _only(table: Mapping[str, TensorRecord], keys: Iterable[str | None]) -> dict[str, TensorRecord]:
    """Those tensors that something refers to: others are compared with nothing, and must not decide anything."""
    wanted = set(keys)
    return {key: record for key, record in table.items() if key in wanted}


def _require(keys: Iterable[str], table: Mapping[str, TensorRecord]) -> None:
    for key in keys:
        if key not in table:
            raise UnreadableBaselineError(f"its trace names a tensor it does not hold: {key!r}")


def _strings(mapping: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in mapping.items()}
