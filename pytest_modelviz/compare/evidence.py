"""What is different about two models themselves: modules, configuration, parameters. No pass is looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_modelviz.compare.naming import old_name, renames
from pytest_modelviz.compare.tensors import weight_difference
from pytest_modelviz.compare.texts import same_setting, same_text
from pytest_modelviz.compare.volatile import in_one_order, object_class, settings_by_attribute
from pytest_modelviz.records.trace import LOOSE, REWRITTEN, UNSAVED, Call, ModuleRecord, Trace
from pytest_modelviz.records.verdict import Finding
from pytest_modelviz.text.dotted import holders

_NO_CONFIGURATION = {"forward", "defaults", UNSAVED, REWRITTEN}
MERE_LISTS = ("ModuleList", "ModuleDict", "ParameterList", "ParameterDict")


def under_old_names(baseline: Trace, actual: Trace) -> tuple[Trace, list[Finding]]:
    """The actual trace with its renamed and moved modules called as in the baseline, and what was renamed."""
    if baseline.modules.keys() == actual.modules.keys():
        return actual, []
    rows = [
        {name: (module.class_name, _kept(module.config), sorted(module.weights)) for name, module in modules}
        for modules in (baseline.modules.items(), actual.modules.items())
    ]
    found = renames(*rows)
    if not found:
        return actual, found
    old = {name: old_name(name, found) for name in actual.modules}

    def key(weight: str) -> str:
        owner, _, local = weight.rpartition(".")
        return f"{old[owner]}.{local}" if old.get(owner, owner) != owner else weight

    def module(record: ModuleRecord) -> ModuleRecord:
        return replace(record, weights={local: key(weight) for local, weight in record.weights.items()})

    return (
        Trace(
            {old.get(name, name): module(record) for name, record in actual.modules.items()},
            [Call(old.get(c.layer, c.layer), c.index, c.depth, c.inputs, c.outputs) for c in actual.calls],
            actual.tensors,
            {key(name): record for name, record in actual.weights.items()},
            tuple(sorted(tuple(sorted(old.get(name, key(name)) for name in group)) for group in actual.ties)),
        ),
        found,
    )


def _kept(config: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted((key, in_one_order(text)) for key, text in config.items() if key not in (UNSAVED, REWRITTEN))


def own_modules(suspect: str, trace: Trace) -> list[str]:
    """The suspect and those below it that were never called: it can only read them itself.

    What lies below another module that was called is that one's to read.
    """
    called = {call.layer for call in trace.calls} - {suspect}
    own: list[str] = []
    readable = {suspect}
    for name in trace.modules:  # parents come before their children
        if name == suspect:
            own.append(name)
        elif name and name not in called and name.rpartition(".")[0] in readable:
            own.append(name)
            readable.add(name)
    return own


def built_otherwise(suspect: str, baseline: Trace, actual: Trace) -> list[Finding]:
    """What is different about how the suspect, and all that only its own code can read, is built."""
    own = dict.fromkeys([*own_modules(suspect, baseline), *own_modules(suspect, actual)])
    found = [finding for finding in module_findings(baseline, actual) if finding.layer in own]
    for name in own:
        found += config_findings(name, baseline, actual)
    return found


def caller_of(name: str, baseline: Trace, actual: Trace) -> str:
    """Whose code it is that calls a module, or no longer does: the nearest around it that both models have.

    Lists and dicts of modules call nothing.
    """
    while name:
        name = name.rpartition(".")[0]
        record = baseline.modules.get(name)
        if record is not None and name in actual.modules and record.class_name not in MERE_LISTS:
            break
    return name


def first_built(findings: Sequence[Finding], baseline: Trace, actual: Trace) -> str:
    """The layer to name of models that are built differently where no event of a pass says which comes first.

    It is the first in the order of the modules, each after all that it holds. What was added or removed is named itself
    where a pass has shown that it changes nothing, else the module that calls it.
    """
    unseen = () if baseline.calls and actual.calls else ("removed", "added")
    layers = [caller_of(one.layer, baseline, actual) if one.kind in unseen else one.layer for one in findings]
    ranks = dict.fromkeys(layers, 0)  # of the last module that each of them holds
    lengths = {len(layer) for layer in ranks}
    for rank, name in enumerate(dict.fromkeys((*baseline.modules, *actual.modules))):
        ranks.update(dict.fromkeys(holders(name, ranks, lengths), rank))
        if "" in ranks:
            ranks[""] = rank
    return min(ranks, key=lambda layer: (ranks[layer], -len(layer)))


def config_findings(name: str, baseline: Trace, actual: Trace) -> list[Finding]:
    """What is different about the class, the configuration and the parameters' shapes of one module."""
    if name not in baseline.modules or name not in actual.modules:
        return []
    before, after = baseline.modules[name], actual.modules[name]
    found = []
    if before.class_name != after.class_name:
        found.append(Finding("class", name, "class", before.class_name, after.class_name))
    # another class has other attributes; and what forward's parameters are called, and by default are, is code
    keys = [] if found else sorted({*before.config, *after.config} - _NO_CONFIGURATION)
    keys = [key for key in keys if not same_setting(before.config.get(key, ""), after.config.get(key, ""))]
    named = [key for key in keys if key not in ("extra_repr", "repr")]  # they repeat what attributes say
    named = [key for key in named if not _is_private(key)] or named  # what is private follows from what is not
    # an attribute that extra_repr does not show may be configuration or mere state: weaker evidence
    kind = "config" if {"extra_repr", "repr"} & set(keys) else "attribute"
    for key in named or keys:
        old, new = before.config.get(key, ""), after.config.get(key, "")
        if kind == "config" or (old and new):  # an attribute that one of them lacks is how its code is written
            inside = _inside_of_object(old, new, baseline, actual)
            found += [Finding(kind, name, key, old, new)] if inside is None else inside
    found = list({(finding.layer, finding.what): finding for finding in found}.values())  # an object, and what is in it
    for key in sorted({*before.weights, *after.weights}):
        old, new = _shape(baseline, before.weights.get(key)), _shape(actual, after.weights.get(key))
        if old != new and not key.endswith(LOOSE) and key not in after.state(before):
            found.append(Finding("shape", name, key, old, new))
    return found


def order_findings(names: Sequence[str], baseline: Trace, actual: Trace) -> list[Finding]:
    """Lists of texts in these modules' configuration of which only the order differs: configuration, or once a set."""
    common = [name for name in names if name in baseline.modules and name in actual.modules]
    return list(dict.fromkeys(finding for name in common for finding in _reordered_of(name, baseline, actual)))


def _reordered_of(name: str, baseline: Trace, actual: Trace) -> list[Finding]:
    before, after = baseline.modules[name].config, actual.modules[name].config
    found = {}
    for key in sorted({*before} & {*after} - _NO_CONFIGURATION):
        if object_class(before[key]) and object_class(after[key]):
            there, here = _written_out(before[key], baseline), _written_out(after[key], actual)
            settings = (there[2], here[2]) if there is not None and here is not None else ({}, {})
            layer, pairs = (there[0] if there is not None else name), _reordered(*settings)
            found.update({(layer, f"{key}.{inner}"): pair for inner, pair in pairs.items()})
        else:
            pairs = _reordered({key: before[key]}, {key: after[key]})
            found.update({(name, inner): pair for inner, pair in pairs.items()})
    shown = {at: pair for at, pair in found.items() if at[1] not in ("extra_repr", "repr")} or found
    return [Finding("attribute", layer, key, old, new) for (layer, key), (old, new) in shown.items()]


def _reordered(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    pairs = {key: (before[key], after[key]) for key in sorted({*before} & {*after})}
    return {key: pair for key, pair in pairs.items() if not same_text(*pair) and same_setting(*pair)}


def _is_private(key: str) -> bool:
    return key.rpartition(".")[2].startswith("_")


def _inside_of_object(old: str, new: str, baseline: Trace, actual: Trace) -> list[Finding] | None:
    """Where a shared configuration object differs, what in it: it is written out at the first module that holds it.

    None where that is not known, or for what is no such object. What only one of the two objects has is how its class
    is written. Only the last digits of a number in it may differ, and then nothing does.
    """
    if not object_class(old) or object_class(old) != object_class(new):
        return None
    there, here = _written_out(old, baseline), _written_out(new, actual)
    if there is None or here is None:
        return None
    (name, attribute, before), (_, _, after) = there, here
    found = [key for key in sorted({*before} & {*after}) if not same_setting(before[key], after[key])]
    found = [key for key in found if not _is_private(key)] or found
    return [Finding("attribute", name, f"{attribute}.{key}", before[key], after[key]) for key in found]


def _written_out(text: str, trace: Trace) -> tuple[str, str, dict[str, str]] | None:
    """Of an object that modules share: the module and the attribute where it is written out, and what it says."""
    for name, module in trace.modules.items():
        held = [attribute for attribute, one in module.config.items() if one == text]
        settings = settings_by_attribute(module.config, set(held)) if held else {}
        attribute = next((one for one in held if one in settings), None)
        if attribute is not None:
            return name, attribute, settings[attribute]
    return None


def _shape(trace: Trace, key: str | None) -> str:
    if key is None:
        return ""
    record = trace.weights[key]
    return f"{record.dtype}{list(record.shape)}"


def changed_weights(baseline: Trace, actual: Trace) -> dict[tuple[str, str], float]:
    """Relative change of every weight of equal shape that changed, by module and local name."""
    changed = {}
    known: dict[tuple[str, str], float] = {}  # shared ones are looked at once
    for name, module in baseline.modules.items():
        other = actual.modules.get(name)
        state = other.state(module) if other is not None else ()
        for local, key in module.weights.items() if other is not None else ():
            if local in state:
                continue
            pair = (key, other.weights.get(local, "") if other is not None else "")
            if pair not in known:
                before, after = baseline.weights[key], actual.weights.get(pair[1])
                comparable = after is not None and (before.dtype, before.shape) == (after.dtype, after.shape)
                known[pair] = weight_difference(before, after) if after is not None and comparable else 0.0
            if known[pair]:
                changed[name, local] = known[pair]
    return changed


def changed_state(baseline: Trace, actual: Trace) -> dict[tuple[str, str], float]:
    """Relative change of buffers that a pass writes and nobody saves: it may have read them before it did."""
    changed = {}
    for name, module in baseline.modules.items():
        other = actual.modules.get(name)
        if other is None:
            continue
        for local in sorted(other.state(module)):
            before = baseline.weights.get(module.weights.get(local, ""))
            after = actual.weights.get(other.weights.get(local, ""))
            if before is not None and after is not None:
                comparable = (before.dtype, before.shape) == (after.dtype, after.shape)
                error = weight_difference(before, after) if comparable else math.inf
                if error:
                    changed[name, local] = error
    return changed


def module_findings(baseline: Trace, actual: Trace) -> list[Finding]:
    """Modules that only one of the two models has."""
    gone = [n for n in baseline.modules if n not in actual.modules]
    new = [n for n in actual.modules if n not in baseline.modules]
    return [Finding("removed", n, before=baseline.modules[n].class_name) for n in gone] + [
        Finding("added", n, after=actual.modules[n].class_name) for n in new
    ]
