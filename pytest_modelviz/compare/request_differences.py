"""Whether two captures answer one request: the same method, layer and target."""

from __future__ import annotations

from collections.abc import Collection, Set

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.findings import DtypeFinding, FactFinding
from pytest_modelviz.records.verdict import Verdict

_LATER = ("explained",)  # facts that baselines of older versions lack, and outputs of a single tensor


def request_differences(
    baseline: Capture, actual: Capture, kinds: Collection[str], requested: Set[str]
) -> tuple[Verdict | None, list[DtypeFinding | FactFinding]]:
    """Find which facts differ, and whether the two captures can be compared at all.

    Args:
        baseline: the stored capture.
        actual: the capture that is compared with it.
        kinds: the facts to look at.
        requested: those of them that the caller chose. Where one of these differs there is nothing to compare, and
            nobody to blame.

    Returns:
        A verdict if any requested fact differs, else None; and a finding for each fact that differs.

    """
    differing = [
        kind
        for kind in kinds
        if baseline.facts.get(kind) != actual.facts.get(kind) and not _is_unknown(kind, baseline, actual)
    ]
    findings = [_finding(kind, *(str(capture.facts.get(kind)) for capture in (baseline, actual))) for kind in differing]
    return (None if requested.isdisjoint(differing) else Verdict.drift(findings=findings)), findings


def is_decisive(finding: DtypeFinding | FactFinding) -> bool:
    """Whether explanations cannot match that differ in this fact: another target, or another dtype."""
    return isinstance(finding, DtypeFinding) or finding.fact == "targets"


def _finding(kind: str, before: str, after: str) -> DtypeFinding | FactFinding:
    return DtypeFinding("", kind, before, after) if kind == "dtype" else FactFinding(kind, before, after)


def _is_unknown(kind: str, baseline: Capture, actual: Capture) -> bool:
    return kind in _LATER and not (kind in baseline.facts and kind in actual.facts)
