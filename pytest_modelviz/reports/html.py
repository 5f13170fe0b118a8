"""report.html: one file with all that did not match, pictures included, to be opened anywhere."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_modelviz.records.check_result import CheckResult, Status, totals_of
from pytest_modelviz.records.effect import OutputEffect
from pytest_modelviz.records.group import DriftGroup, drift_groups
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.records.verdict import Cause, LayerError
from pytest_modelviz.reports.depth_chart import chart_note, depth_chart
from pytest_modelviz.reports.effect import output_sentence
from pytest_modelviz.reports.figures import CheckFigures, figures_of
from pytest_modelviz.reports.groups import accept_group_command, group_effect
from pytest_modelviz.reports.layer_errors import layer_errors
from pytest_modelviz.reports.message_rows import MessageRows, message_rows
from pytest_modelviz.reports.module_tree import TreeLine, module_tree, times, tree_lines
from pytest_modelviz.storage.orphans import judged_together
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.run_marks import unfinished_line
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.printable import printable, printable_lines, quoted
from pytest_modelviz.text.strict_json import JsonValue

if TYPE_CHECKING:
    from jinja2 import Environment

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)_(\d\d)-(\d\d)-\d\d[\d._]*")
_FEW = 50  # checks up to which charts and trees are as large as they may be
_BARS, _TREE_LINES = (400, 60), (600, 80)  # at most of a check, and at least where there are many
_OPEN = 3  # checks that are unfolded from the beginning: the first of so many groups
_MOST_DETAILS = 256 * 2**20  # bytes of files with details that are read
_MOST_EVIDENCE = 4  # lines of a group
_MOST_CHANGES = 8  # of the environment
_SHORT_COMMIT = 8

Fates = Mapping[tuple[str, str, str], str]


@dataclass(frozen=True)
class Wording:
    """What the page says with commands, which depends on where it is made.

    Attributes:
        message: the report of a check.
        accept: the command that accepts a check's capture; empty where there is none.
        options: those that the command `modelviz` needs to find a run.
        field: a name or a line from the results, as it may stand on the page.

    """

    message: Callable[[RunResult, CheckResult], str] = lambda result, check: check.message
    accept: Callable[[RunResult, CheckResult], str] = lambda result, check: check.accept_command or ""
    options: Callable[[RunResult], str] = lambda result: f"--run {quoted(result.run.id)}"
    field: Callable[[str], str] = printable


def write_report(results: ResultsFolder, fates: Fates | None = None, wording: Wording | None = None) -> Path:
    """Make report.html of the results in a folder and the pictures and details beside them. Raises ModelvizError.

    `fates` say what has become since of what was captured (`accepted since`), by run, test and check.
    """
    runs = results.all_runs()
    page = _Page(results, runs, fates or {}, wording or Wording())
    environment = _environment()
    style, script = (_source(name) for name in ("report.css", "report.js"))
    text = environment.get_template("report.html.jinja").render(
        page=page,
        runs=[_facts(result.run) for result in runs],
        totals={status: count for status, count in totals_of(page.checks).items() if count},
        orphans=printable(judged_together(runs)),
        quiet=printable([check for check in page.checks if not check.status.fails]),
        unfinished=printable(unfinished_line(results.unfinished(runs))),
        style=style,
        script=script,
        policy=_policy(style, script),
    )
    results.put(results.report, text.encode("utf-8", "backslashreplace"))
    return results.report


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(text=printable, times=times, counted=counted, by_test=_by_test)
    return environment


def _source(name: str) -> str:
    """One of our own files beside this one."""
    return (Path(__file__).parent / name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """The page's Content-Security-Policy: our own style and script by their digests, pictures in the page itself."""
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in (style, script)
    ]
    return (
        f"default-src 'none'; img-src data:; style-src {hashes[0]}; script-src {hashes[1]}; "
        f"base-uri 'none'; form-action 'none'"
    )


@dataclass(frozen=True)
class _RunLine:
    """The facts of a run for people."""

    facts: RunFacts
    time: str
    revision: str


def _facts(run: RunFacts) -> _RunLine:
    run = printable(run)
    time = _TIME.fullmatch(run.id)
    dirty = "*" if run.dirty else ""
    commit = "" if run.commit is None else f"{run.commit[:_SHORT_COMMIT]}{dirty}"
    return _RunLine(run, f"{time[1]} {time[2]}:{time[3]}" if time else "", f"{run.branch or ''} {commit}".strip())


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
    chart: str
    chart_note: str
    tree: Sequence[TreeLine]
    errors: Mapping[str, str]  # by layer, of those that drifted

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


class _Page:
    """All that is shown of the checks of some runs."""

    def __init__(self, results: ResultsFolder, runs: Sequence[RunResult], fates: Fates, wording: Wording) -> None:
        self._results, self._runs, self._fates, self._wording = results, runs, fates, wording
        self.checks = [check for result in runs for check in result.checks]
        self._details_left = _MOST_DETAILS
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
        details = self._details([check for _, check, _ in listed])
        figures = figures_of(self._results, [check for _, check, _ in listed], details, self._wording.field)
        opened = {id(group.first) for _, group in groups[:_OPEN]}
        few = len(listed) <= _OPEN
        articles = [
            self._article(*row, details[at], figures[at], at, is_open=few or id(row[1]) in opened)
            for at, row in enumerate(listed)
        ]
        self._by_check = {id(check): article for (_, check, _), article in zip(listed, articles, strict=True)}
        return articles

    def _details(self, checks: Sequence[CheckResult]) -> list[Mapping[str, JsonValue]]:
        """What is known of each check, as far as so much can be read; of several with one file, the first has it."""
        taken: set[object] = set()
        found: list[Mapping[str, JsonValue]] = []
        for check in checks:
            path = self._results.location(check).path
            size = 0 if path in taken else self._results.details.size(path)
            taken.add(path)
            document = self._results.details.read(path) if 0 < size <= self._details_left else None
            self._details_left -= 0 if document is None else size
            found.append(document if document is not None and _is_of(document, check) else {})
        return found

    def _article(
        self,
        result: RunResult,
        check: CheckResult,
        group: str,
        details: Mapping[str, JsonValue],
        figures: CheckFigures,
        severity: int,
        *,
        is_open: bool,
    ) -> Article:
        message = printable_lines(self._wording.message(result, _with_whole_message(check, details)))
        field, first = self._wording.field, check.first_divergence
        if first is not None:
            first = replace(first, layer=field(first.layer), class_name=field(first.class_name))
        layers, begins = layer_errors(details, field), None if first is None else (first.layer, first.call)
        total = sum(check.status.fails for check in self.checks)
        bars, lines = (max(least, most * _FEW // max(total, _FEW)) for most, least in (_BARS, _TREE_LINES))
        return Article(
            id=self._id(result, check),
            check=printable(replace(check, first_divergence=first)),
            message=message,
            rows=message_rows(message),
            accept=printable(self._wording.accept(result, check)),
            fate=printable(self._fates.get((result.run.id, check.nodeid, check.name), "")),
            group=group,
            is_open=is_open,
            severity=severity,
            figures=figures,
            chart=depth_chart(layers, begins, bars, from_input=check.cause is Cause.INPUT),
            chart_note=chart_note(layers, bars),
            errors=_errors(layers, {figure.label for figure in figures.figures}),
            tree=tree_lines(module_tree(layers, begins and begins[0]), lines) if layers else (),
        )

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


def _errors(layers: Sequence[LayerError], names: Collection[str]) -> dict[str, str]:
    """How far these layers are off, of those that drifted."""
    return {layer.layer: f"error {times(layer)}" for layer in layers if layer.layer in names and layer.drifted}


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


def _by_test(articles: Sequence[Article]) -> list[tuple[str, list[Article]]]:
    tests: dict[str, list[Article]] = {}
    for article in articles:
        tests.setdefault(article.check.nodeid, []).append(article)
    return list(tests.items())


def _is_of(document: Mapping[str, JsonValue], check: CheckResult) -> bool:
    """Whether details are of this result, and not of an earlier one of the same check."""
    own = document.get("check")
    if not isinstance(own, Mapping):
        return False
    return (own.get("nodeid"), own.get("name"), own.get("status")) == (check.nodeid, check.name, check.status.value)


def _with_whole_message(check: CheckResult, details: Mapping[str, JsonValue]) -> CheckResult:
    """The check with its message as the details have it, where nothing is cut."""
    own = details.get("check")
    message = own.get("message") if isinstance(own, Mapping) else None
    begins = check.message.partition("\n")[0]
    is_same = isinstance(message, str) and message.partition("\n")[0] == begins
    return replace(check, message=message) if is_same and isinstance(message, str) else check
