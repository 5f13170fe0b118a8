"""What has become of the checks of a test, in one line of 80 columns at most."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.effect import OutputEffect
from pytest_modelviz.records.group import drift_groups
from pytest_modelviz.records.verdict import Cause
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.printable import printable
from pytest_modelviz.text.side_by_side import cut_short

WIDTH = 80
_LEAST = 12  # columns of what has changed, however little room there is
_REASONS = {
    Status.MISSING: "no baseline",
    Status.UNREADABLE: "the baseline cannot be read",
    Status.UNSTABLE: "two captures of the same model differ",
}
_REASONS_OF_A_DIFF = {Status.MISSING: "on one side only", Status.UNREADABLE: "could not be compared"}


def short_line(failed: Sequence[CheckResult], width: int = WIDTH) -> str:
    """`output off by 2.5 %, top-1 kept: weights at _blocks.7._depthwise_conv`.

    Args:
        failed: the checks of one test that failed, at least one.
        width: the most columns. Where they are few, the layer's name is cut, and of the effect only that is said which
            matters most.

    """
    drifts = [result for result in failed if result.status is Status.DRIFT]
    if not drifts:
        names = ", ".join(result.name for result in failed)
        return cut_short(printable(f"{names}: {_REASONS.get(failed[0].status, failed[0].status)}"), width)
    groups = drift_groups(drifts)
    result = next((each for each in groups[0].checks if each.output is not None), groups[0].first)
    first = result.first_divergence
    where = "" if first is None else f" at {first.layer or 'the model'}"
    if result.cause is Cause.INPUT and first is not None and not first.layer:
        where = " of the model"
    change = printable(f"{result.cause or 'another result'}{where}")
    more = _times(result) if result.output is None else ""
    more += f"; {counted(len(groups) - 1, 'more change')}" if len(groups) > 1 else ""
    effect, room = "", width - len(more)
    for text in () if result.output is None else _effects(result.output):
        effect, room = f"{text}: ", width - len(f"{text}: {more}")
        if room > _LEAST:
            break
    return f"{effect}{cut_short(change, max(_LEAST, room))}{more}"


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


def _times(result: CheckResult) -> str:
    """How many times the error is what is allowed: nothing else says how large the change is."""
    if result.error is None or not result.tolerance:
        return ""
    ratio = result.error / result.tolerance
    return f", {ratio:,.0f} x allowed" if ratio >= 10 else f", {ratio:.2g} x allowed"  # fewer have a decimal


def _effects(output: OutputEffect) -> tuple[str, str]:
    """What becomes of the output, and that of it which matters most."""
    size = f"{100 * output.error:.2g}" if output.error < 1 else f"{100 * output.error:,.0f}"
    off = "output agrees"
    if output.drifted:
        off = f"output off by {size} %" if math.isfinite(output.error) else "output of another kind"
    if output.top1_changed:
        changed = f"top-1 changed in {output.top1_changed} of {output.samples}"
        return f"{off}, {changed}", changed
    is_kept = output.samples and output.drifted and math.isfinite(output.error)
    return f"{off}{', top-1 kept' if is_kept else ''}", off
