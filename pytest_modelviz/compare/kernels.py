"""Two models' convolutions side by side: how they are built, then their weights. No pass is looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from pytest_modelviz.compare.evidence import config_findings, module_findings, under_old_names
from pytest_modelviz.compare.tensors import difference, worst
from pytest_modelviz.compare.tolerance import Tolerances, is_exact, significant_weight_change
from pytest_modelviz.compare.tree import natural, tie_findings
from pytest_modelviz.trace import Trace
from pytest_modelviz.verdict import Divergence, Finding, LayerError, Verdict

# In coarse dtypes a hundred times what processors do to one seed is more than anybody calls the same weights.
_MOST_ALLOWED = 1e-2


def compare_kernels(baseline: Trace, actual: Trace, tolerances: Tolerances, broken: Sequence[Finding] = ()) -> Verdict:
    """Compare two traces without calls. How the convolutions are built counts before what their weights are.

    `broken` are findings about kernels that are not finite, told of layers that drifted. An attribute that
    `extra_repr` does not show may be mere state: it is told beside a drift and is none by itself.
    """
    actual, renamed = under_old_names(baseline, actual)
    built = module_findings(baseline, actual)
    for name in baseline.modules:
        built += config_findings(name, baseline, actual)
    structural = [*(one for one in built if one.kind != "attribute")]
    structural = [*structural, *renamed, *tie_findings(baseline.ties, actual.ties)]
    layers, weights = _weights(baseline, actual, tolerances)
    drifted = {layer.layer: layer for layer in layers if layer.drifted}
    if not structural and not drifted:
        error = max((layer.error for layer in layers), default=0.0)
        allowed = max((layer.tolerance for layer in layers if layer.error == error), default=0.0)
        return Verdict(True, len(layers), 0, error, allowed, layers=tuple(layers))
    told = weights + [one for one in broken if one.layer in drifted]
    others = [one for one in built if one.kind == "attribute"]
    if structural:
        first, cause = _first(structural, baseline, actual), "architecture"
        told, others = structural, told + others
    else:
        where = next(iter(drifted.values()))
        class_name = baseline.modules[where.layer].class_name
        first, cause = Divergence(where.layer, class_name, 0, where.error, where.tolerance), "weights"
    touched = {one.layer for one in structural if one.layer and one.kind not in ("renamed", "moved")}
    return Verdict(
        matched=False,
        compared=len({*baseline.modules, *actual.modules}),
        drifted=len(touched | set(drifted)),
        error=first.error,
        tolerance=first.tolerance,
        first=first,
        cause=cause,
        findings=(*told, *(replace(one, kind=f"also:{one.kind}") for one in others)),
        layers=tuple(layers),
    )


def _weights(baseline: Trace, actual: Trace, tolerances: Tolerances) -> tuple[list[LayerError], list[Finding]]:
    """The error of every convolution that both have, by its worst weight, and a finding for each weight that drifted.

    Weights of another shape or dtype are no other weights but another architecture: they are left to that.
    """
    layers, findings = [], []
    for name, module in baseline.modules.items():
        if name not in actual.modules:
            continue
        errors: dict[str, tuple[float, float]] = {}
        for local, key in module.weights.items():
            before, after = baseline.weights[key], actual.weights.get(actual.modules[name].weights.get(local, ""))
            if after is None or (before.dtype, before.shape) != (after.dtype, after.shape):
                continue
            allowed = _allowed(before.dtype, tolerances.of(name))
            atol = tolerances.of(name).absolute
            errors[local] = difference(before, after, atol=atol, allowed=allowed), allowed
            if not errors[local][0] <= allowed:
                findings.append(Finding("weights", name, local, error=errors[local][0]))
        error, allowed, _ = worst(errors)
        layers.append(LayerError(name, 0, error, allowed))
    return layers, findings


def _allowed(dtype: str, tolerances: Tolerances) -> float:
    allowed = significant_weight_change(dtype, tolerances)
    own = max(_MOST_ALLOWED, tolerances.rtol or 0.0) * tolerances.scale
    return allowed if is_exact(dtype) else min(allowed, own)


def _first(structural: Sequence[Finding], baseline: Trace, actual: Trace) -> Divergence:
    """The first convolution, as people count, that is built differently; ties and new names only for want of others."""
    own = [one for one in structural if one.kind not in ("renamed", "moved", "ties")]
    chosen = min(own, key=lambda one: natural(one.layer)) if own else structural[0]
    names = (chosen.before, chosen.layer) if chosen.kind in ("renamed", "moved") else (chosen.layer,)
    modules = [baseline.modules.get(name) or actual.modules.get(name) for name in names]
    class_name = next((module.class_name for module in modules if module is not None), "")
    if not own and chosen.kind in ("renamed", "moved"):
        return Divergence(chosen.layer, class_name, 0, 0.0, 0.0)
    return Divergence(chosen.layer, class_name, 0, math.inf, 0.0)
