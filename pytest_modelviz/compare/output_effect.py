"""What a drift does to the model's output: the first thing that whoever reviews it wants to know.

It decides nothing. Where two passes differ in their structure, and cannot be walked event by event, their outputs can
still be compared.
"""

from __future__ import annotations

import math
from dataclasses import replace

from pytest_modelviz.compare.reappearing import reappearance
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tensors import allowed_for, own_source, relative_distance, sketched_alike
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.effect import OutputEffect
from pytest_modelviz.records.findings import COMPUTED_IN, ModuleFinding, OrderFinding, RenameFinding
from pytest_modelviz.records.structure import WRITTEN
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.top_classes import top_class_changes, top_classes
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_arrays import is_of_pass
from pytest_modelviz.records.verdict import Verdict

# What says that two passes cannot be compared layer by layer: then what layers return is searched for by value.
_RESTRUCTURED = (OrderFinding, ModuleFinding, RenameFinding)


def with_output_effect(verdict: Verdict, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
    """A verdict on a drift with what that does to the model's output, where both captures hold a forward pass.

    Args:
        verdict: the verdict of a view.
        baseline: the stored capture.
        actual: the capture of this run.
        tolerances: those of the check.

    """
    if verdict.matched or not all(is_of_pass(capture.arrays) for capture in (baseline, actual)):
        return verdict
    try:
        before, after = (stored_trace(capture.arrays) for capture in (baseline, actual))
    except UnreadableBaselineError:  # of a view that has not looked at it
        return verdict
    effect = _effect(before, after, tolerances)
    if effect is None:
        return verdict
    known = [top_classes(capture.facts, effect.path) for capture in (baseline, actual)]
    old, new = known
    if old is not None and new is not None and len(old) == len(new):
        changes = top_class_changes(old, new)
        effect = replace(effect, samples=len(new), top1_changed=len(changes), changes=changes)
    if any(isinstance(finding, _RESTRUCTURED) for finding in verdict.findings):
        effect = replace(effect, reappearance=reappearance(before, after, tolerances))
    return replace(verdict, output=effect)


def _effect(baseline: ForwardTrace, actual: ForwardTrace, tolerances: Tolerances) -> OutputEffect | None:
    """The effect on the output that is furthest off for what is allowed; None where there is no tensor in both."""
    before, after = _outputs(baseline), _outputs(actual)
    pairs = [(path, before[path], after[path]) for path in before if path in after]
    if not pairs and len(before) == len(after) == 1:
        pairs = list(zip(before, before.values(), after.values(), strict=True))
    effects = [_effect_on(*pair, tolerances.of("")) for pair in pairs]
    return max(effects, key=_excess, default=None)


def _outputs(trace: ForwardTrace) -> dict[str, TensorRecord]:
    """The tensors that the model returns, by path, without those whose values are not known."""
    leaves = (trace.calls[0].outputs or {}) if trace.calls and trace.calls[0].layer == "" else {}
    return {
        path: trace.tensors[leaf.tensor]
        for path, leaf in leaves.items()
        if leaf.tensor is not None and path != COMPUTED_IN and not path.endswith(WRITTEN)
        if trace.tensors[leaf.tensor].sketch.size
    }


def _effect_on(path: str, baseline: TensorRecord, actual: TensorRecord, tolerances: Tolerances) -> OutputEffect:
    """The difference of two tensors as people see it: dtypes may differ, and no single number counts more."""
    baseline, actual = sketched_alike(baseline, actual)
    width = min(baseline.bulk_sketch.size, actual.bulk_sketch.size)
    before, after = (record.narrowed(width) for record in (baseline, actual))
    allowed = allowed_for(actual, own_source(actual), tolerances, baseline.noise)[0]
    comparable = before.numbers == after.numbers and before.bulk_sketch.size == after.bulk_sketch.size
    error = relative_distance(before.bulk_sketch, after.bulk_sketch) if comparable else math.inf
    return OutputEffect(error, allowed, path.lstrip("."))


def _excess(effect: OutputEffect) -> float:
    if effect.tolerance:
        return effect.error / effect.tolerance
    return math.inf if effect.error else 0.0
