"""Two module trees, described as plain facts, side by side: what was added, removed and changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_modelviz.compare.bracketed import in_one_order
from pytest_modelviz.compare.devices import same_but_for_devices
from pytest_modelviz.compare.ignored import lasting_text
from pytest_modelviz.compare.naming import baseline_name, renames, tie_findings
from pytest_modelviz.compare.ownership import calling_layer, first_changed_layer
from pytest_modelviz.compare.texts import same, same_setting
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.structure import NOT_SAVED, ModelStructure, ModuleRecord
from pytest_modelviz.records.trace import Call
from pytest_modelviz.records.verdict import UNCOMPARED, Divergence, Finding, Verdict
from pytest_modelviz.text.natural import natural
from pytest_modelviz.text.side_by_side import split_items, split_path
from pytest_modelviz.views.model_summary.shapes import Rows, attributes_of, first_event, passes

# What a module is made of comes before what follows from it: a changed stride explains a changed output shape.
_STRUCTURE = ("class", "config", "parameters", "buffers", "frozen")
_BEHAVIOUR = ("in", "out", "calls", "mult_adds")
COMPARED = (*_STRUCTURE, *_BEHAVIOUR)

_FUSED = ("RNN", "GRU", "LSTM")  # classes that accelerators run in kernels of their own

# The order in which findings are told, and of which the first names the layer.
_RANK = {
    kind: rank
    for rank, kinds in enumerate(
        (("removed", "added", "class", "config", "parameters"), ("renamed", "moved"), ("buffers", "ties"), ("frozen",))
    )
    for kind in kinds
}


def compare_trees(baseline: Mapping[str, Any], actual: Mapping[str, Any], ignored: Sequence[str] = ()) -> Verdict:
    """Compare two summaries (see `views.model_summary`) field by field; `ignored` are globs of attributes."""
    before, new = layers_of(baseline, ignored), layers_of(actual, ignored)
    renamed = renames(_built(before), _built(new))
    names = {name: baseline_name(name, renamed) for name in new}
    after = {names[name]: row for name, row in new.items()}
    is_run = any(row.get("calls") for row in (*before.values(), *after.values()))
    findings: list[Finding] = []
    uncompared: list[Finding] = []
    for name in sorted({*before, *after}, key=natural):
        if name not in after:
            findings.append(Finding("removed", name, before=str(before[name].get("class", ""))))
        elif name not in before:
            findings.append(Finding("added", name, after=str(after[name].get("class", ""))))
        elif before[name] != after[name]:
            one, two, left = _without_state(before[name], after[name], is_run=is_run)
            findings += _fields(name, one, two)
            uncompared += [Finding(UNCOMPARED, name, f"buffer {local}") for local in left]
    ties = _groups(baseline), _tied(_groups(actual), names)
    if not findings and not renamed and ties[0] == ties[1]:
        return Verdict(True, len(before), 0, 0.0, 0.0, findings=tuple(uncompared))
    findings += [*renamed, *tie_findings(*ties)]
    findings.sort(key=lambda finding: _RANK.get(finding.kind, len(_RANK)))  # stable: layers stay as people count
    attributes = attributes_of(baseline, before, ignored), attributes_of(actual, after, ignored)
    calls = passes(before, new, names)
    structures = _modules(before, calls[0]), _modules(after, calls[1])
    # where no event differs, or there was no pass, what explains most comes first
    layer, cause, evidence = first_event(before, after, calls, attributes, findings) or _first(
        findings, *structures, passes_agree=all(calls)
    )
    findings.sort(key=lambda finding: finding.layer != layer)
    count, drifted = len({*before, *after}), len({finding.layer for finding in findings})
    row = before.get(layer) or next((after[one.before] for one in renamed if one.after == layer), after.get(layer, {}))
    return Verdict(
        matched=False,
        compared=count,
        drifted=drifted,
        error=drifted / max(count, 1),
        tolerance=0.0,
        first=Divergence(layer, str(row.get("class", "")), 0, 1.0, 0.0),
        cause=cause,
        findings=(*evidence, *findings),
    )


def _built(layers: Rows) -> dict[str, dict[str, Any]]:
    """What modules are made of: by that one is known again under another name."""
    built = {}
    for name, row in layers.items():
        built[name] = {key: row[key] for key in _STRUCTURE if key in row}
        if isinstance(row.get("config"), str):
            built[name]["config"] = in_one_order(row["config"])
    return built


def _tied(groups: Sequence[Sequence[str]], names: Mapping[str, str]) -> list[list[str]]:
    """Groups of modules and parameters with the baseline's names."""

    def old(name: str) -> str:
        owner, _, local = name.rpartition(".")
        return names.get(name) or (f"{names[owner]}.{local}" if names.get(owner) else name)

    return [sorted(old(name) for name in group) for group in groups]


def layers_of(facts: Mapping[str, Any], ignored: Sequence[str] = ()) -> Rows:
    """The rows of a summary, without configuration that two processes do not share or that is ignored."""
    layers = facts.get("layers")
    if not isinstance(layers, Mapping) or not all(isinstance(row, Mapping) for row in layers.values()):
        raise UnreadableBaselineError("it does not list layers")
    rows = {}
    for name, row in layers.items():
        text = row.get("config")
        rows[name] = {**row, "config": lasting_text(text, ignored, name)} if isinstance(text, str) else row
    return rows


def _groups(facts: Mapping[str, Any]) -> list[list[str]]:
    groups = facts.get("ties", [])
    if not isinstance(groups, (list, tuple)) or not all(isinstance(group, (list, tuple)) for group in groups):
        raise UnreadableBaselineError("what it says of shared parameters is no list of names")
    return [[str(name) for name in group] for group in groups]


def _fields(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Finding]:
    found = []
    for key in COMPARED:
        old, new = before.get(key), after.get(key)
        if key == "config" and isinstance(old, str) and isinstance(new, str) and same_setting(old, new):
            continue
        if old != new and (isinstance(old, Mapping) or isinstance(new, Mapping)):
            found += _entries(name, key, _mapping(old), _mapping(new))
        elif not (
            same(old, new) or _depends_on_device(key, before, after) or (key == "in" and _same_inputs(before, after))
        ):
            found.append(Finding(key, name, key, _text(old), _text(new)))
    return found


def _without_state(
    before: Mapping[str, Any], after: Mapping[str, Any], *, is_run: bool
) -> tuple[Mapping[str, Any], Mapping[str, Any], list[str]]:
    """Both rows without the buffers of which a pass makes what it needs: what they are tells what ran before.

    Only buffers that are not saved can be such. Without a pass it is not known which. Last those of which only the
    baseline says so, and which differ: they are not compared, and that is told.
    """
    old, new = (_mapping(row.get("buffers")) for row in (before, after))
    if old == new:
        return before, after, []
    earlier, marked = ({str(name) for name in _list(row.get("state"))} for row in (before, after))
    state = {
        name
        for name in {*old, *new}
        if (name in marked or (name in earlier if is_run else name in old and name in new))
        and all(str(table[name]).endswith(NOT_SAVED) for table in (old, new) if name in table)
    }
    kept = ({name: text for name, text in table.items() if name not in state} for table in (old, new))
    buffers = [table or None for table in kept]
    left = sorted(name for name in state - marked if old.get(name) != new.get(name))
    return {**before, "buffers": buffers[0]}, {**after, "buffers": buffers[1]}, left


def _same_inputs(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a module is given the same in the same places: a parameter of another name is no other input."""
    if before.get("forward") or after.get("forward"):
        return _arguments(before) == _arguments(after)
    return _nameless(before) == _nameless(after)


def _nameless(row: Mapping[str, Any]) -> list[str]:
    return [item.partition(": ")[2] or item for item in _inputs(row)]


def _arguments(row: Mapping[str, Any]) -> list[tuple[int | str, str, str]]:
    """What a module is given: the place of each argument among forward's parameters, the path within it, the text.

    A row that does not say what the parameters are was given the first of them.
    """
    names = split_items(str(row.get("forward") or ""))
    found: list[tuple[int | str, str, str]] = []
    first: dict[str, int] = {}
    for item in _inputs(row):
        path, _, text = item.partition(": ")
        argument, within = split_path(path)
        place: int | str = argument
        if not row.get("forward"):
            place = first.setdefault(argument, len(first))
        elif argument in names:
            place = names.index(argument)
        found.append((place, within, text))
    return found


def _inputs(row: Mapping[str, Any]) -> list[str]:
    return split_items(str(row.get("in") or ""))


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _depends_on_device(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether nothing differs but the device: its name, or that nothing was counted in its fused kernels."""
    old, new = before.get(key), after.get(key)
    if key in ("in", "out"):
        items = [split_items(_text(value)) for value in (old, new)]
        return len(items[0]) == len(items[1]) and all(map(_same_item, *items))
    uncounted = key == "mult_adds" and new is None
    return uncounted and before.get("class") == after.get("class") and before.get("class") in _FUSED


def _same_item(old: str, new: str) -> bool:
    (path, mark, before), (own, own_mark, after) = (item.partition(": ") for item in (old, new))
    if not (mark and own_mark):
        return same_but_for_devices(old, new, "")
    return path == own and same_but_for_devices(before, after, own)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _entries(name: str, kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Finding]:
    """Parameters or buffers, one by one; where only their order changed, that."""
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if not keys:
        return [Finding(kind, name, kind, ", ".join(before), ", ".join(after))]
    what = kind.removesuffix("s")
    return [Finding(kind, name, f"{what} {key}", _text(before.get(key)), _text(after.get(key))) for key in keys]


def _first(
    findings: Sequence[Finding], before: ModelStructure, after: ModelStructure, *, passes_agree: bool
) -> tuple[str, str, list[Finding]]:
    built = [one for one in findings if one.kind in (*_STRUCTURE, "removed", "added", "renamed", "moved", "ties")]
    if built:
        highest = min(_RANK[one.kind] for one in built)
        most = [one for one in built if _RANK[one.kind] == highest]
        return first_changed_layer(most, before, after, passes_agree=passes_agree), "architecture", []
    if any(one.kind in ("in", "calls") and one.layer == "" for one in findings):
        return "", "input", []
    layer = findings[0].layer
    kinds = {one.kind for one in findings if one.layer == layer}
    # what it is given, and how often, is its caller's doing
    return (calling_layer(layer, before, after) if {"in", "calls"} & kinds else layer), "computation", []


def _modules(rows: Rows, calls: list[Call]) -> ModelStructure:
    """The modules alone, in the order of execution as far as that is known, then as people count."""
    order = dict.fromkeys([*(call.layer for call in calls), *sorted(rows, key=natural)])
    return ModelStructure({name: ModuleRecord(str(rows[name].get("class", "")), {}, {}) for name in order})


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
