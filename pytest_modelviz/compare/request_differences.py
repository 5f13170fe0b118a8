"""Whether two captures answer one request: the same method, layer and target."""

from __future__ import annotations

import math
from collections.abc import Collection

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.verdict import Finding, Verdict

_LATER = ("explained",)  # facts that baselines of older versions lack, and outputs of a single tensor


def request_differences(
    baseline: Capture, actual: Capture, kinds: Collection[str], requested: Collection[str]
) -> tuple[Verdict | None, list[Finding]]:
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
    findings = [
        Finding(kind, what=kind, before=str(baseline.facts.get(kind)), after=str(actual.facts.get(kind)))
        for kind in kinds
        if baseline.facts.get(kind) != actual.facts.get(kind) and not _is_unknown(kind, baseline, actual)
    ]
    if any(finding.kind in requested for finding in findings):
        return Verdict(False, 1, 1, math.inf, 0.0, findings=tuple(findings)), findings
    return None, findings


def _is_unknown(kind: str, baseline: Capture, actual: Capture) -> bool:
    return kind in _LATER and not (kind in baseline.facts and kind in actual.facts)
