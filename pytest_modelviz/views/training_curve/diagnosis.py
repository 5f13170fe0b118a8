"""Why two short trainings part: another model to begin with, or its loss, its gradient or its update.

Data and random numbers of a step cannot be seen from outside: where they may be the reason, no cause is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pytest_modelviz.compare.evidence import (
    changed_weights,
    configuration_findings,
    module_findings,
    structural_findings,
)
from pytest_modelviz.compare.naming import tie_findings, with_baseline_names
from pytest_modelviz.compare.ownership import first_changed_layer
from pytest_modelviz.compare.precision import is_exact
from pytest_modelviz.compare.tolerance import Tolerances, significant_weight_change
from pytest_modelviz.records.findings import (
    AnyFinding,
    AttributeFinding,
    ConstructionFinding,
    IncomparableStepsFinding,
    LayerFinding,
    ModuleFinding,
    Role,
    TiesFinding,
    WeightFinding,
)
from pytest_modelviz.records.structure import ATTRIBUTE_SUFFIX, ModelStructure, class_name_of
from pytest_modelviz.records.verdict import Divergence, Verdict
from pytest_modelviz.views.training_curve.curve_comparison import (
    DECAY,
    GRADIENT,
    SCALAR,
    UPDATE,
    CurveComparison,
    CurveDifference,
)
from pytest_modelviz.views.training_curve.findings import (
    CurveFinding,
    CurveRemark,
    Onset,
    OptimizerFinding,
    PartingFinding,
    Remark,
)
from pytest_modelviz.views.training_curve.records import Training

_MOST_MOVED = 3  # parameters named where only all updates together have parted
_AGREEING, _RENAMED, _ONCE = CurveRemark(Remark.AGREEING), CurveRemark(Remark.RENAMED), CurveRemark(Remark.ONCE)


def diagnose_scalars(comparison: CurveComparison, optimizers: Sequence[OptimizerFinding]) -> Verdict:
    """Give the verdict on trainings without a model, of which only scalars are compared.

    `optimizers` is what differs about the optimisers, where both trainings gave theirs: that alone is a drift.
    """
    worst = comparison.worst
    if not comparison.differences:
        if optimizers:
            return Verdict.drift(drifted=0, error=0.0, cause="computation", findings=(_AGREEING, *optimizers))
        return _agreement(comparison, 1)
    heading, differences = _heading(worst, known=False), list(map(_difference_finding, comparison.differences))
    findings: list[AnyFinding]
    cause: str | None
    if optimizers and worst.step:  # an optimiser has moved nothing before the first scalars
        findings, cause = [heading, *optimizers, *differences], "computation"
    else:
        findings, cause = [heading, *differences, _ONCE, *_also(optimizers)], None
    return Verdict.drift(error=worst.error, tolerance=worst.allowed, cause=cause, findings=findings)


def _agreement(comparison: CurveComparison, compared: int) -> Verdict:
    """A match, if all steps could be compared.

    From where two trainings are too far apart, by what rounding may do, nothing is known: that is no match.
    """
    error, allowed, steps = comparison.worst.error, comparison.worst.allowed, comparison.judged_steps
    if steps is None:
        return Verdict.match(compared=compared, error=error, tolerance=allowed)
    findings = [IncomparableStepsFinding(steps)]
    return Verdict.drift(compared=compared, drifted=0, error=error, tolerance=allowed, findings=findings)


class ModelDiagnosis:
    """What differs about the models at the beginning of both trainings, and what it explains of the drift.

    `optimizers` is what differs about the optimisers, where both trainings gave theirs: that alone is a drift.
    """

    def __init__(
        self,
        before: ModelStructure,
        after: ModelStructure,
        optimizers: Sequence[OptimizerFinding],
        tolerances: Tolerances,
    ) -> None:
        self._before = before
        self._optimizers = list(optimizers)
        self._after, self._renamed = with_baseline_names(before, after)
        self._tolerances = tolerances
        changed = changed_weights(before, self._after)
        self._weights = [
            WeightFinding(*key, error) for key, error in changed.items() if not key[1].endswith(ATTRIBUTE_SUFFIX)
        ]
        self._built: list[LayerFinding] = [
            *self._renamed,
            *module_findings(before, self._after),
            *tie_findings(before.ties, self._after.ties),
        ]
        configured = configuration_findings(before.modules, before, self._after)
        self._config = [finding for finding in configured if not isinstance(finding, AttributeFinding)]
        self._attributes = [finding for finding in configured if isinstance(finding, AttributeFinding)]

    def of_renamed_parameters(self, baseline: Training) -> Verdict:
        """The verdict on a model whose parameters have other names: their curves are not compared."""
        findings: list[AnyFinding] = [*self._built, *self._config] or [_RENAMED]
        return self._verdict(None, math.inf, 0.0, "architecture", findings, _layers(baseline.parameters))

    def of_curves(self, comparison: CurveComparison, baseline: Training, actual: Training) -> Verdict:
        """The verdict on two trainings of the same parameters, whose curves were compared."""
        compared = _layers(baseline.parameters)
        if not comparison.differences:
            return self._of_equal_curves(comparison, compared)
        lead, others = _lead(comparison, baseline, actual)
        cause, evidence = self._cause(lead)
        known = cause in ("architecture", "weights")
        differences = [_difference_finding(difference) for difference in others]
        # what was asked of the optimiser says more than any number, of which there may be many
        ordered = [*evidence, *differences] if evidence is self._optimizers else [*differences, *evidence]
        findings = [_heading(lead, known=known), *ordered]
        if cause is None:
            findings.append(_ONCE)
        named = {id(finding) for finding in evidence}
        everything = (*self._built, *self._config, *self._weights, *self._optimizers, *self._attributes)
        findings += _also([finding for finding in everything if id(finding) not in named])
        # an optimiser is no module: what it moves otherwise is the model itself, not the layer that shows it most
        layer = None if known else (_owner(lead.name) if lead.kind == GRADIENT else "")
        drifted = _layers(comparison.drifted) & compared
        return self._verdict(layer, lead.error, lead.allowed, cause, findings, compared, drifted)

    def _of_equal_curves(self, comparison: CurveComparison, compared: set[str]) -> Verdict:
        heavy = [finding for finding in self._weights if self._is_heavy(finding)]
        structural = [*self._renamed, *structural_findings(self._before, self._after)]
        if not heavy and not structural:
            if self._optimizers:
                findings = [_AGREEING, *self._optimizers]
                return self._verdict("", 0.0, 0.0, "computation", findings, compared, set())
            return _agreement(comparison, len(compared))
        error = max((finding.error for finding in heavy), default=0.0)
        allowed = self._significant(max(heavy, key=lambda finding: finding.error)) if heavy else 0.0
        cause = "weights" if heavy else "architecture"
        others = [*(structural if heavy else ()), *self._optimizers]
        findings = [_AGREEING, *(heavy or structural), *_also(others)]
        return self._verdict(None, error, allowed, cause, findings, compared, set())

    def _cause(self, lead: CurveDifference) -> tuple[str | None, Sequence[AnyFinding]]:
        """The cause and its evidence. An attribute is weak evidence, and none where all agrees up to the update."""
        moved = lead.kind in (UPDATE, DECAY)
        if moved and self._optimizers:
            return "computation", self._optimizers
        if self._built or self._config:
            return "architecture", [*self._built, *self._config]
        if self._weights:
            return "weights", self._weights
        if self._optimizers and lead.step:
            return "computation", self._optimizers
        if self._attributes and not moved:
            return "architecture", self._attributes
        if moved or (lead.kind == SCALAR and lead.step == 0):
            return "computation", []
        return ("gradient" if lead.kind == GRADIENT and lead.step == 0 else None), []

    def _verdict(
        self,
        layer: str | None,
        error: float,
        allowed: float,
        cause: str | None,
        findings: Sequence[AnyFinding],
        compared: set[str],
        drifted: set[str] | None = None,
    ) -> Verdict:
        """A drift, first at `layer` or, without one, where the model itself is another."""
        if layer is None:
            evidence = [f for f in findings if isinstance(f, LayerFinding) and f.role is Role.EVIDENCE]
            layer = next((f.layer for f in evidence if not isinstance(f, (CurveFinding, TiesFinding))), "")
            built = [f for f in evidence if isinstance(f, (ModuleFinding, ConstructionFinding))]
            built = [f for f in built if not isinstance(f, AttributeFinding)]
            layer = first_changed_layer(built, self._before, self._after) if built else layer
        old = next((rename.before for rename in self._renamed if rename.layer == layer), layer)
        class_name = class_name_of(old, self._before) or class_name_of(layer, self._after)
        first = Divergence(layer, class_name, 0, error, allowed)
        count = len(compared if drifted is None else drifted)
        return Verdict.drift(
            compared=len(compared),
            drifted=count,
            error=error,
            tolerance=allowed,
            first=first,
            cause=cause,
            findings=findings,
        )

    def _is_heavy(self, finding: WeightFinding) -> bool:
        record = self._before.weights[self._before.modules[finding.layer].weights[finding.name]]
        return not is_exact(record.dtype) and not finding.error <= self._significant(finding)

    def _significant(self, finding: WeightFinding) -> float:
        record = self._before.weights[self._before.modules[finding.layer].weights[finding.name]]
        return significant_weight_change(record.dtype, self._tolerances.of(finding.layer))


def _lead(
    comparison: CurveComparison, baseline: Training, actual: Training
) -> tuple[CurveDifference, list[CurveDifference]]:
    """The difference to name, and all to be listed, that one first.

    Of gradients it is the last parameter, which the backward pass reaches first; of updates the one that makes most of
    the difference.
    """
    differences, worst = list(comparison.differences), comparison.worst
    if worst.kind == SCALAR:
        return worst, differences
    if worst.kind == GRADIENT:
        lead = max(differences, key=lambda difference: baseline.parameters.index(difference.name))
        return lead, [lead, *(difference for difference in differences if difference is not lead)]
    named = [difference for difference in differences if difference.name] or _most_moved(worst, baseline, actual)
    together = [difference for difference in differences if not difference.name]
    return worst, [*together, *named]


def _most_moved(worst: CurveDifference, baseline: Training, actual: Training) -> list[CurveDifference]:
    """The parameters that make most of the difference between all updates of a step."""
    before, after = baseline.updates[worst.step], actual.updates[worst.step]
    with np.errstate(all="ignore"):
        share = np.abs(before**2 - after**2)
        if worst.kind == DECAY and baseline.moves is not None and actual.moves is not None:
            before, after = baseline.moves.along[worst.step], actual.moves.along[worst.step]
            share = np.abs(after - before) * baseline.moves.size[worst.step]
    share = np.nan_to_num(share)
    most = [int(at) for at in np.argsort(-share, kind="stable")[:_MOST_MOVED] if share[at] > 0]
    return [
        worst._replace(name=baseline.parameters[at], before=float(before[at]), after=float(after[at])) for at in most
    ]


def _layers(parameters: frozenset[str] | tuple[str, ...]) -> set[str]:
    return {_owner(name) for name in parameters}


def _owner(parameter: str) -> str:
    return parameter.rpartition(".")[0]


def _heading(lead: CurveDifference, *, known: bool) -> PartingFinding:
    """At which step the trainings part, and in what; `known` if the model itself is the reason."""
    onset = Onset.KNOWN if known else (Onset.START if lead.step == 0 else Onset.LATER)
    return PartingFinding(lead.kind, onset, lead.step)


def _difference_finding(difference: CurveDifference) -> CurveFinding:
    _, kind, name, before, after, _, _ = difference
    return CurveFinding("" if kind == SCALAR else _owner(name), kind, name, before, after)


def _also(findings: Sequence[AnyFinding]) -> list[AnyFinding]:
    """Findings that differ too, but are not the evidence."""
    return [replace(finding, role=Role.ALSO) for finding in findings]
