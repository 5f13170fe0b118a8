"""What differs between two climbs, and how that is worded."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_modelviz.records.findings import LayerFinding
from pytest_modelviz.reports.sentences import differs, sentence
from pytest_modelviz.text.dotted import MODEL_LABEL


@dataclass(frozen=True)
class ClimbFinding(LayerFinding):
    """A quantity of a climb at `layer` that differs; `before` and `after` are each filter's at the end, if given."""

    quantity: str
    error: float
    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()


@sentence.register
def _(finding: ClimbFinding) -> str:
    before, after = (", ".join(f"{value:.3g}" for value in values) for values in (finding.before, finding.after))
    ends = f", in the end {before} -> {after}" if before else ""
    return f"{finding.layer or MODEL_LABEL}: the {finding.quantity} {differs(finding.error)}{ends}"
