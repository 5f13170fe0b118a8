"""The details of a check as a results folder holds them, made fit to be printed: anybody may have written them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_modelviz.cli.options import ReviewOptions
from pytest_modelviz.cli.stored_report import stored_report, without_commands
from pytest_modelviz.review.review import Review, ReviewedCheck
from pytest_modelviz.text.printable import printable
from pytest_modelviz.text.strict_json import JsonObject


def stored_details(review: Review, item: ReviewedCheck, options: ReviewOptions) -> list[str]:
    """The whole report of a check, without cuts, and the error of each layer."""
    document = item.run.folder.details.read(item.location.path) or {}
    about = document.get("check")
    if not isinstance(about, Mapping) or about.get("candidate_sha256") != item.check.candidate_sha256:
        return ["no details of this check were kept"]
    message = about.get("message")
    check = replace(item.check, message=message) if isinstance(message, str) else item.check
    rows = document.get("layers")
    layers = [
        _layer_line(layer, row, options)
        for row in (rows if isinstance(rows, Sequence) else ())
        if isinstance(row, Mapping) and isinstance(layer := row.get("layer"), str)
    ]
    heading = ["  layers    each with its error, and what is allowed"] if layers else []
    return [*stored_report(review, check, item.run, options).split("\n"), *heading, *without_commands(layers)]


def _layer_line(layer: str, row: JsonObject, options: ReviewOptions) -> str:
    error, tolerance = _number(row.get("error")), _number(row.get("tolerance"))
    mark = "=" if error <= tolerance else "!"
    name = options.field(layer) if layer else "the model itself"
    number = row.get("call")
    call = f", call {number}" if type(number) is int and number else ""
    return printable(f"  {mark} {error:<9.2g} {tolerance:<9.2g} {name}{call}")


def _number(value: object) -> float:
    """A number; infinity, which JSON has no word for, is null there."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else float("inf")
