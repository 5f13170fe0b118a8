"""The layers that a user names, singly or by globs, with errors that suggest names."""

import difflib
import fnmatch

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.modules import observed_modules


def find_layer(model: torch.nn.Module, layer: object, argument: str = "layer") -> torch.nn.Module:
    """The module of a name.

    Args:
        model: the model.
        layer: a name as in `model.named_modules()`, without wrappers.
        argument: the name of the user's argument, for errors.

    Raises:
        ModelvizError: this is no name, or the model has no such layer; the error suggests similar names.

    """
    modules = dict(observed_modules(model))
    if isinstance(layer, torch.nn.Module):
        names = [name for name, module in modules.items() if module is layer]
        hint = f", here {names[0]!r}" if names else ""
        raise ModelvizError(f"{argument} takes a layer's name{hint}, not the layer itself")
    if not isinstance(layer, str):
        raise ModelvizError(f"{argument} takes a layer's name, not {layer!r} (names as in model.named_modules())")
    if layer in modules:
        return modules[layer]
    raise _unknown_layer(layer, list(modules))


def layer_patterns(layers: object) -> list[str] | None:
    """A user's `layers=` as a list of names and globs, None where it is None; ModelvizError for other types."""
    patterns = [layers] if isinstance(layers, str) else layers
    if patterns is None:
        return None
    if not isinstance(patterns, (list, tuple, set)) or not all(isinstance(name, str) for name in patterns):
        raise ModelvizError(f"layers takes names of layers or globs such as 'layer4.*', not {layers!r}")
    return list(patterns)


def match_layers(pattern: str, names: list[str]) -> list[str]:
    """The layer of that name, else those that the glob matches; ModelvizError if there is none."""
    if pattern in names:
        return [pattern]
    matches = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if not matches:
        raise _unknown_layer(pattern, names)
    return matches


def _unknown_layer(layer: str, names: list[str]) -> ModelvizError:
    close = difflib.get_close_matches(layer, names, n=3, cutoff=0.4)
    suggested = close or [name for name in names if name and "." not in name][:8]
    known = ", ".join(repr(name) for name in suggested) or "none"
    hint = f"did you mean {known}?" if close else f"its top-level layers are {known}"
    return ModelvizError(f"the model has no layer {layer!r}; {hint} (names as in model.named_modules())")
