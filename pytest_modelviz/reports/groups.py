"""Drifts that are probably one change, told once: in the terminal and in all other reports."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.effect import OutputEffect
from pytest_modelviz.records.group import DriftGroup
from pytest_modelviz.reports.effect import effect_lines
from pytest_modelviz.reports.sentences import listed
from pytest_modelviz.reports.terminal import MODEL_INPUT, error_of, place_name
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.printable import printable, printable_lines, quoted

_WEIGHT = re.compile(r"  (?:evidence|also    |        )  (?P<text>(?P<name>\S+) (?:differs by [\d.]|is different).*)")
_ESTIMATED = 1.35  # times as large as another may an error be, and be the same: views hold sketches of several widths


def group_heading(group: DriftGroup) -> str:
    """`weights at layer4.0.conv1 (Conv2d): 60 checks of 30 tests`."""
    first = group.first.first_divergence
    place = place_name(group.first)
    layer = "" if first is None else " of the model" if place == MODEL_INPUT else f" at {place}"
    checks, tests = counted(len(group.checks), "check"), counted(len(group.nodeids), "test")
    return printable(f"{group.first.cause or 'another result'}{layer}: {checks} of {tests}")


def group_lines(group: DriftGroup, options: str) -> list[str]:
    """The lines of a summary on a group; `options` are those that the command `modelviz` needs to find the run."""
    effect = group_effect(group)
    lines = [group_heading(group), *([f"  output    {effect}"] if effect else [])]
    lines.append(printable(f"  tests     {listed(group.nodeids)}"))
    if any(check.candidate for check in group.checks):
        lines.append(printable(f"  accept    {accept_group_command(group, options)}"))
    return lines


def group_effect(group: DriftGroup) -> str:
    """What the change does to the outputs of all tests; empty where nothing is known."""
    output, changed = group.worst_output, group.top1_changed
    parts = []
    if output is not None:
        up_to = "up to " if len({f"{check.output.error:.2g}" for check in group.checks if check.output}) > 1 else ""
        off = f"off by {up_to}{output.error:.2g}" if math.isfinite(output.error) else "another kind or shape"
        parts.append(off if output.drifted else "agrees")
    if changed is not None and changed[0]:
        parts.append(f"top class changed in {changed[0]} of {counted(changed[1], 'sample')}")
    elif changed is not None:
        parts.append("top class kept")
    return ", ".join(parts)


def accept_group_command(group: DriftGroup, options: str) -> str:
    """The command that accepts all of a group, and nothing else."""
    return " ".join(word for word in ("modelviz accept", options, "--group", quoted(group.name)) if word)


def repeated(result: CheckResult, reported: CheckResult) -> str:
    """A drift in one line, whose group has been reported already with another check.

    What it does to the output has lines of its own unless that report has said the same, and so has each weight that
    differs which that report does not name: a view that sees no weights may be the first to report a group.
    """
    where = reported.name if reported.nodeid == result.nodeid else f"{reported.nodeid} ({reported.name})"
    error = "" if result.error is None else f", error {result.error:.2g}{error_of(result)}"
    line = printable(f"{result.name} drifted with the same cause at the same layer as {where}{error}")
    lines = [line]
    if not _is_same_effect(result.output, reported.output):
        whose = "" if reported.output is None else "in this check: "
        lines += effect_lines(printable(result.output), whose)
    return "\n".join([*lines, *unreported_weights(result, reported)])


def unreported_weights(result: CheckResult, reported: CheckResult) -> list[str]:
    """The lines of a check's message on weights that differ of which the other check's message says nothing."""
    known, own = _weights(reported.message), _weights(result.message)
    texts = [text for name, text in own.items() if name not in known]
    return [f"  {'' if at else 'also':9} {text}" for at, text in enumerate(texts)]


def _weights(message: str) -> dict[str, str]:
    """What a message says of weights that differ, by their names."""
    found = (_WEIGHT.match(line) for line in printable_lines(message).splitlines())
    return {match["name"]: match["text"] for match in found if match}


def _is_same_effect(first: OutputEffect | None, second: OutputEffect | None) -> bool:
    """Whether two checks of one change say the same of the output, as far as their sketches can tell."""
    if first is None or second is None:
        return first is second
    known = None not in (first.samples, second.samples)
    alike = not known or (first.samples, first.top1_changed) == (second.samples, second.top1_changed)
    low, high = sorted((first.error, second.error))
    return alike and (high <= _ESTIMATED * low or low == high)


def groups_worth_telling(groups: Sequence[DriftGroup]) -> list[DriftGroup]:
    """Those that say more than the report of each check: of several tests, or of some of the drifts of a test."""
    tests = Counter(nodeid for group in groups for nodeid in group.nodeids)
    return [each for each in groups if len(each.nodeids) > 1 or len(each.checks) > 1 < tests[each.nodeids[0]]]
