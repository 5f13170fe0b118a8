"""The verdict on two forward passes of a model: whether they differ and, if so, where first and why."""

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pytest_modelviz.compare.blame import assign_blame
from pytest_modelviz.compare.evidence import (
    WeightChanges,
    beside,
    changed_state,
    changed_weights,
    construction_changes,
    quantised_anew,
    significant_change,
    structural_findings,
)
from pytest_modelviz.compare.interchangeable_calls import in_order_of
from pytest_modelviz.compare.leaves import mismatch
from pytest_modelviz.compare.lockstep import ComparedEvent, LockstepComparison, event_key, executing_call
from pytest_modelviz.compare.naming import baseline_namer, tie_findings, with_baseline_names
from pytest_modelviz.compare.ownership import first_changed_layer
from pytest_modelviz.compare.precision import is_exact
from pytest_modelviz.compare.spread import drifted_layers
from pytest_modelviz.compare.tensors import difference, lacks_giants, without_unknown_giants
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import (
    COMPUTED_IN,
    AnyFinding,
    CodeFinding,
    DivergingEvent,
    EventFinding,
    FormerSketchFinding,
    LayerFinding,
    NoiseFinding,
    OrderFinding,
    OutputsFinding,
    QuantisedAnewFinding,
    RenameFinding,
    Role,
    UncomparedFinding,
    UnrecordedPartsFinding,
    UnstatedFinding,
    WeightFinding,
)
from pytest_modelviz.records.structure import LENT, SIDE_EFFECTS, ModelStructure, class_name_of
from pytest_modelviz.records.tensors import INTEGERS, TensorRecord
from pytest_modelviz.records.trace import Event, ForwardTrace
from pytest_modelviz.records.verdict import Divergence, LayerError, Verdict

_UNSTATED_INTEGERS = UnstatedFinding("where its integers are")
_UNSTATED_NUMBERS = UnstatedFinding("what a weight holds beside a few numbers that are far larger")
_EQUAL_PASSES = EventFinding("", DivergingEvent.NONE)


def compare_traces(baseline: ForwardTrace, actual: ForwardTrace, tolerances: Tolerances) -> Verdict:
    """Compare two passes of a model.

    Args:
        baseline: the recorded pass.
        actual: the pass of this run; its modules may have other names.
        tolerances: what is allowed.

    Returns:
        A match, or a drift with the layer that caused it, the cause and the evidence.

    """
    actual, renamed = _with_baseline_names(baseline, actual)
    actual = in_order_of(baseline, actual)
    comparison = LockstepComparison(baseline, actual, tolerances, renamed)
    comparison.run()
    changed = changed_weights(*comparison.structures)
    if comparison.first is not None:
        verdict = _drift(comparison, comparison.first, changed)
    else:
        verdict = _verdict_on_equal_passes(comparison, changed)
    if not renamed:
        return verdict
    if verdict.matched:
        return _renamed_only(verdict, actual, renamed)
    return replace(verdict, findings=(*verdict.findings, *beside(verdict.findings, renamed)))


def _with_baseline_names(baseline: ForwardTrace, actual: ForwardTrace) -> tuple[ForwardTrace, list[RenameFinding]]:
    structure, renamed = with_baseline_names(baseline.structure, actual.structure)
    if not renamed:
        return actual, renamed
    baseline_name = functools.cache(baseline_namer(renamed))
    calls = [replace(call, layer=baseline_name(call.layer)) for call in actual.calls]
    return replace(actual, structure=structure, calls=calls), renamed


def _drift(comparison: LockstepComparison, first: ComparedEvent, changed: WeightChanges) -> Verdict:
    revealed_by, suspect, index, cause, evidence = assign_blame(comparison, first, changed)
    event, error, allowed, path = revealed_by[:4]
    layers = {call.layer for call in comparison.baseline.calls} - comparison.skipped_containers
    is_input = event.kind == "enter" and event.parent is None
    kind = DivergingEvent.INPUT if is_input else DivergingEvent(event.kind)
    before, after = ("", "") if math.isfinite(error) else _mismatch(comparison, event, path)
    findings: list[AnyFinding] = [EventFinding(event.call.layer, kind, path, before, after, error), *evidence]
    findings += _noise(comparison, first)
    if cause == "computation" and event.kind != "order":  # between which calls of the suspect, if it calls any
        following = event.call.layer if event.kind == "enter" else ""
        last = "" if path == COMPUTED_IN else revealed_by.last_callee or ""  # it may compute so anywhere
        findings.append(CodeFinding(executing_call(event).layer, last, following))
    if comparison.order_divergence is not None:
        old, new = ((step.kind, step.call.layer) if step else None for step in comparison.order_divergence)
        findings.append(OrderFinding(old, new, first.event.kind != "order"))
    if comparison.drifted_outputs is not None:
        outputs = (comparison.baseline.calls[0].outputs or {}).keys() - {COMPUTED_IN}
        drifted = tuple(path or "output" for path in comparison.drifted_outputs if path != COMPUTED_IN)
        findings.append(OutputsFinding(len(outputs), drifted))
    findings += _other_findings(comparison, changed, evidence)
    return Verdict.drift(
        compared=len(layers),
        drifted=len(layers & drifted_layers(comparison)),
        error=first.error,
        tolerance=first.allowed,
        first=Divergence(suspect, class_name_of(suspect, *comparison.structures), index, error, allowed),
        cause=cause,
        findings=findings,
        layers=comparison.layers,
    )


def _noise(comparison: LockstepComparison, first: ComparedEvent) -> list[NoiseFinding]:
    """How far rounding takes what differs first, if that was measured."""
    leaf = first.event.leaves.get(first.path)
    noise = None if leaf is None or leaf.tensor is None else comparison.baseline.tensors[leaf.tensor].noise
    if not noise or not math.isfinite(first.error) or not noise < first.allowed:
        return []  # nothing was allowed by it
    return [NoiseFinding(first.event.call.layer, noise, role=Role.ALSO)]


def _renamed_only(verdict: Verdict, actual: ForwardTrace, renamed: list[RenameFinding]) -> Verdict:
    """A drift although every number agrees: checkpoints and layer names no longer fit this model."""
    module = actual.modules[renamed[0].before]
    first = Divergence(renamed[0].layer, module.class_name, 0, 0.0, 0.0)
    findings = (_EQUAL_PASSES, *renamed)
    return replace(verdict, matched=False, tolerance=0.0, first=first, cause="architecture", findings=findings)


def _verdict_on_equal_passes(comparison: LockstepComparison, changed: WeightChanges) -> Verdict:
    """The verdict where all events agree: a match, unless a parameter changed a lot or the model is built differently.

    Such a change is a drift although no output shows it.
    """
    baseline, structures = comparison.baseline, comparison.structures
    count = len({call.layer for call in baseline.calls})
    former = former_sketches((*baseline.tensors.values(), *baseline.weights.values()))
    significant = _significant_changes(comparison, changed)
    built = structural_findings(*structures)
    if not significant and not built:
        worst = max(comparison.layers, key=lambda layer: layer.error, default=LayerError("", 0, 0.0, 0.0))
        return Verdict.match(
            compared=count,
            error=worst.error,
            tolerance=worst.tolerance,
            findings=[*_uncompared(comparison), *former],
            layers=comparison.layers,
        )
    if significant:
        owner, local = max(significant, key=lambda key: significant[key])
        dtype = baseline.weights[baseline.modules[owner].weights[local]].dtype
        allowed = significant_change(local, dtype, comparison.tolerances.of(owner))
        error, cause = significant[owner, local], "weights"
    else:
        owner, error, allowed = first_changed_layer(built, *structures, passes_agree=True), math.inf, 0.0
        cause = "architecture"
    weights = [WeightFinding(*key, size) for key, size in significant.items()]
    first = Divergence(owner, class_name_of(owner, *structures), 0, error, allowed)
    return Verdict.drift(
        compared=count,
        drifted=0,
        error=error,
        tolerance=allowed,
        first=first,
        cause=cause,
        findings=(_EQUAL_PASSES, *weights, *built),
        layers=comparison.layers,
    )


def _significant_changes(comparison: LockstepComparison, changed: WeightChanges) -> WeightChanges:
    """The parameters that changed by more than the same seed differs between processors."""
    baseline, actual = comparison.baseline, comparison.actual
    significant = {}
    for name, local in changed:
        before = baseline.weights[baseline.modules[name].weights[local]]
        after = actual.weights[actual.modules[name].weights[local]]
        own = comparison.tolerances.of(name)
        allowed = significant_change(local, before.dtype, own)
        atol = 0.0 if is_exact(before.dtype) else own.absolute
        error = difference(before, without_unknown_giants(before, after), atol=atol, allowed=allowed)
        if not error <= allowed:
            significant[name, local] = error
    return significant


def _uncompared(comparison: LockstepComparison) -> list[AnyFinding]:
    """What differs, or is missing, and was not compared because of what the baseline says about it."""
    baseline, actual = comparison.baseline, comparison.actual
    differing = set(changed_state(*comparison.structures))
    claimed: set[tuple[str, str]] = set()
    for name in baseline.modules.keys() & actual.modules.keys():
        before, after = baseline.modules[name], actual.modules[name]
        differing.update((name, local) for local in after.weights.keys() - before.weights.keys())
        claimed.update((name, local) for local in after.state(before) - after.rewritten)
    buffers = [UncomparedFinding(name, f"buffer {local}") for name, local in sorted(differing & claimed)]
    lent = {call.layer for call in baseline.calls if id(call) in comparison.lent_calls}
    lent_findings = [UncomparedFinding(name, f"weights{LENT}") for name in sorted(lent)]
    unstated: list[AnyFinding] = []
    if _states_side_effects(actual) and not _states_side_effects(baseline):  # whatever the actual pass writes
        unstated.append(UnstatedFinding("what the model writes into its arguments, and what it returns empty"))
    unstated += [_UNSTATED_INTEGERS] if comparison.lacks_integers else []
    return [*buffers, *lent_findings, *unstated, *uncompared_parts(*comparison.structures)]


def _states_side_effects(trace: ForwardTrace) -> bool:
    """Whether a pass says what the model writes into its arguments, and what it returns empty."""
    root = trace.modules.get("")
    return bool(trace.calls) and root is not None and SIDE_EFFECTS in root.config


def uncompared_parts(baseline: ModelStructure, actual: ModelStructure) -> list[AnyFinding]:
    """What to say of a match if parts of quantised weights were not compared, or not exactly."""
    known = {name for name, module in baseline.modules.items() if module.has_integers}
    without = [name for name, module in actual.modules.items() if module.has_integers and name not in known]
    anew = quantised_anew(baseline, actual)
    findings: list[AnyFinding] = [UnrecordedPartsFinding(len(without))] if without else []
    findings += [QuantisedAnewFinding(len(anew))] if anew else []
    pairs = list(_weight_pairs(baseline, actual))
    findings += [_UNSTATED_INTEGERS] if any(_lacks_integers(*pair) for pair in pairs) else []
    return [*findings, *([_UNSTATED_NUMBERS] if any(lacks_giants(*pair) for pair in pairs) else [])]


def _weight_pairs(baseline: ModelStructure, actual: ModelStructure) -> Iterator[tuple[TensorRecord, TensorRecord]]:
    """The weights that both models have."""
    for name, module in actual.modules.items():
        known = baseline.modules[name].weights if name in baseline.modules else {}
        for local, key in module.weights.items():
            if local in known:
                yield baseline.weights[known[local]], actual.weights[key]


def _lacks_integers(baseline: TensorRecord, actual: TensorRecord) -> bool:
    """Whether the integers of a weight were compared by sums alone."""
    is_known = INTEGERS in baseline.value_fingerprints or not baseline.sketch.size
    return INTEGERS in actual.value_fingerprints and not is_known


def former_sketches(baseline: Iterable[TensorRecord]) -> list[FormerSketchFinding]:
    """What to say of a match if some of the baseline's sketches are of an earlier version."""
    return [FormerSketchFinding()] if any(record.is_of_earlier_version for record in baseline) else []


def _mismatch(comparison: LockstepComparison, event: Event, path: str) -> tuple[str, str]:
    for actual in comparison.actual.events():
        if event.kind != "order" and event_key(actual) == event_key(event):
            before, after = event.leaves.get(path), actual.leaves.get(path)
            return mismatch(before, after, comparison.baseline.tensors, comparison.actual.tensors)
    return "", ""


def _other_findings(
    comparison: LockstepComparison, changed: WeightChanges, evidence: Sequence[LayerFinding]
) -> list[LayerFinding]:
    """What else differs, beyond the evidence against the suspect."""
    baseline, actual = comparison.structures
    weights = {**changed, **changed_state(baseline, actual)}
    others = construction_changes(baseline, actual)
    others += [WeightFinding(*key, error) for key, error in weights.items()]
    others += tie_findings(baseline.ties, actual.ties)
    return beside(evidence, others)
