"""What report.html shows of the checks of some runs: changes, and the checks that did not match. Knows no HTML."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.effect import OutputEffect
from pytest_modelviz.records.group import DriftGroup, drift_groups
from pytest_modelviz.records.run_result import RunResult
from pytest_modelviz.reports.effect import output_sentence
from pytest_modelviz.reports.figures import CheckFigures, figures_of
from pytest_modelviz.reports.groups import accept_group_command, group_effect
from pytest_modelviz.reports.message_rows import MessageRows, message_rows
from pytest_modelviz.reports.shown_details import ShownDetails, read_details
from pytest_modelviz.storage.results import ResultsFolder
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


@dataclass(frozen=True)
class Article:
    """A check that did not match, with what its part of the page shows.

    `rows` are None where its message does not look like a report of ours; `group` is the name of its group, if any.
    """

    id: str
    check: CheckResult
    message: str
    rows: MessageRows | None
    accept: str
    fate: str
    group: str
    is_open: bool
    severity: int
    figures: CheckFigures
    details: ShownDetails

    @property
    def where(self) -> str:
        """The layer where the drift begins, for people; empty where there is none."""
        first = self.check.first_divergence
        return "" if first is None else printable(first.layer or "the model itself")

    @property
    def effect(self) -> str:
        """What the drift does to the model's output; empty where that is not known."""
        return "" if self.check.output is None else output_sentence(self.check.output)

    @property
    def file(self) -> str:
        return self.check.nodeid.partition("::")[0]


@dataclass(frozen=True)
class Group:
    """Drifts that are probably one change: `what` are a few lines of the report of one of them, by their labels."""

    effect: Sequence[str]
    what: Sequence[tuple[str, Sequence[str]]]
    articles: Sequence[Article]
    accept: str


class ReportPage:
    """All that is shown of the checks of some runs."""

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
        self.groups = [self._group(result, group) for result, group in groups]
        self.others = {
            status: [article for article in self.articles if article.check.status is status]
            for status in (Status.MISSING, Status.UNREADABLE, Status.UNSTABLE)
        }

    @property
    def environment_changes(self) -> list[str]:
        """What has changed around the model since its baselines were recorded, each once."""
        pairs = [pair for check in self.checks for pair in check.environment_changes.items()]
        texts = (f"{key}: {before} -> {after}" for key, (before, after) in pairs)
        return [printable(self._wording.field(text)) for text in list(dict.fromkeys(texts))[:_MOST_CHANGES]]

    @property
    def choices(self) -> dict[str, list[str]]:
        """What the checks can be filtered by, with all values that there are."""
        values = {
            "status": [article.check.status.value for article in self.articles],
            "view": [article.check.view for article in self.articles],
            "cause": [str(article.check.cause or "none") for article in self.articles],
            "file": [article.file for article in self.articles],
        }
        return {name: sorted(set(printable(texts))) for name, texts in values.items()}

    def _articles(self, groups: Sequence[tuple[RunResult, DriftGroup]]) -> list[Article]:
        grouped = [(result, check, group.name) for result, group in groups for check in group.checks]
        done = {id(check) for _, check, _ in grouped}
        others = [(r, c, "") for r in self._runs for c in r.checks if c.status.fails and id(c) not in done]
        listed = [*grouped, *others]
        checks = [check for _, check, _ in listed]
        details = read_details(self._results, checks, self._wording.field)
        figures = figures_of(self._results, checks, [known.figures for known in details], self._wording.field)
        opened = {id(group.first) for _, group in groups[:_OPEN]}
        few = len(listed) <= _OPEN
        articles = [
            self._article(*row, details[at], figures[at], at, is_open=few or id(row[1]) in opened)
            for at, row in enumerate(listed)
        ]
        self._by_check = {id(check): article for (_, check, _), article in zip(listed, articles, strict=True)}
        return articles

    def _article(
        self,
        result: RunResult,
        check: CheckResult,
        group: str,
        details: ShownDetails,
        figures: CheckFigures,
        severity: int,
        *,
        is_open: bool,
    ) -> Article:
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
            group=group,
            is_open=is_open,
            severity=severity,
            figures=figures,
            details=details,
        )

    def _named(self, check: CheckResult) -> CheckResult:
        """A check whose texts may stand in headings and lists."""
        name = self._wording.name
        return replace(check, nodeid=name(check.nodeid), name=name(check.name), view=name(check.view))

    def _id(self, result: RunResult, check: CheckResult) -> str:
        """The same in each report, so that a link to a check stays one; numbered where several runs have the check."""
        digest = hashlib.sha256(f"{check.nodeid}\0{check.name}".encode("utf-8", "surrogatepass")).hexdigest()[:10]
        self._ids[digest] += 1
        return f"check-{digest}" if self._ids[digest] == 1 else f"check-{digest}-{self._ids[digest]}"

    def _group(self, result: RunResult, group: DriftGroup) -> Group:
        articles = [self._by_check[id(check)] for check in group.checks]
        accept = accept_group_command(group, self._wording.options(result))
        return Group(
            effect=[*filter(None, [group_effect(group)]), *_effect_on_one(articles)],
            what=_evidence(articles),
            articles=articles,
            accept=printable(accept) if any(article.accept for article in articles) else "",
        )


def _effect_on_one(articles: Sequence[Article]) -> list[str]:
    """What the report of the check with the worst output says of it beyond its size: samples, layers that reappear."""
    told = [article for article in articles if article.rows is not None and article.check.output is not None]
    worst = max(told, key=lambda article: _severity(article.check.output), default=None)
    return worst.rows.of("output")[1:][:_MOST_EVIDENCE] if worst is not None and worst.rows is not None else []


def _severity(output: OutputEffect | None) -> tuple[float, float]:
    return (0.0, 0.0) if output is None else (output.top1_changed or 0, output.error)


def _evidence(articles: Sequence[Article]) -> list[tuple[str, Sequence[str]]]:
    """What the first report with evidence says of it, and how far the change spread."""
    for rows in (article.rows for article in articles if article.rows is not None):
        if rows.of("evidence"):
            shown = [("evidence", rows.of("evidence")[:_MOST_EVIDENCE]), ("spread", rows.of("spread"))]
            return [(label, lines) for label, lines in shown if lines]
    return []


def by_test(articles: Sequence[Article]) -> list[tuple[str, list[Article]]]:
    """The checks of each test."""
    tests: dict[str, list[Article]] = {}
    for article in articles:
        tests.setdefault(article.check.nodeid, []).append(article)
    return list(tests.items())
