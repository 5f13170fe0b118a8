"""A forward trace as three arrays, and back. Whatever cannot have been packed here is refused as a damaged baseline.

The structure is compressed JSON in an array of bytes, so that the trace of a whole ResNet-50 takes kilobytes.
"""

from __future__ import annotations

import json
import math
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
from pytest_modelviz.records.tensors import WIDEST_SKETCH, Sketch, TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf, Leaves
from pytest_modelviz.text.strict_json import parse_json

SKETCH_VERSION = 2  # of the signs and sums in `probe.count_sketch`: baselines of other versions cannot be compared
# What reading a trace that somebody else has written may raise.
DAMAGE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, zlib.error)
_LARGEST_NUMEL, _MOST_SIDES = 2**62, 64  # torch makes no tensors of more
_DTYPE = re.compile(  # every dtype of torch, and those it may well have next
    r"bool|bfloat16|b?complex\d{2,3}|u?int\d{1,2}|qu?int\d{1,2}(?:x\d)?|float(?:16|32|64)|float\d{1,2}_e\d{1,2}m\d{1,2}\w{0,16}|"
    r"bits\d{1,2}(?:x\d)?",
    re.ASCII,
)
_GRADIENT = re.compile(r"\(gradient(?: \d+)?\)")  # keys of observed tensors contain "<" or ">"
SHADOW = "shadow.structure"  # the array that says that a trace has a shadow
_LEAST_SHARED = 8  # numbers: a reference to fewer takes as much room as the numbers


def pack_trace(trace: ForwardTrace) -> dict[str, Array]:
    """Pack a trace.

    Returns:
        "trace.structure" (uint8, compressed JSON), "trace.sketches" (float32), "trace.wide" (float64) and, if noise was
        measured, "trace.noise" (uint16), each of one dimension; the same of its shadow.

    """
    writer = _RecordWriter()
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
        writer = _RecordWriter()
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
    readers = _readers(arrays, "trace")
    if structure["sketch"] != SKETCH_VERSION:
        raise UnreadableBaselineError(
            "its sketches were made by another version of pytest-modelviz and cannot be compared: record it anew"
        )
    tensors = _unpacked_tensors(structure["tensors"], readers, arrays.get("trace.noise"))
    gradients = {key: tensors.pop(key) for key in list(tensors) if _GRADIENT.fullmatch(key)}
    weights = {str(key): _tensor(row, readers) for key, row in structure["weights"].items()}
    modules = {
        str(name): ModuleRecord(str(class_name), _strings(config), _strings(names))
        for name, (class_name, config, names) in structure["modules"].items()
    }
    require_recordable(modules)
    for module in modules.values():
        _require(module.weights.values(), weights)
    calls = _unpacked_calls(structure["calls"], modules, tensors)
    for reader in readers.values():
        reader.require_end()
    ties = tuple(tuple(str(name) for name in group) for group in structure["ties"])
    trace = ForwardTrace(ModelStructure(modules, weights, ties), calls, tensors, gradients)
    if SHADOW in arrays:
        trace.shadow = _unpacked_shadow(arrays, trace, structure["calls"])
    return trace


def _unpacked_shadow(arrays: Mapping[str, Array], trace: ForwardTrace, calls: Any) -> ForwardTrace:
    structure, readers = _parsed(arrays[SHADOW]), _readers(arrays, "shadow")
    tensors = _unpacked_tensors(structure["tensors"], readers, arrays.get("shadow.noise"))
    own = structure["calls"]
    unpacked = _unpacked_calls(calls if own is None else own, trace.modules, tensors)
    for reader in readers.values():
        reader.require_end()
    return ForwardTrace(trace.structure, unpacked, tensors)


def _readers(arrays: Mapping[str, Array], prefix: str) -> dict[int, _SketchReader]:
    narrow, wide = arrays[f"{prefix}.sketches"], arrays[f"{prefix}.wide"]
    if [narrow.dtype.name, wide.dtype.name] != ["float32", "float64"]:
        raise UnreadableBaselineError("its sketches are of another dtype than any that is recorded")
    return {
        0: _SketchReader(np.asarray(narrow, dtype=np.float32)),
        1: _SketchReader(np.asarray(wide, dtype=np.float64)),
    }


def _unpacked_tensors(rows: Any, readers: Mapping[int, _SketchReader], noise: Array | None) -> dict[str, TensorRecord]:
    tensors = {str(key): _tensor(row, readers) for key, row in rows.items()}
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
    if not inflater.eof:
        raise UnreadableBaselineError("its trace is truncated or absurdly large")
    try:
        return parse_json(text, most_values=FIXED.structure_values)
    except RecursionError as error:
        raise UnreadableBaselineError("its trace is nested absurdly deeply") from error


def _tensor(row: Mapping[str, Any], readers: Mapping[int, _SketchReader]) -> TensorRecord:
    record = _sketched_tensor(row, readers)
    return replace(record, former=_sketched_tensor(row["former"], readers)) if "former" in row else record


def _sketched_tensor(row: Mapping[str, Any], readers: Mapping[int, _SketchReader]) -> TensorRecord:
    fingerprints = {str(kind): (int(count), int(print_)) for kind, (count, print_) in row.get("p", {}).items()}
    reader = readers[int(row.get("w", 0))]
    shared = row.get("same")
    sketch = reader.take(int(row["n"])) if shared is None else reader.shared(*map(int, shared))
    without_giants: Sketch | None = None
    if any(kind.lstrip("+-").startswith("1e") for kind in fingerprints):
        half = sketch.size // 2
        sketch, without_giants = sketch[:half], sketch[half:]
    shape = tuple(int(side) for side in row["s"])
    count = int(row["c"]) if "c" in row else None
    step = float(row["q"]) if "q" in row else None
    record = TensorRecord(str(row["d"]), shape, sketch, fingerprints, (), without_giants, count, step=step)
    if not _DTYPE.fullmatch(record.dtype):
        raise UnreadableBaselineError(f"it holds a tensor of a dtype that does not exist: {record.dtype[:40]!r}")
    if step is not None and not 0.0 <= step < math.inf:
        raise UnreadableBaselineError(f"it holds a tensor whose integers are {step} apart")
    if record.sketch.size > WIDEST_SKETCH:
        raise UnreadableBaselineError(f"it holds a sketch of {record.sketch.size} numbers, more than is ever recorded")
    negative = any(size < 0 for size in (*shape, count or 0))
    if len(shape) > _MOST_SIDES or negative or max(record.numel, count or 0) > _LARGEST_NUMEL:
        raise UnreadableBaselineError(f"it holds a tensor of shape {str(list(shape))[:80]}")
    return record


class _RecordWriter:
    """The records of a pass as rows of JSON, with their sketches laid end to end."""

    def __init__(self) -> None:
        self._narrow, self._wide = _SketchWriter(np.float32), _SketchWriter(np.float64)

    def row(self, record: TensorRecord) -> dict[str, Any]:
        is_wide = record.sketch.dtype == np.float64
        sketch = np.concatenate(record.sketches)
        packed: dict[str, Any] = {
            "d": record.dtype,
            "s": list(record.shape),
            **(self._wide if is_wide else self._narrow).add(sketch),
        }
        if is_wide:
            packed["w"] = 1
        if record.value_count is not None:
            packed["c"] = record.value_count
        if record.step is not None:
            packed["q"] = record.step
        if record.value_fingerprints:
            packed["p"] = {kind: list(fingerprint) for kind, fingerprint in record.value_fingerprints.items()}
        if record.former is not None:
            packed["former"] = self.row(record.former)
        return packed

    def arrays(self, prefix: str, structure: Mapping[str, Any]) -> dict[str, Array]:
        text = json.dumps(structure, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return {
            f"{prefix}.structure": np.frombuffer(zlib.compress(text.encode(), 9), dtype=np.uint8),
            f"{prefix}.sketches": self._narrow.joined(),
            f"{prefix}.wide": self._wide.joined(),
        }


class _SketchWriter:
    """Sketches laid end to end. One that is there already is not repeated: its position is noted instead."""

    def __init__(self, dtype: type[np.float32] | type[np.float64]) -> None:
        self._dtype = dtype
        self._sketches: list[Array] = []
        self._positions: dict[bytes, int] = {}
        self._size = 0

    def add(self, sketch: Array) -> dict[str, Any]:
        """Add a sketch; returns how many numbers were laid down for it and, if none, which ones it shares."""
        content = sketch.tobytes()
        if sketch.size >= _LEAST_SHARED and content in self._positions:
            return {"n": 0, "same": [self._positions[content], int(sketch.size)]}
        self._positions.setdefault(content, self._size)
        self._sketches.append(sketch)
        self._size += sketch.size
        return {"n": int(sketch.size)}

    def joined(self) -> Array:
        return np.concatenate([np.zeros(0, self._dtype), *self._sketches]).astype(self._dtype, copy=False)


class _SketchReader:
    """Sketches laid end to end; each record takes its share in turn."""

    def __init__(self, values: Sketch) -> None:
        if values.ndim != 1:
            raise UnreadableBaselineError("its sketches are not laid out as expected")
        self._values, self._position = values, 0

    def take(self, count: int) -> Sketch:
        if count < 0 or self._position + count > self._values.size:
            raise UnreadableBaselineError("it holds fewer numbers than its structure says")
        self._position += count
        return self._values[self._position - count : self._position]

    def shared(self, start: int, count: int) -> Sketch:
        """Numbers that another record has taken before."""
        if start < 0 or count < 0 or start + count > self._position:
            raise UnreadableBaselineError("it shares numbers that its structure does not hold")
        return self._values[start : start + count]

    def require_end(self) -> None:
        if self._position != self._values.size:
            raise UnreadableBaselineError("it holds more numbers than its structure says")


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


def _require(keys: Iterable[str], table: Mapping[str, TensorRecord]) -> None:
    for key in keys:
        if key not in table:
            raise UnreadableBaselineError(f"its trace names a tensor it does not hold: {key!r}")


def _strings(mapping: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in mapping.items()}
