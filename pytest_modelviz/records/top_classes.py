"""The facts of a capture that say which classes have the highest scores in its model's output, sample by sample.

Anybody may have written a baseline: a fact of another form says nothing. No comparison depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

from pytest_modelviz.records.effect import ScoredClass, TopClassChange
from pytest_modelviz.records.facts import number
from pytest_modelviz.text.strict_json import JsonObject, JsonValue

TOP_CLASSES = "top_classes"
PREDICTED, EXPLAINED = "predicted", "explained"  # classes without shares, and of which output, in explanations
MOST_SAMPLES = 32  # of a batch; there is no need to look at more


def top_classes(facts: JsonObject, path: str) -> list[ScoredClass] | None:
    """The class with the highest score of each sample of an output; None where the facts do not say."""
    tables = facts.get(TOP_CLASSES)
    table = tables.get(path) if isinstance(tables, Mapping) else None
    if isinstance(table, Mapping):
        classes, shares = table.get("classes"), table.get("shares")
    elif str(facts.get(EXPLAINED, "")).lstrip(".") == path:
        classes, shares = facts.get(PREDICTED), None
    else:
        return None
    if not isinstance(classes, (list, tuple)) or not 0 < len(classes) <= MOST_SAMPLES:
        return None
    if shares is None:
        return [ScoredClass(label) for label in classes if is_label(label)] if all(map(is_label, classes)) else None
    if not isinstance(shares, (list, tuple)) or len(shares) != len(classes):
        return None
    pairs = zip(classes, shares, strict=True)
    scored = [ScoredClass(label, number(share)) for label, share in pairs if is_label(label) and _is_share(share)]
    return scored if len(scored) == len(classes) else None


def is_label(value: JsonValue) -> TypeGuard[int]:
    """Whether a value can be the number of a class."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _is_share(value: JsonValue) -> bool:
    return 0.0 <= number(value) <= 1.0


def top_class_changes(baseline: list[ScoredClass], actual: list[ScoredClass]) -> tuple[TopClassChange, ...]:
    """The samples that have another class with the highest score."""
    pairs = enumerate(zip(baseline, actual, strict=True))
    return tuple(TopClassChange(at, old, new) for at, (old, new) in pairs if old.label != new.label)
