"""Drifts that are probably one change, told once: in the terminal and in all other reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.group import DriftGroup
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
    error, changed = group.output_error, group.top1_changed
    parts = []
    if error is not None:
        agrees = not any(check.output is not None and check.output.drifted for check in group.checks)
        size = "another kind or shape" if math.isinf(error) else f"off by up to {error:.2g}"
        parts.append("agrees" if agrees else size)
    if changed is not None:
        parts.append(
            f"top class changed in {changed[0]} of {counted(changed[1], 'sample')}" if changed[0] else "top class kept"
        )
    return ", ".join(parts)


def accept_group_command(group: DriftGroup, options: str) -> str:
    """The command that accepts all of a group, and nothing else."""
    return " ".join(word for word in ("modelviz accept", options, "--group", quoted(group.name)) if word)


def repeated(result: CheckResult, told: CheckResult) -> str:
    """A drift in one line, whose group has been reported already with another check."""
    own = "" if result.output is None else f"; output off by {result.output.error:.2g}"
    where = told.name if told.nodeid == result.nodeid else f"{told.nodeid} ({told.name})"
    error = "" if result.error is None else f", error {result.error:.2g}"
    return printable(f"{result.name} drifted with the same cause at the same layer as {where}{error}{own}")


def groups_worth_telling(groups: Sequence[DriftGroup]) -> list[DriftGroup]:
    """Those that say more than the report of each check has said: of several checks."""
    return [group for group in groups if len(group.checks) > 1]
