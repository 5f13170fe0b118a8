"""Two captures' arrays, each against its namesake: enough for most views of other plugins."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.tensors import fair_size
from pytest_modelviz.compare.tolerance import Tolerances, is_exact
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.verdict import Divergence, Finding, LayerError, Verdict


def compare_arrays(baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
    """Compare the arrays of two captures, name by name, as whole arrays.

    The error of one is its relative L2 difference, by `fair_size`; infinite where dtype, shape or the places of NaN
    and infinities differ; it may be as large as its dtype's tolerance, or the user's for a layer of that name. A
    difference whose root mean square is not above `atol` counts as none. Integers and booleans are compared exactly.
    """
    names = [*baseline.arrays, *(name for name in actual.arrays if name not in baseline.arrays)]
    errors, findings = [], []
    for name in names:
        one, two = baseline.arrays.get(name), actual.arrays.get(name)
        own = tolerances.of(name)
        if one is None or two is None:
            errors.append(LayerError(name, 0, math.inf, 0.0))
            findings.append(Finding("added" if one is None else "removed", name, before="array"))
            continue
        exact = is_exact(str(one.dtype))
        error = _difference(one, two, 0.0 if exact else own.absolute)
        errors.append(LayerError(name, 0, error, 0.0 if exact else own.relative(str(one.dtype))))
        if not math.isfinite(error):
            findings.append(Finding("array", name, "", _text(one), _text(two)))
    drifted = [error for error in errors if error.drifted]
    worst = max(errors, key=lambda one: one.error, default=LayerError("", 0, 0.0, 0.0))
    if not drifted:
        return Verdict(True, len(errors), 0, worst.error, worst.tolerance, layers=tuple(errors))
    first = drifted[0]
    return Verdict(
        matched=False,
        compared=len(errors),
        drifted=len(drifted),
        error=first.error,
        tolerance=first.tolerance,
        first=Divergence(first.layer, "array", 0, first.error, first.tolerance),
        findings=tuple(findings),
        layers=tuple(errors),
    )


def _difference(one: Array, two: Array, atol: float) -> float:
    if one.dtype != two.dtype or one.shape != two.shape:
        return math.inf
    if is_exact(str(one.dtype)):
        return 0.0 if np.array_equal(one, two) else math.inf
    before, after = (_numbers(values) for values in (one, two))
    odd = ~np.isfinite(before)
    if not np.array_equal(odd, ~np.isfinite(after)) or not np.array_equal(before[odd], after[odd], equal_nan=True):
        return math.inf
    distance = float(np.linalg.norm(after[~odd] - before[~odd]))
    if distance == 0.0 or distance <= atol * math.sqrt(one.size):
        return 0.0
    size = fair_size(*(float(np.linalg.norm(values[~odd])) for values in (before, after)))
    return distance / size if size else math.inf


def _numbers(values: Array) -> npt.NDArray[np.float64]:
    """All numbers in one dimension, of complex ones both parts: one of them may be none."""
    parts = np.ascontiguousarray(values, np.complex128 if values.dtype.kind == "c" else np.float64)
    return parts.view(np.float64).ravel()


def _text(values: Array) -> str:
    odd = "" if is_exact(str(values.dtype)) else f", {int((~np.isfinite(values)).sum())} not finite"
    return f"{values.dtype}{list(values.shape)}{odd}"
