"""What report.html shows of the files with details, which anybody may have written: read one by one, within bounds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.verdict import Cause, LayerError, worst_calls
from pytest_modelviz.reports.depth_chart import chart_note, depth_chart
from pytest_modelviz.reports.figures import Figure, described_figures
from pytest_modelviz.reports.layer_errors import layer_errors
from pytest_modelviz.reports.module_tree import TreeLine, module_tree, times, tree_lines
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.text.strict_json import JsonValue

_FEW = 50  # checks up to which charts and trees are as large as they may be
_BARS, _TREE_LINES = (400, 60), (600, 80)  # at most of a check, and at least where there are many
_MOST_BYTES = 256 * 2**20  # of all files


@dataclass(frozen=True)
class ShownDetails:
    """What a page shows of the details of a check.

    Attributes:
        message: the whole report, where nothing is cut; None where that is not known.
        chart: the error along the depth of the model, in SVG; empty where there are no layers.
        chart_note: what a bar of it stands for.
        tree: the lines of the tree of modules.
        errors: how far the layers are off that drifted and are pictured.
        figures: the labels of pictures, and the lines of texts, by the names of their files.

    """

    message: str | None = None
    chart: str = ""
    chart_note: str = ""
    tree: Sequence[TreeLine] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
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
    document: Mapping[str, JsonValue], check: CheckResult, printed: Callable[[str], str], bars: int, lines: int
) -> ShownDetails:
    layers, first = layer_errors(document, printed), check.first_divergence
    begins = None if first is None else (printed(first.layer), first.call)
    figures = described_figures(document, printed)
    return ShownDetails(
        message=_whole_message(document, check),
        chart=depth_chart(layers, begins, bars, from_input=check.cause is Cause.INPUT),
        chart_note=chart_note(layers, bars),
        tree=tree_lines(module_tree(layers, begins and begins[0]), lines) if layers else (),
        errors=_errors(layers, {figure.label for figure in figures.values()}),
        figures=figures,
    )


def _errors(layers: Sequence[LayerError], names: Collection[str]) -> dict[str, str]:
    """How far these layers are off, of those that drifted."""
    worst = {name: call for name, call in worst_calls(layers).items() if name in names and call.error.drifted}
    return {name: f"error {times(call.error)}{call.which}" for name, call in worst.items()}


def _is_of(document: Mapping[str, JsonValue], check: CheckResult) -> bool:
    """Whether details are of this result, and not of an earlier one of the same check."""
    own = document.get("check")
    if not isinstance(own, Mapping):
        return False
    return (own.get("nodeid"), own.get("name"), own.get("status")) == (check.nodeid, check.name, check.status.value)


def _whole_message(document: Mapping[str, JsonValue], check: CheckResult) -> str | None:
    """The message as the details have it, if it begins as the check's."""
    own = document.get("check")
    message = own.get("message") if isinstance(own, Mapping) else None
    begins = check.message.partition("\n")[0]
    return message if isinstance(message, str) and message.partition("\n")[0] == begins else None
