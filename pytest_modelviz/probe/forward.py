"""Calling a model with a user's input, in eval mode, with a clear error where that cannot work."""

import contextlib
import copy
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias, cast

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.containers import modules_in, with_items
from pytest_modelviz.probe.eager import eager
from pytest_modelviz.probe.module_state import NestedState
from pytest_modelviz.probe.modules import (
    all_modules,
    all_tensors,
    parameters_and_buffers,
    tensors_without_names,
    uninitialised,
)
from pytest_modelviz.probe.nested_values import tensors
from pytest_modelviz.probe.process import modes_untouched
from pytest_modelviz.probe.purity import untouched
from pytest_modelviz.probe.streams import consume
from pytest_modelviz.probe.torch_internals import Args, Kwargs, compiled_from

# A tensor, a tuple or list of positional arguments, a mapping of keyword arguments, or any other value as one argument.
ModelInput: TypeAlias = object
ModelOutput: TypeAlias = object  # any value that a forward returns


def call(model: torch.nn.Module, input_data: ModelInput) -> ModelOutput:
    """Call a model with a user's input.

    Args:
        model: the model, as `prepared` gives it.
        input_data: a tuple or list is positional arguments, a mapping keyword arguments, any other value one argument.

    Returns:
        The output of the model, with a list of items for each generator in it.

    Example:
        >>> with prepared(model, image) as ready:
        ...     scores = call(ready, image)

    """
    args, kwargs = arguments_of(input_data)
    with modes_untouched():
        return consume(model(*args, **kwargs))[0]


def arguments_of(input_data: ModelInput) -> tuple[Args, Kwargs]:
    """The positional and keyword arguments that an input stands for.

    A tuple or list is positional arguments, a mapping keyword arguments, any other value one argument. So is a
    TensorDict, which is a mapping but is passed to models as a tensor is.
    """
    data = _isolated(input_data)
    if isinstance(data, Mapping) and not any(base.__name__ == "TensorDictBase" for base in type(data).__mro__):
        return (), dict(data)
    return (tuple(data) if isinstance(data, (tuple, list)) else (data,)), {}


def _isolated(value: object) -> object:
    """A copy of an input whose containers, and the shapes of whose tensors, a model may change.

    Tensors share their memory, which `untouched` protects. Tensors made in inference mode have no version and cannot
    take part in a backward pass; they are copied.
    """
    if isinstance(value, torch.Tensor):
        if type(value) is not torch.Tensor or value.layout != torch.strided or value.is_nested:
            return value
        return value.clone() if value.is_inference() else value.view_as(value)
    if isinstance(value, (tuple, list)) and (type(value) in (tuple, list) or hasattr(value, "_make")):
        return with_items(value, [_isolated(item) for item in value])
    if type(value) is dict:
        return {key: _isolated(item) for key, item in value.items()}
    if isinstance(value, (str, bytes, int, float, complex, type(None), torch.nn.Module)):
        return value
    inner_tensors = list(tensors(value))
    if callable(value) and not inner_tensors:
        return value
    # caches grow; but tensors inside are protected already, and calls of a copied module would not be observed
    copies: dict[int, object] = {id(tensor): _isolated(tensor) for tensor in inner_tensors}
    copies.update((id(module), module) for module in modules_in(value))
    try:
        return copy.deepcopy(value, copies)
    except Exception:  # not every value can be copied: then the model gets the original
        return value


def copy_model(model: torch.nn.Module, copies: Mapping[int, object] | None = None) -> torch.nn.Module:
    """Copy a model, also one that holds results of computations, which torch refuses to copy.

    Those are the weights that old-style weight_norm and spectral_norm compute anew before each call.

    Args:
        model: the model.
        copies: copies that exist already, by the `id` of their originals.

    """
    results = [tensor for tensor in NestedState(list(model.modules())).tensors if not tensor.is_leaf]
    return copy.deepcopy(model, {id(tensor): tensor.detach().clone() for tensor in results} | dict(copies or {}))


def warm_up(model: torch.nn.Module, input_data: ModelInput) -> None:
    """Run a prepared model once, so that its caches outside of modules (`functools.lru_cache`, a global dict) are full.

    Otherwise an export would fill them with its own tensors. On the meta device a failure is ignored: export may work
    all the same.
    """
    torch.backends.mha.set_fastpath_enabled(False)  # its fused kernels would hide operators
    is_meta = any(tensor.is_meta for tensor in (*all_tensors(model), *tensors(input_data)))
    with contextlib.suppress(Exception) if is_meta else contextlib.nullcontext(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call(model, input_data)


@contextlib.contextmanager
def prepared(model: torch.nn.Module, input_data: ModelInput, *, grad: bool = False) -> Iterator[torch.nn.Module]:
    """Make a model ready for a block that may run it freely; everything is restored afterwards.

    Models from `torch.compile` run eagerly, because a compiled graph calls no modules.

    Args:
        model: the user's model.
        input_data: the input of its calls, None where it is not called.
        grad: whether gradients are computed.

    Yields:
        The model in eval mode, or, where it has lazy modules that never ran, a copy initialised under a fixed seed.

    Raises:
        ModelvizError: the model is not a module, it is on another device than its input, or gradients are requested on
            the meta device.

    Example:
        >>> with prepared(model, image) as ready:
        ...     call(ready, image)

    """
    require_model(model)
    parameters, buffers = tensors_without_names(model)
    require_same_device(model, input_data, parameters)
    if grad and any(tensor.is_meta for tensor in parameters):
        raise ModelvizError(
            "the model is on the meta device, where tensors hold no numbers: give it some with "
            "model.to_empty(device='cpu') and load its weights (model_summary and model_graph can do without)"
        )
    with untouched(model, input_data), torch.inference_mode(False), torch.set_grad_enabled(grad), eager():
        if input_data is not None and (lazy := uninitialised((*parameters, *buffers))):
            model = _materialised(model, input_data, lazy)
        if grad and any(tensor.is_inference() for tensor in tensors_without_names(model)[0]):
            model = copy_model(model)  # tensors made in inference mode cannot take part in a backward pass
        with contextlib.suppress(NotImplementedError):  # a module from torch.export has the mode it was exported in
            if any(map(operator.attrgetter("training"), all_modules(model))):
                model.eval()
        yield compiled_from(model)


def _materialised(model: torch.nn.Module, input_data: ModelInput, lazy: list[torch.Tensor]) -> torch.nn.Module:
    # `deepcopy` cannot copy them
    copies = {
        id(t): cast("Callable[..., torch.Tensor]", type(t))(
            requires_grad=t.requires_grad, device=t.device, dtype=t.dtype
        )
        for t in lazy
    }
    model = copy_model(model, copies)
    with torch.no_grad():
        torch.manual_seed(0)
        model.eval()
        call(model, input_data)
    return model


def require_model(model: object) -> None:
    """Raise ModelvizError for anything but a module."""
    if not isinstance(model, torch.nn.Module):
        raise ModelvizError(f"the model must be a torch.nn.Module, not {type(model).__name__}")


def require_same_device(model: torch.nn.Module, input_data: ModelInput, parameters: Iterable[torch.Tensor]) -> None:
    """Raise ModelvizError where the input is on another device than the model, before torch fails deep inside."""
    devices = {parameter.device for parameter in parameters}
    if len(devices) != 1:
        return  # no parameters, or a model spread over devices on purpose
    (device,) = map(str, devices)
    for tensor in tensors(input_data):
        if str(tensor.device) != device:
            name = next(iter(parameters_and_buffers(model)[0]))
            raise ModelvizError(
                f"the input is on {tensor.device} but the model is on {device} (its parameter {name!r}): "
                f"move one of them, for example input_data.to({device!r})"
            )
