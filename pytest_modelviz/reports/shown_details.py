"""What report.html shows of the files with details, which anybody may have written: read one by one, within bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.json_values import objects, optional, optional_number, required
from pytest_modelviz.records.verdict import Cause, LayerError
from pytest_modelviz.reports.depth_chart import DepthChart, depth_chart
from pytest_modelviz.reports.figures import Figure, described_figures
from pytest_modelviz.reports.module_tree import ModuleNode, module_tree
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.text.dotted import INPUT_LABEL, OUTPUT_LABEL
from pytest_modelviz.text.side_by_side import cut_short
from pytest_modelviz.text.strict_json import JsonObject

_FEW = 50  # checks up to which charts and trees are as large as they may be
_BARS, _TREE_LINES = (400, 60), (600, 80)  # at most of a check, and at least where there are many
_MOST_BYTES = 256 * 2**20  # of all files
_MOST_ROWS, _LONGEST_NAME, _LONGEST_MESSAGE = 20_000, 500, 200_000  # calls of layers, and letters of texts


@dataclass(frozen=True)
class ShownDetails:
    """What a page shows of the details of a check.

    Attributes:
        message: the whole report, where nothing is cut; None where that is not known.
        class_name: the class of the layer where the drift begins, before and now; empty where that is the same.
        chart: the error along the depth of the model; None where there are no layers, as with the tree of modules.
        figures: the pictures without their images, by the names of their files.

    """

    message: str | None = None
    class_name: str = ""
    chart: DepthChart | None = None
    tree: ModuleNode | None = None
    figures: Mapping[str, Figure] = field(default_factory=dict)


def read_details(
    results: ResultsFolder, checks: Sequence[CheckResult], printed: Callable[[str], str]
) -> list[ShownDetails]:
    """What is known of each check, as long as so much can be read; of several with one file, the first has it.

    Args:
        results: the folder with the files.
        checks: the checks, the most important first.
        printed: makes a name or a line fit to be shown.

    """
    left, taken = _MOST_BYTES, set()
    share = max(len(checks), _FEW)
    bars, lines = (max(least, most * _FEW // share) for most, least in (_BARS, _TREE_LINES))
    found = []
    for check in checks:
        path = results.location(check).path
        size = 0 if path in taken else results.details.size(path)
        taken.add(path)
        document = results.details.read(path) if 0 < size <= left else None
        left -= 0 if document is None else size
        is_own = document is not None and _is_of(document, check)
        found.append(_shown(document, check, printed, bars, lines) if document and is_own else ShownDetails())
    return found


def _shown(
    document: JsonObject, check: CheckResult, printed: Callable[[str], str], bars: int, lines: int
) -> ShownDetails:
    layers, first = _layer_errors(document, check, printed), check.first_divergence
    begins = None if first is None else (printed(first.layer), first.call)
    begins = (INPUT_LABEL, 0) if check.cause is Cause.INPUT else begins
    return ShownDetails(
        message=_whole_message(document, check),
        class_name=_changed_class(document, check, printed),
        chart=depth_chart(layers, begins, bars) if layers else None,
        tree=module_tree(layers, begins, lines) if layers else None,
        figures=described_figures(document, printed),
    )


def _layer_errors(document: JsonObject, check: CheckResult, printed: Callable[[str], str]) -> list[LayerError]:
    """The error of each call in the order of execution, the model's own as its output's; first that of another input.

    [] where they cannot be read.
    """
    try:
        layers = [_layer_error(row, printed) for row in objects(document, "layers")[:_MOST_ROWS]]
    except ValueError:
        return []
    first = check.first_divergence
    if layers and first is not None and check.cause is Cause.INPUT:
        return [LayerError(INPUT_LABEL, 0, first.error, first.tolerance), *layers]
    return layers


def _layer_error(row: JsonObject, printed: Callable[[str], str]) -> LayerError:
    error, tolerance = optional_number(row, "error"), optional_number(row, "tolerance")
    layer = required(row, "layer", str)
    return LayerError(
        printed(cut_short(layer, _LONGEST_NAME)) if layer else OUTPUT_LABEL,
        optional(row, "call", int) or 0,
        math.inf if error is None else abs(error),
        abs(tolerance or 0.0),
    )


def _changed_class(document: JsonObject, check: CheckResult, printed: Callable[[str], str]) -> str:
    try:
        findings = objects(document, "findings")
    except ValueError:
        return ""
    layer = None if check.first_divergence is None else check.first_divergence.layer
    for row in findings:
        if row.get("layer") == layer and "class" in (row.get("kind"), row.get("field")):
            return f"{printed(str(row.get('before')))} -> {printed(str(row.get('after')))}"
    return ""


def _is_of(document: JsonObject, check: CheckResult) -> bool:
    """Whether details are of this result, and not of an earlier one of the same check."""
    own = document.get("check")
    if not isinstance(own, Mapping):
        return False
    return (own.get("nodeid"), own.get("name"), own.get("status")) == (check.nodeid, check.name, check.status.value)


def _whole_message(document: JsonObject, check: CheckResult) -> str | None:
    """The message as the details have it, if it begins as the check's."""
    own = document.get("check")
    message = own.get("message") if isinstance(own, Mapping) else None
    begins = check.message.partition("\n")[0]
    if not isinstance(message, str) or len(message) > _LONGEST_MESSAGE:
        return None
    return message if message.partition("\n")[0] == begins else None
