"""A run in Markdown: its groups of drifts with the commands that accept them, and what else did not match."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.group import DriftGroup, drift_groups
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.reports.groups import accept_group_command, group_effect
from pytest_modelviz.reports.short import short_line
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.markdown import code, code_block
from pytest_modelviz.text.printable import printable

_MOST_GROUPS, _MOST_TESTS, _MOST_OTHERS = 20, 10, 50


def run_markdown(result: RunResult, review: str, step: int) -> str:
    """The summary of a run.

    Args:
        result: the run and its checks.
        review: the options that the command `modelviz` needs to find the run.
        step: the number of the run in the trend.

    Returns:
        Markdown, in which whatever comes from names and messages is code.

    """
    options = printable(f"--run {result.run.id} {review}".strip())
    groups = drift_groups(check for check in result.checks if not check.expected_failure)
    others = [check for check in result.checks if check.status.fails and check.status is not Status.DRIFT]
    blocks = [f"## {_totals(result.checks)}", _revision(result.run, step)]
    for number, group in enumerate(groups[:_MOST_GROUPS], 1):
        blocks += _group(number, group, options)
    if len(groups) > _MOST_GROUPS:
        blocks += [f"And {counted(len(groups) - _MOST_GROUPS, 'more group')}:", code_block(f"modelviz list {options}")]
    if others:
        blocks.append("### Not compared, or with a different result each time")
        blocks.append(
            "\n".join(f"- {code(short_line([check]))} in {code(check.nodeid)}" for check in others[:_MOST_OTHERS])
        )
        if len(others) > _MOST_OTHERS:
            blocks.append(f"And {counted(len(others) - _MOST_OTHERS, 'more check')}.")
    pictured = [check for check in result.checks if check.tensorboard_tags]
    if pictured:
        has_graphs = any(check.view == "model_graph" for check in pictured)
        graphs = " operator graphs under *Graphs* (choose the color *Device*: what changed has one of its own),"
        blocks.append(
            f"Pictures are under *Images*,{graphs if has_graphs else ''} the whole report of each check below, and "
            f"errors over runs under *Scalars* (untick *Ignore outliers*, which hides drifts)."
        )
    return "\n\n".join(blocks) + "\n"


def _totals(checks: Sequence[CheckResult]) -> str:
    counts = {status: sum(check.status is status for check in checks) for status in Status}
    return ", ".join(f"{count} {str(status).replace('_', ' ')}" for status, count in counts.items() if count)


def _revision(run: RunFacts, step: int) -> str:
    parts = [f"Run {code(run.id)}, step {step} of the trend"]
    if run.commit is not None:
        dirty = "*" if run.dirty else ""
        parts.append(f"commit {code(f'{run.commit[:7]}{dirty}')}{' (with uncommitted changes)' if dirty else ''}")
        parts.append(f"branch {code(run.branch)}" if run.branch else "no branch")
    return "; ".join([*parts, f"torch {code(run.torch)} on {code(run.device)}"])


def _group(number: int, group: DriftGroup, options: str) -> list[str]:
    """Blocks on a group: what it is, the report of the check that says most, and the command."""
    counts, effect = counted(len(group.checks), "check"), group_effect(group)
    counts += f" of {counted(len(group.nodeids), 'test')}"
    blocks = [f"### {number}. {code(short_line(group.checks))}", f"{counts}; output {effect}" if effect else counts]
    blocks.append("\n".join(f"- {code(nodeid)}" for nodeid in group.nodeids[:_MOST_TESTS]))
    more = len(group.nodeids) - _MOST_TESTS
    if more > 0:
        blocks.append(f"and {counted(more, 'more test')}")
    if any(check.candidate for check in group.checks):
        elsewhere = "" if "--from" in options else " (with `--from DIR` if DIR is a results folder that was downloaded)"
        blocks += [f"To accept all of it{elsewhere}:", code_block(accept_group_command(group, options))]
    return [*blocks, "The report of one of these checks:", code_block(_telling(group).message)]


def _telling(group: DriftGroup) -> CheckResult:
    """The check of a group whose report says what becomes of the output, if any does."""
    return next((check for check in group.checks if check.output is not None), group.first)
