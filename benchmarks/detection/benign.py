"""Changes that leave a model the model it was."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from .models import build
from .precision import Precision


class Benign(NamedTuple):
    """Another way to the same numbers: a model, an input, and the circumstances under which it is looked at."""

    what: str
    model: nn.Module
    data: Any
    around: Callable[[], AbstractContextManager[Any]] = nullcontext


@contextmanager
def _switched(read: Callable[[], Any], write: Callable[[Any], Any], value: Any) -> Iterator[None]:
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


def _with_hooks(model: nn.Module) -> nn.Module:
    for module in model.modules():
        module.register_forward_hook(lambda *args: None)
        module.register_forward_pre_hook(lambda *args: None)
    return model


def _rounded(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 3e-8 * torch.randn_like(parameter))
    return model


def benign(name: str, original: nn.Module, given: Any, precision: Precision) -> Iterator[Benign]:
    """The model and its input, cast, and other ways to the same; those of a seed are made before the cast."""
    model, data = precision.cast(copy.deepcopy(original)), precision.cast_input(given)
    again = lambda: copy.deepcopy(model)  # noqa: E731  # a word for what every line needs
    anew = lambda: precision.cast(build(name)[0])  # noqa: E731
    yield Benign("again", model, data)
    yield Benign("deep copy", again(), data)
    yield Benign("built anew", anew(), data)
    yield Benign("train mode", again().train(), data)
    yield Benign("frozen", again().requires_grad_(False), data)
    yield Benign("with hooks", _with_hooks(again()), data)
    yield Benign("to float64 and back", again().double().to(precision.dtype), data)
    yield Benign("weights of another processor", precision.cast(_rounded(copy.deepcopy(original))), data)
    saved = io.BytesIO()
    torch.save(model.state_dict(), saved)
    saved.seek(0)
    loaded = anew()
    loaded.load_state_dict(torch.load(saved, weights_only=True))
    yield Benign("state dict round trip", loaded, data)
    yield Benign("gradients left over", _with_gradients(again()), data)
    yield Benign("compiled", torch.compile(again(), backend="eager"), data)
    if not isinstance(data, dict):
        yield Benign("pickled", pickle.loads(pickle.dumps(model)), data)  # our own
        if not torch.cuda.is_available():  # where there is one it refuses a model on the CPU
            yield Benign("data parallel", nn.DataParallel(again()), data)
        last = {"memory_format": torch.channels_last}
        yield Benign("channels last", again().to(**last), data.to(**last))
        yield Benign("strided input", model, data.repeat_interleave(2, -1)[..., ::2])
        key = next(iter(inspect.signature(model.forward).parameters))
        yield Benign("by keyword", model, {key: data})
    threads, mkldnn = torch.get_num_threads, torch.backends.mkldnn
    others = 2 if threads() == 1 else 1
    yield Benign("other threads", model, data, lambda: _switched(threads, torch.set_num_threads, others))
    yield Benign(
        "without oneDNN",
        model,
        data,
        lambda: _switched(lambda: mkldnn.enabled, lambda value: setattr(mkldnn, "enabled", value), False),
    )
    if _attends(model, data):
        yield Benign("attention by plain products", model, data, lambda: sdpa_kernel(SDPBackend.MATH))
    deterministic = torch.are_deterministic_algorithms_enabled
    yield Benign(
        "deterministic", model, data, lambda: _switched(deterministic, torch.use_deterministic_algorithms, True)
    )
    yield Benign("random state", model, data, lambda: _switched(torch.get_rng_state, torch.set_rng_state, _state()))
    yield Benign("under no_grad", model, data, torch.no_grad)
    yield Benign("under inference_mode", model, data, torch.inference_mode)
    yield Benign("under enable_grad", model, data, torch.enable_grad)


def _attends(model: nn.Module, data: Any) -> bool:
    """Whether a pass calls torch's attention, which chooses among several kernels."""
    with _Functions() as functions, torch.no_grad():
        model(**data) if isinstance(data, dict) else model(data)
    return not functions.names.isdisjoint({"scaled_dot_product_attention", "multi_head_attention_forward"})


class _Functions(TorchFunctionMode):
    """Notes the names of torch's functions that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


def _with_gradients(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    return model


def _state() -> torch.Tensor:
    return torch.Generator().manual_seed(99).get_state()


# the same model looked at in another process
PROCESSES: dict[str, dict[str, str]] = {
    "another worker": {},
    "another hash seed": {"PYTHONHASHSEED": "7"},
    "no vector instructions": {"ATEN_CPU_CAPABILITY": "default"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "SSE4.1, one thread": {"ONEDNN_MAX_CPU_ISA": "SSE41", "OMP_NUM_THREADS": "1"},
}
