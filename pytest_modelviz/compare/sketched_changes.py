"""What has become of the values of weights of which both sides are sketches: where no tensor is at hand.

The sketch is linear: that of all values times 1.05 is 1.05 times the sketch. `probe.value_changes` finds out more where
the model is there.
"""

from dataclasses import replace

import numpy as np

from pytest_modelviz.compare.precision import is_float
from pytest_modelviz.records.changes import Affine, FewValues, ValueChange
from pytest_modelviz.records.findings import AnyFinding, WeightFinding
from pytest_modelviz.records.norms import norm
from pytest_modelviz.records.structure import ModelStructure
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.verdict import Verdict

_UNEXPLAINED = 0.01  # the largest part of a difference that an explanation may leave
_ROUNDING = {"float16": 1e-3, "bfloat16": 8e-3}  # of a sketch, relative
_FULL_PRECISION = 4e-6
_UNCHANGED = 1e-3  # of the largest change of a bucket
_MOST_BUCKETS = 0.25  # of all, that may differ where few values do


def with_sketched_changes(verdict: Verdict, baseline: ModelStructure, actual: ModelStructure) -> Verdict:
    """A verdict whose findings on weights say what has become of the values, where two sketches show it."""

    def explained(finding: AnyFinding) -> AnyFinding:
        if not isinstance(finding, WeightFinding) or finding.change is not None:
            return finding
        before, after = _weight(baseline, finding), _weight(actual, finding)
        return finding if before is None or after is None else replace(finding, change=sketched_change(before, after))

    return replace(verdict, findings=tuple(map(explained, verdict.findings)))


def _weight(structure: ModelStructure, finding: WeightFinding) -> TensorRecord | None:
    module = structure.modules.get(finding.layer)
    return None if module is None else structure.weights.get(module.weights.get(finding.name, ""))


def sketched_change(baseline: TensorRecord, actual: TensorRecord) -> ValueChange | None:
    """Find what was done to all values of a tensor, or that few differ; None where two sketches show neither.

    Args:
        baseline: the recorded tensor.
        actual: the tensor that it is compared with, of the same dtype and shape.

    Example:
        >>> before = TensorRecord("float32", (3,), np.array([1.0, 2.0, 3.0], np.float32))
        >>> after = TensorRecord("float32", (3,), np.array([2.0, 4.0, 6.0], np.float32))
        >>> sketched_change(before, after)
        Affine(factor=2.0, offset=0.0)

    """
    kinds = [(record.dtype, record.shape, record.sketch.size) for record in (baseline, actual)]
    exceptional = any(record.value_fingerprints or record.former for record in (baseline, actual))
    if kinds[0] != kinds[1] or exceptional or not is_float(baseline.dtype) or baseline.sketch.size < 2:
        return None
    before, after = (record.sketch.astype(np.float64) for record in (baseline, actual))
    difference, size = norm(after - before), norm(before)
    allowed = _UNEXPLAINED * difference + _ROUNDING.get(baseline.dtype, _FULL_PRECISION) * size
    if not size or not np.isfinite(difference) or allowed >= difference / 2:
        return None
    factor = float(before @ after) / size**2
    if norm(after - factor * before) <= allowed and factor:
        return Affine(_rounded(factor, baseline.dtype))
    is_whole = baseline.numbers <= baseline.sketch.size
    offset = float((after - before).mean())
    if is_whole and norm(after - before - offset) <= allowed:
        return Affine(offset=_rounded(offset, baseline.dtype))
    change = np.abs(after - before)
    count = int((change > _UNCHANGED * change.max()).sum())
    return FewValues(count, baseline.numel, is_whole) if count <= _MOST_BUCKETS * change.size else None


def _rounded(number: float, dtype: str) -> float:
    return float(f"{number:.{3 if dtype in _ROUNDING else 4}g}")
