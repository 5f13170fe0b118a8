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
from pytest_modelviz.records.limits import FIXED
from pytest_modelviz.records.noise import packed_noise, unpacked_noise
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord, require_recordable
from pytest_modelviz.records.tensor_rows import RowWriter, SketchReader, sketch_readers, unpacked_record
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf, Leaves
from pytest_modelviz.text.strict_json import parse_json

SKETCH_VERSION = 2  # of the signs and sums in `probe.count_sketch`: baselines of other versions cannot be compared
# What reading a trace that somebody else has written may raise.
DAMAGE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, zlib.error)
_GRADIENT = re.compile(r"\(gradient(?: \d+)?\)")  # keys of observed tensors contain "<" or ">"
SHADOW = "shadow.structure"  # the array that says that a trace has a shadow


def pack_trace(trace: ForwardTrace) -> dict[str, Array]:
    """Pack a trace.

    Returns:
        "trace.structure" (uint8, compressed JSON), "trace.sketches" (float32), "trace.wide" (float64) and, if noise was
        measured, "trace.noise" (uint16), each of one dimension; the same of its shadow.

    """
    writer = RowWriter()
    structure = {
        "sketch": SKETCH_VERSION,
        "modules": {n: [m.class_name, dict(m.config), dict(m.weights)] for n, m in trace.modules.items()},
        "calls": [_pack_call(call) for call in trace.calls],
        "tensors": {key: writer.row(record) for key, record in (*trace.tensors.items(), *trace.gradients.items())},
        "weights": {key: writer.row(record) for key, record in trace.weights.items()},
        "ties": [list(group) for group in trace.structure.ties],
    }
    arrays = {**writer.arrays("trace", structure), **_pack_noise(trace, "trace")}
    if trace.shadow is not None:
        writer = RowWriter()
        same = trace.shadow.calls == trace.calls
        structure = {
            "calls": None if same else [_pack_call(call) for call in trace.shadow.calls],
            "tensors": {key: writer.row(record) for key, record in trace.shadow.tensors.items()},
        }
        arrays |= {**writer.arrays("shadow", structure), **_pack_noise(trace.shadow, "shadow")}
    return arrays


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
    try:
        return _unpacked(arrays)
    except UnreadableBaselineError:
        raise
    except DAMAGE as error:
        raise damaged_trace(error) from error


def damaged_trace(error: Exception) -> UnreadableBaselineError:
    """The error to raise where reading a stored trace has led to `error`."""
    return UnreadableBaselineError(f"its trace is damaged ({type(error).__name__}: {error})")


def _unpacked(arrays: Mapping[str, Array]) -> ForwardTrace:
    structure = _parsed(arrays["trace.structure"])
    readers = sketch_readers(arrays, "trace")
    if structure["sketch"] != SKETCH_VERSION:
        raise UnreadableBaselineError(
            "its sketches were made by another version of pytest-modelviz and cannot be compared: record it anew"
        )
    tensors = _unpacked_tensors(structure["tensors"], readers, arrays.get("trace.noise"))
    gradients = {key: tensors.pop(key) for key in list(tensors) if _GRADIENT.fullmatch(key)}
    weights = {str(key): unpacked_record(row, readers) for key, row in structure["weights"].items()}
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
        trace.shadow = _unpacked_shadow(arrays, trace, structure["calls"])
    return trace


def _unpacked_shadow(arrays: Mapping[str, Array], trace: ForwardTrace, calls: Any) -> ForwardTrace:
    structure, readers = _parsed(arrays[SHADOW]), sketch_readers(arrays, "shadow")
    tensors = _unpacked_tensors(structure["tensors"], readers, arrays.get("shadow.noise"))
    own = structure["calls"]
    unpacked = _unpacked_calls(calls if own is None else own, trace.modules, tensors)
    for reader in readers.values():
        reader.require_end()
    return ForwardTrace(trace.structure, unpacked, _of_calls(unpacked, tensors))


def _unpacked_tensors(rows: Any, readers: Mapping[int, SketchReader], noise: Array | None) -> dict[str, TensorRecord]:
    tensors = {str(key): unpacked_record(row, readers) for key, row in rows.items()}
    if noise is None:
        return tensors
    noises = unpacked_noise(noise, len(tensors))
    return {key: replace(tensors[key], noise=own) for key, own in zip(tensors, noises, strict=True)}


def _unpacked_calls(rows: Any, layers: Collection[str], tensors: Mapping[str, TensorRecord]) -> list[Call]:
    calls = []
    for layer, index, depth, inputs, outputs in rows:
        if str(layer) not in layers:
            raise UnreadableBaselineError(f"its trace calls a layer it does not hold: {str(layer)!r}")
        call = Call(str(layer), int(index), int(depth), _unpacked_leaves(inputs, tensors))
        call.outputs = None if outputs is None else _unpacked_leaves(outputs, tensors)
        calls.append(call)
    return calls


def _parsed(packed: Array) -> Any:
    if packed.dtype != np.uint8 or packed.ndim != 1:
        raise UnreadableBaselineError("its trace is not a byte string")
    inflater = zlib.decompressobj()
    text = inflater.decompress(packed.tobytes(), FIXED.structure_bytes)
    if not inflater.eof or inflater.unused_data:
        raise UnreadableBaselineError("its trace is truncated or absurdly large")
    try:
        return parse_json(text, most_values=FIXED.structure_values)
    except RecursionError as error:
        raise UnreadableBaselineError("its trace is nested absurdly deeply") from error


def _pack_call(call: Call) -> list[Any]:
    outputs = None if call.outputs is None else _pack_leaves(call.outputs)
    return [call.layer, call.index, call.depth, _pack_leaves(call.inputs), outputs]


def _pack_leaves(leaves: Leaves) -> dict[str, Any]:
    return {path: leaf.tensor if leaf.tensor is not None else [leaf.literal] for path, leaf in leaves.items()}


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
    leaves = (leaf for call in calls for leaf in (*call.inputs.values(), *(call.outputs or {}).values()))
    return _only(tensors, (leaf.tensor for leaf in leaves))


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
