"""What `modelviz show` prints for pull requests and CI systems: Markdown, GitLab's Code Quality, a line for a check."""

import enum
import json
from collections.abc import Callable, Sequence

from pytest_modelviz.cli.options import ReviewOptions
from pytest_modelviz.cli.stored_report import stored_report
from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.group import DriftGroup
from pytest_modelviz.reports.gitlab import code_quality
from pytest_modelviz.reports.markdown import MarkdownSummary, noted_line
from pytest_modelviz.reports.short import short_text
from pytest_modelviz.review.review import Review, ReviewedRun
from pytest_modelviz.review.selection import Choice
from pytest_modelviz.text.printable import command_line, printable_json

_ELSEWHERE = "Where the results folder was downloaded, add `--from` and its path to the commands."

Checks = Sequence[tuple[ReviewedRun, CheckResult]]


class Format(enum.Enum):
    """The formats of `modelviz show`."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    GITLAB = "gitlab"


def markdown(options: ReviewOptions, review: Review, choice: Choice, checks: Checks, *, short: bool) -> str:
    """A summary that fits into a comment, of the chosen checks, none of which matched."""
    runs = {id(check): run for run, check in checks}
    chosen = command_line([*(word for name in choice.names for word in ("--check", name)), *choice.patterns])

    def of_group(group: DriftGroup) -> str:
        return f"{options.for_runs(*(runs[id(check)] for check in group.checks))} {chosen}".strip()

    groups = command_line(word for name in choice.groups for word in ("--group", name))
    found = options.for_runs(*review.runs) if len(review.runs) == 1 else options.given()
    return MarkdownSummary(
        runs=list({run.id: run.result.run for run in review.runs}.values()),
        checks=[check for _, check in checks],
        options=of_group,
        report=lambda check: stored_report(review, check, runs[id(check)], options),
        show_command=" ".join(word for word in ("modelviz show", found, groups, chosen) if word),
        notes=[
            *noted_line([check for _, check in review.checks], options.field),
            *([] if options.sources or not checks else [_ELSEWHERE]),
        ],
        field=options.field,
    ).text(short=short)


def gitlab(options: ReviewOptions, checks: Checks) -> str:
    """A Code Quality report, as JSON, of the checks that did not match."""
    issues = code_quality(((check, run.result.run.project) for run, check in checks), options.field)
    return printable_json(json.dumps(issues, indent=1, allow_nan=False))


def short_result(check: CheckResult, field: Callable[[str], str]) -> str:
    """What has become of a check, in a line that begins with its test."""
    expected = "  (xfail)" if check.expected_failure else ""
    return f"{field(check.nodeid)}  {field(check.name)}  {short_text(check, field)}{expected}"
