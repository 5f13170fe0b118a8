"""pytorch-grad-cam's methods by name: from an activation and a gradient to a map."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.process import process_untouched

Map = npt.NDArray[np.float32]

# Those that need no more than one activation and one gradient, by the name of their class in pytorch-grad-cam.
METHODS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "gradcamelementwise": "GradCAMElementWise",
    "xgradcam": "XGradCAM",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
    "segeigencam": "SegEigenCAM",
    "kpcacam": "KPCA_CAM",
    "fem": "FEM",
}
# A principal component's sign is arbitrary.
SIGNLESS = {"eigencam", "eigengradcam", "kpcacam"}
_RANDOM = "randomcam"


def require_method(method: str) -> None:
    """Raise for a method that is unknown, random, or missing from the installed pytorch-grad-cam."""
    if method == _RANDOM:
        raise ModelvizError("method 'randomcam' draws random weights: it explains nothing that could be compared")
    if method not in METHODS:
        close = difflib.get_close_matches(str(method), METHODS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ModelvizError(f"unknown CAM method {method!r}: {hint}known are {', '.join(sorted(METHODS))}")
    if not hasattr(grad_cam(), METHODS[method]):
        raise ModelvizError(f"the installed grad-cam has no {METHODS[method]}: upgrade it for method {method!r}")


def grad_cam() -> Any:
    """The package, imported when first needed; it imports torchvision, which must fit torch."""
    try:
        with process_untouched():  # some of what it imports draws random numbers
            import pytorch_grad_cam
    except (ImportError, RuntimeError) as error:
        raise ModelvizError(
            f"pytorch-grad-cam cannot be imported ({error}). It needs a torchvision built for the installed torch "
            f"{torch.__version__}: install torch and torchvision together from one source"
        ) from error
    return pytorch_grad_cam


def raw_map(method: str, activation: torch.Tensor, gradient: torch.Tensor) -> Map:
    """The signed map at layer resolution: two tensors (batch, channels, h, w[, d]) -> (batch, h, w[, d])."""
    arrays = activation.detach().cpu().numpy(), gradient.detach().cpu().numpy()
    with process_untouched(), np.errstate(all="ignore"):
        # The class wants a model to watch; one without layers to watch keeps it from touching the user's.
        cam = getattr(grad_cam(), METHODS[method])(torch.nn.Linear(1, 1), [])
        cam_image = cam.get_cam_image(None, None, None, *arrays, False)
    return np.asarray(cam_image, dtype=np.float32)


def normalized_map(raw: Map, size: tuple[int, ...] | None) -> Map:
    """What pytorch-grad-cam shows: negative parts cut, stretched to 0..1, resized to `size` (width, height)."""
    from pytorch_grad_cam.utils.image import scale_cam_image

    with np.errstate(all="ignore"):
        return np.asarray(scale_cam_image(scale_cam_image(np.maximum(raw, 0), size)), dtype=np.float32)
