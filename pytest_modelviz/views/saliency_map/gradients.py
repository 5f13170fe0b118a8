"""The gradient of a score on the input, plain and in the variants that people look at.

Plain passes are made here, so that the model stays as it is; integrated gradients are captum's. captum's guided
back-propagation hooks `nn.ReLU` modules and so does not see functional ones; here it is done to the operators of the
backward pass, which all of them come down to.
"""

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.attribution.activation_recorder import NotDifferentiableError
from pytest_modelviz.attribution.explain import TRACE_WEIGHT_WIDTH, record_narrow
from pytest_modelviz.attribution.images import image_in
from pytest_modelviz.attribution.scores import Scores, scores_of
from pytest_modelviz.attribution.targets import Target
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.forward import ModelInput, call
from pytest_modelviz.probe.pass_recorder import PassRecorder
from pytest_modelviz.probe.plain_numbers import dtype_name
from pytest_modelviz.probe.torch_internals import TorchDispatchMode
from pytest_modelviz.records.trace import ForwardTrace

METHODS = ("gradient", "guided", "integrated_gradients", "smoothgrad", "input_x_gradient")
RUNNING = ("integrated_gradients", "smoothgrad")  # the model, many times
_STEPS = 32  # of integrated gradients, by Gauss and Legendre
_SAMPLES, _NOISE_LEVEL = 16, 0.15  # of smoothgrad: noisy images, and their noise as a part of the image's range


@dataclass(frozen=True)
class Saliency:
    """`gradient` is float32 (maps, *shape of one sample) on the CPU; `rectifiers` counts those met."""

    gradient: torch.Tensor
    scores: Scores
    trace: ForwardTrace
    dtype: str
    rectifiers: int = 0


def saliency(model: torch.nn.Module, input_data: ModelInput, target: Target, method: str) -> Saliency:
    """Differentiate the target's score by the input. Raises ModelvizError where that cannot be done."""
    image, put = image_in(input_data, "saliency_map")
    leaf = image.detach().clone().requires_grad_()
    recorder = PassRecorder(model, record=record_narrow, weight_width=TRACE_WEIGHT_WIDTH)
    with recorder.recording():
        output = call(model, put(leaf.clone()))  # a leaf itself must not be written into
    scores = scores_of(output, target)
    guided = _GuidedBackward() if method == "guided" else None
    with guided or contextlib.nullcontext():
        gradient = _gradients(scores, leaf)
    if method == "input_x_gradient":
        gradient = gradient * leaf.detach()
    elif method in RUNNING:
        # for another image the model may predict another class
        explained: Target = scores.targets or scores.functions or target
        attribute = _integrated if method == "integrated_gradients" else _smooth

        def score(at: int, changed: torch.Tensor) -> torch.Tensor:
            """The score as a function of an image in float32, as captum wants it: shape (1,)."""
            output = call(model, put(changed.to(image.dtype, copy=True)))
            return scores_of(output, explained).values[at].reshape(1).float()

        score_of = [functools.partial(score, at) for at in range(len(scores.values))]
        gradient = torch.cat([attribute(function, leaf.detach().float()) for function in score_of])
    rectifiers = 0 if guided is None else guided.met
    return Saliency(gradient.detach().float().cpu(), scores, recorder.trace, dtype_name(image.dtype), rectifiers)


def _gradients(scores: Scores, leaf: torch.Tensor) -> torch.Tensor:
    rows = []
    for number, value in enumerate(scores.values):
        more = number + 1 < len(scores.values)
        gradient = None
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(value, leaf, allow_unused=True, retain_graph=more)
        if gradient is None:
            raise NotDifferentiableError(
                "the score does not depend on the input in a differentiable way: look for no_grad, detach, argmax or "
                "a conversion to another kind of array on the way"
            )
        rows.append(gradient)
    return torch.cat(rows)


def _integrated(score_of: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    """Integrated gradients from a black (zero) input (Sundararajan, Taly and Yan 2017)."""
    from captum.attr import IntegratedGradients

    attribution: torch.Tensor = IntegratedGradients(score_of).attribute(
        image, n_steps=_STEPS, internal_batch_size=len(image), method="gausslegendre"
    )
    return attribution


def _smooth(score_of: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    """The mean gradient of noisy copies (Smilkov et al. 2017).

    captum draws its noise on the image's device; this one is the same on all of them.
    """
    size = _NOISE_LEVEL * float(image.max() - image.min())
    total = torch.zeros_like(image)
    for sample in range(_SAMPLES):
        noise = torch.from_numpy(normal(image.numel(), sample)).view(image.shape)
        leaf = (image + size * noise.to(image.device)).requires_grad_()
        (gradient,) = torch.autograd.grad(score_of(leaf), leaf)
        total += gradient
    return total / _SAMPLES


def normal(count: int, seed: int) -> npt.NDArray[np.float32]:
    """(count,) numbers with mean 0 and variance 1, each the sum of twelve uniform ones, and so nearly normal.

    Integers are added up, so they are the same on every machine; NumPy promises the bits of PCG64, not distributions.
    """
    twelve = np.random.PCG64(seed).random_raw(3 * count).view(np.uint16).reshape(count, 12)
    numbers: npt.NDArray[np.float32] = ((twelve.sum(axis=1, dtype=np.int64) + 6) / 65536.0 - 6.0).astype(np.float32)
    return numbers


class _GuidedBackward(TorchDispatchMode):
    """Guided back-propagation (Springenberg et al. 2014): rectifiers let only positive gradients back.

    However a ReLU was written (module, function, method, in place), its derivative is one of these operators.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
        self.met = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.threshold_backward.default, torch.ops.aten.hardtanh_backward.default):
            self.met += 1
            args = (args[0].clamp(min=0), *args[1:])
        return func(*args, **(kwargs or {}))


def require_saliency_method(method: object) -> None:
    """Raise for a method that does not exist."""
    if method not in METHODS:
        raise ModelvizError(f"unknown saliency method {method!r}: known are {', '.join(METHODS)}")
