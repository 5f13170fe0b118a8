"""A summary in Markdown for pull requests: the drifts by what they have in common, then every report, folded.

Results come from strangers: whatever a name or a message says stands in code, see `text.markdown`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_modelviz.records.check_result import CheckResult, totals_of
from pytest_modelviz.records.group import DriftGroup, drift_groups
from pytest_modelviz.records.run_result import RunFacts
from pytest_modelviz.reports.groups import accept_group_command, group_effect
from pytest_modelviz.reports.short import short_text
from pytest_modelviz.reports.terminal import MODEL_INPUT, place_name
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.markdown import code, code_block, html_code
from pytest_modelviz.text.side_by_side import cut_short

COMMENT_BYTES = 65_536  # that GitHub allows a comment, in characters
STEP_SUMMARY_BYTES = 2**20  # and the summary of a step

_MOST_RUNS = 5
_MOST_NAMED = 5  # tests of a group
_MOST_UNFOLDED = 3  # groups of which a report is unfolded
_LONGEST_NAME = 200
_ROOM_FOR_THE_END = 1_000  # bytes: what was left out is said in fewer
_SHORT_COMMIT = 10


@dataclass(frozen=True)
class MarkdownSummary:
    """What a summary is made of.

    Attributes:
        runs: the runs that made the checks.
        checks: those that did not match.
        show_command: the command that prints everything.
        options: those that the command that accepts a group needs where the summary is read.
        report: the report of a check, with commands that are complete there.
        heading: what became of the checks; by default how many of them did not match.
        notes: our own Markdown, below the groups.
        field: makes an id or a name one that can pass for nothing else.

    """

    runs: Sequence[RunFacts]
    checks: Sequence[CheckResult]
    show_command: str
    options: Callable[[DriftGroup], str] = lambda group: ""
    report: Callable[[CheckResult], str] = lambda check: check.message
    heading: str = ""
    notes: Sequence[str] = ()
    field: Callable[[str], str] = str

    def text(self, *, most_bytes: int = COMMENT_BYTES, short: bool = False) -> str:
        """The summary, of at most so many bytes; what had to be left out is said at its end. `short`: groups alone."""
        groups = drift_groups(self.checks)
        page = _Page(most_bytes - _ROOM_FOR_THE_END)
        more = [f"And {counted(len(self.runs) - _MOST_RUNS, 'more run')}"] if len(self.runs) > _MOST_RUNS else []
        page.add("\n\n".join([self._heading(), *map(_run_line, self.runs[:_MOST_RUNS]), *more]))
        unfolded = [] if short else [group.first for group in groups[:_MOST_UNFOLDED]]
        omitted_groups = omitted_checks = 0
        for at, group in enumerate(groups):
            omitted_groups += not page.add(self._group(group))
            omitted_checks += at < len(unfolded) and not page.add(self._check(group.first, unfolded=True))
        for note in self.notes:
            page.add(note)
        folded = [] if short else [check for check in self.checks if not any(check is other for other in unfolded)]
        omitted_checks += sum(not page.add(self._check(check)) for check in folded)
        omitted = [
            counted(count, noun) for count, noun in ((omitted_groups, "group"), (omitted_checks, "report")) if count
        ]
        if omitted:
            command = f": {code(self.show_command)}" if len(self.show_command) <= _LONGEST_NAME else ""
            page.sections.append(f"**{' and '.join(omitted)} left out, for which there is no room here**{command}")
        return "\n\n".join(page.sections) + "\n"

    def _heading(self) -> str:
        if self.heading:
            return f"### modelviz: {self.heading}"
        if not self.checks:
            return "### modelviz: all checks matched"
        counts = ", ".join(f"{count} {status}" for status, count in totals_of(self.checks).items() if count)
        return f"### modelviz: {counted(len(self.checks), 'check')} did not match ({counts})"

    def _name(self, text: str) -> str:
        return code(cut_short(self.field(text), _LONGEST_NAME))

    def _group(self, group: DriftGroup) -> str:
        first = group.first.first_divergence
        where = ""
        if first is not None:
            where = f" at {self._name(first.layer) if first.layer else 'the model itself'}"
            where += f" ({self._name(first.class_name)})" if first.class_name else ""
            where = " of the model" if place_name(group.first) == MODEL_INPUT else where
        counts = f"{counted(len(group.checks), 'check')} of {counted(len(group.nodeids), 'test')}"
        lines = [f"#### {group.first.cause or 'another result'}{where}: {counts}", ""]
        effect = group_effect(group)
        lines += [f"- output: {effect}"] if effect else []
        named = ", ".join(map(self._name, group.nodeids[:_MOST_NAMED]))
        more = len(group.nodeids) - _MOST_NAMED
        lines.append(f"- tests: {named}{f' and {more} more' if more > 0 else ''}")
        if any(check.candidate for check in group.checks):
            lines += ["", code_block(accept_group_command(group, self.options(group)))]
        return "\n".join(lines)

    def _check(self, check: CheckResult, *, unfolded: bool = False) -> str:
        nodeid, name = (html_code(cut_short(self.field(text), _LONGEST_NAME)) for text in (check.nodeid, check.name))
        expected = " (xfail)" if check.expected_failure else ""
        summary = f"{nodeid} {name}{expected}: {html_code(short_text(check, self.field))}"
        opening = "<details open>" if unfolded else "<details>"
        return f"{opening}<summary>{summary}</summary>\n\n{code_block(self.report(check))}\n\n</details>"


def noted_line(checks: Sequence[CheckResult], field: Callable[[str], str] = str) -> list[str]:
    """Which checks matched with notes on what was not compared, if any did."""
    noted = [f"{code(cut_short(f'{field(c.nodeid)} {field(c.name)}', _LONGEST_NAME))}" for c in checks if c.has_notes]
    more = len(noted) - _MOST_NAMED
    names = f"{', '.join(noted[:_MOST_NAMED])}{f' and {more} more' if more > 0 else ''}"
    return [f"{counted(len(noted), 'check')} matched with notes on what was not compared: {names}"] if noted else []


class _Page:
    """Sections, as long as there is room for them."""

    def __init__(self, most_bytes: int) -> None:
        self.sections: list[str] = []
        self._left = most_bytes

    def add(self, section: str) -> bool:
        """Put a section at the end, if there is room; a shorter one after it may have some."""
        size = len(section.encode()) + 2
        has_room = size <= self._left
        if has_room:
            self.sections.append(section)
            self._left -= size
        return has_room


def _run_line(run: RunFacts) -> str:
    """Which run it was, and of which commit, or which baselines were compared."""
    if run.revisions:
        return f"Baselines of {' and of '.join(code(cut_short(each, _LONGEST_NAME)) for each in run.revisions)}"
    commit = f", commit {code(run.commit[:_SHORT_COMMIT])}" if run.commit else ""
    branch = f" on {code(cut_short(run.branch, _LONGEST_NAME))}" if run.branch else ""
    dirty = " with changes that are not committed" if run.commit and run.dirty else ""
    return f"Run {code(cut_short(run.id, _LONGEST_NAME))}{commit}{branch}{dirty}"
