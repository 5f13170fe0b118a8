"""Calling a model with a user's input, in eval mode, with one clear error for what cannot work."""

from __future__ import annotations

import contextlib
import copy
import fnmatch
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, cast

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.attributes import InnerState
from pytest_modelviz.probe.containers import modules_in
from pytest_modelviz.probe.modules import observed_modules, parameters_and_buffers
from pytest_modelviz.probe.process import modes_untouched
from pytest_modelviz.probe.purity import untouched
from pytest_modelviz.probe.streams import consumed
from pytest_modelviz.probe.structure import tensors
from pytest_modelviz.probe.torch_internals import compiled_from, is_compiler_imported

# A tensor, a tuple of positional arguments, a mapping of keyword arguments, or whatever else a model takes as one.
ModelInput: TypeAlias = object
ModelOutput: TypeAlias = object  # whatever a forward returns


def call(model: torch.nn.Module, input_data: Any) -> Any:
    """Call the model with what `arguments_of` makes of the input; of generators that it returns, lists of items."""
    args, kwargs = arguments_of(input_data)
    with modes_untouched():
        return consumed(model(*args, **kwargs))[0]


def arguments_of(input_data: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A tuple or list is positional arguments, a mapping keyword arguments, the rest one argument.

    So is a TensorDict, which is a mapping, but is handed around as a tensor is.
    """
    data = _own(input_data)
    if isinstance(data, Mapping) and not any(base.__name__ == "TensorDictBase" for base in type(data).__mro__):
        return (), dict(data)
    return (tuple(data) if isinstance(data, (tuple, list)) else (data,)), {}


def _own(value: Any) -> Any:
    """The same input in objects of its own: what a model does to shapes and containers stays with it.

    Tensors share their memory, which is protected by itself. Tensors made in inference mode have no version and take
    no part in a backward pass; they are copied.
    """
    if isinstance(value, torch.Tensor):
        if type(value) is not torch.Tensor or value.layout != torch.strided or value.is_nested:
            return value
        return value.clone() if value.is_inference() else value.view_as(value)
    if type(value) in (tuple, list) or (isinstance(value, tuple) and hasattr(value, "_make")):
        return getattr(value, "_make", type(value))([_own(item) for item in value])
    if type(value) is dict:
        return {key: _own(item) for key, item in value.items()}
    if isinstance(value, (str, bytes, int, float, complex, type(None), torch.nn.Module)):
        return value
    held = list(tensors(value))
    if callable(value) and not held:
        return value
    # caches grow; but what is inside stays itself: tensors are protected, and calls of a copied module go unobserved
    inner: dict[int, Any] = {id(tensor): _own(tensor) for tensor in held}
    inner.update((id(module), module) for module in modules_in(value))
    try:
        return copy.deepcopy(value, inner)
    except Exception:  # not everything can be copied; then the model gets the thing itself
        return value


def copied(model: torch.nn.Module, known: Mapping[int, Any] | None = None) -> torch.nn.Module:
    """A copy of a model, also of one that keeps results of computations, which torch does not copy.

    Those are the weights that old-style weight_norm and spectral_norm compute anew before each call. `known` are
    copies that are made already, by the identities of what they are copies of.
    """
    results = [tensor for tensor in InnerState(list(model.modules())).tensors if not tensor.is_leaf]
    return copy.deepcopy(model, {id(tensor): tensor.detach().clone() for tensor in results} | dict(known or {}))


def warm(model: torch.nn.Module, input_data: Any) -> None:
    """Run a prepared model once and forget the result: what it keeps outside its modules (`functools.lru_cache`, a
    dict of the file) is full of real tensors then.

    On the meta device, where a pass computes nothing, it may fail where export does not.
    """
    torch.backends.mha.set_fastpath_enabled(False)  # it would leave out what is about to be followed
    tables = parameters_and_buffers(model)
    meta = any(tensor.is_meta for tensor in (*tables[0].values(), *tables[1].values(), *tensors(input_data)))
    with contextlib.suppress(Exception) if meta else contextlib.nullcontext(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call(model, input_data)


@contextlib.contextmanager
def prepared(model: torch.nn.Module, input_data: Any, *, grad: bool = False) -> Iterator[torch.nn.Module]:
    """Give the block a model in eval mode that it may run freely; everything is put back afterwards.

    A model with lazy modules that never ran is copied, and the copy initialised under a fixed seed.
    `torch.compile`d models run eagerly: a compiled graph calls no modules.
    """
    require_model(model)
    require_same_device(model, input_data)
    if grad and any(tensor.is_meta for tensor in parameters_and_buffers(model)[0].values()):
        raise ModelvizError(
            "the model is on the meta device, where there are no numbers to look at: give it some with "
            "model.to_empty(device='cpu') and load its weights (model_summary and model_graph can do without)"
        )
    with untouched(model, input_data), torch.inference_mode(False), torch.set_grad_enabled(grad), eager():
        model = _materialised(model, input_data)
        if grad and any(tensor.is_inference() for tensor in parameters_and_buffers(model)[0].values()):
            model = copied(model)  # what was made in inference mode takes no part in a backward pass
        with contextlib.suppress(NotImplementedError):  # a module out of torch.export is what it was exported as
            if any(module.training for module in model.modules()):
                model.eval()
        yield compiled_from(model)


def eager() -> contextlib.AbstractContextManager[Any]:
    """Run compiled models uncompiled: a compiled graph calls no modules."""
    if not is_compiler_imported():
        return contextlib.nullcontext()
    stance: contextlib.AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


def _materialised(model: torch.nn.Module, input_data: Any) -> torch.nn.Module:
    if input_data is None or not is_lazy(model):
        return model
    # what is uninitialised cannot be copied by the ordinary way
    held = [
        tensor
        for table in parameters_and_buffers(model)
        for tensor in table.values()
        if torch.nn.parameter.is_lazy(tensor)
    ]
    made: dict[int, Any] = {
        id(t): cast(Any, type(t))(requires_grad=t.requires_grad, device=t.device, dtype=t.dtype) for t in held
    }
    model = copied(model, made)
    with torch.no_grad():
        torch.manual_seed(0)
        model.eval()
        call(model, input_data)
    return model


def is_lazy(model: torch.nn.Module) -> bool:
    return any(
        torch.nn.parameter.is_lazy(tensor) for table in parameters_and_buffers(model) for tensor in table.values()
    )


def require_model(model: Any) -> None:
    if not isinstance(model, torch.nn.Module):
        raise ModelvizError(f"the model must be a torch.nn.Module, not {type(model).__name__}")


def require_same_device(model: torch.nn.Module, input_data: Any) -> None:
    """Say which tensor is on the wrong device before torch fails somewhere deep inside."""
    places: dict[str, str] = {}
    for name, parameter in parameters_and_buffers(model)[0].items():
        places.setdefault(str(parameter.device), name)
    if len(places) != 1:
        return  # none, or spread over devices on purpose
    ((device, name),) = places.items()
    for tensor in tensors(input_data):
        if str(tensor.device) != device:
            raise ModelvizError(
                f"the input is on {tensor.device} but the model is on {device} (its parameter {name!r}): "
                f"move one of them, for example input_data.to({device!r})"
            )


def find_layer(model: torch.nn.Module, layer: Any, argument: str = "layer") -> torch.nn.Module:
    """The module of that name, or an error that suggests the names most like it."""
    modules = dict(observed_modules(model))
    if isinstance(layer, torch.nn.Module):
        names = [name for name, module in modules.items() if module is layer]
        told = f", here {names[0]!r}" if names else ""
        raise ModelvizError(f"{argument} takes a layer's name{told}, not the layer itself")
    if not isinstance(layer, str):
        raise ModelvizError(f"{argument} takes a layer's name, not {layer!r} (names as in model.named_modules())")
    if layer in modules:
        return modules[layer]
    raise unknown_layer(layer, list(modules))


def layer_patterns(layers: Any) -> list[str] | None:
    """What a user gave as `layers=`: one name or glob or several of them, or None."""
    patterns = [layers] if isinstance(layers, str) else layers
    if patterns is None:
        return None
    if not isinstance(patterns, (list, tuple, set)) or not all(isinstance(name, str) for name in patterns):
        raise ModelvizError(f"layers takes names of layers or globs such as 'layer4.*', not {layers!r}")
    return list(patterns)


def matching(pattern: str, names: list[str]) -> list[str]:
    """The layer of that name, else those that the glob matches; an error if there is none."""
    found = [name for name in names if name == pattern] or [n for n in names if fnmatch.fnmatchcase(n, pattern)]
    if not found:
        raise unknown_layer(pattern, names)
    return found


def unknown_layer(layer: str, names: list[str]) -> ModelvizError:
    import difflib

    close = difflib.get_close_matches(layer, names, n=3, cutoff=0.4)
    known = close or [name for name in names if name and "." not in name][:8]
    return ModelvizError(
        f"the model has no layer {layer!r}; {'did you mean' if close else 'its top-level layers are'} "
        f"{', '.join(repr(name) for name in known) or 'none'}? (names as in model.named_modules())"
    )
