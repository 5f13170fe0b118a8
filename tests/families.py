"""Every family of findings, and an example of each whose texts are given."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import types
import typing
from collections.abc import Iterator

from pytest_modelviz.records.changes import Rounded, ValueChange
from pytest_modelviz.records.findings import AnyFinding, LayerFinding

VIEWS = (
    "activation_maximization",
    "cam_map",
    "feature_maps",
    "kernel_maps",
    "model_graph",
    "model_summary",
    "saliency_map",
    "training_curve",
)
for view in VIEWS:
    importlib.import_module(f"pytest_modelviz.views.{view}.compare")


def _below(family: type[AnyFinding]) -> Iterator[type[AnyFinding]]:
    for child in family.__subclasses__():
        yield child
        yield from _below(child)


FAMILIES = [
    family
    for family in _below(AnyFinding)
    if family is not LayerFinding and family.__module__.startswith("pytest_modelviz.")
]


def example(family: type[AnyFinding], text: str, **values: object) -> AnyFinding:
    """A finding with `text` in each field that holds text, and the given `values` of others."""
    hints = typing.get_type_hints(family)
    names = [field.name for field in dataclasses.fields(family) if field.name != "role"]
    return family(**{name: values.get(name, _value(hints[name], text)) for name in names})


def choices(family: type[AnyFinding]) -> dict[str, list[object]]:
    """What each field may hold that takes one of a few values."""
    hints = typing.get_type_hints(family)
    found: dict[str, list[object]] = {}
    for name in (field.name for field in dataclasses.fields(family)):
        if isinstance(hints[name], enum.EnumMeta):
            found[name] = list(hints[name])
        elif typing.get_origin(hints[name]) is typing.Literal:
            found[name] = list(typing.get_args(hints[name]))
    return found


def _value(hint: typing.Any, text: str) -> object:
    if hint in (str, int, float):
        return {str: text, int: 3, float: 1.5}[hint]
    if isinstance(hint, enum.EnumMeta):
        return next(iter(hint))
    parameters = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return parameters[0]
    if hint is ValueChange:
        return Rounded(text)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return _value(parameters[0], text)
    return tuple(_value(parameter, text) for parameter in parameters if parameter is not ...)
