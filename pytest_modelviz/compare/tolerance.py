"""How far two captures of one model may be apart, by dtype and device.

The float32 figure leaves more than ten-fold room above what threads, memory formats, vector instructions and torch
versions do to torchvision's models (at most 7.2e-6 relative L2 at any layer), and sits far below a real fault.
"""

from __future__ import annotations

import fnmatch
import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from pytest_modelviz.compare.precision import (
    MOVE,
    coarser,
    effective_dtype,
    is_eight_bit,
    is_exact,
    is_quantised,
    real_dtype,
)

# Relative tolerance of an activation, by the coarsest floating dtype that took part in computing it.
_RTOL = {"float64": 1e-6, "float32": 1e-4, "float16": 1e-2, "bfloat16": 3e-2}
# The most in 8 bits. Results that are integers are allowed half a step each, in quadrature (see `Source.rounded`), also
# what is computed from them in floats. Measured between torch's engines (fbgemm, x86, oneDNN, QNNPACK) on ResNet-18,
# MobileNetV2, GoogLeNet, Inception v3 and ShuffleNet with random weights: where they first differ, at most 0.07 % of
# the integers do, which is 0.005 to 0.1 steps; further on up to 79 %, at most 0.52 of what is allowed, and 0.75 where
# that would be more than the most (MobileNetV2). MobileNetV3 amplifies it to 0.42 and drifts. Threads change no
# integer, and from AVX2 to AVX-512 none changes; without any vector instructions an addition rounds one in a thousand
# otherwise.
_RTOL_8_BIT = 2e-1
_QUANTISED = "qint8"
# Where the noise of a tensor was measured (see `probe.noise`), it is allowed a multiple of that, never more than above.
# Instruction sets from none to AVX-512, oneDNN, threads and memory formats on a CPU change a layer by at most 1.6 times
# its noise, an H100 by 0.6 times. The least that is allowed stands for weights that one seed gives differently.
_TIMES_NOISE, _LEAST_RTOL = 2.5, {"float32": 1e-6}
# A pass in lower precision on an H100 is as far from one on a CPU as that is from its shadow, at most 3 times as far.
_TIMES_SHADOW_DISTANCE = 6.0
# What jumps may allow to the shadow of a pass, by the dtype of that: one seed's weights, rounded to it, differ between
# processors by whole units (from AVX-512 to no vector instructions by 1e-5 of a convolution in bfloat16).
# A network that amplifies rounding amplifies jumps: a ResNetV2-50 of BiT 36 times, 0.21 of what its noise says.
_JUMP_SHARE, _MOST_GROWN = 0.5, 4.0
_SHADOW_RTOL = {"float16": 3e-4, "bfloat16": 1e-3}
_TIMES_JUMP = 8.0  # times as much as a weight jumped the layers after it did (a RegNet, 4.6 times)
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

    def relative(self, dtype: str, noise: float | None = None, shadow_distance: float | None = None) -> float:
        """The relative tolerance of a tensor.

        Args:
            dtype: the coarsest dtype that led to it.
            noise: what the baseline states, which may be anything: it never adds to what the dtype is allowed.
            shadow_distance: how far the actual pass, in a lower precision, is from its shadow; this may add to it.

        """
        most = self.scale * self.default(dtype)
        if self.rtol is not None:
            return most
        least = _LEAST_RTOL.get(effective_dtype(dtype, self.precision))
        if least is None:
            # a baseline that is made far from its shadow gains no more than six times what the dtype is allowed
            distance = min(shadow_distance or 0.0, self.default(dtype))
            return max(most, self.scale * min(_TIMES_SHADOW_DISTANCE * distance, MOST))
        return self._measured(most, least, noise)

    def by_noise(self, dtype: str) -> Callable[[float | None], float]:
        """The relative tolerance of many tensors of one dtype, as a function of the noise that a baseline states."""
        most, least = self.scale * self.default(dtype), _LEAST_RTOL.get(effective_dtype(dtype, self.precision))
        if self.rtol is not None or least is None:
            return lambda _: most
        return functools.partial(self._measured, most, least)

    def _measured(self, most: float, least: float, noise: float | None) -> float:
        measured = most if noise is None else min(most, max(_TIMES_NOISE * noise, least))
        return max(measured, self._jumped(noise))

    def _jumped(self, noise: float | None) -> float:
        """What jumps of weights and inputs may do to a tensor: as much more as it has more noise than they move."""
        most = _SHADOW_RTOL.get(self.shadow_of, 0.0)
        grown = 0.0 if noise is None else _JUMP_SHARE * noise / MOVE * self.jumps
        return max(min(_TIMES_JUMP * self.jumps, most), min(grown, _MOST_GROWN * most))

    def quantised(self, dtype: str, rounded: float) -> float:
        """The relative tolerance of a tensor that integers led to, by its own dtype and `Source.rounded`."""
        most = self.relative(_QUANTISED)
        least = self.relative("float32" if is_eight_bit(dtype) else dtype)
        return most if self.rtol is not None else min(max(self.scale * rounded, least), most)

    def default(self, dtype: str) -> float:
        """The relative tolerance of a dtype, before noise and `scale`."""
        if self.rtol is not None:
            return self.rtol
        base = _RTOL.get(effective_dtype(dtype, self.precision), 0.0 if is_exact(dtype) else _RTOL_8_BIT)
        return base if dtype == "float64" else min(base * self.device_factor(dtype), MOST)

    @property
    def absolute(self) -> float:
        return self.scale * (self.atol or 0.0)

    def device_factor(self, dtype: str) -> float:
        """Beside what TF32 cuts off, an accelerator's other order of summation does not matter."""
        on_cpu = all(device in ("cpu", "meta") for device in self.device.split(","))
        return 1.0 if on_cpu or effective_dtype(dtype, self.precision) != real_dtype(dtype) else _ACCELERATOR_FACTOR


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
