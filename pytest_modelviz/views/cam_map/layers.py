"""At which layers a class activation map is made: those that were named, or the last ones that could be."""

from collections.abc import Mapping, Sequence

import torch

from pytest_modelviz.attribution.activation_recorder import LayerActivation, first_with_gradient
from pytest_modelviz.attribution.spatial_layout import SpatialLayout
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.layer_names import find_layer
from pytest_modelviz.views.cam_map.methods import ALL_LAYERS

_MOST_TRIED, _MOST_TRIED_EACH = 24, 8  # layers, from the last one back, until one has a gradient


def named_layers(model: torch.nn.Module, given: str | Sequence[str] | None, method: str) -> tuple[str, ...]:
    """What `target_layer` names, none for None. Raises ModelvizError for what is no layer, or not of this method."""
    if given is None:
        return ()
    layers = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    for layer in layers:
        find_layer(model, layer, "target_layer")
    if method in ALL_LAYERS:
        raise ModelvizError(f"method {method!r} explains all layers at once: leave target_layer out")
    if not layers:
        raise ModelvizError("target_layer is empty: name a layer, or leave it out")
    if len(layers) != 1 and method != "refinecam":
        raise ModelvizError(f"target_layer takes one layer's name; several are for method 'refinecam', not {method!r}")
    return layers


def default_layers(layers: Mapping[str, SpatialLayout], method: str) -> list[str]:
    """The layers to choose from, last first; for RefineCAM some of each size."""
    if method != "refinecam":
        return list(layers)[:_MOST_TRIED]
    sizes: dict[tuple[int, ...], list[str]] = {}
    for layer, layout in layers.items():
        sizes.setdefault(layout.grid, []).append(layer)
    return [layer for names in sizes.values() for layer in names[:_MOST_TRIED_EACH]]


def chosen_layers(activations: Sequence[LayerActivation], method: str, *, are_named: bool) -> list[LayerActivation]:
    """The layers that a map is made of: the first whose gradient is not zero everywhere, none of no activations.

    For RefineCAM one of each resolution, or all that `are_named`.
    """
    if method != "refinecam":
        return [first_with_gradient(activations)] if activations else []
    if are_named:
        return list(activations)
    sizes: dict[tuple[int, ...], list[LayerActivation]] = {}
    for activation in activations:
        sizes.setdefault(tuple(activation.activation.shape[2:]), []).append(activation)
    return [first_with_gradient(group) for group in sizes.values()]
