"""Passes in lower precision beside each other, and their float32 shadows, which see what rounding hides.

Code, configuration, weights and input are judged by the shadows. Where those agree, the passes themselves are judged
for what their precision does: a cast that is lost, autocast left on or off. How far rounding takes them is known then:
as far as the actual pass is from its own shadow.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pytest_modelviz.compare.diagnosis import compare_traces
from pytest_modelviz.compare.dtype_findings import (
    event_dtypes,
    event_of,
    given_dtypes,
    under_other_conditions,
    with_extent_of,
    with_native_texts,
    with_weight_dtypes,
)
from pytest_modelviz.compare.precision import coarser, is_low
from pytest_modelviz.compare.tensors import difference, relative_distance
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import AUTOCAST, AnyFinding, DivergingEvent, Role, ShadowFinding
from pytest_modelviz.records.tensors import NATIVE_WIDTH, WEIGHT_WIDTH, TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace
from pytest_modelviz.records.verdict import Verdict

_UNITS = {"float16": 2.0**-10, "bfloat16": 2.0**-7}  # the largest distance of a number to the next, relative
_MANY_JUMPS = 5e-3  # times a unit: relative L2, of a weight of any size
_FEW_JUMPS = 3  # how many jump at most, beside a share of a large tensor's numbers
_JUMPING = {"float16": 3e-4, "bfloat16": 3e-5}  # that share; 13 jumped of 36,864 in float16, 6 of 147,456 in bfloat16
_LARGE_WEIGHT = 4.0  # times the rms of a tensor: one number of that size may jump
_OTHER_KERNELS = 2.0  # times as far from its shadow a pass may be on another device


def compare_passes(
    baseline: ForwardTrace,
    actual: ForwardTrace,
    tolerances: Tolerances,
    *,
    precision: str = "ieee",
    around: Sequence[AnyFinding] = (),
) -> Verdict:
    """Compare two passes of a model, by their shadows where they are of lower precision.

    Args:
        baseline: the recorded pass.
        actual: the pass of this run.
        tolerances: what is allowed.
        precision: what products of float32 were computed in when the baseline was recorded, as it says itself: whether
            that pass can stand for its own shadow, and what to say of passes that differ by no more than this.
        around: what has changed around the model and may decide about its precision, such as autocast: it only says
            what a drift comes from.

    Returns:
        The verdict on the shadows; where those agree, that on the passes themselves.

    """
    after = _single_precision_pass(actual, tolerances.precision)
    if after is actual and not may_have_shadow(baseline, precision):
        baseline = replace(baseline, shadow=None)  # the passes decide
    before = _single_precision_pass(baseline, precision)
    if before is baseline and after is actual:
        return under_other_conditions(compare_traces(baseline, actual, tolerances), around)
    if before is None or after is None:
        old, new = (_narrow(trace).without_dtypes() for trace in (baseline, actual))
        verdict = _native(old, new, tolerances, around)
        if before is None and after is None:
            return verdict  # as is said with each capture
        return with_findings(verdict, ShadowFinding("baseline" if before is None else "actual", role=Role.ALSO))
    own = shadow_tolerances(baseline, actual, tolerances)
    verdict = compare_traces(without_autocast(before), without_autocast(after), own)
    is_built_alone = not verdict.matched and _passes_agree(verdict)
    if not (verdict.matched or is_built_alone):
        verdict = with_weight_dtypes(with_native_texts(verdict, baseline, actual))
        return with_findings(verdict, *given_dtypes(baseline, actual), ShadowFinding("differs", role=Role.ALSO))
    old, new = _narrow(baseline), _narrow(actual)
    if actual.shadow is not None:
        new = _with_shadow_distances(new, actual.shadow)
    if actual.shadow is not None and baseline.shadow is not None:
        new = _bounded(new, _with_shadow_distances(old, baseline.shadow))
    native = _native(old, new, tolerances, around)
    if after is actual and not native.matched and not is_low(baseline):
        stated = _native(old, new, replace(tolerances, precision=precision), around)
        if stated.matched:  # this run cannot know whether that precision is what they differ by
            native = with_findings(stated, ShadowFinding("stated", role=Role.ALSO))
    if is_built_alone:
        verdict = with_weight_dtypes(verdict)
        if native.matched or _passes_agree(native):
            return verdict
        return with_findings(with_extent_of(verdict, native), ShadowFinding("agrees"))
    if native.matched:
        return with_findings(verdict, *native.findings)
    return with_findings(native, ShadowFinding("agrees"))


def may_have_shadow(trace: ForwardTrace, precision: str) -> bool:
    """Whether a run repeats such a pass in single precision: beside any other pass a shadow was forged."""
    return precision != "ieee" or is_low(trace)


def _native(
    baseline: ForwardTrace, actual: ForwardTrace, tolerances: Tolerances, around: Sequence[AnyFinding]
) -> Verdict:
    """The verdict on two passes themselves, which says what dtypes have to do with it."""
    verdict = compare_traces(baseline, actual, tolerances)
    if verdict.matched:
        return verdict
    verdict = under_other_conditions(verdict, around)
    return with_findings(with_weight_dtypes(verdict), *event_dtypes(verdict))


def _passes_agree(verdict: Verdict) -> bool:
    """Whether a drift is nothing but how two models are built."""
    event = event_of(verdict)
    return event is not None and event.event is DivergingEvent.NONE


def without_autocast(trace: ForwardTrace) -> ForwardTrace:
    """A shadow without the states of autocast, which change nothing in it."""
    if not any(AUTOCAST in call.inputs for call in trace.calls):
        return trace
    inputs = [{path: leaf for path, leaf in call.inputs.items() if path != AUTOCAST} for call in trace.calls]
    calls = [replace(call, inputs=own) for call, own in zip(trace.calls, inputs, strict=True)]
    return replace(trace, calls=calls)


def shadow_tolerances(baseline: ForwardTrace, actual: ForwardTrace, tolerances: Tolerances) -> Tolerances:
    """What is allowed to the shadows of two passes."""
    return replace(tolerances, precision="ieee", shadow_of=given_dtype(actual), jumps=_jumps(baseline, actual))


def _single_precision_pass(trace: ForwardTrace, precision: str) -> ForwardTrace | None:
    """The pass in single precision: a pass that is in no lower one itself."""
    if trace.shadow is not None:
        return trace.shadow
    return None if may_have_shadow(trace, precision) else trace


def given_dtype(trace: ForwardTrace) -> str:
    """The coarsest dtype of a model's weights and inputs."""
    given = (*trace.weights.values(), *_inputs(trace).values())
    return functools.reduce(coarser, (record.dtype for record in given), "float64")


def _inputs(trace: ForwardTrace) -> dict[str, TensorRecord]:
    """The tensors that the model itself is given, by a key that no weight has."""
    leaves = trace.calls[0].inputs if trace.calls else {}
    return {f"<{path}": trace.tensors[leaf.tensor] for path, leaf in leaves.items() if leaf.tensor is not None}


def _narrow_record(record: TensorRecord) -> TensorRecord:
    return record.narrowed(NATIVE_WIDTH) if record.sketch.size > WEIGHT_WIDTH else record


def _jumps(baseline: ForwardTrace, actual: ForwardTrace) -> float:
    """The largest difference of weights and inputs in lower precision that a few jumps of rounding explain.

    Where the numbers behind them differ in the last digit, one in some 400,000 is rounded the other way.
    """
    largest, given = 0.0, [{**trace.weights, **_inputs(trace)} for trace in (baseline, actual)]
    for key in given[0].keys() & given[1].keys():
        before, after = (_narrow_record(records[key]) for records in given)
        unit = _UNITS.get(after.dtype)
        if unit is not None and before.shape == after.shape and after.numel:
            error = difference(before, after)
            explained = (_MANY_JUMPS + _LARGE_WEIGHT / math.sqrt(after.numel)) * unit
            if (
                error <= explained
                and _changed_buckets(before, after) <= _FEW_JUMPS + _JUMPING[after.dtype] * after.numel
            ):
                largest = max(largest, error)
    return largest


def _changed_buckets(before: TensorRecord, after: TensorRecord) -> int:
    """How many numbers of two sketches differ: as many as numbers of the tensors, if few of those differ."""
    differences = np.abs(after.bulk_sketch.astype(np.float64) - before.bulk_sketch)
    return int((differences > 0.1 * differences.max(initial=0.0)).sum())


def _narrow(trace: ForwardTrace) -> ForwardTrace:
    """A pass itself, with sketches as narrow as those beside a shadow are."""
    return trace.narrowed(NATIVE_WIDTH, WEIGHT_WIDTH)


def with_findings(verdict: Verdict, *findings: AnyFinding) -> Verdict:
    """A verdict with what else is to be said of it."""
    known = set(verdict.findings)
    return replace(verdict, findings=(*verdict.findings, *(f for f in findings if f not in known)))


def _with_shadow_distances(trace: ForwardTrace, shadow: ForwardTrace) -> ForwardTrace:
    """A pass whose tensors say how far they are from its shadow: that is what its precision does."""
    distances: dict[str, float] = {}
    counterparts = {(call.layer, call.index): call for call in shadow.calls}
    for call in trace.calls:
        counterpart = counterparts.get((call.layer, call.index))
        if counterpart is not None:
            for key, record in _pairs(call, counterpart, shadow.tensors):
                distances[key] = max(distances.get(key, 0.0), _distance(trace.tensors[key], record))
    tensors = {key: replace(record, shadow_distance=distances.get(key)) for key, record in trace.tensors.items()}
    return replace(trace, tensors=tensors)


def _bounded(actual: ForwardTrace, baseline: ForwardTrace) -> ForwardTrace:
    """A pass whose tensors are no further from its shadow than those of the baseline, but for other kernels.

    A fault of what the precision does is itself a distance from the shadow.
    """
    tensors = {}
    for key, record in actual.tensors.items():
        before = baseline.tensors.get(key)
        bound = 0.0 if before is None else _OTHER_KERNELS * (before.shadow_distance or 0.0)
        tensors[key] = replace(record, shadow_distance=min(record.shadow_distance or 0.0, bound))
    return replace(actual, tensors=tensors)


def _pairs(call: Call, shadow: Call, tensors: Mapping[str, TensorRecord]) -> list[tuple[str, TensorRecord]]:
    pairs = []
    for leaves, others in ((call.inputs, shadow.inputs), (call.outputs or {}, shadow.outputs or {})):
        for path, leaf in leaves.items():
            other = others.get(path)
            if leaf.tensor is not None and other is not None and other.tensor is not None:
                pairs.append((leaf.tensor, tensors[other.tensor]))
    return pairs


def _distance(record: TensorRecord, shadow: TensorRecord) -> float:
    narrow = shadow.narrowed(NATIVE_WIDTH)
    if record.shape != narrow.shape or record.bulk_sketch.size != narrow.bulk_sketch.size:
        return 0.0
    return relative_distance(narrow.bulk_sketch, record.bulk_sketch)
