"""torchinfo's table of a model, for people. Nothing is compared with it, and it takes a pass of its own."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.eager import eager
from pytest_modelviz.probe.forward import ModelInput, arguments_of, prepared
from pytest_modelviz.probe.purity import untouched


def table_of_pass(model: torch.nn.Module, input_data: ModelInput) -> str:
    """The table of a model as it stands, with the shapes of a pass; the model is left as it was.

    torchinfo fails on outputs that it does not know, and the model may have been moved away from its input: then the
    table has no shapes.
    """
    try:
        with prepared(model, input_data) as ready:
            return _with_shapes(ready, input_data) or _without_shapes(ready)
    except ModelvizError:
        return table_without_pass(model)


def table_without_pass(model: torch.nn.Module, input_data: ModelInput = None) -> str:
    """The table of a model as it stands, without shapes; with an input, that of its lazy modules as that makes them."""
    with prepared(model, input_data) as ready:
        return _without_shapes(ready)


def _with_shapes(model: torch.nn.Module, input_data: ModelInput) -> str | None:
    import torchinfo

    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        with untouched(model, input_data), eager():
            args, kwargs = arguments_of(input_data)
            # an explicit device keeps torchinfo from moving the model to a GPU
            return _table(model, kwargs or args, device)
    except Exception:  # what torchinfo cannot show with shapes, it shows without
        return None
    finally:
        torchinfo.torchinfo.clear_cached_forward_pass()


def _without_shapes(model: torch.nn.Module) -> str:
    try:
        return _table(model)
    except Exception as error:  # scripted and lazy modules, by version
        return f"torchinfo cannot show this model ({type(error).__name__}: {error})"


def _table(
    model: torch.nn.Module,
    data: Sequence[object] | Mapping[str, object] | None = None,
    device: torch.device | None = None,
) -> str:
    """The table, with shapes where the model's data is given; whatever torchinfo raises is passed on."""
    import torchinfo
    import torchinfo.layer_info

    rows = ("depth", "var_names")
    with _leftovers_cached(torchinfo.layer_info.LayerInfo):
        return str(
            torchinfo.summary(model, input_data=data, device=device, verbose=0, depth=4, row_settings=rows, mode="eval")
        )


@contextlib.contextmanager
def _leftovers_cached(layer_info: type) -> Iterator[None]:
    """Let torchinfo compute each layer's leftover parameters once in a block.

    It does so anew for each of the layers around it, which doubles the calls with each level of nesting.
    """
    methods = {name: vars(layer_info)[name] for name in ("leftover_params", "leftover_trainable_params")}
    try:
        for name, method in methods.items():
            setattr(layer_info, name, functools.cache(method))
        yield
    finally:
        for name, method in methods.items():
            setattr(layer_info, name, method)
