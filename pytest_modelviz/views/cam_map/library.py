"""pytorch-grad-cam: which methods the installed one has, and its maps from activations and gradients."""

import contextlib
import difflib
import inspect
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.process import process_untouched
from pytest_modelviz.views.cam_map import partial_import
from pytest_modelviz.views.cam_map.methods import COMPOSED, METHODS, RUNNING
from pytest_modelviz.views.cam_map.records import Map

_NAMED = {**METHODS, **RUNNING, **COMPOSED}
_RANDOM = "randomcam"
_COMPARED_CLASSES = 3  # of FinerCAM, its authors' default


def known_methods() -> dict[str, str]:
    """Name -> class in pytorch-grad-cam, with those that only the installed version has."""
    package = grad_cam()
    base = package.GradCAM.__mro__[1]
    taken = {*_NAMED.values(), "RandomCAM"}
    others = {
        name.lower(): name
        for name, value in vars(package).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base and name not in taken
    }
    return {**_NAMED, **others}


def require_method(method: str) -> None:
    """Raise for a method that is unknown, random, or missing from the installed pytorch-grad-cam."""
    if method == _RANDOM:
        raise ModelvizError("method 'randomcam' draws random weights: its maps cannot be compared")
    methods = _NAMED if method in _NAMED else known_methods()
    if method not in methods:
        close = difflib.get_close_matches(str(method), methods, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ModelvizError(f"unknown CAM method {method!r}: {hint}known are {', '.join(sorted(methods))}")
    method_class(method)


def method_class(method: str) -> type[Any]:
    """The class of a known method; raises ModelvizError where the installed pytorch-grad-cam has none."""
    name = _NAMED.get(method) or known_methods()[method]
    try:
        with _importing():
            found: type[Any] = partial_import.exported(name)
    except AttributeError:
        raise ModelvizError(f"the installed grad-cam has no {name}: upgrade it for method {method!r}") from None
    return found


def grad_cam() -> ModuleType:
    """The whole package, which imports a great deal: only for what `partial_import` cannot answer."""
    with _importing():
        return partial_import.whole()


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """What is imported may draw random numbers; much of it needs torchvision, which must fit torch."""
    try:
        with process_untouched():
            yield
    except (ImportError, RuntimeError) as error:
        raise ModelvizError(
            f"pytorch-grad-cam cannot be imported ({error}). It needs a torchvision built for the installed torch "
            f"{torch.__version__}: install torch and torchvision together from one source"
        ) from error


def raw_map(method: str, activation: torch.Tensor, gradient: torch.Tensor | None) -> Map:
    """The signed map at layer resolution: two tensors (maps, channels, h, w[, d]) -> (maps, h, w[, d]).

    Of sequences, (maps, channels, length) -> (maps, length).
    """
    if activation.dim() == 3:  # to pytorch-grad-cam a row of an image
        row = None if gradient is None else gradient[:, :, None]
        return raw_map(method, activation[:, :, None], row)[:, 0]
    arrays = activation.detach().cpu().numpy(), None if gradient is None else gradient.detach().cpu().numpy()
    chosen = method_class("gradcam" if method == "finercam" else method)
    with process_untouched(), np.errstate(all="ignore"):
        # the class requires a model to hook; this one keeps it away from the user's
        method_object = chosen(torch.nn.Linear(1, 1), [])
        cam_image = method_object.get_cam_image(None, None, None, *arrays, False)
    return np.asarray(cam_image, dtype=np.float32)


def refined_map(maps: Sequence[Map]) -> Map:
    """RefineCAM: the product of the maps of several layers, (maps, h, w) each, at the finest one's resolution, 0..1."""
    if maps[0].ndim == 2:
        return refined_map([lines[:, None] for lines in maps])[:, 0]
    finest = max(maps, key=lambda raw: raw[0].size)
    size = tuple(reversed(finest.shape[1:]))
    scaled = [normalized_map(raw, size) for raw in maps]

    def ready(model: object, layers: list[Map], *_: object, **__: object) -> Callable[..., Map]:
        return lambda *_: layers[0]

    with np.errstate(all="ignore"):
        refined = method_class("refinecam")(None, scaled, base_method=ready)(None)
    return np.asarray(refined, dtype=np.float32)


def target_class(name: str) -> type[Any]:
    """A class of pytorch-grad-cam's targets."""
    found: type[Any] = getattr(partial_import.submodule("utils.model_targets"), name)
    return found


def contrast_with_similar(scores: torch.Tensor, index: int) -> torch.Tensor:
    """FinerCAM's number for a class: its score against those of the classes whose scores are most like it."""
    distance = (scores - scores[index]).detach().abs()
    nearest = [other for other in distance.argsort(stable=True).tolist() if other != index][:_COMPARED_CLASSES]
    return target_class("FinerWeightedTarget")(index, nearest, 1)(scores)  # type: ignore[no-any-return]


def normalized_map(raw: Map, size: tuple[int, ...] | None) -> Map:
    """What pytorch-grad-cam shows: negative parts cut, stretched to 0..1, resized to `size` (width, height)."""
    if raw.ndim == 2:  # of a sequence
        return normalized_map(raw[:, None], size)[:, 0]
    scale_cam_image = partial_import.submodule("utils.image").scale_cam_image
    with np.errstate(all="ignore"):
        return np.asarray(scale_cam_image(scale_cam_image(np.maximum(raw, 0), size)), dtype=np.float32)
