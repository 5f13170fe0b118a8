"""Whether two gradients on an input are those of one model."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.explain_drift import compare_forward_passes, explain_drift
from pytest_modelviz.compare.readable import contradiction, require_rows
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tensors import difference, rms
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.trace import TensorRecord, Trace
from pytest_modelviz.records.verdict import Finding, Verdict

_SKETCHED = 2.0  # so much a root mean square taken from a sketch may be off
GRADIENT = "(gradient)"  # its key among the tensors of the trace; no layer can be called that


def compare_gradients(
    baseline: Capture, actual: Capture, tolerances: Tolerances, findings: Sequence[Finding] = ()
) -> Verdict:
    """Compare by relative L2 difference.

    Raises UnreadableBaselineError for a damaged baseline.
    """
    one, two = (stored_trace(capture.arrays, tolerances.ignored) for capture in (baseline, actual))
    before, after = _gradient(one), _gradient(two)
    require_rows({"shape": baseline.facts.get("shape")}, {"shape": list(before.shape)}, "gradient's")
    if not _is_peak_of(before, baseline.facts.get("peak")):
        raise contradiction("the gradient's peak")
    forward = functools.cache(functools.partial(compare_forward_passes, one, two, tolerances))  # a match asks for none
    tolerances = tolerances.of("")  # the gradient on the input is the whole model's
    dtype = str(actual.facts.get("dtype", "float32"))
    error, allowed = gradient_difference(before, after, dtype, tolerances, kinks=lambda: forward().matched)
    if error <= allowed and not findings:
        return Verdict(True, 1, 0, error, allowed)
    return explain_drift(error, allowed, findings, forward())


def _is_peak_of(record: TensorRecord, stated: Any) -> bool:
    """Whether the largest magnitude that is told can be that of a gradient of which there is a sketch."""
    size = rms(record)
    if isinstance(stated, bool) or not isinstance(stated, (int, float)) or record.places or not math.isfinite(size):
        return isinstance(stated, (int, float, str))  # "inf" and "nan" are words
    return stated >= size / _SKETCHED  # numbers may cancel out in a sketch


def gradient_difference(
    before: TensorRecord, after: TensorRecord, dtype: str, tolerances: Tolerances, *, kinks: Callable[[], bool]
) -> tuple[float, float]:
    """(error, what is allowed) of two gradients, relative L2.

    A rectifier whose input is next to zero may open on one processor and not on another, and then the gradient jumps
    where the forward pass does not. So where the forward pass agrees, which `kinks` says, more is allowed; less of that
    to a gradient that has kept its direction and changed its size, which kinks do not do.
    """
    strict = tolerances.explanation(dtype)
    error = difference(before, after, allowed=strict)
    if error <= strict or tolerances.rtol is not None or not kinks():
        return error, strict
    loose = tolerances.differentiated(dtype)
    turned = difference(before, after, allowed=loose), loose
    one, two = (record.sketches[-1].astype(np.float64) for record in (before, after))
    return worse(turned, (size_difference(one, two), tolerances.resized(dtype)))


def size_difference(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> float:
    """By how much the factor that fits one to the other best is not one; zero where that says nothing."""
    if before.shape != after.shape or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return 0.0
    square = float((before * before).sum())
    return abs(float((before * after).sum()) / square - 1) if square > 0.0 else 0.0


def worse(*pairs: tuple[float, float]) -> tuple[float, float]:
    """Of several errors with what is allowed to each the one that is further beyond it, or nearest to it."""
    return max(pairs, key=lambda pair: pair[0] / pair[1] if pair[1] else (math.inf if pair[0] else 0.0))


def _gradient(trace: Trace) -> TensorRecord:
    if GRADIENT not in trace.tensors:
        raise UnreadableBaselineError("it holds no gradient")
    return trace.tensors[GRADIENT]
