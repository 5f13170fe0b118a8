"""What changed about a class activation map as a whole, and how that is worded."""

from dataclasses import dataclass

from pytest_modelviz.records.findings import AnyFinding
from pytest_modelviz.reports.sentences import sentence
from pytest_modelviz.text.side_by_side import apart

Range = tuple[float, float]  # the least and the greatest value of a map


@dataclass(frozen=True)
class NonFiniteMapFinding(AnyFinding):
    """Maps with another number of values that are not finite: (how many, of how many)."""

    before: tuple[int, int]
    after: tuple[int, int]


@dataclass(frozen=True)
class EmptyMapFinding(AnyFinding):
    """Only one of the maps has anything positive, which is all that people see of it, or is not zero everywhere."""

    before: Range
    after: Range


@dataclass(frozen=True)
class ScaledMapFinding(AnyFinding):
    """The map is the baseline's times `factor`, which may be negative: that explains nearly all of the difference."""

    factor: float


@sentence.register
def _(finding: NonFiniteMapFinding) -> str:
    before, after = (f"{count} of {size}" for count, size in (finding.before, finding.after))
    are = "is" if finding.after[0] == 1 else "are"
    return f"{after} values of the map {are} not finite, in the baseline {before}"


@sentence.register
def _(finding: EmptyMapFinding) -> str:
    is_zero = (0.0, 0.0) in (finding.before, finding.after)
    emptiness = "is empty, zero everywhere" if is_zero else "has nothing positive and looks empty"
    before, after = (f"{least:.3g} to {greatest:.3g}" for least, greatest in (finding.before, finding.after))
    return f"one of the maps {emptiness}: the baseline goes from {before}, this one from {after}"


@sentence.register
def _(finding: ScaledMapFinding) -> str:
    if finding.factor > 0:
        effect = "the picture is the same, its strength is not"
    else:
        effect = "positive and negative values are swapped"
    return f"it is the baseline's map times {apart(finding.factor, 1.0, 4)[0]}: {effect}"
