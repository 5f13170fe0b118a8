"""`modelviz list` and `modelviz show`: what waits for a decision, and the reports of what did not match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from pytest_modelviz.cli.options import ReviewOptions, json_option, patterns_argument, review_options
from pytest_modelviz.cli.output import from_here, print_json, print_line, print_unnamed, warn_of_unfinished
from pytest_modelviz.cli.stored_report import own_accept_command, stored_report
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.run_result import published_json
from pytest_modelviz.reports.terminal import amount
from pytest_modelviz.review.review import Review, ReviewedCheck, ReviewedRun, State
from pytest_modelviz.review.selection import matching


@click.command("list")
@patterns_argument
@click.option("--all", "every", is_flag=True, help="Also what has been accepted or rejected since.")
@json_option
@review_options
def list_(options: ReviewOptions, patterns: Sequence[str], every: bool, as_json: bool) -> None:
    """List what waits for a decision."""
    review = options.review()
    warn_of_unfinished(review)
    captured = review.chosen(patterns)
    undecided = (State.WAITING, State.GONE, State.REPLACED, State.FOREIGN)
    listed = [item for item in captured if every or as_json or item.state in undecided]
    if as_json:
        checks = [{**_check_json(options, review, item.run, item.check), "state": item.state.value} for item in listed]
        print_json(**_runs_json(review), checks=checks)
        return
    for item in listed:
        run = f"  run {item.run.id}" if len(review.runs) > 1 else ""
        print_line(f"{_line(item, options)}{run}{_foreign_mark(review, item.run)}")
    waiting = sum(item.state is State.WAITING for item in captured)
    expected = sum(item.state is State.WAITING and item.check.expected_failure for item in captured)
    decided = sum(item.state in (State.ACCEPTED, State.REJECTED) for item in captured)
    foreign = sum(item.state is State.FOREIGN for item in captured)
    counts = f"{waiting} waiting" + (f", {expected} of them xfail" if expected else "")
    counts += f", {decided} decided" if decided else ""
    counts += f", {foreign} of other projects" if foreign else ""
    hopeless = sum(check.status in (Status.UNREADABLE, Status.UNSTABLE) for _, check in review.checks)
    counts += f"; {hopeless} cannot be accepted, see modelviz show {options.given()}".rstrip() if hopeless else ""
    print_line(f"{counts}; {_run_names(review)}")
    print_unnamed(review, options.field)


def _foreign_mark(review: Review, run: ReviewedRun) -> str:
    """What tells the results of another project of the repository from the own ones."""
    project = review.foreign_project(run)
    return "" if project is None else f"  (of the project in {project!r})"


def _run_names(review: Review) -> str:
    ids = list(dict.fromkeys(run.id for run in review.runs))
    return f"run {ids[0]}" if len(ids) == 1 else f"runs {', '.join(ids)}"


def _runs_json(review: Review) -> dict[str, Any]:
    """For programs: the run or, of several, all of them."""
    facts = list({run.id: run.result.run.to_json() for run in review.runs}.values())
    several = {"runs": facts} if len(facts) > 1 else {}
    return {"run": facts[0], **several, "unfinished_runs": review.unfinished}


def _check_json(options: ReviewOptions, review: Review, run: ReviewedRun, check: CheckResult) -> dict[str, Any]:
    """A check for programs, its command made anew; where there are several runs, with the id of its own."""
    if check.accept_command is not None:
        check = replace(check, accept_command=own_accept_command(check, run, options))
    return {**published_json(check), **({"run": run.id} if len(review.runs) > 1 else {})}


def _line(item: ReviewedCheck, options: ReviewOptions) -> str:
    check = item.check
    status = check.status if item.state in (State.WAITING, State.FOREIGN) else item.state
    variant = f" ({options.field(item.location.variant)})" if item.location.variant else ""
    expected = "  (xfail)" if check.expected_failure else ""
    line = f"{status:10} {options.field(check.nodeid)}  {options.field(check.name)}{variant}{expected}"
    if check.status is not Status.DRIFT:
        return line
    first = check.first_divergence
    layer = f" at {options.field(first.layer) if first.layer else 'the model itself'}" if first else ""
    error = f", {amount(check.error, check.tolerance)}" if check.tolerance else ""
    superseded = f"  ({item.fate})" if item.superseded_by else ""
    return f"{line}  {check.cause or 'another result'}{layer}{error}{superseded}"


@click.command()
@patterns_argument
@json_option
@review_options
def show(options: ReviewOptions, patterns: Sequence[str], as_json: bool) -> None:
    """Show the reports and pictures of checks that did not match."""
    review = options.review()
    warn_of_unfinished(review)
    failed = [pair for pair in review.checks if pair[1].status.fails]
    checks = matching(failed, patterns, lambda pair: pair[1].nodeid, review.known, "no test that did not match")
    if as_json:
        print_json(**_runs_json(review), checks=[_check_json(options, review, *pair) for pair in checks])
        return
    fates = {(item.run.id, item.nodeid, item.check.name): item.fate for item in review.captured()}
    for run, check in checks:
        fate = fates.get((run.id, check.nodeid, check.name))
        expected = "  (xfail)" if check.expected_failure else ""
        print_line(
            f"{options.field(check.nodeid)}{_foreign_mark(review, run)}{expected}{f'  ({fate})' if fate else ''}"
        )
        click.echo(stored_report(check, run, options))
        for path in run.folder.pictures_of(check):
            print_line(f"  picture   {options.field(str(from_here(path)))}")
        print_line("")
    if not checks:
        print_line(f"all checks of {_run_names(review) if review.unfinished else 'the last run'} matched")
    print_unnamed(review, options.field)
