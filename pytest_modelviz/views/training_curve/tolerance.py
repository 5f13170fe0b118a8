"""How far two trainings of one model may be apart at each step, given how far they were apart before it.

Each rule is given the dtype of the training and, of the steps before, by how much scalars and updates (`earlier`) and
gradients (`earlier_gradients`) differed. A user's rtol holds unchanged at every step.
"""

import math
from collections.abc import Mapping

from pytest_modelviz.compare.precision import effective_dtype
from pytest_modelviz.compare.tolerance import MOST, Tolerances

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
_UPDATE_JUMPS, _MOST_OF_UPDATE = 160.0, 0.9
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


def step_tolerance(tolerances: Tolerances, dtype: str, earlier: float, earlier_gradients: float) -> float:
    """The tolerance of a scalar or an update."""
    amplified = _AMPLIFIED * max(earlier, min(earlier_gradients, ROUNDED))
    return _at_step(tolerances, _STEP_RTOL, dtype, min(max(amplified, _FOLLOWS * earlier_gradients), _MOST_GROWN))


def gradient_tolerance(tolerances: Tolerances, dtype: str, earlier: float, earlier_gradients: float) -> float:
    """The tolerance of the norm of a parameter's gradient."""
    grown = _JUMPS * math.sqrt(max(earlier, earlier_gradients))
    return _at_step(tolerances, _GRADIENT_RTOL, dtype, min(grown, _MOST_JUMPED))


def update_tolerance(tolerances: Tolerances, dtype: str, earlier: float, earlier_gradients: float) -> float:
    """The tolerance of the update of a single parameter."""
    grown = _UPDATE_JUMPS * math.sqrt(max(earlier, earlier_gradients))
    return _at_step(tolerances, _UPDATE_RTOL, dtype, min(grown, _MOST_OF_UPDATE))


def scalar_tolerance(tolerances: Tolerances, dtype: str, earlier: float, _: float) -> float:
    """The tolerance of a scalar where no model was given, so that its gradients are not known."""
    return _at_step(tolerances, _STEP_RTOL, dtype, min(_JUMPS * math.sqrt(earlier), _MOST_GROWN))


def is_lost(tolerances: Tolerances, dtype: str, earlier: float, earlier_gradients: float) -> bool:
    """Whether two trainings differ so much that rounding alone may make anything of their next step."""
    if tolerances.rtol is not None:
        return False
    most = max(_LOST, _at_first(tolerances, _STEP_RTOL, dtype))
    most_of_gradients = max(_LOST_GRADIENT, _at_first(tolerances, _GRADIENT_RTOL, dtype))
    return earlier > most or earlier_gradients > most_of_gradients


def _at_step(tolerances: Tolerances, first: Mapping[str, float], dtype: str, grown: float) -> float:
    if tolerances.rtol is not None:
        return tolerances.relative(dtype)
    return tolerances.scale * max(_at_first(tolerances, first, dtype), grown)


def _at_first(tolerances: Tolerances, first: Mapping[str, float], dtype: str) -> float:
    rtol = first.get(effective_dtype(dtype, tolerances.precision), MOST)
    return min(rtol * tolerances.device_factor(dtype), MOST)
