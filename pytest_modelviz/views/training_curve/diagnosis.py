"""Why two short trainings part: another model to begin with, or its loss, its gradient or its update.

Data and random numbers of a step cannot be seen from outside: where they may be the reason, no cause is claimed.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from pytest_modelviz.compare.diagnosis import former_sketches, uncompared_parts
from pytest_modelviz.compare.evidence import (
    beside,
    changed_weights,
    configuration_findings,
    module_findings,
    significant_change,
    structural_findings,
)
from pytest_modelviz.compare.naming import tie_findings, with_baseline_names
from pytest_modelviz.compare.ownership import first_changed_layer
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records import findings as kinds
from pytest_modelviz.records.structure import ATTRIBUTE_SUFFIX, ModelStructure, class_name_of
from pytest_modelviz.records.verdict import Divergence, Verdict
from pytest_modelviz.views.training_curve.curve_comparison import CurveComparison
from pytest_modelviz.views.training_curve.curve_tables import DECAY, GRADIENT, SCALAR, UPDATE, CurveDifference
from pytest_modelviz.views.training_curve.findings import (
    CurveFinding,
    CurveRemark,
    Onset,
    OptimizerFinding,
    PartingFinding,
    Remark,
    UnsureUpdatesFinding,
)
from pytest_modelviz.views.training_curve.records import Training

_MOST_MOVED = 3  # parameters named where only all updates together have parted
_AGREEING, _RENAMED, _ONCE = CurveRemark(Remark.AGREEING), CurveRemark(Remark.RENAMED), CurveRemark(Remark.ONCE)


class TrainingDiagnosis:
    """What differs about two trainings at their beginning, and what that explains of the drift.

    `models` are those of the baseline and of the actual training, without modules where it was given none. `optimizers`
    is what differs about the optimisers, where both trainings gave theirs: that alone is a drift.
    """

    def __init__(
        self,
        baseline: Training,
        models: tuple[ModelStructure, ModelStructure],
        optimizers: list[OptimizerFinding],
        tolerances: Tolerances,
    ) -> None:
        before, after = models
        self._baseline, self._before, self._optimizers, self._tolerances = baseline, before, optimizers, tolerances
        self._compared = _layers(baseline.parameters) or {""}
        self._after, self._renamed = with_baseline_names(before, after)
        changed = changed_weights(before, self._after)
        self._weights = [
            kinds.WeightFinding(*key, error) for key, error in changed.items() if not key[1].endswith(ATTRIBUTE_SUFFIX)
        ]
        self._built: list[kinds.LayerFinding] = [
            *self._renamed,
            *module_findings(before, self._after),
            *tie_findings(before.ties, self._after.ties),
        ]
        configured = configuration_findings(before.modules, before, self._after)
        self._config = [finding for finding in configured if not isinstance(finding, kinds.AttributeFinding)]
        self._attributes = [finding for finding in configured if isinstance(finding, kinds.AttributeFinding)]

    def of_renamed_parameters(self) -> Verdict:
        """The verdict on a model whose parameters have other names: their curves are not compared."""
        findings: list[kinds.AnyFinding] = [*self._built, *self._config] or [_RENAMED]
        return self._verdict(None, math.inf, 0.0, "architecture", findings, self._compared)

    def of_curves(self, comparison: CurveComparison, actual: Training) -> Verdict:
        """The verdict on two trainings of the same parameters, whose curves were compared."""
        if not comparison.differences:
            return self._of_equal_curves(comparison)
        lead, others = _lead(comparison, self._baseline, actual)
        cause, evidence = self._cause(lead)
        known = cause in ("architecture", "weights")
        onset = Onset.KNOWN if known else (Onset.LATER if lead.step else Onset.START)
        differences = [_difference_finding(difference) for difference in others]
        # what was asked of the optimiser says more than any number, of which there may be many
        ordered = [*evidence, *differences] if evidence is self._optimizers else [*differences, *evidence]
        findings = [PartingFinding(lead.kind, onset, lead.step), *ordered]
        if cause is None:
            findings.append(_ONCE)
        everything = (*self._built, *self._config, *self._weights, *self._optimizers, *self._attributes)
        findings += beside(evidence, everything)
        # an optimiser is no module: what it moves otherwise is the model itself, not the layer that shows it most
        layer = None if known else (_owner(lead.name) if lead.kind == GRADIENT else "")
        drifted = _layers(comparison.drifted) if self._baseline.parameters else self._compared
        return self._verdict(layer, lead.error, lead.allowed, cause, findings, drifted)

    def _of_equal_curves(self, comparison: CurveComparison) -> Verdict:
        """A match if all steps could be compared, and if the models and optimisers are the same.

        From where two trainings are too far apart, by what rounding may do, nothing is known: that is no match.
        """
        heavy = [finding for finding in self._weights if not finding.error <= self._significant(finding)]
        evidence: dict[str, Sequence[kinds.AnyFinding]] = {
            "weights": heavy,
            "architecture": [*self._renamed, *structural_findings(self._before, self._after)],
            "computation": self._optimizers,
        }
        cause = next((cause for cause, findings in evidence.items() if findings), None)
        if cause is not None:
            others = [finding for found in evidence.values() for finding in found]
            findings = [_AGREEING, *evidence[cause], *beside(evidence[cause], others)]
            heaviest = max(heavy, key=lambda finding: finding.error, default=None)
            error, allowed = (0.0, 0.0) if heaviest is None else (heaviest.error, self._significant(heaviest))
            layer = "" if cause == "computation" else None
            return self._verdict(layer, error, allowed, cause, findings, set())
        error, allowed, steps = comparison.worst.error, comparison.worst.allowed, comparison.judged_steps
        count = len(self._compared)
        if steps is None:
            notes = [*uncompared_parts(self._before, self._after), *former_sketches(self._before.weights.values())]
            notes += [UnsureUpdatesFinding(comparison.unsure)] if comparison.unsure else []
            return Verdict.match(compared=count, error=error, tolerance=allowed, findings=notes)
        incomparable = [kinds.IncomparableStepsFinding(steps)]
        return Verdict.drift(compared=count, drifted=0, error=error, tolerance=allowed, findings=incomparable)

    def _cause(self, lead: CurveDifference) -> tuple[str | None, Sequence[kinds.AnyFinding]]:
        """The cause and its evidence. An attribute is weak evidence, and none where all agrees up to the update."""
        moved = lead.kind.stage == UPDATE
        if moved and self._optimizers:
            return "computation", self._optimizers
        if self._built or self._config:
            return "architecture", [*self._built, *self._config]
        if self._weights:
            return "weights", self._weights
        if self._optimizers and lead.step:  # an optimiser has moved nothing before the first scalars
            return "computation", self._optimizers
        if self._attributes and not moved:
            return "architecture", self._attributes
        if moved or (lead.kind == SCALAR and lead.step == 0 and self._before.modules):
            return "computation", []
        return ("gradient" if lead.kind == GRADIENT and lead.step == 0 else None), []

    def _verdict(
        self,
        layer: str | None,
        error: float,
        allowed: float,
        cause: str | None,
        findings: Sequence[kinds.AnyFinding],
        drifted: set[str],
    ) -> Verdict:
        """A drift, first at `layer` or, without one, where the model itself is another."""
        if layer is None:
            evidence = [f for f in findings if isinstance(f, kinds.LayerFinding) and f.role is kinds.Role.EVIDENCE]
            built = [f for f in evidence if isinstance(f, (kinds.ModuleFinding, kinds.ConstructionFinding))]
            built = [f for f in built if not isinstance(f, kinds.AttributeFinding)]
            layer = next((f.layer for f in evidence if not isinstance(f, (CurveFinding, kinds.TiesFinding))), "")
            layer = first_changed_layer(built, self._before, self._after) if built else layer
        old = next((rename.before for rename in self._renamed if rename.layer == layer), layer)
        class_name = class_name_of(old, self._before) or class_name_of(layer, self._after)
        return Verdict.drift(
            compared=len(self._compared),
            drifted=len(drifted & self._compared),
            error=error,
            tolerance=allowed,
            first=Divergence(layer, class_name, 0, error, allowed) if self._before.modules else None,
            cause=cause,
            findings=findings,
        )

    def _significant(self, finding: kinds.WeightFinding) -> float:
        record = self._before.weights[self._before.modules[finding.layer].weights[finding.name]]
        return significant_change(finding.name, record.dtype, self._tolerances.of(finding.layer))


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
        share = np.sqrt(np.abs(before - after)) * np.sqrt(before + after)
        if worst.kind == DECAY:
            before, after = baseline.along[worst.step], actual.along[worst.step]
            share = np.abs(after - before) * baseline.sizes[worst.step]
    share = np.nan_to_num(share)
    most = [int(at) for at in np.argsort(-share, kind="stable")[:_MOST_MOVED] if share[at] > 0]
    return [
        worst._replace(name=baseline.parameters[at], before=float(before[at]), after=float(after[at])) for at in most
    ]


def _layers(parameters: Iterable[str]) -> set[str]:
    return {_owner(name) for name in parameters}


def _owner(parameter: str) -> str:
    return parameter.rpartition(".")[0]


def _difference_finding(difference: CurveDifference) -> CurveFinding:
    _, kind, name, before, after, _, _ = difference
    return CurveFinding("" if kind == SCALAR else _owner(name), kind, name, before, after)
