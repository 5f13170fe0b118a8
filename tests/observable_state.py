"""All of a model, and of the process, that a check could change: to be the same before and after it."""

import random

import numpy as np
import torch
from torch import nn


def bits(tensor: torch.Tensor) -> object:
    if torch.nn.parameter.is_lazy(tensor):
        return "lazy"
    return (str(tensor.dtype), tuple(tensor.shape), tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist())


def state_of_model(model: nn.Module) -> dict[str, object]:
    state: dict[str, object] = {}
    for name, module in model.named_modules():
        state[f"{name}:class"] = type(module)
        state[f"{name}:training"] = module.training
        if isinstance(module, torch.jit.ScriptModule):
            continue
        state[f"{name}:attributes"] = {key: id(value) for key, value in vars(module).items()}
        state[f"{name}:containers"] = {
            key: repr([id(item) for item in value.values()] if isinstance(value, dict) else sorted(map(id, value)))
            for key, value in vars(module).items()
            if isinstance(value, (list, dict, set))
        }
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        state[name] = (id(tensor), bits(tensor), tensor.requires_grad, tensor.is_leaf)
        state[f"{name}:memory"] = 0 if torch.nn.parameter.is_lazy(tensor) else tensor.data_ptr()
        state[f"{name}:grad"] = None if tensor.grad is None else (id(tensor.grad), bits(tensor.grad))
    return state


def state_of_process() -> dict[str, object]:
    return {
        "torch": torch.get_rng_state().tolist(),
        "python": random.getstate(),
        "numpy": str(np.random.get_state()),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "cudnn": (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "call": nn.Module.__call__,
        "autocast": torch.is_autocast_enabled("cpu"),
    }
