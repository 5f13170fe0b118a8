"""The error of each layer, as a file with details holds it: from a results folder that anybody may have written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from pytest_modelviz.records.json_values import objects, optional, optional_number, required
from pytest_modelviz.records.verdict import LayerError
from pytest_modelviz.text.printable import printable
from pytest_modelviz.text.strict_json import JsonObject, JsonValue


def layer_errors(details: Mapping[str, JsonValue], field: Callable[[str], str] = printable) -> list[LayerError]:
    """The error of each call of each layer in the order of execution; [] where it cannot be read.

    `field` makes a layer's name fit to be shown.
    """
    try:
        return [_layer_error(row, field) for row in objects(details, "layers")]
    except ValueError:
        return []


def _layer_error(row: JsonObject, field: Callable[[str], str]) -> LayerError:
    error, tolerance = optional_number(row, "error"), optional_number(row, "tolerance")
    return LayerError(
        field(required(row, "layer", str)),
        optional(row, "call", int) or 0,
        math.inf if error is None else abs(error),
        abs(tolerance or 0.0),
    )
