"""Two models' convolutions side by side: how they are built, then their weights. No pass is looked at."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from pytest_modelviz.compare.evidence import config_findings, module_findings
from pytest_modelviz.compare.naming import baseline_name, is_within, tie_findings, with_baseline_names
from pytest_modelviz.compare.ownership import first_changed_layer
from pytest_modelviz.compare.precision import is_exact
from pytest_modelviz.compare.tensors import difference, worst
from pytest_modelviz.compare.tolerance import Tolerances, significant_weight_change
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.verdict import Divergence, Finding, LayerError, Verdict

Containers = Mapping[str, str]  # class names of the modules that hold convolutions

# In coarse dtypes a hundred times what processors do to one seed is more than anybody calls the same weights.
_MOST_ALLOWED = 1e-2


def compare_kernels(
    baseline: ModelStructure,
    actual: ModelStructure,
    tolerances: Tolerances,
    broken: Sequence[Finding] = (),
    containers: tuple[Containers | None, Containers] = (None, MappingProxyType({})),
) -> Verdict:
    """Compare two models' convolutions. How the convolutions are built counts before what their weights are.

    `broken` are findings about kernels that are not finite, told of layers that drifted. `containers` are the modules
    that hold convolutions, in both models; None where a baseline does not tell. An attribute that `extra_repr` does not
    show may be mere state: it is told beside a drift and is none by itself.
    """
    known = (containers[0] or {}, containers[1]) if containers[0] is not None else ({}, {})
    before, after = (_tree(*pair) for pair in zip((baseline, actual), known, strict=True))
    after, renamed = with_baseline_names(before, after)
    kept = {baseline_name(name, renamed) for name in actual.modules}
    actual = replace(after, modules={name: one for name, one in after.modules.items() if name in kept})
    if containers[0] is None:  # those of the model now, if they hold what the baseline has
        names = [name for name in containers[1] if any(name == "" or is_within(one, name) for one in baseline.modules)]
        held = {name: containers[1][name] for name in names}
        before, after = _tree(baseline, held), _tree(actual, containers[1])
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
        first, cause = _first(structural, before, after), "architecture"
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


def _weights(
    baseline: ModelStructure, actual: ModelStructure, tolerances: Tolerances
) -> tuple[list[LayerError], list[Finding]]:
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


def _first(structural: Sequence[Finding], baseline: ModelStructure, actual: ModelStructure) -> Divergence:
    """The first layer that is built differently; ties and new names only for want of others."""
    own = [one for one in structural if one.kind not in ("renamed", "moved", "ties")]
    layer = first_changed_layer(own, baseline, actual) if own else structural[0].layer
    renamed = not own and structural[0].kind in ("renamed", "moved")
    module = baseline.modules.get(structural[0].before if renamed else layer) or actual.modules.get(layer)
    return Divergence(layer, module.class_name if module else "", 0, 0.0 if renamed else math.inf, 0.0)


def _tree(structure: ModelStructure, containers: Containers) -> ModelStructure:
    """The convolutions with the modules that hold them, parents first."""
    modules = {name: ModuleRecord(class_name, {}, {}) for name, class_name in containers.items()}
    order = _parents_first(structure.modules, modules)
    return replace(structure, modules={name: structure.modules.get(name) or modules[name] for name in order})


def _parents_first(names: Collection[str], containers: Collection[str]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        outer = ("", *(".".join(parts[:count]) for count in range(1, len(parts))))
        found.update(dict.fromkeys(one for one in outer if one in containers and one not in names))
        found[name] = None
    return list(found)
