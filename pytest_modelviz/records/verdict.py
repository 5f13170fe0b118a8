"""What a comparison found, as plain data. Sentences are made of it in `reports`, never here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

CAUSES = ("architecture", "weights", "input", "computation", "gradient")
UNCOMPARED = "uncompared"  # the kind of a finding about what, by the baseline, is not to be compared: told of a match


@dataclass(frozen=True)
class Divergence:
    """The first place where a capture leaves its baseline.

    `layer` is the module's name (`""` is the model itself), `call` counts its calls from 0 in this pass, `error` and
    `tolerance` are relative (0.05 is five per cent), `error` is infinite where two things cannot be subtracted.
    """

    layer: str
    class_name: str
    call: int
    error: float
    tolerance: float


@dataclass(frozen=True)
class Finding:
    """One piece of evidence: `kind` says what it is about, `layer` where, `before` and `after` what changed.

    `error` is a relative difference where the thing is a number.
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
