"""What report.html shows of the checks of some runs: changes, and the checks that did not match. Knows no HTML."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.effect import OutputEffect
from pytest_modelviz.records.group import DriftGroup, drift_groups
from pytest_modelviz.records.run_result import RunResult
from pytest_modelviz.records.verdict import Cause
from pytest_modelviz.reports.effect import output_sentence
from pytest_modelviz.reports.figures import CheckFigures, figures_of
from pytest_modelviz.reports.groups import accept_group_command, group_effect
from pytest_modelviz.reports.message_rows import MessageRow, MessageRows, message_rows
from pytest_modelviz.reports.quiet_checks import QuietCheck, picture_link
from pytest_modelviz.reports.shown_details import ShownDetails, read_details
from pytest_modelviz.reports.terminal import MODEL_INPUT
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.text.counts import cut
from pytest_modelviz.text.printable import printable, printable_lines, quoted

_OPEN = 3  # checks that are unfolded from the beginning: the first of so many groups
_MOST_EVIDENCE = 4  # lines of a group
_MOST_CHANGES = 8  # of the environment

Fates = Mapping[tuple[str, str, str], str]


@dataclass(frozen=True)
class Wording:
    """What the page says with commands, which depends on where it is made.

    Attributes:
        message: the report of a check.
        accept: the command that accepts a check's capture; empty where there is none.
        options: those that the command `modelviz` needs to find a run.
        field: a line from the results, or a layer's name, as it may stand on the page.
        name: an id, a name or a fact of a run, likewise.

    """

    message: Callable[[RunResult, CheckResult], str] = lambda result, check: check.message
    accept: Callable[[RunResult, CheckResult], str] = lambda result, check: check.accept_command or ""
    options: Callable[[RunResult], str] = lambda result: f"--run {quoted(result.run.id)}"
    field: Callable[[str], str] = printable
    name: Callable[[str], str] = str


@dataclass
class Article:
    """A check that did not match, with what its part of the page shows.

    `rows` are None where its message does not look like a report of ours. `said` are the lines of them, with their
    labels, that the page says elsewhere: for all checks, or with its `group`, the change it belongs to, if any.
    """

    id: str
    check: CheckResult
    message: str
    rows: MessageRows | None
    accept: str
    fate: str
    is_open: bool
    figures: CheckFigures
    details: ShownDetails
    said: set[tuple[str, str]]
    group: Group | None = None

    @property
    def where(self) -> str:
        """The layer where the drift begins, for people; empty where there is none."""
        first = self.check.first_divergence
        if first is None:
            return ""
        return first.layer or (MODEL_INPUT if self.check.cause is Cause.INPUT else "the model itself")

    @property
    def class_name(self) -> str:
        """Its class, before and now where that is another, and the call, if it is not the first."""
        first = self.check.first_divergence
        call = f", call {first.call}" if first is not None and first.call else ""
        return "" if first is None else f"{self.details.class_name or first.class_name}{call}"

    @property
    def effect(self) -> str:
        """What the drift does to the model's output; empty where that is not known."""
        return "" if self.check.output is None else output_sentence(self.check.output)

    @property
    def file(self) -> str:
        return self.check.nodeid.partition("::")[0]

    @property
    def heading(self) -> str:
        """The first line of its report, where that says more than the titles of a drift."""
        heading = "" if self.rows is None else self.rows.heading
        return "" if heading.startswith(f"{self.check.name} drifted") else heading

    @property
    def own_rows(self) -> list[MessageRow]:
        """The lines of its report that are said nowhere else, without commands."""
        said = {*self.said, ("output", self.effect)}
        rows = [] if self.rows is None else [row for row in self.rows.rows if row.label != "accept"]
        own = [MessageRow(row.label, [line for line in row.lines if (row.label, line) not in said]) for row in rows]
        return [row for row in own if row.lines]


@dataclass(frozen=True)
class Group:
    """Drifts that are probably one change, with lines of the reports of some of them, by their labels.

    `lead` is the one whose titles say most.
    """

    id: str
    effect: str
    rows: Sequence[MessageRow]
    articles: Sequence[Article]
    lead: Article
    accept: str


class ReportPage:
    """All that is shown of the checks of some runs, the most severe first."""

    def __init__(self, results: ResultsFolder, runs: Sequence[RunResult], fates: Fates, wording: Wording) -> None:
        self._results, self._runs, self._fates, self._wording = results, runs, fates, wording
        self.checks = [check for result in runs for check in result.checks]
        self._ids: Counter[str] = Counter()
        groups = [
            (result, group)
            for result in runs
            for group in drift_groups(check for check in result.checks if not check.expected_failure)
        ]
        groups.sort(key=lambda pair: pair[1].severity, reverse=True)
        self.articles = self._articles(groups)
        following = iter(self.articles)
        self.groups = [
            self._group(number, result, group, list(itertools.islice(following, len(group.checks))))
            for number, (result, group) in enumerate(groups, 1)
        ]
        few = len(self.articles) <= _OPEN
        for article in self.articles if few else [group.articles[0] for group in self.groups[:_OPEN]]:
            article.is_open = True
        self.others = {
            status: [article for article in self.articles if article.check.status is status]
            for status in (Status.MISSING, Status.UNREADABLE, Status.UNSTABLE)
        }
        quiet = ((result, check) for result in runs for check in result.checks if not check.status.fails)
        self.quiet = [self._quiet(*pair) for pair in quiet]

    @property
    def noted(self) -> list[CheckResult]:
        """The checks that matched with notes on what was not compared."""
        return [printable(self._named(check)) for check in self.checks if check.has_notes]

    @functools.cached_property
    def environment_changes(self) -> list[str]:
        """What has changed around the model since its baselines were recorded, each once."""
        pairs = [pair for check in self.checks for pair in check.environment_changes.items()]
        texts = dict.fromkeys(f"{key}: {before} -> {after}" for key, (before, after) in pairs)
        return [printable(text) for text in cut([self._wording.field(text) for text in texts], _MOST_CHANGES)]

    @property
    def choices(self) -> dict[str, list[str]]:
        """What the checks can be filtered by, with all values that there are."""
        values = {
            "status": {article.check.status.value for article in self.articles},
            "view": {article.check.view for article in self.articles},
            "cause": {str(article.check.cause or "none") for article in self.articles},
            "file": {article.file for article in self.articles},
        }
        return {name: sorted(texts) for name, texts in values.items()}

    def _articles(self, groups: Sequence[tuple[RunResult, DriftGroup]]) -> list[Article]:
        """Those of the groups one after another, then all others."""
        listed = [(result, check) for result, group in groups for check in group.checks]
        done = {id(check) for _, check in listed}
        listed += [(r, check) for r in self._runs for check in r.checks if check.status.fails and id(check) not in done]
        checks = [check for _, check in listed]
        details = read_details(self._results, checks, self._wording.field)
        figures = figures_of(self._results, checks, [known.figures for known in details], self._wording.field)
        shown = zip(listed, details, figures, strict=True)
        return [self._article(result, check, known, pictures) for (result, check), known, pictures in shown]

    def _article(self, result: RunResult, check: CheckResult, details: ShownDetails, figures: CheckFigures) -> Article:
        whole = check if details.message is None else replace(check, message=details.message)
        message = printable_lines(self._wording.message(result, whole))
        field, first = self._wording.field, check.first_divergence
        if first is not None:
            first = replace(first, layer=field(first.layer), class_name=field(first.class_name))
        return Article(
            id=self._id(result, check),
            check=printable(replace(self._named(check), first_divergence=first)),
            message=message,
            rows=message_rows(message),
            accept=printable(self._wording.accept(result, check)),
            fate=printable(self._fates.get((result.run.id, check.nodeid, check.name), "")),
            is_open=False,
            figures=figures,
            details=details,
            said={("changed", f"{change}, since the baseline was recorded") for change in self.environment_changes},
        )

    def _named(self, check: CheckResult) -> CheckResult:
        """A check whose texts may stand in headings and lists."""
        name, output, location = self._wording.name, check.output, check.location
        return replace(
            check,
            nodeid=name(check.nodeid),
            name=name(check.name),
            view=name(check.view),
            output=replace(output, path=name(output.path)) if output is not None and output.path else output,
            location=None if location is None else (name(location[0]), location[1]),
        )

    def _id(self, result: RunResult, check: CheckResult) -> str:
        """The same in each report, so that a link to a check stays one; numbered where several runs have the check."""
        digest = hashlib.sha256(f"{check.nodeid}\0{check.name}".encode("utf-8", "surrogatepass")).hexdigest()[:10]
        self._ids[digest] += 1
        return f"check-{digest}" if self._ids[digest] == 1 else f"check-{digest}-{self._ids[digest]}"

    def _group(self, number: int, result: RunResult, group: DriftGroup, articles: Sequence[Article]) -> Group:
        accept = accept_group_command(group, self._wording.options(result))
        rows = [MessageRow("output", _effect_on_one(articles)), *_evidence(articles)]
        found = Group(
            id=f"change-{number}",
            effect=group_effect(group),
            rows=[row for row in rows if row.lines],
            articles=articles,
            lead=next((article for article in articles if article.details.class_name), articles[0]),
            accept=printable(accept) if any(article.accept for article in articles) else "",
        )
        for article in articles:
            article.group = found
            article.said |= {(row.label, line) for row in found.rows for line in row.lines}
            article.said.add(("cause", str(article.check.cause)))  # which its heading says
        return found

    def _quiet(self, result: RunResult, check: CheckResult) -> QuietCheck:
        message = printable_lines(self._wording.message(result, check)) if check.message else ""
        baseline = printable(self._wording.field(check.baseline))
        return QuietCheck(printable(self._named(check)), message, baseline, picture_link(self._results, check))


def _effect_on_one(articles: Sequence[Article]) -> list[str]:
    """What the report of the check with the worst output says of it beyond its size: samples, layers that reappear."""
    found = [(_severity(x.check.output), x.rows) for x in articles if x.rows is not None and x.check.output is not None]
    return max(found, key=lambda pair: pair[0])[1].of("output")[1:][:_MOST_EVIDENCE] if found else []


def _severity(output: OutputEffect) -> tuple[float, bool, float]:
    has_shares = any(change.before.share is not None for change in output.changes)
    return output.top1_changed or 0, has_shares, output.error


def _evidence(articles: Sequence[Article]) -> list[MessageRow]:
    """What the first report with evidence, else the first one, says of the cause, and how far the change spread."""
    reports = [article.rows for article in articles if article.rows is not None]
    reports.sort(key=lambda rows: not rows.of("evidence"))
    found = {label: rows.of(label) for rows in reports[:1] for label in ("cause", "evidence", "spread")}
    found["cause"] = [line for line in found.get("cause", ()) if ": " in line]  # else the heading says it
    return [MessageRow(label, lines[:_MOST_EVIDENCE]) for label, lines in found.items()]


def by_test(articles: Sequence[Article]) -> list[tuple[str, list[Article]]]:
    """The checks of each test."""
    tests: dict[str, list[Article]] = {}
    for article in articles:
        tests.setdefault(article.check.nodeid, []).append(article)
    return list(tests.items())
