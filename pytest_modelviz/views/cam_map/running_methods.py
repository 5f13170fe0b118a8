"""The methods of pytorch-grad-cam that run the model themselves, on a copy that they may change.

They replace layers, fill gradients, print, and cannot do half precision, dict outputs or layers called twice. So they
get a stand-in: a module that takes one image tensor, runs the copy, and hands the wanted layer's output, as (batch,
channels, h, w) in float32, through a probe for them to watch or to replace.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.attribution.activation_recorder import LayerActivation, Reshape
from pytest_modelviz.attribution.outputs import main_output, sample_outputs, samples_of
from pytest_modelviz.attribution.targets import TargetFunction, WholeOutput
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.forward import call, copy_model
from pytest_modelviz.probe.layer_names import find_layer
from pytest_modelviz.probe.process import process_untouched
from pytest_modelviz.views.cam_map import partial_import
from pytest_modelviz.views.cam_map.library import method_class, target_class
from pytest_modelviz.views.cam_map.records import Map

PutImage = Callable[[torch.Tensor], object]
CamTargets = Sequence[int] | Sequence[TargetFunction]  # one a map


class _StandIn(torch.nn.Module):
    def __init__(
        self,
        model: torch.nn.Module,
        layer: LayerActivation | None,
        put: PutImage,
        targets: CamTargets,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.model = model
        self.probe: torch.nn.Module = torch.nn.Identity()
        self._layer, self._put, self._dtype = layer, put, dtype
        self._rows = not any(callable(target) for target in targets)
        self._whole = any(isinstance(target, WholeOutput) for target in targets)
        self._calls = 0
        if layer is not None:
            find_layer(model, layer.layer).register_forward_hook(self._pass_through)

    def forward(self, image: torch.Tensor) -> object:
        self._calls = 0
        output = call(self.model, self._put(image.to(self._dtype)))
        if self._whole:
            return sample_outputs(output, len(image))
        if self._rows:
            return main_output(output).float()
        samples = samples_of(output)
        if isinstance(samples, torch.Tensor) and not samples.dim():
            if len(image) > 1:
                raise ModelvizError(
                    "the model returns a single number for a whole batch, and this method runs it on batches of "
                    "changed images: choose a method that needs no more than one pass, such as gradcam"
                )
            return samples[None]
        return samples

    def _pass_through(self, module: torch.nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        self._calls += 1
        if self._layer is None or self._calls - 1 != self._layer.call:
            return output
        layout = self._layer.layout
        if layout is None:
            probed: torch.Tensor = self.probe(output.float().clone())
            return probed.to(output.dtype)
        maps = layout.channels_first(output).float().clone()
        maps = self.probe(maps[:, :, None])[:, :, 0] if maps.dim() == 3 else self.probe(maps)
        return layout.restore(maps.to(output.dtype), output).clone()


def running_map(
    method: str,
    model: torch.nn.Module,
    image: torch.Tensor,
    put: PutImage,
    layer: LayerActivation | None,
    reshape: Reshape | None,
    targets: CamTargets,
) -> Map:
    """The map as the method's own class makes it: signed at layer resolution, (maps, h, w), or (maps, length).

    Of a method that explains all layers at once (`layer` None) it is not signed, and at the image's resolution. `put`
    makes the model's input out of an image tensor; `targets` are classes or functions, one a map.
    """
    try:
        model = copy_model(model)
    except Exception as error:
        raise ModelvizError(f"method {method!r} runs a copy of the model, which cannot be copied: {error}") from error
    if layer is None and not all(p.dtype == torch.float32 for p in model.parameters()):
        model, image = model.float(), image.float()
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
    if len(image) > 1 and any(isinstance(target, WholeOutput) for target in targets):
        raise ModelvizError(
            f"method {method!r} explains sample by sample: a function of the whole output needs a batch of one"
        )
    if len(image) != len(targets):
        image = image.expand(len(targets), *image.shape[1:])
    is_sequence = image.dim() == 3  # to pytorch-grad-cam a row of an image
    if is_sequence:
        image, put, reshape = image[:, :, None], _of_rows(put), None if reshape is None else _rows_of(reshape)
    stand_in = _StandIn(model, layer, put, targets, image.dtype)
    unscaled: list[npt.NDArray[np.floating]] = []
    cam_class = _recording_class(
        method_class(method),
        "aggregate_multi_layers" if layer is None else "get_cam_image",
        unscaled,
    )
    options: dict[str, object] = {"reshape_transform": reshape} if layer is not None and layer.layout is None else {}
    if method == "ablationcam":
        options["ablation_layer"] = partial_import.exported("AblationLayerVit" if options else "AblationLayer")()
    # fused kernels of attention have no second derivative, which ShapleyCAM takes
    kernels = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    try:
        with process_untouched(), np.errstate(all="ignore"), _silence(), torch.enable_grad(), kernels:
            cam = cam_class(stand_in, [] if layer is None else [stand_in.probe], **options)
            cam(image.detach().clone(), [_function(target) for target in targets])
            for held in (cam.activations_and_grads.gradients, cam.activations_and_grads.activations):
                held.clear()  # `release` would fail on views
            cam.activations_and_grads.release()
    except ModelvizError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise ModelvizError(f"pytorch-grad-cam's {cam_class.__name__} cannot explain this model ({reason})") from error
    raw = np.asarray(unscaled[-1], dtype=np.float32)
    return raw[:, 0] if is_sequence else raw


def _of_rows(put: PutImage) -> PutImage:
    """What takes (batch, channels, 1, length) and puts (batch, channels, length) into the input."""
    return lambda image: put(image[:, :, 0])


def _rows_of(reshape: Reshape) -> Reshape:
    return lambda output: reshape(output)[:, :, None]


def _recording_class(cam_class: type, method: str, unscaled: list[npt.NDArray[np.floating]]) -> type[Any]:
    """A subclass that records the map before its negative values are cut and the rest is stretched to 0..1.

    It has no finaliser: the library's detaches tensors, which fails on views and inside transforms of `torch.func`, and
    what a failed pass has left is collected at any moment, also in the middle of a user's test.
    """

    def recording(cam: object, *arguments: npt.NDArray[np.floating]) -> object:
        value = getattr(cam_class, method)(cam, *arguments)
        unscaled.append(np.sum(arguments[0], axis=1) if method == "aggregate_multi_layers" else value)
        return value

    return type(cam_class.__name__, (cam_class,), {method: recording, "__del__": lambda _: None})


def _function(target: int | TargetFunction) -> TargetFunction:
    return target if callable(target) else target_class("ClassifierOutputTarget")(target)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Progress bars and warnings on the console are for notebooks."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        yield
