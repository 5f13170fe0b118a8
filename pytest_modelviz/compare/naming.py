"""Modules that only have another name now, and names that stand for one and the same thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_modelviz.compare.texts import same
from pytest_modelviz.natural import natural
from pytest_modelviz.verdict import Finding, Verdict


def renames(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Finding]:
    """Subtrees that are gone under one name and there, with equal contents, under another: one finding for each."""
    gone, new = _roots(set(before) - set(after)), _roots(set(after) - set(before))
    findings: list[Finding] = []
    for old in gone:
        contents = _contents(before, old)
        taken = {finding.after for finding in findings}
        twin = next((name for name in new if name not in taken and same(_contents(after, name), contents)), None)
        if twin is not None:
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


def _contents(layers: Mapping[str, Any], root: str) -> dict[str, Any]:
    return {name[len(root) :]: row for name, row in layers.items() if below(name, root)}


def tie_findings(before: Sequence[Sequence[str]], after: Sequence[Sequence[str]]) -> list[Finding]:
    """Groups of names that stand for one and the same thing, where they differ."""
    old, new = ([tuple(group) for group in groups] for groups in (before, after))
    if old == new:
        return []
    lost, found = [" = ".join(g) for g in old if g not in new], [" = ".join(g) for g in new if g not in old]
    return [Finding("ties", before="; ".join(lost), after="; ".join(found))]
