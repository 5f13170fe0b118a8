"""Calling a model with a user's input, in eval mode, with one clear error for what cannot work."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.modules import observed_modules
from pytest_modelviz.probe.purity import untouched
from pytest_modelviz.probe.structure import tensors


def call(model: torch.nn.Module, input_data: Any) -> Any:
    """Call the model: a tuple or list is positional arguments, a mapping keyword arguments, the rest one argument."""
    data = _normal(input_data)
    if isinstance(data, Mapping):
        return model(**data)
    if isinstance(data, (tuple, list)):
        return model(*data)
    return model(data)


def _normal(input_data: Any) -> Any:
    """Tensors made in inference mode have no version and take no part in a backward pass; copies of them do."""
    if isinstance(input_data, torch.Tensor):
        return input_data.clone() if input_data.is_inference() else input_data
    if isinstance(input_data, Mapping):
        return {key: _normal(value) for key, value in input_data.items()}
    if type(input_data) in (tuple, list):
        return type(input_data)(_normal(value) for value in input_data)
    return input_data


@contextlib.contextmanager
def prepared(model: torch.nn.Module, input_data: Any, *, grad: bool = False) -> Iterator[torch.nn.Module]:
    """Give the block a model in eval mode that it may run freely; everything is put back afterwards.

    A model with lazy modules that never ran is copied, and the copy initialised under a fixed seed.
    `torch.compile`d models run eagerly: a compiled graph calls no modules.
    """
    require_model(model)
    require_same_device(model, input_data)
    with untouched(model, input_data), torch.inference_mode(False), torch.set_grad_enabled(grad), eager():
        model = _materialised(model, input_data)
        model.eval()
        yield getattr(model, "_orig_mod", model)


def eager() -> contextlib.AbstractContextManager[Any]:
    stance: contextlib.AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


def _materialised(model: torch.nn.Module, input_data: Any) -> torch.nn.Module:
    if input_data is None or not is_lazy(model):
        return model
    # what is uninitialised cannot be copied by the ordinary way
    held = [tensor for tensor in [*model.parameters(), *model.buffers()] if torch.nn.parameter.is_lazy(tensor)]
    made = {id(t): type(t)(requires_grad=t.requires_grad, device=t.device, dtype=t.dtype) for t in held}
    model = copy.deepcopy(model, made)
    with torch.no_grad():
        torch.manual_seed(0)
        model.eval()
        call(model, input_data)
    return model


def is_lazy(model: torch.nn.Module) -> bool:
    held = [*model.parameters(), *model.buffers()]
    return any(torch.nn.parameter.is_lazy(tensor) for tensor in held)


def require_model(model: Any) -> None:
    if not isinstance(model, torch.nn.Module):
        raise ModelvizError(f"the model must be a torch.nn.Module, not {type(model).__name__}")


def require_same_device(model: torch.nn.Module, input_data: Any) -> None:
    """Say which tensor is on the wrong device before torch fails somewhere deep inside."""
    places: dict[str, str] = {}
    for name, tensor in model.named_parameters():
        places.setdefault(str(tensor.device), name)
    if len(places) != 1:
        return  # none, or spread over devices on purpose
    ((device, name),) = places.items()
    for tensor in tensors(input_data):
        if str(tensor.device) != device:
            raise ModelvizError(
                f"the input is on {tensor.device} but the model is on {device} (its parameter {name!r}): "
                f"move one of them, for example input_data.to({device!r})"
            )


def find_layer(model: torch.nn.Module, layer: str) -> torch.nn.Module:
    """The module of that name, or an error that suggests the names most like it."""
    modules = dict(observed_modules(model))
    if layer in modules:
        return modules[layer]
    raise unknown_layer(layer, list(modules))


def unknown_layer(layer: str, names: list[str]) -> ModelvizError:
    import difflib

    close = difflib.get_close_matches(layer, names, n=3, cutoff=0.4)
    known = close or [name for name in names if name and "." not in name][:8]
    return ModelvizError(
        f"the model has no layer {layer!r}; {'did you mean' if close else 'its top-level layers are'} "
        f"{', '.join(repr(name) for name in known) or 'none'}? (names as in model.named_modules())"
    )
