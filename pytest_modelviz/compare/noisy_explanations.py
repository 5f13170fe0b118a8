"""Whether rounding takes the gradient far that an explanation is made of, by what its baseline holds alone."""

from __future__ import annotations

from pytest_modelviz.compare.explanation_tolerance import jump_tolerance
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.noise import EXPLANATION_NOISE, EXPLANATIONS_MOVED, unpacked_noise
from pytest_modelviz.records.noisy_calls import NoiseReason, NoiseSummary, NoisyCall
from pytest_modelviz.records.trace_arrays import unpack_trace

_LARGE = 10.0  # times as far as weights and input were moved; networks without kinks, three to four times
_CLIMB, _CURVE = "activation_maximization", 1  # of a climb, the quantity that only follows from its gradients


def explanation_noise_summary(capture: Capture, tolerances: Tolerances) -> NoiseSummary | None:
    """Summarise the noise of a CAM, a saliency map or a climb.

    Args:
        capture: a baseline, whose noise was measured in single precision.
        tolerances: what is allowed, of which the noise is a share.

    Returns:
        A summary whose `usual` is how far weights and input were moved, and which lists the explanation if it moved
        more than ten times as far; None where no noise was measured.

    """
    packed = capture.arrays.get(EXPLANATION_NOISE)
    if packed is None:
        return None
    measured = unpacked_noise(packed, packed.size)
    noises = [n for at, n in enumerate(measured) if n is not None and (capture.view, at) != (_CLIMB, _CURVE)]
    noise = max(noises, default=0.0)
    if noise <= _LARGE * EXPLANATIONS_MOVED:
        return NoiseSummary(EXPLANATIONS_MOVED, False, 0, (), is_of_gradient=True)
    layer, call = (capture.facts.get(key) for key in ("layer", "call"))
    name = str(layer or "")  # a saliency map is of the input: the gradient goes through the whole model
    module = unpack_trace(capture.arrays).modules.get(name)
    deep = NoisyCall(
        name,
        "" if module is None else module.class_name,  # of several layers
        call if isinstance(call, int) else 0,
        noise,
        noise / jump_tolerance(tolerances, "float32"),
        NoiseReason.DEEP_GRADIENT,
    )
    return NoiseSummary(EXPLANATIONS_MOVED, False, 1, (deep,), is_of_gradient=True)
