"""A forward pass as plain data: which modules there are, which were called in what order, and a sketch of every tensor.

The probe makes traces, the store keeps them as arrays, the comparison walks two of them side by side. The structure is
kept as compressed JSON inside the arrays so that a trace of a whole ResNet-50 stays in the kilobytes.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.limits import FIXED
from pytest_modelviz.text.strict_json import parse_json

SKETCH_VERSION = 2  # of the signs and sums in `probe.sketch`: with other ones no earlier baseline can be compared
LOOSE = " (attribute)"  # ends the name of a tensor that is neither parameter nor buffer: it may be mere state
LENT = ", given by its caller"  # ends the name of a parameter that a module has for one call only (see `probe.lent`)
# In a module's configuration: its buffers that no state dict holds, and those of them that the pass itself writes.
UNSAVED, REWRITTEN = "unsaved", "rewritten"
NOT_SAVED = " (not saved)"  # ends what a summary says of such a buffer
_LARGEST_NUMEL = 2**62
_DTYPE = re.compile(  # all that torch has, and what it may well have next
    r"bool|bfloat16|b?complex\d{2,3}|u?int\d{1,2}|qu?int\d{1,2}(?:x\d)?|float(?:16|32|64)|float\d{1,2}_e\d+m\d+\w*|"
    r"bits\d{1,2}(?:x\d)?",
    re.ASCII,
)
# What reading a trace that somebody else has written may raise.
DAMAGE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, zlib.error)
_WORTH_SHARING = 8  # numbers: to say where they are takes as much room as fewer do

Sketch = npt.NDArray[np.float32] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class TensorRecord:
    """One tensor at one moment.

    `sketch` is linear in the tensor (see `probe.sketch`) and holds the tensor itself where that is no larger.
    `places` counts NaN, infinities and giants ("-1e9", values far beyond all others) and fingerprints where they are.
    NaN and infinities are zero in the sketch; where there are giants, a second sketch without them follows the first.
    `statistics` is for people: mean and root mean square.
    """

    dtype: str
    shape: tuple[int, ...]
    sketch: Sketch
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    statistics: tuple[float, ...] = ()

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def sketches(self) -> tuple[Sketch, ...]:
        """The sketch of all finite elements and, where there are giants, the one of all others."""
        if any(kind.lstrip("+-").startswith("1e") for kind in self.places):
            half = self.sketch.size // 2
            return self.sketch[:half], self.sketch[half:]
        return (self.sketch,)


@dataclass(frozen=True)
class Leaf:
    """One end of a nested argument or output: a tensor (`tensor` is its key in the trace) or a literal."""

    tensor: str | None = None
    literal: str | None = None


Leaves = Mapping[str, Leaf]


@dataclass(frozen=True)
class ModuleRecord:
    """A module as it stood before the pass: its class, its configuration and its own parameters and buffers."""

    class_name: str
    config: Mapping[str, str]
    weights: Mapping[str, str]

    @property
    def rewritten(self) -> set[str]:
        """Buffers that the pass itself writes."""
        return set(self.config.get(REWRITTEN, "").splitlines())

    def state(self, baseline: ModuleRecord) -> set[str]:
        """Buffers that are no weights: a pass, this one or the baseline's, writes them itself, and nobody saves them.

        What a baseline says counts only of those that are not saved now: a file must not hide a weight.
        """
        return self.rewritten | (baseline.rewritten & set(self.config.get(UNSAVED, "").splitlines()))


@dataclass
class Call:
    """One call of one module. Calls are kept in the order of entering; `depth` restores the order of leaving."""

    layer: str
    index: int
    depth: int
    inputs: Leaves
    outputs: Leaves | None = None


@dataclass(frozen=True)
class Event:
    """A call is entered (its inputs are known) or left (its outputs are)."""

    kind: str
    call: Call
    parent: Call | None

    @property
    def leaves(self) -> Leaves:
        return self.call.inputs if self.kind == "enter" else (self.call.outputs or {})


@dataclass
class Trace:
    """Everything one pass showed. `tensors` and `weights` are keyed by where a tensor was first seen.

    `notes` say, for people, what of the pass could not be observed; they are not stored.
    """

    modules: dict[str, ModuleRecord]
    calls: list[Call]
    tensors: dict[str, TensorRecord]
    weights: dict[str, TensorRecord]
    ties: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()

    def events(self) -> Iterator[Event]:
        """All enter and leave events in the order in which they happened."""
        stack: list[Call] = []
        for call in self.calls:
            while stack and stack[-1].depth >= call.depth:
                left = stack.pop()
                yield Event("leave", left, stack[-1] if stack else None)
            yield Event("enter", call, stack[-1] if stack else None)
            stack.append(call)
        while stack:
            left = stack.pop()
            yield Event("leave", left, stack[-1] if stack else None)

    def narrowed(self, width: int, weight_width: int) -> Trace:
        """The same with sketches no wider than these: their numbers, with signs, added up in fewer buckets.

        That is a sketch of the same kind, if not the one that was taken at this width.
        """
        tensors = {key: _narrower(record, width) for key, record in self.tensors.items()}
        weights = {key: _narrower(record, weight_width) for key, record in self.weights.items()}
        return Trace(self.modules, self.calls, tensors, weights, self.ties, self.notes)

    def to_arrays(self) -> dict[str, Array]:
        """Pack into three arrays: compressed structure (uint8), sketches (float32) and wide sketches (float64)."""
        pools = {0: _Sketches(np.float32), 1: _Sketches(np.float64)}

        def row(record: TensorRecord) -> dict[str, Any]:
            is_wide = record.sketch.dtype == np.float64
            packed: dict[str, Any] = {"d": record.dtype, "s": list(record.shape), **pools[is_wide].add(record.sketch)}
            if is_wide:
                packed["w"] = 1
            if record.places:
                packed["p"] = {kind: list(place) for kind, place in record.places.items()}
            return packed

        structure = {
            "sketch": SKETCH_VERSION,
            "modules": {n: [m.class_name, dict(m.config), dict(m.weights)] for n, m in self.modules.items()},
            "calls": [
                [c.layer, c.index, c.depth, _pack(c.inputs), None if c.outputs is None else _pack(c.outputs)]
                for c in self.calls
            ],
            "tensors": {key: row(record) for key, record in self.tensors.items()},
            "weights": {key: row(record) for key, record in self.weights.items()},
            "ties": [list(group) for group in self.ties],
        }
        text = json.dumps(structure, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return {
            "trace.structure": np.frombuffer(zlib.compress(text.encode(), 9), dtype=np.uint8),
            "trace.sketches": pools[0].joined(),
            "trace.wide": pools[1].joined(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Trace:
        """Unpack what `to_arrays` made; raises UnreadableBaselineError for anything else."""
        try:
            return cls._unpack(arrays)
        except UnreadableBaselineError:
            raise
        except DAMAGE as error:
            raise damaged_trace(error) from error

    @classmethod
    def _unpack(cls, arrays: Mapping[str, Array]) -> Trace:
        packed = arrays["trace.structure"]
        if packed.dtype != np.uint8 or packed.ndim != 1:
            raise UnreadableBaselineError("its trace is not a byte string")
        inflater = zlib.decompressobj()
        text = inflater.decompress(packed.tobytes(), FIXED.structure_bytes)
        if not inflater.eof:
            raise UnreadableBaselineError("its trace is truncated or absurdly large")
        try:
            structure = parse_json(text, most_values=FIXED.structure_values)
        except RecursionError as error:
            raise UnreadableBaselineError("its trace is nested absurdly deeply") from error
        if structure["sketch"] != SKETCH_VERSION:
            raise UnreadableBaselineError(
                "its sketches were made by another version of pytest-modelviz and cannot be compared: record it anew"
            )
        if [arrays[f"trace.{name}"].dtype.name for name in ("sketches", "wide")] != ["float32", "float64"]:
            raise UnreadableBaselineError("its sketches are of another dtype than any that is recorded")
        pools = {
            0: _Pool(np.asarray(arrays["trace.sketches"], dtype=np.float32)),
            1: _Pool(np.asarray(arrays["trace.wide"], dtype=np.float64)),
        }

        def record(packed: Mapping[str, Any]) -> TensorRecord:
            places = {str(kind): (int(count), int(print_)) for kind, (count, print_) in packed.get("p", {}).items()}
            pool = pools[int(packed.get("w", 0))]
            again = packed.get("same")
            sketch = pool.take(int(packed["n"])) if again is None else pool.again(*map(int, again))
            made = TensorRecord(str(packed["d"]), tuple(int(s) for s in packed["s"]), sketch, places)
            if not _DTYPE.fullmatch(made.dtype):
                raise UnreadableBaselineError(f"it holds a tensor of a dtype that does not exist: {made.dtype[:40]!r}")
            if any(side < 0 for side in made.shape) or made.numel > _LARGEST_NUMEL:
                raise UnreadableBaselineError(f"it holds a tensor of shape {list(made.shape)}")
            return made

        tensors = {str(key): record(value) for key, value in structure["tensors"].items()}
        weights = {str(key): record(value) for key, value in structure["weights"].items()}
        modules = {
            str(name): ModuleRecord(str(class_name), _strings(config), _strings(names))
            for name, (class_name, config, names) in structure["modules"].items()
        }
        for module in modules.values():
            _require(module.weights.values(), weights)
        calls = []
        for layer, index, depth, inputs, outputs in structure["calls"]:
            if str(layer) not in modules:
                raise UnreadableBaselineError(f"its trace calls a layer it does not hold: {str(layer)!r}")
            call = Call(str(layer), int(index), int(depth), _unpack_leaves(inputs, tensors))
            call.outputs = None if outputs is None else _unpack_leaves(outputs, tensors)
            calls.append(call)
        for pool in pools.values():
            pool.must_be_empty()
        ties = tuple(tuple(str(name) for name in group) for group in structure["ties"])
        return cls(modules, calls, tensors, weights, ties)


def damaged_trace(error: Exception) -> UnreadableBaselineError:
    """What to raise for an error that reading a stored trace has led to."""
    return UnreadableBaselineError(f"its trace is damaged ({type(error).__name__}: {error})")


def hashed(index: npt.NDArray[np.uint64], salt: int) -> npt.NDArray[np.uint64]:
    """Mix 64-bit integers (the finaliser of SplitMix64, Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        z = index + np.uint64(salt) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def _narrower(record: TensorRecord, width: int) -> TensorRecord:
    kept = []
    for sketch in record.sketches:
        signs = (hashed(np.arange(sketch.size, dtype=np.uint64), 2) >> np.uint64(63)).astype(np.float64) * 2 - 1
        folded = np.zeros(-(-sketch.size // width) * width, np.float64)
        folded[: sketch.size] = sketch * signs
        kept.append(folded.reshape(-1, width).sum(0).astype(sketch.dtype) if sketch.size > width else sketch)
    return replace(record, sketch=np.concatenate(kept))


class _Sketches:
    """Sketches to be laid end to end. One that is there already is not laid there again: where it is, is noted."""

    def __init__(self, dtype: Any) -> None:
        self._dtype = dtype
        self._laid: list[Sketch] = []
        self._places: dict[bytes, int] = {}
        self._size = 0

    def add(self, sketch: Sketch) -> dict[str, Any]:
        """What to note of it: how many numbers were laid there for it, and which ones it shares."""
        content = sketch.tobytes()
        if sketch.size >= _WORTH_SHARING and content in self._places:
            return {"n": 0, "same": [self._places[content], int(sketch.size)]}
        self._places.setdefault(content, self._size)
        self._laid.append(sketch)
        self._size += sketch.size
        return {"n": int(sketch.size)}

    def joined(self) -> Array:
        return np.concatenate([np.zeros(0, self._dtype), *self._laid]).astype(self._dtype, copy=False)


class _Pool:
    """Sketches laid end to end; each record takes its share in turn."""

    def __init__(self, values: Sketch) -> None:
        if values.ndim != 1:
            raise UnreadableBaselineError("its sketches are not laid out as expected")
        self._values, self._at = values, 0

    def take(self, count: int) -> Sketch:
        if count < 0 or self._at + count > self._values.size:
            raise UnreadableBaselineError("it holds fewer numbers than its structure says")
        self._at += count
        return self._values[self._at - count : self._at]

    def again(self, at: int, count: int) -> Sketch:
        """Numbers that another record has taken before."""
        if at < 0 or count < 0 or at + count > self._at:
            raise UnreadableBaselineError("it shares numbers that its structure does not hold")
        return self._values[at : at + count]

    def must_be_empty(self) -> None:
        if self._at != self._values.size:
            raise UnreadableBaselineError("it holds more numbers than its structure says")


def _pack(leaves: Leaves) -> dict[str, Any]:
    return {path: leaf.tensor if leaf.tensor is not None else [leaf.literal] for path, leaf in leaves.items()}


def _unpack_leaves(packed: Mapping[str, Any], tensors: Mapping[str, TensorRecord]) -> Leaves:
    leaves = {}
    for path, value in packed.items():
        if isinstance(value, str):
            _require([value], tensors)
            leaves[str(path)] = Leaf(tensor=value)
        else:
            leaves[str(path)] = Leaf(literal=str(value[0]))
    return leaves


def _require(keys: Any, table: Mapping[str, TensorRecord]) -> None:
    for key in keys:
        if key not in table:
            raise UnreadableBaselineError(f"its trace names a tensor it does not hold: {key!r}")


def _strings(mapping: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in mapping.items()}
