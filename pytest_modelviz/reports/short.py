"""What has become of the checks of a test, in one line of 80 columns at most."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.group import drift_groups
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.printable import printable
from pytest_modelviz.text.side_by_side import cut_short

WIDTH = 80
_LEAST = 12  # columns of what has changed, however little room there is


def short_line(failed: Sequence[CheckResult], width: int = WIDTH) -> str:
    """`weights at _blocks.7._depthwise_conv, 500 x; output 2.5 %, top-1 kept`.

    Args:
        failed: the checks of one test that failed, at least one.
        width: the most columns; the layer's name is cut before anything else is.

    """
    drifts = [result for result in failed if result.status is Status.DRIFT]
    if not drifts:
        names = ", ".join(result.name for result in failed)
        return cut_short(printable(f"{names}: {_REASONS.get(failed[0].status, failed[0].status)}"), width)
    groups = drift_groups(drifts)
    more = f"; {counted(len(groups) - 1, 'more change')}" if len(groups) > 1 else ""
    with_effect = [result for result in groups[0].checks if result.output is not None]
    result = with_effect[0] if with_effect else groups[0].first
    effect = _effect(result) + more
    first = result.first_divergence
    where = "" if first is None else f" at {first.layer or 'the model'}"
    change = printable(f"{result.cause or result.name + ' drifted'}{where}")
    return f"{cut_short(change, max(_LEAST, width - len(effect) - len(_times(result))))}{_times(result)}{effect}"


def short_text(result: CheckResult, field: Callable[[str], str] = str) -> str:
    """The same of a single check, whose name stands elsewhere; `field` makes the name of a layer fit to be printed."""
    if result.compared_with is not None and result.status in _REASONS_OF_A_DIFF:
        return _REASONS_OF_A_DIFF[result.status]
    if result.status is not Status.DRIFT:
        return _REASONS.get(result.status, str(result.status))
    first = result.first_divergence
    if first is not None and first.layer:
        result = replace(result, first_divergence=replace(first, layer=field(first.layer)))
    return short_line([result])


_REASONS = {
    Status.MISSING: "no baseline",
    Status.UNREADABLE: "the baseline cannot be read",
    Status.UNSTABLE: "two captures of the same model differ",
}
_REASONS_OF_A_DIFF = {Status.MISSING: "on one side only", Status.UNREADABLE: "could not be compared"}


def _times(result: CheckResult) -> str:
    if result.error is None or not result.tolerance:
        return ""
    ratio = result.error / result.tolerance
    return f", {ratio:,.0f} x" if ratio >= 10 else f", {ratio:.2g} x"  # fewer have a decimal


def _effect(result: CheckResult) -> str:
    output = result.output
    if output is None:
        return ""
    if math.isinf(output.error):
        return "; output of another kind"
    classes = ""
    if output.samples is not None:
        changed = output.top1_changed or 0
        classes = f", top-1 changed in {changed} of {output.samples}" if changed else ", top-1 kept"
    return f"; output {_percent(output.error) if output.drifted else 'agrees'}{classes}"


def _percent(error: float) -> str:
    return f"{100 * error:.2g} %" if error < 1 else f"{100 * error:,.0f} %"
