"""Modules that only have another name now, and names that stand for one and the same thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_modelviz.compare.texts import same
from pytest_modelviz.records.verdict import Finding, Verdict
from pytest_modelviz.text.dotted import holders
from pytest_modelviz.text.natural import natural


def renames(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Finding]:
    """Subtrees that are gone under one name and there, with equal contents, under another: one finding for each."""
    gone, new = _roots(set(before) - set(after)), _roots(set(after) - set(before))
    if not new:
        return []
    old_contents, free = _contents(before, gone), _contents(after, new)
    findings: list[Finding] = []
    for old in gone:
        twin = next((name for name, content in free.items() if same(content, old_contents[old])), None)
        if twin is not None:
            del free[twin]
            kind = "moved" if old.rpartition(".")[2] == twin.rpartition(".")[2] else "renamed"
            findings.append(Finding(kind, twin, before=old, after=twin))
    return findings


def old_name(name: str, renamed: Sequence[Finding]) -> str:
    """What a module of the actual model is called in the baseline."""
    return next((one.before + name[len(one.after) :] for one in renamed if below(name, one.after)), name)


def renames_of(verdict: Verdict | None) -> list[Finding]:
    """What a comparison found to have only another name now."""
    findings = verdict.findings if verdict is not None else ()
    return [one for one in findings if one.kind.removeprefix("also:") in ("renamed", "moved")]


def _roots(names: set[str]) -> list[str]:
    """Those names whose parents are not among them, as people count."""
    return sorted((name for name in names if name.rpartition(".")[0] not in names), key=natural)


def below(name: str, root: str) -> bool:
    """Whether a module is `root` or inside of it."""
    return name == root or name.startswith(f"{root}.")


def _contents(layers: Mapping[str, Any], roots: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For each root what is in its subtree, by the rest of the name, in one go over all layers."""
    contents: dict[str, dict[str, Any]] = {root: {} for root in roots}
    lengths = {len(root) for root in roots}
    for name, row in layers.items():
        for root in holders(name, contents, lengths):
            contents[root][name[len(root) :]] = row
    return contents


def tie_findings(before: Sequence[Sequence[str]], after: Sequence[Sequence[str]]) -> list[Finding]:
    """Groups of names that stand for one and the same thing, where they differ."""
    old, new = ([tuple(group) for group in groups] for groups in (before, after))
    if old == new:
        return []
    pair = set(old), set(new)
    lost, found = [" = ".join(g) for g in old if g not in pair[1]], [" = ".join(g) for g in new if g not in pair[0]]
    return [Finding("ties", before="; ".join(lost), after="; ".join(found))]
