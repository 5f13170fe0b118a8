"""The outcome of a comparison as plain data. `reports` makes sentences of it."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

UNCOMPARED = "uncompared"  # kind of a finding about what the baseline keeps from being compared: reported with a match
KINKS = "kinks"  # kind of a finding about a match that only a jump of the gradient explains: reported with it


class Cause(str, enum.Enum):
    """What a difference comes from."""

    ARCHITECTURE = "architecture"
    WEIGHTS = "weights"
    INPUT = "input"
    COMPUTATION = "computation"
    GRADIENT = "gradient"

    __str__ = str.__str__


@dataclass(frozen=True)
class Divergence:
    """Where a capture first departs from its baseline.

    Attributes:
        layer: the module's name; "" is the model itself.
        class_name: the module's class.
        call: which of its calls in this pass, from 0.
        error: relative (0.05 is five per cent); infinite where two things cannot be subtracted.
        tolerance: the largest error allowed.

    """

    layer: str
    class_name: str
    call: int
    error: float
    tolerance: float


@dataclass(frozen=True)
class Finding:
    """One piece of evidence: `kind` says what it is about, `layer` where, `before` and `after` what changed.

    `error` is the relative difference of numbers.
    """

    kind: str
    layer: str = ""
    what: str = ""
    before: str = ""
    after: str = ""
    error: float = math.nan


@dataclass(frozen=True)
class LayerError:
    """How far one call of one layer is from its baseline, in the order of execution."""

    layer: str
    call: int
    error: float
    tolerance: float

    @property
    def drifted(self) -> bool:
        return not self.error <= self.tolerance


@dataclass(frozen=True)
class Verdict:
    """The outcome of comparing one capture with its baseline."""

    matched: bool
    compared: int
    drifted: int
    error: float
    tolerance: float
    first: Divergence | None = None
    cause: str | None = None
    findings: tuple[Finding, ...] = ()
    layers: tuple[LayerError, ...] = ()
    environment_changes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
