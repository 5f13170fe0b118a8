"""How far two captures of one model may be apart, by dtype and device.

The float32 figure leaves more than ten-fold room above what threads, memory formats, vector instructions and torch
versions do to torchvision's models (at most 7.2e-6 relative L2 at any layer), and sits far below a real fault.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from pytest_modelviz.compare.precision import coarser, effective_dtype, is_eight_bit, is_exact, is_quantised, real_dtype

# Relative tolerance of an activation, by the coarsest floating dtype that took part in computing it.
_RTOL = {"float64": 1e-6, "float32": 1e-4, "float16": 1e-2, "bfloat16": 3e-2}
# The most in 8 bits. Results that are integers are allowed half a step each, in quadrature (see `Source.rounded`), also
# what is computed from them in floats. Measured between torch's engines (fbgemm, x86, oneDNN, QNNPACK) on ResNet-18,
# MobileNetV2, GoogLeNet, Inception v3 and ShuffleNet with random weights: where they first differ, at most 0.07 % of
# the integers do, which is 0.005 to 0.1 steps; further on up to 79 %, at most 0.52 of what is allowed, and 0.75 where
# that would be more than the most (MobileNetV2). MobileNetV3 amplifies it to 0.42 and drifts. Threads and vector
# instructions change no integer.
_RTOL_8_BIT = 2e-1
_QUANTISED = "qint8"
# Where the noise of a tensor was measured (see `probe.noise`), it is allowed a multiple of that, never more than above.
# Instruction sets from none to AVX-512, oneDNN, threads and memory formats on a CPU change a layer by at most 1.6 times
# its noise, an H100 by 0.6 times. The least that is allowed stands for weights that one seed gives differently.
_NOISES, _LEAST_RTOL = 2.5, {"float32": 1e-6}
# A pass in lower precision on an H100 is as far from one on a CPU as that is from its shadow, at most 3 times as far.
_OWN_NOISES = 6.0
# What jumps may allow to the shadow of a pass, by the dtype of that: one seed's weights, rounded to it, differ between
# processors by whole units (from AVX-512 to no vector instructions by 1e-5 of a convolution in bfloat16).
_SHADOW_RTOL = {"float16": 3e-4, "bfloat16": 1e-3}
_JUMPS_GROWN = 8.0  # times as much as a weight jumped the layers after it did (a RegNet, 4.6 times)
# More than half of something is no rounding, in whatever dtype and wherever it was computed.
MOST = 5e-1
# Other orders of summation make accelerators ten times less repeatable than CPUs, in full precision.
_ACCELERATOR_FACTOR = 10.0
# Weights are compared to tell them apart, not to forgive arithmetic: the same seed differs by 4e-8 between processors.
_WEIGHT_RTOL = {"float64": 1e-6, "float32": 1e-6, "float16": 1e-5, "bfloat16": 1e-4}

# Where a result should be zero, what remains is rounding of the inputs: this share of their size is forgiven.
ROUNDING = 1e-7
# A weight that changed by this many times the difference between processors drifted, even if no output shows it.
_SIGNIFICANT = 100.0
# The worst bucket may be this many times further off than the whole: rounding, too, is uneven.
WORST_BUCKET = 5.0
# Explanations go through a backward pass and are compared at their largest difference, not at its mean.
EXPLANATION_FACTOR = 10.0
# Rectifiers next to zero open on one processor and not on another, where one seed's weights differ in the last digit: a
# gradient then jumps where the forward pass agrees. Measured on networks with random weights, at instruction sets from
# none to AVX-512, or a third of the weights moved by their last digit (ResNet-18 and 50, MobileNet, EfficientNet, VGG,
# AlexNet, SqueezeNet, GoogLeNet, RegNet, DenseNet; 64 to 224 pixels): by up to 0.022 on the input (GoogLeNet; a trained
# network, 16 noisy images, 5e-3), 0.012 at the start of a climb (ResNet-18), and at one place of a map by 0.032 of its
# peak (HiResCAM; LayerCAM 0.02, EigenGradCAM 0.019, GradCAM 2.3e-3; XGradCAM, which divides by a sum that nearly
# cancels, 9e-3).
# Five times that, and a little more. It loses faults of a gradient that are smaller and show in no forward pass.
_KINKS, _KINKS_AT_ONE_PLACE = 1.2e-1, 2e-1
# They turn a gradient, and change its size by 2e-3 at most, which most faults do (a factor, a detached branch).
_KINKS_RESIZE = 2e-2
# Where the noise of an explanation was measured (see `attribution.noise`), it is allowed a part of it, never more than
# above: by rounding alone a fifth, as which it may also be resized, and two fifths where kinks make it jump. Measured
# on the networks above: instruction sets, oneDNN and memory formats change a map by 0.05 of its noise (ResNet-18),
# jumps between a CPU and an H100 (20 networks at 224 pixels) a gradient by 0.09 (ShuffleNet), and between instruction
# sets by 0.1 (a ResNet-18's climb). Climbs part as far as they ever will after the smallest jump: by up to 1.7 times
# a curve's noise (SqueezeNet). The floor is twenty times what maps without jumps were off by.
_NOISE, _NOISE_OF_KINKS, _NOISE_OF_CLIMB = 0.2, 0.4, 5.0
_LEAST_EXPLANATION = {"float32": 1e-4}
# With products in TF32 gradients were off by two to six per cent (an H200, five methods of saliency).
_KINKS_SHORTENED = {"tf32": 3e-1, "bf16": 6e-1}

# At the first step of a training: a scalar or an update, and the norm of one parameter's gradient, which jumps where a
# ReLU decides otherwise. Measured between processors and ways to compute, float32: at most 7e-7 and 3e-4. Wider types
# are allowed no less, because one seed gives weights 4e-8 apart.
_STEP_RTOL = {"float64": 1e-5, "float32": 1e-5, "float16": 1e-2, "bfloat16": 3e-2}
_GRADIENT_RTOL = {"float64": 5e-3, "float32": 5e-3, "float16": 2e-1, "bfloat16": 5e-1}
# One parameter's update by itself, and how far of it is along the parameter. With and without vector instructions and
# oneDNN, over nine networks (MLPs, a CNN, an LSTM, transformers, ConvNeXt, MobileNet, ResNet-18) and eight optimisers
# (SGD to Adagrad), they part by at most 1.1e-4 at the first step (MobileNet, Adam), later mostly by up to 31 sqrt(e)
# (ResNet-18, RMSprop). All updates together, and how far they are along all parameters, by 1.2e-6 at first.
_UPDATE_RTOL = {"float64": 1e-3, "float32": 1e-3}
_JUMPS_OF_ONE, _MOST_OF_ONE = 160.0, 0.9
# From step to step a training amplifies rounding. A difference e of scalars, updates and gradients (of these at most as
# much as rounding is) mostly grew to at most 30 e in scalars and updates and to 2.4 sqrt(e) in gradients: the larger e,
# the more ReLUs decide otherwise, and each turns the gradient its own way. A gradient that jumped by g is not amplified
# as rounding is: it turns the next step by g, and scalars and updates then differed by up to 1.4 g.
_AMPLIFIED, _JUMPS, _FOLLOWS, ROUNDED = 300.0, 20.0, 10.0, 1e-5
# No difference may grow beyond this, or nothing would be a drift any more.
_MOST_GROWN, _MOST_JUMPED = 0.2, 0.5
# Beyond these (scalars and updates, gradients) rounding alone takes the next step further than that, and two runs have
# nothing in common any more. A ResNet-18 (SGD, Adam) gets there after two to four steps; its gradients then differ by
# 0.6.
_LOST, _LOST_GRADIENT = _MOST_GROWN / 30, 2e-2
# Activation maximization, as a fraction of the highest point. On equal weights, climbs with and without vector
# instructions agree to 2e-15 (trained EfficientNet-Lite0, 10 and 30 steps). Where one seed gives slightly different
# weights they separate at the first kink: the curves of an untrained ResNet-18 by up to 5.8 %, the images by 29 %, so
# that images cannot be compared. With weights changed by 6e-8 by hand it was up to 7 % and 90 %.
_CLIMB = 0.35


@dataclass(frozen=True)
class LayerTolerance:
    """What is allowed to layers whose name is `pattern`, or matches it as a glob; None leaves the default."""

    pattern: str
    rtol: float | None = None
    atol: float | None = None

    def matches(self, layer: str) -> bool:
        return layer == self.pattern or fnmatch.fnmatchcase(layer, self.pattern)


class Source(NamedTuple):
    """What led to a tensor.

    Attributes:
        dtype: the coarsest dtype on the way.
        rtol: the largest rtol that a layer on the way was explicitly allowed.
        atol: the largest atol, likewise.
        excused: how much of a result on the way was nothing but a difference of its inputs.
        rounded: half of the step between the integers of each quantised result on the way, relative to its root mean
            square and added in quadrature; infinite where a step is not known.

    """

    dtype: str = "float64"
    rtol: float = 0.0
    atol: float = 0.0
    excused: float = 0.0
    rounded: float = 0.0

    def and_from(self, other: Source) -> Source:
        """What led to a tensor that was computed from both."""
        return Source(
            coarser(self.dtype, other.dtype),
            max(self.rtol, other.rtol),
            max(self.atol, other.atol),
            max(self.excused, other.excused),
            max(self.rounded, other.rounded),
        )

    def followed_by(self, own: Source) -> Source:
        """What led to a tensor that was computed from this, and rounded by its own dtype."""
        return self.and_from(own)._replace(rounded=math.hypot(self.rounded, own.rounded))


@dataclass(frozen=True)
class Tolerances:
    """What a comparison allows.

    Attributes:
        rtol: the user's relative tolerance, None for the defaults.
        atol: the user's absolute tolerance, None for none.
        device: where the results were computed.
        scale: a factor for all tolerances.
        layers: tolerances of single layers; of several that match a layer, the last counts.
        ignored: globs of attributes that are no configuration.
        precision: what products of float32 were computed in, by the coarser side ("ieee", "tf32", "bf16").
        shadow_of: the coarsest dtype of what the model was given, where shadows are compared.
        jumps: how far weights and inputs of that dtype are off, as far as their rounding may explain it.

    """

    rtol: float | None = None
    atol: float | None = None
    device: str = "cpu"
    scale: float = 1.0
    layers: tuple[LayerTolerance, ...] = ()
    ignored: tuple[str, ...] = ()
    precision: str = "ieee"
    shadow_of: str = ""
    jumps: float = 0.0

    def of(self, layer: str) -> Tolerances:
        """The tolerances of one layer."""
        rtol, atol = self.rtol, self.atol
        for own in self.layers:
            if own.matches(layer):
                rtol, atol = (rtol if own.rtol is None else own.rtol), (atol if own.atol is None else own.atol)
        return replace(self, rtol=rtol, atol=atol, layers=()) if self.layers else self

    def granted(self, layer: str) -> Source:
        """What a layer is explicitly allowed, and passes on to what is computed from its results."""
        own = replace(self, rtol=None, atol=None).of(layer)
        return Source(rtol=self.scale * (own.rtol or 0.0), atol=own.absolute)

    def relative(self, dtype: str, noise: float | None = None, own_noise: float | None = None) -> float:
        """The relative tolerance of a tensor.

        Args:
            dtype: the coarsest dtype that led to it.
            noise: what the baseline states, which may be anything: it never adds to what the dtype is allowed.
            own_noise: how far the actual pass, in a lower precision, is from its shadow; this may add to it.

        """
        most = self.scale * self._relative(dtype)
        if self.rtol is not None:
            return most
        least = _LEAST_RTOL.get(effective_dtype(dtype, self.precision))
        if least is None:
            return most if own_noise is None else max(most, self.scale * min(_OWN_NOISES * own_noise, MOST))
        measured = most if noise is None else min(most, max(_NOISES * noise, least))
        return max(measured, min(_JUMPS_GROWN * self.jumps, _SHADOW_RTOL.get(self.shadow_of, 0.0)))

    def quantised(self, dtype: str, rounded: float) -> float:
        """The relative tolerance of a tensor that integers led to, by its own dtype and `Source.rounded`."""
        most = self.relative(_QUANTISED)
        least = self.relative("float32" if is_eight_bit(dtype) else dtype)
        return most if self.rtol is not None else min(max(self.scale * rounded, least), most)

    def _relative(self, dtype: str) -> float:
        if self.rtol is not None:
            return self.rtol
        base = _RTOL.get(effective_dtype(dtype, self.precision), 0.0 if is_exact(dtype) else _RTOL_8_BIT)
        return base if dtype == "float64" else min(base * self._device_factor(dtype), MOST)

    @property
    def absolute(self) -> float:
        return self.scale * (self.atol or 0.0)

    def explanation(self, dtype: str, noise: float | None = None) -> float:
        """The largest difference allowed between two maps, as a fraction of the baseline's peak.

        Of this and all other tolerances of explanations the `noise` that was measured, if any, says how much is needed.
        A baseline states it, and may state anything: it never adds to what is allowed without.
        """
        return min(self._explanation(dtype), self._needed(dtype, noise, _NOISE))

    def differentiated(self, dtype: str, noise: float | None = None) -> float:
        """The tolerance of a gradient, or of a map made from one, whose forward passes agree."""
        return min(self._differentiated(dtype), self._needed(dtype, noise, _NOISE_OF_KINKS))

    def resized(self, dtype: str, noise: float | None = None) -> float:
        """The tolerance of the factor between two such gradients or maps, as its distance from 1."""
        strict = self._explanation(dtype)
        most = strict if self.rtol is not None else max(strict, self.scale * _KINKS_RESIZE)
        return min(most, self._needed(dtype, noise, _NOISE))

    def at_one_place(self, dtype: str, noise: float | None = None) -> float:
        """The largest difference allowed at one position of such a map, as a fraction of the baseline's peak."""
        most = max(self._differentiated(dtype), self.scale * _KINKS_AT_ONE_PLACE)
        return min(most, self._needed(dtype, noise, _NOISE_OF_KINKS))

    def climb(self, dtype: str, noise: float | None = None) -> float:
        """The largest difference allowed between two curves of a climb, as a fraction of the baseline's peak."""
        most = self.scale * (max(_CLIMB, self.rtol or 0.0) + (self.atol or 0.0))
        return min(most, self._needed(dtype, noise, _NOISE_OF_CLIMB))

    def _explanation(self, dtype: str) -> float:
        relative = self.rtol if self.rtol is not None else min(self._relative(dtype) * EXPLANATION_FACTOR, MOST)
        return self.scale * (relative + (self.atol or 0.0))

    def _differentiated(self, dtype: str) -> float:
        strict = self._explanation(dtype)
        if self.rtol is not None:
            return strict
        shortened = effective_dtype(dtype, self.precision) != real_dtype(dtype)
        return max(strict, self.scale * (_KINKS_SHORTENED[self.precision] if shortened else _KINKS))

    def _needed(self, dtype: str, noise: float | None, part: float) -> float:
        """What rounding needs of an explanation; infinite where that is not known, or a user's rtol says it."""
        least = _LEAST_EXPLANATION.get(effective_dtype(dtype, self.precision))
        if noise is None or least is None or self.rtol is not None:
            return math.inf
        return self.scale * (max(part * noise, least) + (self.atol or 0.0))

    def step(self, dtype: str, earlier: float, pulled: float = 0.0) -> float:
        """The tolerance of a scalar or an update at one step of a training.

        At earlier steps scalars and updates differed by `earlier`, gradients by `pulled`. A user's rtol holds unchanged
        at every step.
        """
        grown = max(_AMPLIFIED * max(earlier, min(pulled, ROUNDED)), _FOLLOWS * pulled)
        return self._at_step(_STEP_RTOL, dtype, min(grown, _MOST_GROWN))

    def gradient(self, dtype: str, earlier: float, pulled: float = 0.0) -> float:
        """The tolerance of the norm of a parameter's gradient."""
        grown = _JUMPS * math.sqrt(max(earlier, pulled))
        return self._at_step(_GRADIENT_RTOL, dtype, min(grown, _MOST_JUMPED))

    def update(self, dtype: str, earlier: float, pulled: float = 0.0) -> float:
        """The tolerance of the update of a single parameter."""
        grown = _JUMPS_OF_ONE * math.sqrt(max(earlier, pulled))
        return self._at_step(_UPDATE_RTOL, dtype, min(grown, _MOST_OF_ONE))

    def unwatched(self, dtype: str, earlier: float, pulled: float = 0.0) -> float:
        """The tolerance of a scalar where no model was given, so that its gradients are not known."""
        return self._at_step(_STEP_RTOL, dtype, min(_JUMPS * math.sqrt(earlier), _MOST_GROWN))

    def lost(self, dtype: str, earlier: float, pulled: float = 0.0) -> bool:
        """Whether two trainings differ so much that rounding alone may make anything of their next step."""
        if self.rtol is not None:
            return False
        bounds = max(_LOST, self._first(_STEP_RTOL, dtype)), max(_LOST_GRADIENT, self._first(_GRADIENT_RTOL, dtype))
        return earlier > bounds[0] or pulled > bounds[1]

    def _at_step(self, first: Mapping[str, float], dtype: str, grown: float) -> float:
        if self.rtol is not None:
            return self.relative(dtype)
        return self.scale * max(self._first(first, dtype), grown)

    def _first(self, first: Mapping[str, float], dtype: str) -> float:
        return min(first.get(effective_dtype(dtype, self.precision), MOST) * self._device_factor(dtype), MOST)

    def _device_factor(self, dtype: str) -> float:
        """Beside what TF32 cuts off, an accelerator's other order of summation does not matter."""
        on_cpu = all(device in ("cpu", "meta") for device in self.device.split(","))
        return 1.0 if on_cpu or effective_dtype(dtype, self.precision) != real_dtype(dtype) else _ACCELERATOR_FACTOR

    def in_full_precision(self) -> Tolerances:
        """The tolerances of results computed in float64, whose products are never shortened."""
        return replace(self, precision="ieee")


def unmatched(patterns: Iterable[LayerTolerance], layers: Iterable[str]) -> list[str]:
    """The patterns that match none of these layers."""
    names = list(layers)
    return [layer.pattern for layer in patterns if not any(layer.matches(name) for name in names)]


def significant_weight_change(dtype: str, tolerances: Tolerances) -> float:
    """The change from which on a parameter is a drift although all activations agree; any change of an exact one is."""
    if is_exact(dtype):
        return 0.0
    return max(_SIGNIFICANT * weight_tolerance(dtype), tolerances.rtol or 0.0) * tolerances.scale


def weight_tolerance(dtype: str) -> float:
    stored = "float32" if is_quantised(dtype) else real_dtype(dtype)  # what a scale is computed in
    return _WEIGHT_RTOL.get(stored, 0.0 if is_exact(dtype) else 1e-3)
