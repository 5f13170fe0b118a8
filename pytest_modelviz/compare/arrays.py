"""The comparison of two captures' arrays by name, which is enough for most views of other plugins."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.precision import is_exact
from pytest_modelviz.compare.tensors import relative_distance
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.findings import ArrayFinding, LayerFinding, ModuleFinding
from pytest_modelviz.records.tensors import dtype_and_shape
from pytest_modelviz.records.verdict import Divergence, LayerError, Verdict


def compare_arrays(baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
    """Compare the arrays of two captures, name by name, as whole arrays.

    The error of an array is its relative L2 difference (see `fair_size`); it is infinite where dtype, shape or the
    positions of NaN and infinities differ. It may be as large as the tolerance of its dtype, or the user's for a layer
    of that name. A difference whose root mean square is not above `atol` counts as none. Integers and booleans are
    compared exactly.

    Args:
        baseline: the recorded capture.
        actual: the capture of this run.
        tolerances: what is allowed.

    Returns:
        A verdict in which each array stands as a layer.

    """
    names = [*baseline.arrays, *(name for name in actual.arrays if name not in baseline.arrays)]
    errors: list[LayerError] = []
    findings: list[LayerFinding] = []
    for name in names:
        before, after = baseline.arrays.get(name), actual.arrays.get(name)
        own = tolerances.of(name)
        if before is None or after is None:
            errors.append(LayerError(name, 0, math.inf, 0.0))
            findings.append(ModuleFinding(name, "added" if before is None else "removed", "array"))
            continue
        before, after = _in_native_order(before), _in_native_order(after)
        exact = is_exact(str(before.dtype))
        error = _difference(before, after, 0.0 if exact else own.absolute)
        errors.append(LayerError(name, 0, error, 0.0 if exact else own.relative(str(before.dtype))))
        if not math.isfinite(error):
            findings.append(ArrayFinding(name, "", _text(before), _text(after)))
    drifted = [error for error in errors if error.drifted]
    worst = max(errors, key=lambda array: array.error, default=LayerError("", 0, 0.0, 0.0))
    if not drifted:
        return Verdict.match(compared=len(errors), error=worst.error, tolerance=worst.tolerance, layers=errors)
    first = drifted[0]
    return Verdict.drift(
        compared=len(errors),
        drifted=len(drifted),
        error=first.error,
        tolerance=first.tolerance,
        first=Divergence(first.layer, "array", 0, first.error, first.tolerance),
        findings=findings,
        layers=errors,
    )


def has_same_nonfinite(baseline: npt.NDArray[Any], actual: npt.NDArray[Any]) -> bool:
    """Whether shapes are equal, and NaN and each infinity, which cannot be subtracted, stand at the same indices."""
    kinds = (np.isnan, np.isposinf, np.isneginf)
    return baseline.shape == actual.shape and all(np.array_equal(kind(baseline), kind(actual)) for kind in kinds)


def _in_native_order(values: Array) -> Array:
    """The same numbers in this machine's order of bytes, in which a stored array is read."""
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def _difference(baseline: Array, actual: Array, atol: float) -> float:
    if baseline.dtype != actual.dtype or baseline.shape != actual.shape:
        return math.inf
    if is_exact(str(baseline.dtype)):
        return 0.0 if np.array_equal(baseline, actual) else math.inf
    before, after = _numbers(baseline), _numbers(actual)
    finite = np.isfinite(before)
    if not has_same_nonfinite(before, after):
        return math.inf
    return relative_distance(before[finite], after[finite], floor=atol * math.sqrt(baseline.size))


def _numbers(values: Array) -> npt.NDArray[np.float64]:
    """All numbers in one dimension; complex ones as pairs, since only one number of a pair may be finite."""
    parts = np.ascontiguousarray(values, np.complex128 if values.dtype.kind == "c" else np.float64)
    return parts.view(np.float64).ravel()


def _text(values: Array) -> str:
    counted = "" if is_exact(str(values.dtype)) else f", {int((~np.isfinite(values)).sum())} not finite"
    return dtype_and_shape(values.dtype, values.shape) + counted
