"""Targets of explanations that are functions of the whole output. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

# Any: a sample's scores, or all that the model returns, which has any type
TargetFunction: TypeAlias = "Callable[[Any], Tensor]"
Target: TypeAlias = "SupportsIndex | TargetFunction | Sequence[SupportsIndex] | Sequence[TargetFunction] | None"


@dataclass(frozen=True)
class WholeOutput:
    """A target that is a function of a model's whole output; made by `whole_output`."""

    function: TargetFunction

    def __call__(self, output: object) -> Tensor:
        return self.function(output)


def whole_output(function: TargetFunction) -> WholeOutput:
    """A target for `cam_map` and `saliency_map` that is given the model's whole output, as the model returns it.

    Without it, a target function is given one sample's scores, and the whole output only if it fails on those.

    Args:
        function: Takes the output (a tensor with its batch dimension, a tuple, a dict, a dataclass) and returns a
            tensor with one number, the one to explain.

    Example:
        >>> target = whole_output(lambda output: output["scores"][0, 1] - output["scores"][0, 2])

    """
    return WholeOutput(function)
