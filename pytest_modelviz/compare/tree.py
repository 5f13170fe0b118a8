"""Two module trees, described as plain facts, side by side: what was added, removed and changed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_modelviz.compare.devices import without_devices
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.verdict import Divergence, Finding, Verdict

# What a module is made of comes before what follows from it: a changed stride explains a changed output shape.
_STRUCTURE = ("class", "config", "parameters", "buffers", "frozen")
_BEHAVIOUR = ("in", "out", "calls", "mult_adds")

_FUSED = ("RNN", "GRU", "LSTM")  # classes that accelerators run in kernels of their own

# The order in which findings are told, and of which the first names the layer.
_RANK = {
    kind: rank
    for rank, kinds in enumerate(
        (("removed", "added", "class", "config", "parameters"), ("renamed", "moved"), ("buffers", "ties"), ("frozen",))
    )
    for kind in kinds
}


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts `layer.10` after `layer.9`."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def compare_trees(baseline: Mapping[str, Any], actual: Mapping[str, Any]) -> Verdict:
    """Compare two summaries (see `views.model_summary`) field by field."""
    before, after = _layers(baseline), _layers(actual)
    findings = renames(before, after)
    old_names = {name for finding in findings for name in before if below(name, finding.before)}
    new_names = {name for finding in findings for name in after if below(name, finding.after)}
    for name in sorted({*before, *after} - old_names - new_names, key=natural):
        if name not in after:
            findings.append(Finding("removed", name, before=str(before[name].get("class", ""))))
        elif name not in before:
            findings.append(Finding("added", name, after=str(after[name].get("class", ""))))
        else:
            findings += _fields(name, before[name], after[name])
    findings += tie_findings(_groups(baseline), _groups(actual))
    findings.sort(key=lambda finding: _RANK.get(finding.kind, len(_RANK)))  # stable: layers stay as people count
    count, drifted = len({*before, *after}), len({finding.layer for finding in findings})
    if not findings:
        return Verdict(True, count, 0, 0.0, 0.0)
    first, cause = _first(findings, before, after)
    return Verdict(
        matched=False,
        compared=count,
        drifted=drifted,
        error=drifted / max(count, 1),
        tolerance=0.0,
        first=first,
        cause=cause,
        findings=tuple(findings),
    )


def renames(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Finding]:
    """Subtrees that are gone under one name and there, with equal contents, under another: one finding for each."""
    gone, new = _roots(set(before) - set(after)), _roots(set(after) - set(before))
    findings: list[Finding] = []
    for old in gone:
        contents = _contents(before, old)
        taken = {finding.after for finding in findings}
        twin = next((name for name in new if name not in taken and _contents(after, name) == contents), None)
        if twin is not None:
            kind = "moved" if old.rpartition(".")[2] == twin.rpartition(".")[2] else "renamed"
            findings.append(Finding(kind, twin, before=old, after=twin))
    return findings


def _roots(names: set[str]) -> list[str]:
    """Those names whose parents are not among them, as people count."""
    return sorted((name for name in names if name.rpartition(".")[0] not in names), key=natural)


def below(name: str, root: str) -> bool:
    """Whether a module is `root` or inside of it."""
    return name == root or name.startswith(f"{root}.")


def _contents(layers: Mapping[str, Any], root: str) -> dict[str, Any]:
    return {name[len(root) :]: row for name, row in layers.items() if below(name, root)}


def _layers(facts: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    layers = facts.get("layers")
    if not isinstance(layers, Mapping) or not all(isinstance(row, Mapping) for row in layers.values()):
        raise UnreadableBaselineError("it does not list layers")
    return layers


def _groups(facts: Mapping[str, Any]) -> list[list[str]]:
    groups = facts.get("ties", [])
    if not isinstance(groups, (list, tuple)) or not all(isinstance(group, (list, tuple)) for group in groups):
        raise UnreadableBaselineError("what it says of shared parameters is no list of names")
    return [[str(name) for name in group] for group in groups]


def _fields(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Finding]:
    found = []
    for key in (*_STRUCTURE, *_BEHAVIOUR):
        old, new = before.get(key), after.get(key)
        if old != new and (isinstance(old, Mapping) or isinstance(new, Mapping)):
            found += _entries(name, key, _mapping(old), _mapping(new))
        elif old != new and not _depends_on_device(key, before, after):
            found.append(Finding(key, name, key, _text(old), _text(new)))
    return found


def _depends_on_device(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether nothing differs but the device: its name, or that an older file has not counted in its fused kernels."""
    old, new = before.get(key), after.get(key)
    if key in ("in", "out"):
        return without_devices(_text(old)) == without_devices(_text(new))
    uncounted = key == "mult_adds" and (old is None or new is None)
    return uncounted and before.get("class") == after.get("class") and before.get("class") in _FUSED


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _entries(name: str, kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Finding]:
    """Parameters or buffers, one by one; where only their order changed, that."""
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if not keys:
        return [Finding(kind, name, kind, ", ".join(before), ", ".join(after))]
    what = kind.removesuffix("s")
    return [Finding(kind, name, f"{what} {key}", _text(before.get(key)), _text(after.get(key))) for key in keys]


def tie_findings(before: Sequence[Sequence[str]], after: Sequence[Sequence[str]]) -> list[Finding]:
    """Groups of names that stand for one and the same thing, where they differ."""
    old, new = ([tuple(group) for group in groups] for groups in (before, after))
    if old == new:
        return []
    lost, found = [" = ".join(g) for g in old if g not in new], [" = ".join(g) for g in new if g not in old]
    return [Finding("ties", before="; ".join(lost), after="; ".join(found))]


def _first(findings: list[Finding], before: Any, after: Any) -> tuple[Divergence, str]:
    """The finding that explains most: a changed module first, then a changed shape, the input's above all others."""
    structural = [f for f in findings if f.kind in (*_STRUCTURE, "removed", "added", "renamed", "moved", "ties")]
    entered = [f for f in findings if f.kind == "in" and f.layer == ""]
    if structural:
        first, cause = structural[0], "architecture"
    elif entered:
        first, cause = entered[0], "input"
    else:
        first, cause = findings[0], "computation"
        if any(finding.kind == "calls" and finding.layer == first.layer for finding in findings):
            caller = first.layer.rpartition(".")[0]  # whose code calls it more or less often
            return Divergence(caller, str(after.get(caller, {}).get("class", "")), 0, 1.0, 0.0), cause
    row = after.get(first.layer) or before.get(first.layer) or {}
    return Divergence(first.layer, str(row.get("class", "")), 0, 1.0, 0.0), cause


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
