"""What a user would write with the same libraries, and the passes that no tool can do without."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.cost.models import TARGET, Subject
from benchmarks.detection.judges import hooked_outputs


def forward(subject: Subject) -> None:
    with torch.no_grad():
        subject.run()


def forward_and_backward(subject: Subject) -> None:
    """One pass and the gradients of one class score, those of the weights included."""
    subject.run()[0, TARGET].backward()
    subject.model.zero_grad(set_to_none=True)


def kernels(model: nn.Module) -> list[torch.Tensor]:
    """The kernels of a model's convolutions."""
    return [m.weight.detach() for m in model.modules() if isinstance(m, nn.modules.conv._ConvNd)]


def read_twice(tensors: list[torch.Tensor]) -> None:
    """Add all numbers up, and once more when the last of them have displaced the first in the processor's caches."""
    for _ in range(2):
        for tensor in tensors:
            tensor.sum()


def export(subject: Subject) -> None:
    """torch.export alone, in the mode that `model_graph` uses."""
    args, kwargs = ((), subject.data) if isinstance(subject.data, dict) else ((subject.data,), {})
    with torch.no_grad():
        torch.export.export(subject.model, args, kwargs, strict=False)


def summary_outputs_and_cam(subject: Subject) -> None:
    """torchinfo's table, the output of every module, and grad-cam's map; nothing is compared or stored."""
    import torchinfo
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    str(torchinfo.summary(subject.model, input_data=subject.data, mode="eval", device="cpu", verbose=0))
    hooked_outputs(subject.model, subject.data)
    layers = [subject.model.get_submodule(subject.cam_layer)]
    with GradCAM(subject.model, layers, reshape_transform=subject.reshape) as cam:
        cam(subject.data, [ClassifierOutputTarget(TARGET)])
    subject.model.zero_grad(set_to_none=True)


class FullArrays:
    """Hooks and pytest-regressions' `ndarrays_regression` on the full outputs of every module, in its own files."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        from pytest_regressions.ndarrays_regression import NDArraysRegressionFixture

        self._subject, self._expected, self._obtained = subject, folder / "expected.npz", folder / "obtained.npz"
        self._fixture = NDArraysRegressionFixture.__new__(NDArraysRegressionFixture)  # which else needs a running test
        self._fixture._tolerances_dict, self._fixture._default_tolerance = {}, {}
        self._fixture._dump_fn(self._outputs(), self._expected)

    def _outputs(self) -> dict[str, Any]:
        return hooked_outputs(self._subject.model, self._subject.data)

    @property
    def size(self) -> int:
        return self._expected.stat().st_size

    def check(self) -> None:
        self._fixture._dump_fn(self._outputs(), self._obtained)
        self._fixture._check_fn(self._obtained, self._expected)


def localize(subject: Subject, reference: nn.Module) -> None:
    """pytest-torch's `localize_divergence` of two models that are alive in memory."""
    from pytest_torch import localize_divergence

    localize_divergence(reference, subject.model, subject.data, inputs_b=subject.data).raise_if_diverged()


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
