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
    if "cuda" in device:
        facts["cuda"] = str(torch.version.cuda)
        facts["gpu"] = torch.cuda.get_device_name()
        facts["tf32"] = str(torch.backends.cudnn.allow_tf32)
    return facts


def _matmul_precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # set backend by backend
        return "mixed"
