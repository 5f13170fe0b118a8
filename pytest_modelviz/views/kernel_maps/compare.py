"""Two models' convolutions side by side: how they are built, then their weights. No pass is looked at, nor torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_modelviz.compare.diagnosis import former_sketches, uncompared_parts
from pytest_modelviz.compare.evidence import beside, changed_weights, construction_changes
from pytest_modelviz.compare.leaves import worst
from pytest_modelviz.compare.naming import baseline_namer, is_within, tie_findings, with_baseline_names
from pytest_modelviz.compare.ownership import first_changed_layer
from pytest_modelviz.compare.precision import is_quantised
from pytest_modelviz.compare.readable import contradiction, require_rows
from pytest_modelviz.compare.stored import trace_pair
from pytest_modelviz.compare.tensors import difference, without_unknown_giants
from pytest_modelviz.compare.tolerance import Tolerances, significant_weight_change
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records import findings as kinds
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.facts import number, rows
from pytest_modelviz.records.structure import (
    QUANTISED_INTEGERS,
    ModelStructure,
    ModuleRecord,
    class_name_of,
    require_recordable,
)
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.verdict import Divergence, LayerError, Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL, enclosing
from pytest_modelviz.text.strict_json import JsonObject, JsonValue

Containers = Mapping[str, str]  # class names of the modules that hold convolutions

# In coarse dtypes a hundred times what processors do to one seed is more than anybody calls the same weights.
_MOST_ALLOWED = 1e-2
_COMPARED = ("class", "weight", "bias")  # of a row
_ROUNDED = 2e-2  # what two numbers may differ by that a text writes with three digits
_SKETCHED = 2.0  # so much more than its sketch says a difference may be


class BrokenKernelsFinding(kinds.ChangeFinding):
    """Another number of a layer's kernels has values that are not finite."""


def compare(baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
    """Compare two captures of `kernel_maps`. How the convolutions are built counts before what their weights are.

    Raises UnreadableBaselineError for a damaged baseline, or one whose text says another thing than its arrays.
    """
    traces = trace_pair(baseline.arrays, actual.arrays, tolerances.ignored)
    old, new = (trace.structure for trace in traces)
    requested = [_requested(capture.facts.get("asked")) for capture in (baseline, actual)]
    if requested[0] != requested[1]:
        finding = kinds.RequestFinding("", "layers", *requested)
        return Verdict.drift(compared=len(new.modules), drifted=0, findings=[finding])
    _require_rows(baseline, old)
    # trees are convolutions with the modules that hold them, as far as both captures say which those are
    old_containers, new_containers = _containers(baseline, old), _containers(actual, new) or {}
    known = ({}, {}) if old_containers is None else (old_containers, new_containers)
    old_tree, new_tree = _tree(old, known[0]), _tree(new, known[1])
    new_tree, renamed = with_baseline_names(old_tree, new_tree)
    names = set(map(baseline_namer(renamed), new.modules))
    new = replace(new_tree, modules={name: module for name, module in new_tree.modules.items() if name in names})
    if old_containers is None:  # those of the model now, if they hold what the baseline has
        outer = {
            outer: class_name
            for outer, class_name in new_containers.items()
            if outer == "" or any(is_within(name, outer) for name in old.modules)
        }
        old_tree, new_tree = _tree(old, outer), _tree(new, new_containers)
    built = construction_changes(old, new)
    # an attribute that `extra_repr` does not show may be mere state: reported beside a drift, and none by itself
    attributes = [finding for finding in built if isinstance(finding, kinds.AttributeFinding)]
    structural = [finding for finding in built if not isinstance(finding, kinds.AttributeFinding)]
    structural += [*renamed, *tie_findings(old.ties, new.ties)]
    layers, weights = _weights(old, new, tolerances)
    drifted = {layer.layer: layer for layer in layers if layer.drifted}
    if not structural and not drifted:
        error = max((layer.error for layer in layers), default=0.0)
        allowed = max((layer.tolerance for layer in layers if layer.error == error), default=0.0)
        before, after = (rows(capture.facts, "layers") for capture in (baseline, actual))
        for name, module in new.modules.items():
            if "weight" in module.weights:
                weight = new.weights[module.weights["weight"]]
                _require_numbers(name, before[name], after[name], weight, tolerances.of(name))
        findings = [*uncompared_parts(old, new), *former_sketches(old.weights.values())]
        return Verdict.match(compared=len(layers), error=error, tolerance=allowed, findings=findings, layers=layers)
    evidence: list[kinds.LayerFinding] = [
        *weights,
        *(finding for finding in _broken(baseline, actual) if finding.layer in drifted),
    ]
    others: list[kinds.LayerFinding] = [*attributes]
    if structural:
        first, cause = _first(structural, old_tree, new_tree), "architecture"
        evidence, others = structural, [*evidence, *attributes]
    else:
        drift = next(iter(drifted.values()))
        class_name = old.modules[drift.layer].class_name
        first, cause = Divergence(drift.layer, class_name, 0, drift.error, drift.tolerance), "weights"
    touched = {found.layer for found in structural if found.layer and not isinstance(found, kinds.RenameFinding)}
    return Verdict.drift(
        compared=len({*old.modules, *new.modules}),
        drifted=len(touched | set(drifted)),
        error=first.error,
        tolerance=first.tolerance,
        first=first,
        cause=cause,
        findings=(*evidence, *beside(evidence, others)),
        layers=layers,
    )


def _weights(
    baseline: ModelStructure, actual: ModelStructure, tolerances: Tolerances
) -> tuple[list[LayerError], list[kinds.WeightFinding]]:
    """The error of every convolution that both have, by its worst weight, and a finding for each weight that drifted.

    Weights of another shape or dtype are no other weights but another architecture: they are left to that.
    """
    layers: list[LayerError] = []
    findings: list[kinds.WeightFinding] = []
    changed = changed_weights(baseline, actual)
    for name, module in baseline.modules.items():
        if name not in actual.modules:
            continue
        errors: dict[str, tuple[float, float]] = {}
        for local, key in module.weights.items():
            before, after = baseline.weights[key], actual.weights.get(actual.modules[name].weights.get(local, ""))
            if after is None or (before.dtype, before.shape) != (after.dtype, after.shape):
                continue
            allowed = _allowed(before.dtype, tolerances.of(name))
            is_stored_so = is_quantised(before.dtype) or local.endswith(QUANTISED_INTEGERS)
            if is_stored_so and (name, local) not in changed:  # another part explains it, or it was quantised anew
                continue
            atol = tolerances.of(name).absolute
            after = without_unknown_giants(before, after)
            errors[local] = difference(before, after, atol=atol, allowed=allowed), allowed
            if not errors[local][0] <= allowed:
                findings.append(kinds.WeightFinding(name, local, errors[local][0]))
        error, allowed, _ = worst(errors)
        layers.append(LayerError(name, 0, error, allowed))
    return layers, findings


def _allowed(dtype: str, tolerances: Tolerances) -> float:
    most = max(_MOST_ALLOWED, tolerances.rtol or 0.0) * tolerances.scale
    return min(significant_weight_change(dtype, tolerances), most)


def _first(structural: Sequence[kinds.LayerFinding], baseline: ModelStructure, actual: ModelStructure) -> Divergence:
    """The first layer that is built differently; ties and new names only for want of others."""
    own = [finding for finding in structural if not isinstance(finding, (kinds.RenameFinding, kinds.TiesFinding))]
    layer = first_changed_layer(own, baseline, actual) if own else structural[0].layer
    renamed = structural[0] if not own and isinstance(structural[0], kinds.RenameFinding) else None
    if renamed is not None:
        class_name = class_name_of(renamed.before, baseline) or class_name_of(layer, actual)
        return Divergence(layer, class_name, 0, 0.0, 0.0)
    return Divergence(layer, class_name_of(layer, baseline, actual), 0, math.inf, 0.0)


def _tree(structure: ModelStructure, containers: Containers) -> ModelStructure:
    """The convolutions with the modules that hold them, parents first."""
    modules: dict[str, ModuleRecord] = {}
    for name, convolution in structure.modules.items():
        for outer in enclosing(name):
            if outer in containers and outer not in structure.modules:
                modules.setdefault(outer, ModuleRecord(containers[outer], {}, {}))
        modules[name] = convolution
    return replace(structure, modules=modules)


def _requested(layers: JsonValue) -> str:
    if layers is None:
        return "all"
    return ", ".join(str(name) or MODEL_LABEL for name in layers) if isinstance(layers, list) else str(layers)


def _containers(capture: Capture, structure: ModelStructure) -> dict[str, str] | None:
    """The modules around the convolutions; None of a baseline that was recorded before they were."""
    containers = capture.facts.get("containers")
    if containers is None:
        return None
    if not isinstance(containers, Mapping) or any(name in structure.modules for name in containers):
        raise UnreadableBaselineError("its modules around the convolutions are damaged")
    require_recordable(containers)
    return {str(name): str(text) for name, text in containers.items()}


def _require_rows(baseline: Capture, structure: ModelStructure) -> None:
    """Make sure that the text of a baseline says what its trace holds; raises UnreadableBaselineError."""
    layers = rows(baseline.facts, "layers")
    expected: dict[str, dict[str, str]] = {}
    for name, module in structure.modules.items():
        records = {local: structure.weights[key] for local, key in module.weights.items()}
        texts = {local: record.dtype_and_shape for local, record in records.items()}
        expected[name] = {"class": module.class_name, "weight": "not initialised", **texts}
    expected = {name: {k: row[k] for k in _COMPARED if k in row} for name, row in expected.items()}
    require_rows({name: {k: row[k] for k in _COMPARED if k in row} for name, row in layers.items()}, expected, "layer")


def _require_numbers(
    name: str, before: JsonObject, after: JsonObject, weight: TensorRecord, tolerances: Tolerances
) -> None:
    """Make sure that the text of a baseline says of kernels that match what those of now are.

    A sketch does not hold these numbers. Raises UnreadableBaselineError.
    """
    size, peak = number(after.get("rms")), max(-number(after.get("min")), number(after.get("max")))
    moved = _SKETCHED * (_allowed(weight.dtype, tolerances) * size + tolerances.absolute)
    whole, single = _ROUNDED * size + moved, _ROUNDED * peak + moved * math.sqrt(weight.numel)
    for key, allowed in {"mean": whole, "rms": whole, "min": single, "max": single, "not_finite": 0.0}.items():
        old, new = before.get(key), after.get(key)
        if old != new and not abs(number(old) - number(new)) <= allowed:
            raise contradiction(f"layer {name or MODEL_LABEL!r}")


def _broken(baseline: Capture, actual: Capture) -> list[BrokenKernelsFinding]:
    """Where the count of filters that are not finite changed."""
    before, after = (
        {name: str(row.get("not_finite", "none")) for name, row in rows(capture.facts, "layers").items()}
        for capture in (baseline, actual)
    )
    changed = [name for name in after if name in before and before[name] != after[name]]
    return [BrokenKernelsFinding(name, "kernels that are not finite", before[name], after[name]) for name in changed]
