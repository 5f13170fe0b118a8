"""What `activation_maximization` returns, and a climb as a capture holds it. Knows no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.views.captions import rounded

Curves: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ActivationMaximization:
    """What `activation_maximization` returns.

    `images` is float32 (filters, *input), `curves` float64 (steps + 1, filters): the filter's mean activation before
    the first step and after each. Both are in the order of `filters`.
    """

    images: npt.NDArray[np.float32]
    curves: Curves
    layer: str
    filters: tuple[int, ...]


class Climb(NamedTuple):
    """`curves` (steps + 1, filters), for each filter the gradient of the first step, and the forward pass to there."""

    curves: Curves
    gradients: tuple[TensorRecord, ...]
    trace: ForwardTrace


def gradient_key(at: int) -> str:
    """The key of a filter's gradient among the tensors of the trace; no layer can be called that."""
    return f"(gradient {at})"


def stored_climb(capture: Capture, ignored: Sequence[str] = ()) -> Climb:
    """The climb that a capture holds, without what the globs in `ignored` leave out.

    Raises UnreadableBaselineError for what is none.
    """
    curves, filters, steps = capture.arrays.get("curves"), capture.facts.get("filters"), capture.facts.get("steps")
    if curves is None or curves.dtype != np.float64 or not isinstance(filters, list) or not isinstance(steps, int):
        raise UnreadableBaselineError("it holds no climb")
    if not curves.size or curves.shape != (steps + 1, len(filters)):
        raise UnreadableBaselineError("its climb is damaged")
    trace = stored_trace(capture.arrays, ignored)
    keys = [gradient_key(at) for at in range(len(filters))]
    if not trace.gradients.keys() >= set(keys):
        raise UnreadableBaselineError("it does not hold the gradient of every filter")
    return Climb(curves.astype(np.float64), tuple(trace.gradients[key] for key in keys), trace)


def climb_rows(filters: Sequence[object], curves: Curves) -> dict[str, dict[str, float | str]]:
    """Where each filter's climb starts and ends, and its highest point, for people."""
    return {
        str(number): {"start": rounded(curve[0], 3), "end": rounded(curve[-1], 3), "highest": rounded(np.max(curve), 3)}
        for number, curve in zip(filters, curves.T, strict=True)
    }
