"""Drifts that are probably one change, told once: in the terminal and in all other reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.group import DriftGroup
from pytest_modelviz.reports.effect import effect_lines
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.printable import printable, quoted

_MOST_NAMED = 3  # tests


def group_heading(group: DriftGroup) -> str:
    """`weights at layer4.0.conv1 (Conv2d): 60 checks of 30 tests`."""
    first = group.first.first_divergence
    layer = "" if first is None else f" at {first.layer or 'the model itself'} ({first.class_name})"
    checks, tests = counted(len(group.checks), "check"), counted(len(group.nodeids), "test")
    return printable(f"{group.first.cause or 'another result'}{layer}: {checks} of {tests}")


def group_lines(group: DriftGroup, options: str) -> list[str]:
    """The lines of a summary on a group; `options` are those that the command `modelviz` needs to find the run."""
    lines = [group_heading(group)]
    effect = group_effect(group)
    if effect:
        lines.append(f"  output    {effect}")
    named = ", ".join(group.nodeids[:_MOST_NAMED])
    more = len(group.nodeids) - _MOST_NAMED
    lines.append(printable(f"  tests     {named}{f' and {more} more' if more > 0 else ''}"))
    if any(check.candidate for check in group.checks):
        lines.append(printable(f"  accept    {accept_group_command(group, options)}"))
    return lines


def group_effect(group: DriftGroup) -> str:
    """What the change does to the outputs of all tests; empty where nothing is known."""
    output, changed = group.worst_output, group.top1_changed
    parts = []
    if output is not None:
        parts.append(f"off by up to {output.error:.2g}" if math.isfinite(output.error) else "another kind or shape")
        if not output.drifted:
            parts = ["agrees"]
    if changed is not None:
        parts.append(
            f"top class changed in {changed[0]} of {counted(changed[1], 'sample')}" if changed[0] else "top class kept"
        )
    return ", ".join(parts)


def accept_group_command(group: DriftGroup, options: str) -> str:
    """The command that accepts all of a group, and nothing else."""
    return " ".join(word for word in ("modelviz accept", options, "--group", quoted(group.name)) if word)


def repeated(result: CheckResult, reported: CheckResult) -> str:
    """A drift in one line, whose group has been reported already with another check.

    What it does to the output has lines of its own if that report said nothing of it.
    """
    own = ""
    if result.output is not None and reported.output is not None:
        own = f"; output off by {result.output.error:.2g}" if result.output.drifted else "; output agrees"
    where = reported.name if reported.nodeid == result.nodeid else f"{reported.nodeid} ({reported.name})"
    error = "" if result.error is None else f", error {result.error:.2g}"
    line = printable(f"{result.name} drifted with the same cause at the same layer as {where}{error}{own}")
    return "\n".join([line, *(effect_lines(printable(result.output)) if reported.output is None else ())])


def groups_worth_telling(groups: Sequence[DriftGroup]) -> list[DriftGroup]:
    """Those that say more than the report of each check has said: of several checks."""
    return [group for group in groups if len(group.checks) > 1]
