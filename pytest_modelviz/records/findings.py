"""What a comparison finds, as typed data: a dataclass for each family, with numbers kept as numbers.

Here are the families that more than one view uses; those of a single view are in its package. `reports.sentences` words
them, and grows with each family.
"""

import enum
import math
from dataclasses import dataclass, field
from typing import Literal

from pytest_modelviz.records.changes import ValueChange

COMPUTED_IN = "(computed in)"  # among a call's outputs: the dtypes of what its code computes and does not return
AUTOCAST = "(autocast)"  # among a call's inputs: the state of autocast, where it is not that of the model's own call


class Role(enum.Enum):
    """What a finding is to a drift: evidence of its cause, or something that differs also."""

    EVIDENCE = "evidence"
    ALSO = "also"


@dataclass(frozen=True)
class AnyFinding:
    """The base of all findings. A family that `reports.sentences` does not know is an error when it is worded."""

    role: Role = field(default=Role.EVIDENCE, kw_only=True)


@dataclass(frozen=True)
class Finding(AnyFinding):
    """A finding of any kind, for views of other plugins: `layer what: before -> after`.

    Args:
        kind: for code that reads findings; no sentence shows it.
        layer: the module that it is about; "" is the model itself.
        what: which of its properties.
        before: the baseline's, as text.
        after: the actual one, as text.
        error: the relative difference, where these are numbers.
        role: evidence, or what differs also.

    Example:
        >>> Finding("heads", "encoder.0", "attention heads", "8", "4")

    """

    kind: str
    layer: str = ""
    what: str = ""
    before: str = ""
    after: str = ""
    error: float = math.nan


@dataclass(frozen=True)
class LayerFinding(AnyFinding):
    """A finding about one module; "" is the model itself."""

    layer: str


class DivergingEvent(enum.Enum):
    """The first event of a pass that differs; the model's input is that of the outermost `ENTER`."""

    INPUT = "input"
    ENTER = "enter"
    LEAVE = "leave"
    ORDER = "order"
    NONE = "none"


@dataclass(frozen=True)
class EventFinding(LayerFinding):
    """Where two passes diverge: at which event, and at which of its tensors.

    `before` and `after` are what stands at `path`, where the two cannot be subtracted.
    """

    event: DivergingEvent
    path: str = ""
    before: str = ""
    after: str = ""
    error: float = math.nan
    change: ValueChange | None = None  # of the model's input, where it could be found out


@dataclass(frozen=True)
class WeightFinding(LayerFinding):
    """A parameter or buffer that changed by the relative `error`, which is infinite for what cannot be subtracted.

    `change` is what has become of its values, where it could be found out.
    """

    name: str
    error: float
    change: ValueChange | None = None


@dataclass(frozen=True)
class ModuleFinding(LayerFinding):
    """A module, or an array that stands as one, that only the baseline or only the actual capture has."""

    change: Literal["removed", "added"]
    class_name: str


@dataclass(frozen=True)
class RenameFinding(LayerFinding):
    """A subtree whose root was called `before` in the baseline; `layer` is its actual name."""

    before: str

    @property
    def is_move(self) -> bool:
        """Whether it is called the same, elsewhere in the tree."""
        return self.before.rpartition(".")[2] == self.layer.rpartition(".")[2]


@dataclass(frozen=True)
class TiesFinding(LayerFinding):
    """Groups of names that shared memory in the baseline alone, and those that only do so now."""

    lost: tuple[tuple[str, ...], ...]
    gained: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class ChangeFinding(LayerFinding):
    """A property of a module, or a capture, that has another text."""

    name: str
    before: str
    after: str


class DtypeFinding(ChangeFinding):
    """The dtype in which a capture was computed."""


class RequestFinding(ChangeFinding):
    """Something that the caller asked for: with another request there is nothing to compare."""


class ArrayFinding(ChangeFinding):
    """An array of another dtype or shape, or with NaN and infinities elsewhere; `name` is empty."""


class ConstructionFinding(ChangeFinding):
    """How a module is built. Several layers with the same change share a sentence."""


class ClassFinding(ConstructionFinding):
    """The class of a module."""


class ConfigFinding(ConstructionFinding):
    """A setting of a module that its `extra_repr` shows."""


class AttributeFinding(ConstructionFinding):
    """An attribute that `extra_repr` does not show: configuration, or mere state."""


class ShapeFinding(ConstructionFinding):
    """The dtype and shape of a parameter or buffer."""


Step = tuple[str, str] | None  # ("enter" or "leave", layer); None at the end of a pass


@dataclass(frozen=True)
class OrderFinding(AnyFinding):
    """What each pass does where they no longer call the same; `is_later` if they differ in numbers before that."""

    before: Step
    after: Step
    is_later: bool


@dataclass(frozen=True)
class CodeFinding(LayerFinding):
    """Between which of its calls a module's own code computes something else; "" where there is no such call."""

    last_callee: str
    next_callee: str


@dataclass(frozen=True)
class OutputsFinding(AnyFinding):
    """Which of the `count` leaves of the model's output drifted, by path."""

    count: int
    drifted: tuple[str, ...]


@dataclass(frozen=True)
class UncomparedFinding(LayerFinding):
    """What differs, or is missing, and is not compared because of what the baseline says: reported with a match."""

    name: str


@dataclass(frozen=True)
class UnstatedFinding(AnyFinding):
    """What the baseline, as those of earlier versions, does not say, and was not compared: reported with a match."""

    subject: str


@dataclass(frozen=True)
class UnrecordedPartsFinding(AnyFinding):
    """In how many layers the baseline lacks the integers, scales and zero points of quantised weights."""

    layers: int


@dataclass(frozen=True)
class QuantisedAnewFinding(AnyFinding):
    """In how many weights some integers differ because the model was quantised anew: reported with a match."""

    weights: int


@dataclass(frozen=True)
class NoiseFinding(LayerFinding):
    """How far rounding alone takes what differs first, as it was measured when the baseline was recorded."""

    noise: float


@dataclass(frozen=True)
class ShadowFinding(AnyFinding):
    """What the float32 shadows of two passes in lower precision say, or of which pass there is none."""

    state: Literal["differs", "agrees", "baseline", "actual", "stated"]


@dataclass(frozen=True)
class FormerSketchFinding(AnyFinding):
    """A baseline of an earlier version, whose sketches of large tensors miss some changes: reported with a match."""


@dataclass(frozen=True)
class KinksFinding(AnyFinding):
    """What differs is no more than the jump of a gradient where a rectifier opens: reported with a match."""


@dataclass(frozen=True)
class FactFinding(AnyFinding):
    """A fact of a capture that differs: its target, its method."""

    fact: str
    before: str
    after: str


@dataclass(frozen=True)
class IncomparableStepsFinding(AnyFinding):
    """From `step` on two trainings, which agree before, are too far apart for anything to be said of them."""

    step: int
