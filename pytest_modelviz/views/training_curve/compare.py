"""Whether two short trainings part, and if so why: another model to begin with, or its loss, gradient or update.

Data and random numbers of a step cannot be seen from outside: where they may be the reason, no cause is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pytest_modelviz.compare.evidence import changed_weights, config_findings, module_findings
from pytest_modelviz.compare.naming import tie_findings, with_baseline_names
from pytest_modelviz.compare.ownership import first_changed_layer
from pytest_modelviz.compare.precision import is_exact
from pytest_modelviz.compare.tolerance import Tolerances, significant_weight_change
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.structure import ATTRIBUTE_SUFFIX, ModelStructure
from pytest_modelviz.records.verdict import Divergence, Finding, Verdict
from pytest_modelviz.views.training_curve.curves import DECAY, GRADIENT, SCALAR, UPDATE, Part, Parting, part
from pytest_modelviz.views.training_curve.records import Training

_MOST_MOVED = 3  # parameters named where only all updates together have parted


def compare_training(
    baseline: Training,
    actual: Training,
    before: ModelStructure | None,
    after: ModelStructure | None,
    optimizers: Sequence[Finding] = (),
    *,
    dtype: str,
    tolerances: Tolerances,
) -> Verdict:
    """Compare two trainings; `before` and `after` are the models they began with, if any was given.

    `optimizers` is what differs about the optimisers, where both trainings gave theirs: that alone is a drift. `dtype`
    is the coarsest that took part.
    """
    asked = _asked(baseline, actual)
    if asked:
        return Verdict(False, 1, 1, math.inf, 0.0, findings=tuple(asked))
    if before is None or after is None:
        return _of_scalars(part(baseline, actual, dtype, tolerances), optimizers)
    model = _Model(before, after, optimizers, tolerances)
    if set(baseline.parameters) != set(actual.parameters):
        return model.other_parameters(baseline, actual)
    actual = actual.in_order_of(baseline.parameters)
    if baseline.moves is None:
        raise UnreadableBaselineError(
            "it does not say how its steps moved each parameter: an earlier version recorded it, or something was cut "
            "out of it. Record it anew"
        )
    return model.verdict(part(baseline, actual, dtype, tolerances), baseline, actual)


def _asked(baseline: Training, actual: Training) -> list[Finding]:
    """What makes it another training altogether."""
    told = [
        ("steps", str(baseline.steps), str(actual.steps)),
        ("scalars", ", ".join(sorted(baseline.scalars)), ", ".join(sorted(actual.scalars))),
        ("model", *("given" if one.parameters else "not given" for one in (baseline, actual))),
    ]
    return [Finding(kind, what=kind, before=one, after=other) for kind, one, other in told if one != other]


def _of_scalars(parting: Parting, optimizers: Sequence[Finding]) -> Verdict:
    worst = parting.worst
    if not parting.parts:
        if optimizers:
            return Verdict(False, 1, 0, 0.0, 0.0, None, "computation", (Finding("curve:none"), *optimizers))
        return _agreeing(parting, 1)
    findings = [_heading(worst, known=False), *(_told(one) for one in parting.parts)]
    if optimizers and worst.step:  # it has moved nothing before the first scalars
        said = (findings[0], *optimizers, *findings[1:])
        return Verdict(False, 1, 1, worst.error, worst.allowed, None, "computation", said)
    also = [replace(one, kind=f"also:{one.kind}") for one in optimizers]
    return Verdict(False, 1, 1, worst.error, worst.allowed, findings=(*findings, Finding("curve:once"), *also))


def _agreeing(parting: Parting, compared: int) -> Verdict:
    """A match, if all steps could be compared.

    From where two trainings are too far apart, by what rounding may do, nothing is known: that is no match.
    """
    error, allowed = parting.worst.error, parting.worst.allowed
    if parting.judged is None:
        return Verdict(True, compared, 0, error, allowed)
    return Verdict(False, compared, 0, error, allowed, findings=(Finding("curve:unjudged", what=str(parting.judged)),))


class _Model:
    """What is known about the model at the beginning of both trainings."""

    def __init__(
        self, before: ModelStructure, after: ModelStructure, optimizers: Sequence[Finding], tolerances: Tolerances
    ) -> None:
        self._before = before
        self._optimizers = list(optimizers)
        self._after, self._renamed = with_baseline_names(before, after)
        self._tolerances = tolerances
        changed = changed_weights(before, self._after)
        self._weights = [
            Finding("weights", *key, error=error)
            for key, error in changed.items()
            if not key[1].endswith(ATTRIBUTE_SUFFIX)
        ]
        self._built = [
            *self._renamed,
            *module_findings(before, self._after),
            *tie_findings(before.ties, self._after.ties),
        ]
        configured = [one for name in before.modules for one in config_findings(name, before, self._after)]
        self._config = [one for one in configured if one.kind != "attribute"]
        self._attributes = [one for one in configured if one.kind == "attribute"]

    def other_parameters(self, baseline: Training, actual: Training) -> Verdict:
        """The verdict on a model whose parameters have other names: their curves are not compared."""
        findings = [*self._built, *self._config]
        return self._verdict(
            None, math.inf, 0.0, "architecture", findings or [Finding("curve:names")], _layers(baseline.parameters)
        )

    def verdict(self, parting: Parting, baseline: Training, actual: Training) -> Verdict:
        compared = _layers(baseline.parameters)
        if not parting.parts:
            heavy = [one for one in self._weights if self._is_heavy(one)]
            if not heavy and not self._built and self._optimizers:
                findings = [Finding("curve:none"), *self._optimizers]
                return self._verdict("", 0.0, 0.0, "computation", findings, compared, set())
            if not heavy and not self._built:
                return _agreeing(parting, len(compared))
            error = max((one.error for one in heavy), default=0.0)
            allowed = self._significant(max(heavy, key=lambda one: one.error)) if heavy else 0.0
            reason = "weights" if heavy else "architecture"
            also = [replace(one, kind=f"also:{one.kind}") for one in self._optimizers]
            findings = [Finding("curve:none"), *(heavy or self._built), *also]
            return self._verdict(None, error, allowed, reason, findings, compared, set())
        lead, others = _lead(parting, baseline, actual)
        cause, evidence = self._cause(lead)
        known = cause in ("architecture", "weights")
        parts = [_told(one) for one in others]
        # what was asked of the optimiser says more than any number, of which there may be many
        said = [*evidence, *parts] if evidence is self._optimizers else [*parts, *evidence]
        findings = [_heading(lead, known=known), *said]
        if cause is None:
            findings.append(Finding("curve:once"))
        told = {id(one) for one in evidence}
        everything = (*self._built, *self._config, *self._weights, *self._optimizers, *self._attributes)
        findings += [replace(one, kind=f"also:{one.kind}") for one in everything if id(one) not in told]
        # an optimiser is no module: what it moves otherwise is the model itself, not the layer that shows it most
        layer = None if known else (_owner(lead.name) if lead.kind == GRADIENT else "")
        drifted = _layers(parting.parameters) & compared
        return self._verdict(layer, lead.error, lead.allowed, cause, findings, compared, drifted)

    def _cause(self, lead: Part) -> tuple[str | None, list[Finding]]:
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
        findings: list[Finding],
        compared: set[str],
        drifted: set[str] | None = None,
    ) -> Verdict:
        """A drift, first at `layer` or, without one, where the model itself is another."""
        if layer is None:
            layer = next((one.layer or one.after for one in findings if one.kind in _OF_MODEL), "")
            built = [one for one in findings if one.kind in _BUILT]
            layer = first_changed_layer(built, self._before, self._after) if built else layer
        old = next((one.before for one in self._renamed if one.after == layer), layer)
        module = self._before.modules.get(old) or self._after.modules.get(layer)
        class_name = module.class_name if module else ""
        first = Divergence(layer, class_name, 0, error, allowed)
        count = len(compared if drifted is None else drifted)
        return Verdict(False, len(compared), count, error, allowed, first, cause, tuple(findings))

    def _is_heavy(self, finding: Finding) -> bool:
        record = self._before.weights[self._before.modules[finding.layer].weights[finding.what]]
        return not is_exact(record.dtype) and not finding.error <= self._significant(finding)

    def _significant(self, finding: Finding) -> float:
        record = self._before.weights[self._before.modules[finding.layer].weights[finding.what]]
        return significant_weight_change(record.dtype, self._tolerances.of(finding.layer))


_BUILT = ("removed", "added", "class", "config", "shape")
_OF_MODEL = ("removed", "added", "renamed", "moved", "class", "config", "shape", "weights", "attribute")


def _lead(parting: Parting, baseline: Training, actual: Training) -> tuple[Part, list[Part]]:
    """The part to name, and all to be told, that one first.

    Of gradients it is the last parameter, which the backward pass reaches first; of updates the one that makes most of
    the difference.
    """
    parts = list(parting.parts)
    if parting.worst.kind == SCALAR:
        return parting.worst, parts
    if parting.worst.kind == GRADIENT:
        lead = max(parts, key=lambda one: baseline.parameters.index(one.name))
        return lead, [lead, *(one for one in parts if one is not lead)]
    named = [one for one in parts if one.name] or _most_moved(parting.worst, baseline, actual)
    together = [one for one in parts if not one.name]
    return parting.worst, [*together, *named]


def _most_moved(worst: Part, baseline: Training, actual: Training) -> list[Part]:
    """The parameters that make most of the difference between all updates of a step."""
    moved, moves = baseline.updates[worst.step], actual.updates[worst.step]
    with np.errstate(all="ignore"):
        share = np.abs(moved**2 - moves**2)
        if worst.kind == DECAY and baseline.moves is not None and actual.moves is not None:
            moved, moves = baseline.moves.along[worst.step], actual.moves.along[worst.step]
            share = np.abs(moves - moved) * baseline.moves.size[worst.step]
    share = np.nan_to_num(share)
    most = [int(at) for at in np.argsort(-share, kind="stable")[:_MOST_MOVED] if share[at] > 0]
    return [
        worst._replace(name=baseline.parameters[at], before=float(moved[at]), after=float(moves[at])) for at in most
    ]


def _layers(parameters: frozenset[str] | tuple[str, ...]) -> set[str]:
    return {_owner(name) for name in parameters}


def _owner(parameter: str) -> str:
    return parameter.rpartition(".")[0]


def _heading(lead: Part, *, known: bool) -> Finding:
    """At which step what parted; `known` if the model itself is the reason."""
    when = "known" if known else ("start" if lead.step == 0 else "later")
    return Finding(f"curve:{UPDATE if lead.kind == DECAY else lead.kind}:{when}", what=str(lead.step))


def _told(one: Part) -> Finding:
    """A part with its numbers, and the change from the first to the second as a part of the first."""
    kind = f"{one.kind}s" if one.kind in (UPDATE, DECAY) and not one.name else one.kind
    layer = "" if one.kind == SCALAR else _owner(one.name)
    with np.errstate(all="ignore"):
        change = float((np.float64(one.after) - one.before) / np.abs(np.float64(one.before)))
    return Finding(f"parted:{kind}", layer, one.name, f"{one.before:.6g}", f"{one.after:.6g}", change)
