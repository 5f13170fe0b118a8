"""`modelviz list`, `show` and `report`: what waits for a decision, and reports of what did not match."""

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytest_modelviz.cli.noise import noise_json, noise_report
from pytest_modelviz.cli.options import ReviewOptions, choice_options, review_options
from pytest_modelviz.cli.output import from_here, print_json, print_line, print_unnamed
from pytest_modelviz.cli.pull_request import Format, gitlab, markdown, short_result
from pytest_modelviz.cli.stored_report import stored_report, with_own_commands, without_command
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.run_result import RunResult, published_json
from pytest_modelviz.reports.short import short_text
from pytest_modelviz.review.review import Review, ReviewedCheck, ReviewedRun, State
from pytest_modelviz.review.selection import Choice, matching
from pytest_modelviz.storage.results import ResultsFolder

if TYPE_CHECKING:
    from pytest_modelviz.reports.report_page import Fates

_MOST_NOTED = 20  # checks that matched with notes


@click.command("list")
@click.option("--all", "every", is_flag=True, help="Include what has since been accepted or rejected.")
@choice_options
def list_(options: ReviewOptions, choice: Choice, every: bool, as_json: bool) -> None:
    """List what awaits a decision."""
    review = options.review()
    captured = review.chosen(choice)
    undecided = (State.WAITING, State.GONE, State.REPLACED, State.FOREIGN)
    listed = [item for item in captured if every or as_json or item.state in undecided]
    if as_json:
        checks = [{**_check_json(options, review, item.run, item.check), "state": item.state.value} for item in listed]
        print_json(**_runs_json(review), checks=checks)
        return
    for item in listed:
        run = f"  run {item.run.label}" if len(review.runs) > 1 else ""
        print_line(f"{_line(item, options)}{run}{_foreign_mark(review, item.run)}")
    states = collections.Counter(item.state for item in captured)
    counts = {
        "of them xfail": sum(item.state is State.WAITING and item.check.expected_failure for item in captured),
        "decided": states[State.ACCEPTED] + states[State.REJECTED],
        "of other projects": states[State.FOREIGN],
    }
    summary = [f"{states[State.WAITING]} waiting", *(f"{count} {label}" for label, count in counts.items() if count)]
    hopeless = sum(check.status in (Status.UNREADABLE, Status.UNSTABLE) for _, check in review.checks)
    hint = f"; {hopeless} cannot be accepted, see modelviz show {options.given()}".rstrip() if hopeless else ""
    print_line(f"{', '.join(summary)}{hint}; {_run_names(review)}")
    print_unnamed(review.unnamed(), options.field)


def _foreign_mark(review: Review, run: ReviewedRun) -> str:
    """Marks the results of another project of the repository."""
    project = review.foreign_project(run)
    return "" if project is None else f"  (of the project in {project!r})"


def _run_names(review: Review) -> str:
    ids = list(dict.fromkeys(run.label for run in review.runs))
    return f"run {ids[0]}" if len(ids) == 1 else f"runs {', '.join(ids)}"


def _runs_json(review: Review) -> dict[str, Any]:
    """For programs: the run or, of several, all of them."""
    facts = list({run.id: run.result.run.to_json() for run in review.runs}.values())
    several = {"runs": facts} if len(facts) > 1 else {}
    left = [{"nodeid": each.nodeid, "name": each.name, "reason": each.reason} for each in review.unnamed()]
    return {"run": facts[0], **several, "unfinished_runs": review.unfinished, **({"left": left} if left else {})}


def _check_json(options: ReviewOptions, review: Review, run: ReviewedRun, check: CheckResult) -> dict[str, Any]:
    """A check for programs, with the report that people get and, where there are several runs, the id of its run."""
    row = published_json(with_own_commands(review, check, run, options))
    return {**row, **({"run": run.id} if len(review.runs) > 1 else {})}


def _line(item: ReviewedCheck, options: ReviewOptions) -> str:
    check = item.check
    status = check.status if item.state in (State.WAITING, State.FOREIGN) else item.state
    variant = f" ({options.field(item.location.variant)})" if item.location.variant else ""
    expected = "  (xfail)" if check.expected_failure else ""
    line = f"{status:10} {options.field(check.nodeid)}  {options.field(check.name)}{variant}{expected}"
    if check.status is Status.DRIFT:
        line += f"  {short_text(check, options.field)}"
    return f"{line}  ({item.fate})" if item.superseded_by else line


@click.command()
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Add the layers in each baseline whose noise is large, and why; also of checks that matched.",
)
@click.option(
    "--format",
    "given_format",
    type=click.Choice([each.value for each in Format]),
    help="Print text (default), Markdown for pull requests, JSON, or GitLab's Code Quality JSON.",
)
@click.option("--short", is_flag=True, help="A line for each check; of Markdown, only what checks have in common.")
@choice_options
def show(
    options: ReviewOptions, choice: Choice, verbose: bool, given_format: str | None, short: bool, as_json: bool
) -> None:
    """Show the reports and pictures of checks that did not match."""
    form = _format(given_format, as_json=as_json, short=short, verbose=verbose)
    review = options.review()
    failed = [pair for pair in review.checks if pair[1].status.fails]
    candidates, nothing = (review.checks, "no test") if verbose else (failed, "no test that did not match")
    checks = matching(candidates, choice.patterns, lambda pair: pair[1].nodeid, review.knows, nothing)
    checks = choice.narrowed(checks, lambda pair: pair[1])
    if form is Format.MARKDOWN:
        click.echo(markdown(options, review, choice, checks, short=short), nl=False)
        return
    if form is Format.GITLAB:
        click.echo(gitlab(options, checks))
        return
    if form is Format.JSON:
        rows = [_check_json(options, review, *pair) for pair in checks if pair[1].status.fails]
        noise = {"noise": [row for pair in checks for row in noise_json(review, *pair)]} if verbose else {}
        print_json(**_runs_json(review), checks=rows, **noise)
        return
    fates = {} if short else review.fates()
    for run, check in checks:
        if short:
            print_line(short_result(check, options.field))
            continue
        noise_lines = noise_report(review, run, check) if verbose else []
        if check.status.fails or noise_lines or (verbose and check.has_notes):
            _show_check(options, review, run, check, fates.get((run.id, check.nodeid, check.name)), noise_lines)
    if not failed:
        of_run = _run_names(review) if review.unfinished else "the last run"
        print_line(f"all checks of {of_run} {'that were finished ' if review.has_lost_workers else ''}matched")
    if not verbose:
        _list_noted([check for _, check in review.checks if check.has_notes], options)
    print_unnamed(review.unnamed(), options.field)


def _list_noted(noted: Sequence[CheckResult], options: ReviewOptions) -> None:
    """Which checks matched with notes: a line each, up to a few."""
    for check in noted[:_MOST_NOTED]:
        print_line(f"matched with notes  {options.field(check.nodeid)}  {options.field(check.name)}")
    more = f"and {len(noted) - _MOST_NOTED} more: " if len(noted) > _MOST_NOTED else ""
    if noted:
        print_line(f"{more}modelviz show -v {options.given()}".rstrip() + " prints the notes, on what was not compared")


def _format(given: str | None, *, as_json: bool, short: bool, verbose: bool) -> Format:
    """The format that the options ask for; raises UsageError where they contradict one another."""
    form = Format(given) if given else Format.JSON if as_json else Format.TEXT
    if as_json and form is not Format.JSON:
        raise click.UsageError(f"--json and --format {form.value} exclude each other: choose one")
    if short and (verbose or form not in (Format.TEXT, Format.MARKDOWN)):
        raise click.UsageError("--short goes with text and Markdown, and without --verbose")
    if verbose and form not in (Format.TEXT, Format.JSON):
        raise click.UsageError(f"--verbose goes with text and JSON, not with {form.value}")
    return form


def _show_check(
    options: ReviewOptions,
    review: Review,
    run: ReviewedRun,
    check: CheckResult,
    fate: str | None,
    noise_lines: Sequence[str],
) -> None:
    """Print a check's report, where it did not match, and what is to be said of its baseline's noise."""
    expected = "  (xfail)" if check.expected_failure else ""
    print_line(f"{options.field(check.nodeid)}{_foreign_mark(review, run)}{expected}{f'  ({fate})' if fate else ''}")
    if check.status.fails or check.has_notes:
        click.echo(stored_report(review, check, run, options))
    else:
        print_line(f"{options.field(check.name)}: {check.status}")
    for line in noise_lines:
        print_line(line)
    for path in run.folder.pictures_of(check) if check.status.fails else ():
        print_line(f"  picture   {options.field(from_here(path))}")
    print_line("")


@click.command()
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@review_options
def report(options: ReviewOptions, opens: bool) -> None:
    """Rewrite report.html: one file with everything that did not match, pictures included."""
    review = options.review()
    fates = review.fates()
    for folder in review.folders:
        path = _write_report(options, review, folder, fates)
        print_line(from_here(path))
        if opens:
            click.launch(str(path))


def _write_report(options: ReviewOptions, review: Review, folder: ResultsFolder, fates: "Fates") -> Path:
    from pytest_modelviz.reports.html import write_report
    from pytest_modelviz.reports.report_page import Wording

    def reworded(result: RunResult, check: CheckResult) -> CheckResult:
        return with_own_commands(review, check, ReviewedRun(folder, result), options)

    wording = Wording(
        message=lambda result, check: reworded(result, check).message,
        accept=lambda result, check: reworded(result, check).accept_command or "",
        options=lambda result: options.for_runs(ReviewedRun(folder, result)),
        field=without_command,
        name=options.field,
    )
    return write_report(folder, fates, wording)
