"""Annotations of GitHub Actions: the checks of each test that did not match, shown at the line that makes them.

A workflow command is a line of output that begins with `::`. Its fields are printable and escaped, so that none of them
can end it, or the line, and begin another.
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.reports.call_sites import call_site_in_repository
from pytest_modelviz.reports.short import short_line, short_text
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.printable import printable
from pytest_modelviz.text.side_by_side import cut_short

MOST_ANNOTATIONS = 10  # of a kind, that GitHub shows of a step
_MOST_CHECKS = 8  # of one test
_LONGEST_NAME = 200


def annotation_lines(checks: Sequence[CheckResult], project: str | None) -> list[str]:
    """Workflow commands: an error for each test, and a notice of how many there was no room for.

    `checks` are those that did not match, `project` is their project's folder within the repository.
    """
    tests: dict[str, list[CheckResult]] = {}
    for check in checks:
        tests.setdefault(check.nodeid, []).append(check)
    lines = [_annotation(failed, project) for failed in list(tests.values())[:MOST_ANNOTATIONS]]
    more = len(tests) - MOST_ANNOTATIONS
    if more > 0:
        text = f"{counted(more, 'more test')} did not match: the summary of the job has all of them"
        lines.append(f"::notice title=modelviz::{_data(text)}")
    return lines


def _annotation(failed: Sequence[CheckResult], project: str | None) -> str:
    first = failed[0]
    file, line = call_site_in_repository(first, project)
    title = _property(f"modelviz: {short_line(failed)}")
    lines = [cut_short(first.nodeid, _LONGEST_NAME)]
    lines += [f"{cut_short(check.name, _LONGEST_NAME)}: {short_text(check)}" for check in failed[:_MOST_CHECKS]]
    lines += [f"and {len(failed) - _MOST_CHECKS} more"] if len(failed) > _MOST_CHECKS else []
    lines += [check.accept_command for check in failed if check.accept_command][:1]  # which accepts the whole test
    text = "%0A".join(map(_data, lines))
    is_inside = not file.startswith(("../", "/"))  # GitHub shows lines of the repository's files alone
    where = f"file={_property(file)},line={line}," if is_inside else ""
    return f"::error {where}title={title}::{text}"


def _data(text: str) -> str:
    return printable(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
