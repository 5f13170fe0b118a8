"""Modules that only have another name now, and groups of names that stand for the same module or tensor."""

import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pytest_modelviz.compare.bracketed import in_one_order
from pytest_modelviz.compare.texts import same_numbers, without_numbers
from pytest_modelviz.records.findings import RenameFinding, TiesFinding
from pytest_modelviz.records.structure import MARKS, ModelStructure, ModuleRecord
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.dotted import holders
from pytest_modelviz.text.natural import natural

_MOST_TRIED = 32  # subtrees alike but for numbers that are held against each that is gone


def with_baseline_names(baseline: ModelStructure, actual: ModelStructure) -> tuple[ModelStructure, list[RenameFinding]]:
    """The actual structure with renamed and moved modules called as in the baseline, and a finding for each rename."""
    if baseline.modules.keys() == actual.modules.keys():
        return actual, []
    findings = renames(_rows(baseline), _rows(actual))
    if not findings:
        return actual, findings
    baseline_name = baseline_namer(findings)
    names = {name: baseline_name(name) for name in actual.modules}

    def key(weight: str) -> str:
        owner, _, local = weight.rpartition(".")
        return f"{names[owner]}.{local}" if names.get(owner, owner) != owner else weight

    def module(record: ModuleRecord) -> ModuleRecord:
        return replace(record, weights={local: key(weight) for local, weight in record.weights.items()})

    return (
        ModelStructure(
            {names[name]: module(record) for name, record in actual.modules.items()},
            {key(name): record for name, record in actual.weights.items()},
            tuple(sorted(tuple(sorted(names.get(name, key(name)) for name in group)) for group in actual.ties)),
        ),
        findings,
    )


def renames(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[RenameFinding]:
    """One finding for each subtree that is gone under one name and has appeared, with equal contents, under another."""
    gone, new = _roots(set(before) - set(after)), _roots(set(after) - set(before))
    if not new:
        return []
    candidates: dict[Hashable, dict[str, list[str]]] = {}  # names and numbers, by what else there is in a subtree
    for name, (key, numbers) in _contents(after, new).items():
        candidates.setdefault(key, {})[name] = numbers
    findings: list[RenameFinding] = []
    for old, (key, numbers) in _contents(before, gone).items():
        alike = candidates.get(key, {})
        tried = itertools.islice(alike.items(), _MOST_TRIED)
        twin = next((name for name, others in tried if same_numbers(numbers, others)), None)
        if twin is not None:
            del alike[twin]
            findings.append(RenameFinding(twin, before=old))
    return findings


def baseline_namer(renamed: Iterable[RenameFinding]) -> Callable[[str], str]:
    """A function that gives the name in the baseline of a module of the actual model."""
    before = {finding.layer: finding.before for finding in renamed}
    lengths = {len(layer) for layer in before}

    def baseline_name(name: str) -> str:
        root = next(holders(name, before, lengths), name)
        return before.get(root, root) + name[len(root) :]

    return baseline_name


def renames_of(verdict: Verdict | None) -> list[RenameFinding]:
    """The findings of a verdict that are about new names."""
    findings = verdict.findings if verdict is not None else ()
    return [finding for finding in findings if isinstance(finding, RenameFinding)]


def is_within(name: str, root: str) -> bool:
    """Whether a module is `root` or inside it, where `root` is not the model itself."""
    return name == root or name.startswith(f"{root}.")


def tie_findings(before: Sequence[Sequence[str]], after: Sequence[Sequence[str]]) -> list[TiesFinding]:
    """Differences between groups of names that stand for the same module or tensor."""
    old, new = ([tuple(group) for group in groups] for groups in (before, after))
    if old == new:
        return []
    old_set, new_set = set(old), set(new)
    lost = tuple(group for group in old if group not in new_set)
    gained = tuple(group for group in new if group not in old_set)
    return [TiesFinding("", lost, gained)]


def _rows(structure: ModelStructure) -> dict[str, tuple[str, list[tuple[str, str]], list[str]]]:
    """What must be equal in two modules for one of them to be the other renamed."""
    return {
        name: (
            module.class_name,
            sorted(
                # what takes any other name is not in earlier baselines
                (key, text.partition(", **")[0] if key == "forward" else in_one_order(text))
                for key, text in module.config.items()
                if key not in MARKS
            ),
            sorted(module.weights),
        )
        for name, module in structure.modules.items()
    }


def _roots(names: set[str]) -> list[str]:
    """Those names whose parents are not among them, in natural order."""
    return sorted((name for name in names if name.rpartition(".")[0] not in names), key=natural)


def _contents(layers: Mapping[str, Any], roots: Sequence[str]) -> dict[str, tuple[Hashable, list[str]]]:
    """For each root its subtree without numbers, as a key, and the numbers.

    Only a forged tree has a root inside another: what is there counts once, for the outer one.
    """
    subtrees: dict[str, dict[str, Any]] = {root: {} for root in roots}
    lengths = {len(root) for root in roots}
    for name, row in layers.items():
        for root in itertools.islice(holders(name, subtrees, lengths), 1):
            subtrees[root][name[len(root) :]] = row
    contents: dict[str, tuple[Hashable, list[str]]] = {}
    for root, subtree in subtrees.items():
        numbers: list[str] = []
        contents[root] = without_numbers(subtree, numbers), numbers
    return contents
