"""How far two explanations of one model may be apart: maps, gradients on the input, and climbs to an activation.

Each tolerance is that of a table, by the dtype of the explanation, or a share of the `noise` of the explanation where
that was measured (see `attribution.noise`). A baseline states the noise, and may state anything: it never adds to what
the table allows.
"""

import math

from pytest_modelviz.compare.precision import effective_dtype, real_dtype
from pytest_modelviz.compare.tolerance import MOST, Tolerances

# Explanations go through a backward pass and are compared at their largest difference, not at its mean.
_EXPLANATION_FACTOR = 10.0
# Rectifiers next to zero open on one processor and not on another, where one seed's weights differ in the last digit: a
# gradient then jumps where the forward pass agrees. Measured on networks with random weights, at instruction sets from
# none to AVX-512, or a third of the weights moved by their last digit (ResNet-18 and 50, MobileNet, EfficientNet, VGG,
# AlexNet, SqueezeNet, GoogLeNet, RegNet, DenseNet; 64 to 224 pixels): by up to 0.022 on the input (GoogLeNet; a trained
# network, 16 noisy images, 5e-3), 0.012 at the start of a climb (ResNet-18), and at a single position of a map by 0.032
# of its peak (HiResCAM; LayerCAM 0.02, EigenGradCAM 0.019, GradCAM 2.3e-3; XGradCAM, which divides by a sum that nearly
# cancels, 9e-3).
# Five times that, and a little more. It loses faults of a gradient that are smaller and show in no forward pass.
_JUMP, _JUMP_AT_POSITION = 1.2e-1, 2e-1
# Jumps turn a gradient, and change its size by 2e-3 at most, which most faults do (a factor, a detached branch).
_RESIZING = 2e-2
# With products in TF32 gradients were off by two to six per cent (an H200, five methods of saliency).
_JUMP_IN_PRECISION = {"tf32": 3e-1, "bf16": 6e-1}
# Shares of the noise that is measured: by rounding alone a fifth, as which a gradient may also be resized, and two
# fifths where kinks make it jump. Measured on the networks above: instruction sets, oneDNN and memory formats change a
# map by 0.05 of its noise (ResNet-18), jumps between a CPU and an H100 (20 networks at 224 pixels) a gradient by 0.09
# (ShuffleNet), and between instruction sets by 0.1 (a ResNet-18's climb). Climbs part as far as they ever will after
# the smallest jump: by up to 1.7 times a curve's noise (SqueezeNet). The floor is twenty times what maps without jumps
# were off by.
_NOISE_SHARE, _NOISE_SHARE_OF_JUMP, _TIMES_NOISE_OF_CLIMB = 0.2, 0.4, 5.0
_LEAST = {"float32": 1e-4}
# Activation maximization, as a fraction of the highest point. On equal weights, climbs with and without vector
# instructions agree to 2e-15 (trained EfficientNet-Lite0, 10 and 30 steps). Where one seed gives slightly different
# weights they separate at the first kink: the curves of an untrained ResNet-18 by up to 5.8 %, the images by 29 %, so
# that images cannot be compared. With weights changed by 6e-8 by hand it was up to 7 % and 90 %.
_CLIMB = 0.35


def explanation_tolerance(tolerances: Tolerances, dtype: str, noise: float | None = None) -> float:
    """The largest difference allowed between two maps, as a fraction of the baseline's peak."""
    return min(_by_dtype(tolerances, dtype), _by_noise(tolerances, dtype, noise, _NOISE_SHARE))


def jump_tolerance(tolerances: Tolerances, dtype: str, noise: float | None = None) -> float:
    """The tolerance of a gradient, or of a map made from one, whose forward passes agree."""
    return min(_jump_by_dtype(tolerances, dtype), _by_noise(tolerances, dtype, noise, _NOISE_SHARE_OF_JUMP))


def resizing_tolerance(tolerances: Tolerances, dtype: str, noise: float | None = None) -> float:
    """The tolerance of the factor between two such gradients or maps, as its distance from 1."""
    strict = _by_dtype(tolerances, dtype)
    most = strict if tolerances.rtol is not None else max(strict, tolerances.scale * _RESIZING)
    return min(most, _by_noise(tolerances, dtype, noise, _NOISE_SHARE))


def position_tolerance(tolerances: Tolerances, dtype: str, noise: float | None = None) -> float:
    """The largest difference allowed at a single position of such a map, as a fraction of the baseline's peak."""
    most = max(_jump_by_dtype(tolerances, dtype), tolerances.scale * _JUMP_AT_POSITION)
    return min(most, _by_noise(tolerances, dtype, noise, _NOISE_SHARE_OF_JUMP))


def climb_tolerance(tolerances: Tolerances, dtype: str, noise: float | None = None) -> float:
    """The largest difference allowed between two curves of a climb, as a fraction of the baseline's peak."""
    most = tolerances.scale * (max(_CLIMB, tolerances.rtol or 0.0) + (tolerances.atol or 0.0))
    return min(most, _by_noise(tolerances, dtype, noise, _TIMES_NOISE_OF_CLIMB))


def _by_dtype(tolerances: Tolerances, dtype: str) -> float:
    relative = tolerances.default(dtype)
    if tolerances.rtol is None:
        relative = min(relative * _EXPLANATION_FACTOR, MOST)
    return tolerances.scale * (relative + (tolerances.atol or 0.0))


def _jump_by_dtype(tolerances: Tolerances, dtype: str) -> float:
    strict = _by_dtype(tolerances, dtype)
    if tolerances.rtol is not None:
        return strict
    is_shortened = effective_dtype(dtype, tolerances.precision) != real_dtype(dtype)
    return max(strict, tolerances.scale * (_JUMP_IN_PRECISION[tolerances.precision] if is_shortened else _JUMP))


def _by_noise(tolerances: Tolerances, dtype: str, noise: float | None, share: float) -> float:
    """What rounding needs of an explanation; infinite where that is not known, or a user's rtol says it.

    It is not known either where a weight in lower precision was rounded the other way, which is more than it was moved.
    """
    least = _LEAST.get(effective_dtype(dtype, tolerances.precision))
    if noise is None or least is None or tolerances.rtol is not None or tolerances.jumps:
        return math.inf
    return tolerances.scale * (max(share * noise, least) + (tolerances.atol or 0.0))
