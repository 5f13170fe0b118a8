"""The outcome of a comparison as plain data. `reports` makes sentences of it."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pytest_modelviz.records.effect import OutputEffect
from pytest_modelviz.records.findings import AnyFinding


class Cause(str, enum.Enum):
    """The cause of a drift."""

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
class LayerError:
    """How far one call of one layer is from its baseline, in the order of execution."""

    layer: str
    call: int
    error: float
    tolerance: float

    @property
    def drifted(self) -> bool:
        return not self.error <= self.tolerance


class WorstCall(NamedTuple):
    """The call of a layer that is furthest off for what is allowed, of how many calls."""

    error: LayerError
    calls: int

    @property
    def which(self) -> str:
        """` in call 1`, where there are several."""
        return f" in call {self.error.call}" if self.calls > 1 else ""


def worst_calls(layers: Iterable[LayerError]) -> dict[str, WorstCall]:
    """The worst call of each layer."""
    worst: dict[str, WorstCall] = {}
    for layer in layers:
        known = worst.get(layer.layer)
        calls = 1 if known is None else known.calls + 1
        error = layer if known is None or _excess(layer) > _excess(known.error) else known.error
        worst[layer.layer] = WorstCall(error, calls)
    return worst


def _excess(layer: LayerError) -> float:
    return layer.error / layer.tolerance if layer.tolerance else math.inf if layer.drifted else 0.0


@dataclass(frozen=True)
class Verdict:
    """The outcome of comparing a capture with its baseline.

    Attributes:
        matched: whether nothing differs that counts.
        compared: how many layers, or other things, were compared.
        drifted: how many of them drifted.
        error: relative, of what drifted first; infinite where there is no number.
        tolerance: the largest error allowed.
        first: where the two first diverge.
        cause: the value of a `Cause`; None where none is given.
        findings: the evidence, and what differs also.
        layers: how far each layer is from the baseline.
        environment_changes: (before, after) by key; filled in by the run.
        output: what a drift does to the model's output, where that is known; filled in by the run.

    """

    matched: bool
    compared: int
    drifted: int
    error: float
    tolerance: float
    first: Divergence | None = None
    cause: str | None = None
    findings: tuple[AnyFinding, ...] = ()
    layers: tuple[LayerError, ...] = ()
    environment_changes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    output: OutputEffect | None = None

    @classmethod
    def match(
        cls,
        *,
        compared: int,
        error: float = 0.0,
        tolerance: float = 0.0,
        findings: Iterable[AnyFinding] = (),
        layers: Iterable[LayerError] = (),
    ) -> Verdict:
        """Nothing differs that counts; `findings` are what differs and does not, or was not compared."""
        return cls(True, compared, 0, error, tolerance, findings=tuple(findings), layers=tuple(layers))

    @classmethod
    def drift(
        cls,
        *,
        compared: int = 1,
        drifted: int = 1,
        error: float = math.inf,
        tolerance: float = 0.0,
        first: Divergence | None = None,
        cause: str | None = None,
        findings: Iterable[AnyFinding] = (),
        layers: Iterable[LayerError] = (),
    ) -> Verdict:
        """Something differs; without an error, what cannot be compared at all."""
        return cls(False, compared, drifted, error, tolerance, first, cause, tuple(findings), tuple(layers))
