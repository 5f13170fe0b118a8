"""What a change does to a model's output: how far it is off, and which samples have another top class. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_modelviz.records.json_values import (
    nullable_number,
    objects,
    optional,
    optional_number,
    plain_record,
    required,
    texts,
)
from pytest_modelviz.text.strict_json import JsonObject, JsonValue


@dataclass(frozen=True)
class ScoredClass:
    """The class with the highest score of a sample, and its share of probability (0 to 1), None where not known."""

    label: int
    share: float | None = None


@dataclass(frozen=True)
class TopClassChange:
    """A sample whose class with the highest score is another one than in the baseline."""

    sample: int
    before: ScoredClass
    after: ScoredClass


@dataclass(frozen=True)
class Merger:
    """Layers whose common result one layer of the actual pass returns, under its name there."""

    layers: tuple[str, ...]
    became: str


@dataclass(frozen=True)
class Reappearance:
    """How many of the baseline's `total` layers return what some layer of the actual pass returns, whatever its name.

    Only layers without calls inside count.
    """

    found: int
    total: int
    mergers: tuple[Merger, ...] = ()


@dataclass(frozen=True)
class OutputEffect:
    """How far a model's output is from the baseline's.

    Attributes:
        error: the relative L2 difference of the output that is furthest off; infinite where two outputs cannot be
            subtracted.
        tolerance: the largest error allowed there.
        path: which output that is, where there are several.
        samples: how many samples have scores; None where the output does not look like scores of classes, or the
            baseline says nothing of them.
        top1_changed: how many of them have another class with the highest score.
        changes: these samples.
        reappearance: what of the baseline is found in the actual pass by value, where the model is built differently.

    """

    error: float
    tolerance: float
    path: str = ""
    samples: int | None = None
    top1_changed: int | None = None
    changes: tuple[TopClassChange, ...] = ()
    reappearance: Reappearance | None = None

    @property
    def drifted(self) -> bool:
        return not self.error <= self.tolerance

    def to_json(self) -> dict[str, JsonValue]:
        """The effect as a JSON object."""
        return plain_record(self)

    @classmethod
    def from_json(cls, document: JsonObject) -> OutputEffect:
        """What `to_json` wrote; raises ValueError for what cannot be understood."""
        error, tolerance = nullable_number(document, "error"), nullable_number(document, "tolerance")
        return cls(
            error=float("inf") if error is None else error,
            tolerance=tolerance or 0.0,
            path=optional(document, "path", str) or "",
            samples=optional(document, "samples", int),
            top1_changed=optional(document, "top1_changed", int),
            changes=tuple(map(_change, objects(document, "changes"))),
            reappearance=_reappearance(optional(document, "reappearance", dict)),
        )


def _change(row: JsonObject) -> TopClassChange:
    before, after = (_scored(required(row, key, dict)) for key in ("before", "after"))
    return TopClassChange(required(row, "sample", int), before, after)


def _scored(row: JsonObject) -> ScoredClass:
    return ScoredClass(required(row, "label", int), optional_number(row, "share"))


def _reappearance(row: JsonObject | None) -> Reappearance | None:
    if row is None:
        return None
    mergers = [Merger(texts(merger, "layers"), required(merger, "became", str)) for merger in objects(row, "mergers")]
    return Reappearance(required(row, "found", int), required(row, "total", int), tuple(mergers))
