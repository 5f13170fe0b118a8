"""Records of tensors as rows of JSON, with their sketches laid end to end in arrays, and back."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.tensors import WIDEST_SKETCH, Sketch, TensorRecord, is_of_giants

_LARGEST_NUMEL, _MOST_SIDES = 2**62, 64  # torch makes no tensors of more
_DTYPE = re.compile(  # every dtype of torch, and those it may well have next
    r"bool|bfloat16|b?complex\d{2,3}|u?int\d{1,2}|qu?int\d{1,2}(?:x\d)?|float(?:16|32|64)|float\d{1,2}_e\d{1,2}m\d{1,2}\w{0,16}|"
    r"bits\d{1,2}(?:x\d)?",
    re.ASCII,
)
_LEAST_SHARED = 8  # numbers: a reference to fewer takes as much room as the numbers


# Where the sketches of a record lie: whether among those in double precision, from where on, and how many numbers.
Position: TypeAlias = tuple[bool, int, int]


class RowWriter:
    """The records of a pass as rows of JSON, with their sketches laid end to end.

    Attributes:
        positions: where the sketches of each record lie, in the order in which they were written.

    """

    def __init__(self) -> None:
        self._narrow, self._wide = _SketchWriter(np.float32), _SketchWriter(np.float64)
        self.positions: list[Position] = []

    def row(self, record: TensorRecord) -> dict[str, Any]:
        sketch = record.sketch if record.sketch_without_giants is None else np.concatenate(record.sketches)
        is_wide = record.sketch.dtype.char == "d"
        start, is_new = (self._wide if is_wide else self._narrow).add(sketch)
        size = sketch.size
        self.positions.append((is_wide, start, size))
        packed: dict[str, Any] = {"d": record.dtype, "s": record.shape, "n": size if is_new else 0}
        if not is_new:
            packed["same"] = start, size
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

    def sketches(self) -> tuple[Array, Array]:
        """The sketches of all records, those in single and those in double precision."""
        return self._narrow.joined(), self._wide.joined()


def structure_text(structure: Mapping[str, Any]) -> bytes:
    """The structure of a trace as it is compressed."""
    # a tree of rows, in which no cycle need be looked for
    text = json.dumps(structure, separators=(",", ":"), ensure_ascii=True, allow_nan=False, check_circular=False)
    return text.encode()


class _SketchWriter:
    """Sketches laid end to end. One that is there already is not repeated: its position is noted instead."""

    def __init__(self, dtype: type[np.float32] | type[np.float64]) -> None:
        self._dtype = dtype
        self._sketches: list[Array] = []
        self._positions: dict[bytes, int] = {}
        self._size = 0

    def add(self, sketch: Array) -> tuple[int, bool]:
        """Add a sketch; returns where its numbers lie, and whether they were not there already."""
        start, size = self._size, sketch.size
        if size >= _LEAST_SHARED:
            known = self._positions.setdefault(sketch.tobytes(), start)
            if known != start:
                return known, False
        self._sketches.append(sketch)
        self._size += size
        return start, True

    def joined(self) -> Array:
        return np.concatenate([np.zeros(0, self._dtype), *self._sketches]).astype(self._dtype, copy=False)


class SketchReader:
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


def unpacked_record(row: Mapping[str, Any], readers: Mapping[int, SketchReader]) -> TensorRecord:
    record = _sketched_tensor(row, readers)
    return replace(record, former=_sketched_tensor(row["former"], readers)) if "former" in row else record


def _sketched_tensor(row: Mapping[str, Any], readers: Mapping[int, SketchReader]) -> TensorRecord:
    fingerprints = {str(kind): (int(count), int(print_)) for kind, (count, print_) in row.get("p", {}).items()}
    reader = readers[int(row.get("w", 0))]
    shared = row.get("same")
    sketch = reader.take(int(row["n"])) if shared is None else reader.shared(*map(int, shared))
    without_giants: Sketch | None = None
    if any(map(is_of_giants, fingerprints)):
        half = sketch.size // 2
        sketch, without_giants = sketch[:half], sketch[half:]
    shape = tuple(int(side) for side in row["s"])
    count = int(row["c"]) if "c" in row else None
    step = float(row["q"]) if "q" in row else None
    record = TensorRecord(str(row["d"]), shape, sketch, fingerprints, None, without_giants, count, step=step)
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


def sketch_readers(arrays: Mapping[str, Array], prefix: str) -> dict[int, SketchReader]:
    narrow, wide = arrays[f"{prefix}.sketches"], arrays[f"{prefix}.wide"]
    if [narrow.dtype.name, wide.dtype.name] != ["float32", "float64"]:
        raise UnreadableBaselineError("its sketches are of another dtype than any that is recorded")
    return {
        0: SketchReader(np.asarray(narrow, dtype=np.float32)),
        1: SketchReader(np.asarray(wide, dtype=np.float64)),
    }
