"""How two models differ in themselves: in modules, configuration and parameters. No forward pass is needed."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from pytest_modelviz.compare.naming import tie_findings
from pytest_modelviz.compare.shared_objects import SharedObjects, object_class
from pytest_modelviz.compare.tensors import difference, weight_difference
from pytest_modelviz.compare.texts import same_setting, same_text
from pytest_modelviz.compare.tolerance import Tolerances, significant_weight_change
from pytest_modelviz.records.findings import (
    AnyFinding,
    AttributeFinding,
    ClassFinding,
    ConfigFinding,
    ConstructionFinding,
    LayerFinding,
    ModuleFinding,
    Role,
    ShapeFinding,
)
from pytest_modelviz.records.structure import (
    ATTRIBUTE_SUFFIX,
    MARKS,
    PACKED,
    QUANTISED_INTEGERS,
    QUANTISED_SCALE,
    QUANTISED_SUFFIXES,
    ModelStructure,
    class_name_of,
)

FindingT = TypeVar("FindingT", bound=AnyFinding)
WeightChanges = Mapping[tuple[str, str], float]  # relative change, by module and local name
Objects = tuple[SharedObjects, SharedObjects]  # of the baseline, and of the actual model

_NO_CONFIGURATION = {"forward", "defaults", *MARKS}
_COUNTERS = {"num_batches_tracked"}  # of BatchNorm
# A quantised weight, and its scales, where another processor has quantised them anew. Measured between AVX-512 and no
# vector instructions (ResNet-18, MobileNetV2, GoogLeNet and ShuffleNet, random weights, batch norms folded): a weight
# by up to 1.8e-3 (of a model's integers 0.03 % at most, each by 1), its scales by up to 1.6e-6.
_QUANTISED_ANEW, _COMPUTED_ANEW = 5e-3, 1e-5
_SUMMED_ANEW = 1e-11  # sums of equal scales; a single one of 2000 that differs in its last digit comes to 1e-9
_TIMES_SCALE = 2.0  # as much as its scale a weight may have changed because of it: scales of channels are averaged
_QUANTISER = {"scale", "zero_point"}  # attributes of a module whose results are integers
_REPRESENTATIONS = ("extra_repr", "repr")  # they repeat what attributes say


def objects_of(baseline: ModelStructure, actual: ModelStructure) -> Objects:
    """The objects that the modules of two models share."""
    before, after = ({name: module.config for name, module in s.modules.items()} for s in (baseline, actual))
    return SharedObjects(before), SharedObjects(after)


def module_findings(
    baseline: ModelStructure, actual: ModelStructure, among: Iterable[str] | None = None
) -> list[ModuleFinding]:
    """Modules that only one of the two models has, of all or `among` some."""
    names = dict.fromkeys((*baseline.modules, *actual.modules)) if among is None else among
    return [
        ModuleFinding(name, "removed" if name in baseline.modules else "added", class_name_of(name, baseline, actual))
        for name in names
        if (name in baseline.modules) != (name in actual.modules)
    ]


def configuration_findings(
    names: Iterable[str], baseline: ModelStructure, actual: ModelStructure, objects: Objects | None = None
) -> list[ConstructionFinding]:
    """Differences in the class, the configuration and the parameters' shapes of modules that both models have."""
    objects = objects or objects_of(baseline, actual)
    common = [name for name in names if name in baseline.modules and name in actual.modules]
    return [finding for name in common for finding in _findings_in_module(name, baseline, actual, objects)]


def _findings_in_module(
    name: str, baseline: ModelStructure, actual: ModelStructure, objects: Objects
) -> list[ConstructionFinding]:
    before, after = baseline.modules[name], actual.modules[name]
    findings: list[ConstructionFinding] = []
    if before.class_name != after.class_name:
        findings.append(ClassFinding(name, "class", before.class_name, after.class_name))
    # another class has other attributes; and the names and defaults of forward's parameters are code
    is_same = bool(findings) or before.config == after.config
    keys = [] if is_same else sorted({*before.config, *after.config} - _NO_CONFIGURATION)
    texts = {key: (before.config.get(key, ""), after.config.get(key, "")) for key in keys}
    texts = {key: pair for key, pair in texts.items() if not same_setting(*pair)}
    # an attribute that extra_repr does not mention may be configuration or mere state: weaker evidence
    family = ConfigFinding if {*_REPRESENTATIONS} & texts.keys() else AttributeFinding
    if family is AttributeFinding:  # one that only one of them has is a matter of its code
        counts = _QUANTISER if after.config.keys() >= _QUANTISER else set()  # as weights do
        texts = {key: pair for key, pair in texts.items() if all(pair) or key in counts}
    inside = {key: _findings_inside_object(*pair, objects) for key, pair in texts.items()}
    # what an object holds explains nothing else
    named = [key for key in texts if inside[key] is None and key not in _REPRESENTATIONS]
    named = [key for key in named if not _is_private(key)] or named  # private attributes follow from the others
    named = named or [key for key in texts if inside[key] is None]
    findings += [family(name, key, *texts[key]) for key in named]
    known = {(finding.layer, finding.name) for finding in findings}  # an object may give the same finding
    inner = dict.fromkeys(finding for found in inside.values() for finding in found or ())
    findings += [finding for finding in inner if (finding.layer, finding.name) not in known]
    state = after.state(before)
    for key in sorted({*before.weights, *after.weights}):
        old, new = _dtype_and_shape(baseline, before.weights.get(key)), _dtype_and_shape(actual, after.weights.get(key))
        unknown = key.endswith((*QUANTISED_SUFFIXES, PACKED)) and key in after.weights and not before.has_integers
        if old != new and not key.endswith(ATTRIBUTE_SUFFIX) and key not in state and not unknown:
            findings.append(ShapeFinding(name, key, old, new))
    return findings


def construction_changes(baseline: ModelStructure, actual: ModelStructure) -> list[LayerFinding]:
    """Modules that only one of the two models has, and how the others are built and configured."""
    return [*module_findings(baseline, actual), *configuration_findings(baseline.modules, baseline, actual)]


def beside(evidence: Iterable[AnyFinding], others: Iterable[FindingT]) -> list[FindingT]:
    """What differs too: the others that are not among the evidence."""
    known = set(evidence)
    return [replace(finding, role=Role.ALSO) for finding in others if finding not in known]


def structural_findings(baseline: ModelStructure, actual: ModelStructure) -> list[LayerFinding]:
    """What is a drift although nothing that was computed shows it: other modules, weights or sharing of weights.

    A weight that only one of two models has, or of another dtype or shape, has nothing to be compared with: wherever
    `changed_weights` decides on a match, this must be asked too. The scale and zero point of a module's results, which
    are attributes, count as weights do.
    """
    changed = configuration_findings(actual.modules, baseline, actual)
    own = [finding for finding in changed if isinstance(finding, ShapeFinding) or _is_of_quantiser(finding, actual)]
    return [*module_findings(baseline, actual), *own, *tie_findings(baseline.ties, actual.ties)]


def _is_of_quantiser(finding: ConstructionFinding, actual: ModelStructure) -> bool:
    """Whether a finding is about what a module's integers stand for, or that it is another kind of module.

    Results may not show either, because other values than those of this input would be cut off.
    """
    is_quantiser = actual.modules[finding.layer].config.keys() >= _QUANTISER
    return is_quantiser and (isinstance(finding, ClassFinding) or finding.name in _QUANTISER)


def is_change_of_dtype(finding: AnyFinding) -> bool:
    """Whether a weight has another dtype, and the shape that it had."""
    if not isinstance(finding, ShapeFinding):
        return False
    (old, _, shape), (new, _, own) = (text.partition("[") for text in (finding.before, finding.after))
    return old != new and shape == own and bool(own)


def significant_change(name: str, dtype: str, tolerances: Tolerances) -> float:
    """The relative change from which on a weight is a drift although no output shows it; infinite where none is.

    Integers and booleans are tables, masks and indices, in which every change counts. Tensors in plain attributes may
    be mere caches, and a count of training steps says nothing about the model.
    """
    if name.endswith(ATTRIBUTE_SUFFIX) or name in _COUNTERS:
        return math.inf
    return significant_weight_change(dtype, tolerances)


def order_findings(names: Sequence[str], baseline: ModelStructure, actual: ModelStructure) -> list[AttributeFinding]:
    """Lists of texts in these modules' configuration that differ only in their order.

    Such a list may be configuration, or may have been a set.
    """
    objects = objects_of(baseline, actual)
    common = [name for name in names if name in baseline.modules and name in actual.modules]
    return list(dict.fromkeys(finding for name in common for finding in _reordered_in(name, baseline, actual, objects)))


def changed_weights(baseline: ModelStructure, actual: ModelStructure) -> WeightChanges:
    """The change of every weight that changed and kept its shape; `structural_findings` has all others.

    Of a quantised weight its integers, scale and zero point stand for it, where one of them changed.
    """
    errors: dict[tuple[str, str], float] = {}  # shared weights are compared once
    changed: dict[tuple[str, str], float] = {}
    for position, (old, new), is_state in _common_tensors(baseline, actual):
        before, after = baseline.weights[old], actual.weights[new]
        if is_state or (before.dtype, before.shape) != (after.dtype, after.shape):
            continue
        if (old, new) not in errors:
            errors[old, new] = weight_difference(before, after)
        if errors[old, new]:
            changed[position] = errors[old, new]
    for name, local in quantised_anew(baseline, actual):
        weight, scale = (name, local), (name, f"{local}{QUANTISED_SCALE}")
        if changed.get(weight, 0.0) <= _QUANTISED_ANEW:
            for position in (weight, (name, f"{local}{QUANTISED_INTEGERS}")):
                changed.pop(position, None)
        if changed.get(scale, math.inf) <= _COMPUTED_ANEW:
            del changed[scale]
    stored = ((name, local, suffix) for name, local in changed for suffix in QUANTISED_SUFFIXES)
    explained = {
        (name, local.removesuffix(suffix))
        for name, local, suffix in stored
        if local.endswith(suffix) and _explains(changed, name, local, suffix)
    }
    return {position: error for position, error in changed.items() if position not in explained}


def _explains(changed: WeightChanges, name: str, part: str, suffix: str) -> bool:
    """Whether a part of a quantised weight changed by as much as the weight: a scale may have by nearly nothing."""
    whole = changed.get((name, part.removesuffix(suffix)), 0.0)
    return suffix != QUANTISED_SCALE or whole <= _TIMES_SCALE * changed[name, part]


def quantised_anew(baseline: ModelStructure, actual: ModelStructure) -> list[tuple[str, str]]:
    """The weights with other integers in a model whose scales differ in their last digits; none in any other model.

    Such a model was quantised anew, on another processor, from floats that differ so as well: some numbers halfway
    between two integers become the other one. Loaded from a file, scales would be equal bit for bit.
    """
    if not any(module.has_integers for module in actual.modules.values()):
        return []
    anew, integers = False, []
    for (name, local), (old, new), _ in _common_tensors(baseline, actual):
        if local.endswith((QUANTISED_SCALE, QUANTISED_INTEGERS)):
            error = difference(baseline.weights[old], actual.weights[new])
            anew = anew or (local.endswith(QUANTISED_SCALE) and _SUMMED_ANEW < error <= _COMPUTED_ANEW)
            if error and local.endswith(QUANTISED_INTEGERS):
                integers.append((name, local.removesuffix(QUANTISED_INTEGERS)))
    return integers if anew else []


def changed_state(baseline: ModelStructure, actual: ModelStructure) -> WeightChanges:
    """The change of buffers that a pass writes and nobody saves: the pass may have read them before."""
    changed: dict[tuple[str, str], float] = {}
    for position, (old, new), is_state in _common_tensors(baseline, actual):
        error = weight_difference(baseline.weights[old], actual.weights[new]) if is_state else 0.0
        if error:
            changed[position] = error
    return changed


def _common_tensors(
    baseline: ModelStructure, actual: ModelStructure
) -> Iterator[tuple[tuple[str, str], tuple[str, str], bool]]:
    """The tensors that both models hold: module and local name, the keys in both, whether it is state."""
    for name, module in baseline.modules.items():
        if name in actual.modules:
            state, others = actual.modules[name].state(module), actual.modules[name].weights
            for local in (*sorted(state), *(local for local in module.weights if local not in state)):
                keys = module.weights.get(local, ""), others.get(local, "")
                if keys[0] in baseline.weights and keys[1] in actual.weights:
                    yield (name, local), keys, local in state


def _reordered_in(
    name: str, baseline: ModelStructure, actual: ModelStructure, objects: Objects
) -> list[AttributeFinding]:
    before, after = baseline.modules[name].config, actual.modules[name].config
    pairs: dict[tuple[str, str], tuple[str, str]] = {}
    for key in sorted({*before} & {*after} - _NO_CONFIGURATION):
        if object_class(before[key]) and object_class(after[key]):
            old, new = objects[0].written_out.get(before[key]), objects[1].written_out.get(after[key])
            settings = (old[2], new[2]) if old is not None and new is not None else ({}, {})
            layer = old[0] if old is not None else name
            pairs.update({(layer, f"{key}.{inner}"): pair for inner, pair in _reordered(*settings).items()})
        else:
            inner_pairs = _reordered({key: before[key]}, {key: after[key]})
            pairs.update({(name, inner): pair for inner, pair in inner_pairs.items()})
    named = {position: pair for position, pair in pairs.items() if position[1] not in _REPRESENTATIONS} or pairs
    return [AttributeFinding(layer, key, old, new) for (layer, key), (old, new) in named.items()]


def _reordered(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    pairs = {key: (before[key], after[key]) for key in sorted({*before} & {*after})}
    return {key: pair for key, pair in pairs.items() if not same_text(*pair) and same_setting(*pair)}


def _is_private(key: str) -> bool:
    return key.rpartition(".")[2].startswith("_")


def _findings_inside_object(old: str, new: str, objects: Objects) -> list[AttributeFinding] | None:
    """What differs inside a shared configuration object, which is written out at the first module that holds it.

    None where that is not known, or where the texts stand for no such object. What only one of the two objects has is a
    matter of its class's code. If only the last digits of a number in it differ, nothing does.
    """
    if not object_class(old) or object_class(old) != object_class(new):
        return None
    old_object, new_object = objects[0].written_out.get(old), objects[1].written_out.get(new)
    if old_object is None or new_object is None:
        return None
    (name, attribute, before), (_, _, after) = old_object, new_object
    keys = [key for key in sorted({*before} & {*after}) if not same_setting(before[key], after[key])]
    keys = [key for key in keys if not _is_private(key)] or keys
    return [AttributeFinding(name, f"{attribute}.{key}", before[key], after[key]) for key in keys]


def _dtype_and_shape(structure: ModelStructure, key: str | None) -> str:
    return "" if key is None else structure.weights[key].dtype_and_shape
