"""What differs between two short trainings, and how that is worded."""

import enum
import math
from dataclasses import dataclass

from pytest_modelviz.records.findings import AnyFinding, LayerFinding
from pytest_modelviz.reports.sentences import listed, sentence, shortened
from pytest_modelviz.views.training_curve.curve_tables import DECAY, GRADIENT, SCALAR, UPDATE, CurveKind


class Onset(enum.Enum):
    """When two trainings part: at once, later, or for a reason that is known without their curves."""

    START = "start"
    LATER = "later"
    KNOWN = "known"


@dataclass(frozen=True)
class PartingFinding(AnyFinding):
    """At which step two trainings part, and in what kind of curve."""

    kind: CurveKind
    onset: Onset
    step: int


class Remark(enum.Enum):
    """What is to be said about all curves."""

    AGREEING = "all curves agree within what is allowed"
    RENAMED = "the parameters have other names"
    ONCE = "a training runs only once: randomness beyond its seed, such as the data order, would look the same"


@dataclass(frozen=True)
class CurveRemark(AnyFinding):
    """A remark about all curves, as evidence where there are no numbers."""

    remark: Remark


@dataclass(frozen=True)
class CurveFinding(LayerFinding):
    """The values of a curve where two trainings part; "" is the name of all updates together."""

    kind: CurveKind
    name: str
    before: float
    after: float

    @property
    def change(self) -> float:
        """The change as a fraction of the baseline's; NaN where there is no such."""
        return (self.after - self.before) / abs(self.before) if self.before else math.nan


@dataclass(frozen=True)
class OptimizerFinding(AnyFinding):
    """A setting of the optimisers, or the optimisers themselves."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class UnsureUpdatesFinding(AnyFinding):
    """Parameters that move differently and whose gradients may be mere rounding: reported with a match."""

    names: tuple[str, ...]


_ONSETS = {
    Onset.START: "step {step}: {parting}",
    Onset.LATER: "everything agrees up to step {step}, where {parting}",
    Onset.KNOWN: "the {parting} diverge at step {step}",
}
_PARTINGS = {
    (SCALAR, Onset.START): "the scalars differ before anything is learned: the forward pass, loss or data",
    (SCALAR, Onset.LATER): "scalars differ: its data, random numbers or buffers",
    (SCALAR, Onset.KNOWN): "scalars",
    (GRADIENT, Onset.START): "the scalars agree, the gradients do not",
    (GRADIENT, Onset.LATER): "the scalars still agree and the gradients do not",
    (GRADIENT, Onset.KNOWN): "gradients",
    (UPDATE, Onset.START): "scalars and gradients agree, the parameters move differently: the optimiser",
    (UPDATE, Onset.LATER): "the parameters move differently: the optimiser",
    (UPDATE, Onset.KNOWN): "updates",
}
_CLAUSES = {
    SCALAR: "{name}:",
    GRADIENT: "gradient of {name}: norm",
    UPDATE: "{name} moves by",
    DECAY: "{name} moves along itself, as weight decay makes it, by",
}
_CLAUSES_TOGETHER = {
    UPDATE: "all parameters together move by",
    DECAY: "all parameters move along themselves, as weight decay makes them, by",
}


@sentence.register
def _(finding: PartingFinding) -> str:
    parting = _PARTINGS[finding.kind.stage, finding.onset]
    return _ONSETS[finding.onset].format(step=finding.step, parting=parting)


@sentence.register
def _(finding: CurveRemark) -> str:
    return finding.remark.value


@sentence.register
def _(finding: CurveFinding) -> str:
    clauses = _CLAUSES if finding.name else _CLAUSES | _CLAUSES_TOGETHER
    clause = clauses[finding.kind].format(name=finding.name)
    per_cent = 100 * finding.change
    change = f"{per_cent:+,.0f}" if abs(per_cent) >= 100 else f"{per_cent:+.2g}"
    suffix = f", {change} %" if math.isfinite(per_cent) else ""
    return f"{clause} {finding.before:.6g} -> {finding.after:.6g}{suffix}"


@sentence.register
def _(finding: UnsureUpdatesFinding) -> str:
    return (
        f"how {listed(finding.names)} move{'s' if len(finding.names) == 1 else ''} differs and was not compared: the "
        f"gradient is less than 1e-5 of the whole and differs too, as rounding does"
    )


@sentence.register
def _(finding: OptimizerFinding) -> str:
    return f"the optimiser: {finding.name}: {shortened(finding.before, finding.after)}"
