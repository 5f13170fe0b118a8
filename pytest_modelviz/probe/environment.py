"""Under what circumstances a capture was made: recorded beside a baseline, told when a drift is explained."""

from __future__ import annotations

import platform
from typing import Any

import torch

from pytest_modelviz.probe.modules import parameters_and_buffers
from pytest_modelviz.probe.structure import tensors


def environment(model: torch.nn.Module, input_data: Any = None) -> dict[str, str]:
    """Versions, device, dtype, threads and switches that can change a result."""
    parameters = parameters_and_buffers(model)[0].values()
    devices = {str(place) for place in {p.device for p in parameters} | {t.device for t in tensors(input_data)}}
    kinds = {p.dtype for p in parameters if p.is_floating_point()}
    device = ",".join(sorted(devices)) or "cpu"
    facts = {
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}".lower(),
        "device": device,
        "dtype": ",".join(sorted(str(kind).removeprefix("torch.") for kind in kinds)) or "none",
        "threads": str(torch.get_num_threads()),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mkldnn": str(torch.backends.mkldnn.enabled),
        "mha_fastpath": str(torch.backends.mha.get_fastpath_enabled()),
        "matmul_precision": _matmul_precision(),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "autocast": str(torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")),
    }
    precision = float32_precision(model, device)
    if "cuda" in device:
        facts["cuda"] = str(torch.version.cuda)
        facts["gpu"] = torch.cuda.get_device_name()
        facts["tf32"] = str(_setting("backends.cudnn.allow_tf32") or precision == "tf32")
    if "cuda" in device or precision != "ieee":  # else it is so by default, as it was when nobody asked
        facts["float32_precision"] = precision
    return facts


def float32_precision(model: torch.nn.Module, device: str) -> str:
    """What the products of float32 tensors are computed in on these devices: "ieee", "tf32" or "bf16".

    By default it is "tf32" where cuDNN convolves. Only what the model may use counts, and what the hardware can do.
    """
    backends = []
    if "cuda" in device and torch.version.cuda and torch.cuda.get_device_capability() >= _HAS_TF32:
        backends.append(("backends.cudnn", "backends.cuda"))
    if "cpu" in device:
        backends.append(("backends.mkldnn", "backends.mkldnn"))
    found = {"ieee"}
    for own, of_matmul in backends:
        found.add(str(_setting(f"{of_matmul}.matmul.fp32_precision")))
        if _convolves(model):
            found.add(str(_setting(f"{own}.conv.fp32_precision")))
        if any(isinstance(module, torch.nn.RNNBase) for module in model.modules()):
            found.add(str(_setting(f"{own}.rnn.fp32_precision")))
        if own == "backends.cudnn" and not hasattr(torch.backends.cudnn, "conv"):  # torch before 2.9
            found |= {"tf32"} if _convolves(model) and _setting("backends.cudnn.allow_tf32") else set()
            found |= {"tf32"} if _setting("backends.cuda.matmul.allow_tf32") else set()
    return next(precision for precision in ("bf16", "tf32", "ieee") if precision in found)


_HAS_TF32 = (8, 0)  # Ampere


def _convolves(model: torch.nn.Module) -> bool:
    """Whether anything may be a convolution's kernel: in functional form it needs no module."""
    parameters, buffers = parameters_and_buffers(model)
    held = (*parameters.values(), *buffers.values())
    return any(torch.nn.parameter.is_lazy(one) or one.dim() >= 3 for one in held)


def _setting(path: str) -> Any:
    """A switch of torch's, None where this version has none or it cannot be read: old and new ones exclude each other."""
    value: Any = torch
    try:
        for name in path.split("."):
            value = getattr(value, name)
    except (AttributeError, RuntimeError):
        return None
    return value


def _matmul_precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # set backend by backend
        return "mixed"
