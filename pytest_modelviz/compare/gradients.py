"""Whether two gradients on an input are those of one model."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.explained import by_forward_pass, forward_verdict
from pytest_modelviz.compare.readable import contradiction, require_rows
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tensors import difference, rms
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import GRADIENT, ForwardTrace
from pytest_modelviz.records.verdict import Finding, Verdict

_SKETCH_ERROR = 2.0  # a root mean square estimated from a sketch may be off by this factor


def compare_gradients(
    baseline: Capture, actual: Capture, tolerances: Tolerances, findings: Sequence[Finding] = ()
) -> Verdict:
    """Compare the gradients of two captures by their relative L2 difference.

    Args:
        baseline: the recorded capture.
        actual: the capture of this run.
        tolerances: what is allowed.
        findings: what else differs; with any of them the captures do not match.

    Raises:
        UnreadableBaselineError: the baseline is damaged.

    """
    passes = stored_trace(baseline.arrays, tolerances.ignored), stored_trace(actual.arrays, tolerances.ignored)
    before, after = map(_gradient, passes)
    require_rows({"shape": baseline.facts.get("shape")}, {"shape": list(before.shape)}, "gradient's")
    if not _is_peak_of(before, baseline.facts.get("peak")):
        raise contradiction("the gradient's peak")
    forward = functools.cache(functools.partial(forward_verdict, *passes, tolerances))  # only where it is needed
    tolerances = tolerances.of("")  # the gradient on the input is the whole model's
    dtype = str(actual.facts.get("dtype", "float32"))
    error, allowed = gradient_difference(before, after, dtype, tolerances, kinks=lambda: forward().matched)
    if error <= allowed and not findings:
        return Verdict(True, 1, 0, error, allowed)
    return by_forward_pass(error, allowed, findings, forward())


def _is_peak_of(record: TensorRecord, stated: Any) -> bool:
    """Whether the largest magnitude that a baseline states can be that of this gradient."""
    size = rms(record)
    if (
        isinstance(stated, bool)
        or not isinstance(stated, (int, float))
        or record.value_fingerprints
        or not math.isfinite(size)
    ):
        return isinstance(stated, (int, float, str))  # "inf" and "nan" are words
    return stated >= size / _SKETCH_ERROR  # numbers may cancel out in a sketch


def gradient_difference(
    before: TensorRecord, after: TensorRecord, dtype: str, tolerances: Tolerances, *, kinks: Callable[[], bool]
) -> tuple[float, float]:
    """Compare two gradients by their relative L2 difference.

    A rectifier whose input is next to zero may open on one processor and not on another; the gradient then jumps where
    the forward pass does not. Where the forward passes agree, more is therefore allowed, but less of that to a gradient
    that has kept its direction and changed its size, which kinks do not cause.

    Args:
        before: the baseline's gradient.
        after: the actual gradient.
        dtype: what the gradients were computed in.
        tolerances: what is allowed.
        kinks: whether the forward passes agree; only called if need be.

    Returns:
        (error, tolerance)

    """
    strict = tolerances.explanation(dtype)
    error = difference(before, after, allowed=strict)
    if error <= strict or tolerances.rtol is not None or not kinks():
        return error, strict
    loose = tolerances.differentiated(dtype)
    turned = difference(before, after, allowed=loose), loose
    sketches = (record.bulk_sketch.astype(np.float64) for record in (before, after))
    return worse(turned, (size_difference(*sketches), tolerances.resized(dtype)))


def size_difference(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> float:
    """How far the factor that best fits one gradient to the other is from 1; zero where there is no such factor."""
    if before.shape != after.shape or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return 0.0
    square = float((before * before).sum())
    return abs(float((before * after).sum()) / square - 1) if square > 0.0 else 0.0


def worse(*pairs: tuple[float, float]) -> tuple[float, float]:
    """The (error, tolerance) pair whose error is largest for its tolerance."""
    return max(pairs, key=lambda pair: pair[0] / pair[1] if pair[1] else (math.inf if pair[0] else 0.0))


def _gradient(trace: ForwardTrace) -> TensorRecord:
    if GRADIENT not in trace.gradients:
        raise UnreadableBaselineError("it holds no gradient")
    return trace.gradients[GRADIENT]
