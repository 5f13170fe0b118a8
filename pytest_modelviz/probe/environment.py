"""The environment that a capture is made in: stored with a baseline, and compared where a drift is explained."""

import operator
import platform

import torch

from pytest_modelviz.probe.modules import all_tensors, tensors_without_names
from pytest_modelviz.probe.nested_values import tensors
from pytest_modelviz.probe.plain_numbers import dtype_name
from pytest_modelviz.probe.quantised import needs_engine

_HAS_TF32 = (8, 0)  # Ampere


def environment(model: torch.nn.Module, input_data: object = None) -> dict[str, str]:
    """Collect versions, device, dtype, threads and switches that can change a result.

    Example:
        >>> environment(model, image)["device"]
        'cpu'

    """
    parameters = tensors_without_names(model)[0]
    devices = {tensor.device for tensor in (*parameters, *tensors(input_data))}
    kinds = {kind for kind in {p.dtype for p in parameters} if kind.is_floating_point}
    device = ",".join(sorted(map(str, devices))) or "cpu"
    facts = {
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}".lower(),
        "device": device,
        "dtype": ",".join(sorted(dtype_name(kind) for kind in kinds)) or "none",
        "threads": str(torch.get_num_threads()),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mkldnn": str(torch.backends.mkldnn.enabled),
        "mha_fastpath": str(torch.backends.mha.get_fastpath_enabled()),
        "matmul_precision": _matmul_precision(),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "autocast": str(torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")),
    }
    if dtypes := autocast_dtypes():  # earlier baselines have no such entry
        facts["autocast_dtype"] = dtypes
    if needs_engine(model):
        facts["quantized_engine"] = str(torch.backends.quantized.engine)
    precision = float32_precision(model, device)
    if "cuda" in device:
        facts["cuda"] = str(torch.version.cuda)
        facts["gpu"] = torch.cuda.get_device_name()
        facts["tf32"] = str(_setting("backends.cudnn.allow_tf32") or precision == "tf32")
    if "cuda" in device or precision != "ieee":  # earlier baselines have no such entry where it is the default
        facts["float32_precision"] = precision
    return facts


def autocast_dtypes() -> str:
    """The devices and dtypes of autocast as a text, empty where it is off on the CPU and on CUDA."""
    kinds = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
    return ", ".join(f"{kind} {dtype_name(torch.get_autocast_dtype(kind))}" for kind in kinds)


def float32_precision(model: torch.nn.Module, device: str) -> str:
    """The lowest precision in which products of float32 tensors may be computed: "ieee", "tf32" or "bf16".

    By default it is "tf32" where cuDNN convolves. Only products that the model may contain count, and only precisions
    that the hardware has.

    Args:
        model: the model.
        device: the devices of its parameters and inputs, as in `environment`.

    """
    precisions = {"ieee"}
    if "cuda" in device and torch.version.cuda and torch.cuda.get_device_capability() >= _HAS_TF32:
        precisions |= _cuda_precisions(_product_kinds(model))
    if "cpu" in device:
        precisions |= _cpu_precisions(model)
    return next(precision for precision in ("bf16", "tf32", "ieee") if precision in precisions)


def _product_kinds(model: torch.nn.Module) -> list[str]:
    """The kinds of products that a model may contain; a convolution in functional form needs no module."""
    convolves = any(torch.nn.parameter.is_lazy(tensor) or tensor.dim() >= 3 for tensor in all_tensors(model))
    recurs = any(isinstance(module, torch.nn.RNNBase) for module in model.modules())
    return ["matmul", *(["conv"] if convolves else []), *(["rnn"] if recurs else [])]


def _cuda_precisions(products: list[str]) -> set[str]:
    if _setting("backends.cudnn.conv.fp32_precision") is None:  # torch before 2.9
        allowed = [_setting("backends.cuda.matmul.allow_tf32")]
        allowed += [_setting("backends.cudnn.allow_tf32")] if len(products) > 1 else []
        return {"tf32"} if any(allowed) else set()
    owners = {"matmul": "cuda"}
    return {str(_setting(f"backends.{owners.get(kind, 'cudnn')}.{kind}.fp32_precision")) for kind in products}


def _cpu_precisions(model: torch.nn.Module) -> set[str]:
    """The precisions that oneDNN is allowed and that this processor uses: most use none, whatever is set."""
    allowed = {kind: str(_setting(f"backends.mkldnn.{kind}.fp32_precision")) for kind in ("matmul", "conv", "rnn")}
    if _setting("backends.mkldnn.matmul.fp32_precision") is None:  # torch before 2.9
        allowed = {"matmul": {"medium": "bf16"}.get(_matmul_precision(), "ieee")}
    shortened = {kind: value for kind, value in allowed.items() if value in ("tf32", "bf16")}
    products = _product_kinds(model) if shortened else []  # usually the model need not be examined
    return {value for kind, value in shortened.items() if kind in products and rounds_products(kind)}


def rounds_products(kind: str) -> bool:
    """Whether this processor, as it is set, drops digits in products of a kind ("matmul", "conv", "rnn")."""
    exact = 1.0 + 2.0**-12  # which TF32 and bfloat16 have no digits for
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        values = torch.full((64, 4096), exact, dtype=torch.float32, device="cpu")
        unit = torch.eye(64, dtype=torch.float32, device="cpu")
        if kind == "conv":
            kernel = torch.nn.functional.pad(unit[:, :, None, None], (1, 1, 1, 1))
            product = torch.nn.functional.conv2d(values.view(1, 64, 64, 64), kernel)
        else:  # recurrent layers multiply matrices
            product = unit @ values
        return not bool((product == exact).all())


def _setting(path: str) -> object:
    """The value of a switch of torch, None where it is missing or, since old and new switches conflict, unreadable."""
    try:
        return operator.attrgetter(path)(torch)
    except (AttributeError, RuntimeError):
        return None


def _matmul_precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # set backend by backend
        return "mixed"
