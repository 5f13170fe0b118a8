"""The calls of a pass whose results rounding takes far, and why, as plain data."""

import enum
from dataclasses import dataclass

from pytest_modelviz.records.json_values import plain_record
from pytest_modelviz.text.strict_json import JsonValue


class NoiseReason(str, enum.Enum):
    """Why rounding takes a result far."""

    CANCELLATION = "cancellation"  # it is far smaller than what it was computed from
    NEAR_TIES = "softmax of near ties"
    RECURRENT = "recurrent"
    FEW_NUMBERS = "few numbers"
    AMPLIFIED = "amplified"  # for none of the reasons above
    ACCUMULATED = "accumulated"  # by many calls, a little by each
    INPUT = "input"  # of the model, which is as noisy
    UNSTEADY = "unsteady"  # another rounding leads to other calls or shapes
    DEEP_GRADIENT = "deep gradient"  # rectifiers next to zero, or many layers, on its way back

    __str__ = str.__str__


@dataclass(frozen=True)
class NoisyCall:
    """A call that computes a result whose noise is large.

    Attributes:
        layer: the module that is called, or at which a gradient is taken: of a gradient on the input, the model.
        class_name: the name of its class; empty for a gradient at several layers.
        call: which of the module's calls it is.
        noise: a relative L2 difference, of several results the largest.
        share: the noise as a fraction of the most that is allowed by default.
        reason: why it is large, where it arose.
        origin: the layer at which it arose, if that is another call.
        origin_call: which of that layer's calls.

    """

    layer: str
    class_name: str
    call: int
    noise: float
    share: float
    reason: NoiseReason
    origin: str | None = None
    origin_call: int | None = None


@dataclass(frozen=True)
class NoiseSummary:
    """The noise of a pass, or of a gradient.

    Attributes:
        usual: the median of its tensors; of a gradient, how far weights and input were moved to measure it.
        is_shadow: whether the pass is a float32 shadow.
        large: how many calls have results with far more than that.
        calls: the noisiest of them, the largest noise first.
        is_of_gradient: whether it is that of an explanation, which is made of a gradient.

    """

    usual: float
    is_shadow: bool
    large: int
    calls: tuple[NoisyCall, ...]
    is_of_gradient: bool = False

    def to_json(self) -> dict[str, JsonValue]:
        """An object of its fields, `class_name` as "class"; null stands for what is infinite."""
        return {**plain_record(self), "calls": [plain_record(call, class_name="class") for call in self.calls]}
