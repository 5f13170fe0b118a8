"""Drifts of a run that are probably one change: those of one cause at one layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_modelviz.records.check_result import CheckResult, Status

MODEL = "(model)"  # stands for the layer where that is the model itself
UNEXPLAINED = "other"  # stands for the cause where none is given


def group_name(result: CheckResult) -> str | None:
    """What a drift has in common with others: `weights@layer4.0.conv1`; None for what has not drifted.

    Example:
        >>> group_name(result)
        'weights@layer4.0.conv1'

    """
    if result.status is not Status.DRIFT:
        return None
    first = result.first_divergence
    layer = MODEL if first is None else first.layer or MODEL
    return f"{result.cause or UNEXPLAINED}@{layer}"


@dataclass(frozen=True)
class DriftGroup:
    """All drifts of one cause at one layer, in the order in which they were found, at least one."""

    name: str
    checks: tuple[CheckResult, ...]

    @property
    def first(self) -> CheckResult:
        return self.checks[0]

    @property
    def nodeids(self) -> list[str]:
        """The tests, each once."""
        return list(dict.fromkeys(check.nodeid for check in self.checks))

    @property
    def output_error(self) -> float | None:
        """The largest error of an output; None where none is known."""
        return max((check.output.error for check in self.checks if check.output is not None), default=None)

    @property
    def top1_changed(self) -> tuple[int, int] | None:
        """How many samples have another top class, of how many; None where nothing is known.

        Each test counts once, by that check of it in which most samples have.
        """
        by_test: dict[str, tuple[int, int]] = {}
        for check in self.checks:
            output = check.output
            if output is not None and output.samples is not None and output.top1_changed is not None:
                counts = output.top1_changed, output.samples
                by_test[check.nodeid] = max(counts, by_test.get(check.nodeid, counts))
        return (sum(n for n, _ in by_test.values()), sum(n for _, n in by_test.values())) if by_test else None

    @property
    def severity(self) -> tuple[float, ...]:
        """By this groups are sorted: changed classes, then how far outputs and layers are off, then how many checks."""
        changed, errors = self.top1_changed, [check.error for check in self.checks if check.error is not None]
        return (changed[0] if changed else 0, self.output_error or 0.0, max(errors, default=0.0), len(self.checks))


def drift_groups(results: Iterable[CheckResult]) -> list[DriftGroup]:
    """The drifts by what they have in common, the most severe group first."""
    groups: dict[str, list[CheckResult]] = {}
    for result in results:
        name = group_name(result)
        if name is not None:
            groups.setdefault(name, []).append(result)
    found = [DriftGroup(name, tuple(checks)) for name, checks in groups.items()]
    return sorted(found, key=lambda group: group.severity, reverse=True)
