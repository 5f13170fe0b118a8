"""Whether two heatmaps are those of one model: small enough to be kept whole, they are compared raw and signed."""

import functools
import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.arrays import has_same_nonfinite
from pytest_modelviz.compare.dtype_findings import changes_around
from pytest_modelviz.compare.explanation_shadow import compare_explanations, explanation_dtype
from pytest_modelviz.compare.explanation_tolerance import (
    explanation_tolerance,
    jump_tolerance,
    position_tolerance,
    resizing_tolerance,
)
from pytest_modelviz.compare.explanations import (
    compare_forward_passes,
    explain_drift,
    is_decisive,
    match,
    request_differences,
    size_difference,
    worse,
)
from pytest_modelviz.compare.readable import require_rows
from pytest_modelviz.compare.stored import trace_pair
from pytest_modelviz.compare.tensors import fair_size
from pytest_modelviz.compare.tolerance import ROUNDING, Tolerances
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.facts import number
from pytest_modelviz.records.findings import AnyFinding
from pytest_modelviz.records.noise import explanation_noise
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.views.cam_map.findings import EmptyMapFinding, NonFiniteMapFinding, Range, ScaledMapFinding
from pytest_modelviz.views.cam_map.methods import CANCELLING, SIGNLESS, differentiates
from pytest_modelviz.views.cam_map.records import Map, peak, stored_map

FloatT = TypeVar("FloatT", np.float32, np.float64)

_SCALED = 1e-3  # the residual when one map is scaled to the other, relative to that one
_UNEXPLAINED = 0.1  # the same, relative to the difference of the maps
_ANSWER = ("method", "layer", "call", "dtype", "targets", "predicted", "explained")


def compare(baseline: Capture, actual: Capture, tolerances: Tolerances, *, is_target_chosen: bool = False) -> Verdict:
    """Compare two class activation maps.

    Args:
        baseline: the stored capture.
        actual: the capture that is compared with it; what is allowed follows from its facts, not the baseline's.
        tolerances: those of the check; of several layers the most tolerant one's count.
        is_target_chosen: whether the caller chose the target, which then is part of the request. A target that the
            model chose is its answer.

    Returns:
        The verdict; its error is a fraction of the baseline's largest magnitude. Where maps of equal forward passes
        differ, layer and cause are those of the gradient.

    Raises:
        UnreadableBaselineError: the baseline is damaged, or its text says another thing than its arrays.

    """
    before, after = stored_map(baseline), stored_map(actual)
    stated = {key: baseline.facts.get(key) for key in ("peak", "shape")}
    require_rows(stated, {"peak": peak(before), "shape": list(before.shape)}, "map's")
    dtype, method = explanation_dtype(baseline, actual), str(actual.facts["method"])
    layers = str(actual.facts["layer"]).split(", ")  # of RefineCAM several
    own = max((tolerances.of(layer) for layer in layers), key=lambda tolerance: explanation_tolerance(tolerance, dtype))
    scale, signless = number(actual.facts.get("scale")), method in SIGNLESS
    floor = ROUNDING * scale if math.isfinite(scale) else 0.0
    position_noise, map_noise = explanation_noise(baseline, 2)
    error = map_difference(before, after, signless=signless, floor=floor)
    allowed = explanation_tolerance(own, dtype, position_noise)

    around = changes_around(baseline.environment, actual.environment)

    @functools.cache
    def forward() -> Verdict:
        old, new = trace_pair(baseline.arrays, actual.arrays, tolerances.ignored)
        return compare_forward_passes(old, new, tolerances, around)

    has_kinks = differentiates(method) and not actual.facts.get("smooth")
    jumped = error > allowed and forward().matched and own.rtol is None and has_kinks
    if jumped:
        # a kink turns a map everywhere by a little, and at one position by more
        whole, size = map_distance(before, after, signless=signless)
        error, allowed = worse(
            (error, position_tolerance(own, dtype, position_noise)),
            (whole, jump_tolerance(own, dtype, map_noise)),
            (size, (jump_tolerance if method in CANCELLING else resizing_tolerance)(own, dtype, map_noise)),
        )
    requested = {"method", "layer", "call", *({"targets"} if is_target_chosen else ())}
    refusal, findings = request_differences(baseline, actual, _ANSWER, requested)
    if refusal:
        return refusal
    if error <= allowed and not any(map(is_decisive, findings)):
        return match(error, allowed, findings, forward=forward() if jumped else None)
    of_map = [] if error <= allowed else map_findings(before, after)
    return explain_drift(error, allowed, [*findings, *of_map], forward())


def map_findings(baseline: Map, actual: Map) -> list[AnyFinding]:
    """Say what changed about a map as a whole: that it has NaN, is empty, or is the old one in another size."""
    before, after = baseline.astype(np.float64), actual.astype(np.float64)
    odd = [int((~np.isfinite(values)).sum()) for values in (before, after)]
    if odd[0] != odd[1]:
        return [NonFiniteMapFinding((odd[0], before.size), (odd[1], after.size))]
    if odd[0] or before.shape != after.shape:
        return []
    if before.any() != after.any() or (before > 0).any() != (after > 0).any():
        return [EmptyMapFinding(_range(before), _range(after))]
    square = float((before * before).sum())
    factor = float((before * after).sum()) / square if square else 0.0
    rest, distance = float(np.linalg.norm(after - factor * before)), float(np.linalg.norm(after - before))
    if factor and rest <= min(_SCALED * float(np.linalg.norm(after)), _UNEXPLAINED * distance):
        return [ScaledMapFinding(factor)]
    return []


def _range(values: npt.NDArray[np.float64]) -> Range:
    return float(values.min()), float(values.max())


def aligned(baseline: npt.NDArray[FloatT], actual: npt.NDArray[FloatT]) -> npt.NDArray[FloatT]:
    """Maps (n, ...) of equal shape whose signs are arbitrary, each turned to the sign that fits its baseline's."""
    with np.errstate(invalid="ignore"):
        agreement = (baseline * actual).sum(axis=tuple(range(1, baseline.ndim)), keepdims=True)
    return np.where(agreement < 0, -actual, actual)


def map_difference(baseline: Map, actual: Map, *, signless: bool = False, floor: float = 0.0) -> float:
    """The largest absolute difference, as a fraction of the baseline's largest magnitude.

    Differences that are nowhere above `floor` count as none.

    Infinite where shapes or the positions of NaN and infinities differ, or where a map that was zero no longer is.
    With `signless` a map and its negative are the same, sample by sample.
    """
    pair = _comparable(baseline, actual, signless=signless)
    if pair is None:
        return math.inf
    before, after = pair
    greatest = float(np.abs(after - before).max(initial=0.0))
    peak = fair_size(*(float(np.abs(values).max(initial=0.0)) for values in (before, after)))
    if greatest <= floor:
        return 0.0
    return greatest / peak if peak > 0.0 else math.inf


def map_distance(baseline: Map, actual: Map, *, signless: bool = False) -> tuple[float, float]:
    """The relative L2 difference of all maps together, and by how much their sizes differ.

    Infinite where `map_difference` is.
    """
    pair = _comparable(baseline, actual, signless=signless)
    if pair is None or not pair[0].any():
        return math.inf, math.inf
    before, after = pair
    size = fair_size(float(np.linalg.norm(before)), float(np.linalg.norm(after)))
    return float(np.linalg.norm(after - before)) / size, size_difference(before, after)


def map_distances(baseline: Capture, actual: Capture) -> tuple[float, float]:
    """How far the maps of two captures are apart, at one position and as a whole."""
    is_signless = actual.facts.get("method") in SIGNLESS
    return map_noise(stored_map(baseline), stored_map(actual), signless=is_signless)


def map_noise(baseline: Map, actual: Map, *, signless: bool) -> tuple[float, float]:
    """By what maps are compared, at one place and as a whole, in the order in which a baseline holds their noise."""
    return map_difference(baseline, actual, signless=signless), map_distance(baseline, actual, signless=signless)[0]


def _comparable(
    baseline: Map, actual: Map, *, signless: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Both without NaN and infinities, which must stand at the same indices."""
    before, after = baseline.astype(np.float64), actual.astype(np.float64)
    if not has_same_nonfinite(before, after):
        return None
    before, after = np.nan_to_num(before, posinf=0, neginf=0), np.nan_to_num(after, posinf=0, neginf=0)
    return before, aligned(before, after) if signless else after


# `compare`, by the float32 shadows of explanations that are of lower precision.
compare_in_float32 = functools.partial(compare_explanations, compare=compare, distances=map_distances)
