"""What waits for a decision, by what it has in common: one look may decide many checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_modelviz.records.group import DriftGroup, drift_groups, group_name
from pytest_modelviz.review.review import ReviewedCheck


@dataclass(frozen=True)
class ReviewedGroup:
    """Checks that can be decided at once: of one group of drifts or, where that is None, those without a baseline."""

    drifts: DriftGroup | None
    items: tuple[ReviewedCheck, ...]


def reviewed_groups(items: Sequence[ReviewedCheck]) -> list[ReviewedGroup]:
    """The groups, the most severe first; checks that have not drifted are the last."""
    by_name: dict[str | None, list[ReviewedCheck]] = {}
    for item in items:
        by_name.setdefault(group_name(item.check), []).append(item)
    drifts = drift_groups(item.check for item in items)
    groups = [ReviewedGroup(group, tuple(by_name[group.name])) for group in drifts]
    return [*groups, *([ReviewedGroup(None, tuple(by_name[None]))] if None in by_name else [])]
