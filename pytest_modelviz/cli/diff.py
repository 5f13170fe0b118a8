"""`modelviz diff`: what changed between the baselines of two revisions or folders, reviewed as failed checks are."""

import collections
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from pytest_modelviz.cli.options import ReviewOptions, json_option, project_options
from pytest_modelviz.cli.output import from_here, print_json, print_line, warn
from pytest_modelviz.cli.pull_request import short_result
from pytest_modelviz.cli.stored_report import own_report
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.group import DriftGroup, drift_groups
from pytest_modelviz.records.run_result import published_json
from pytest_modelviz.reports.groups import group_lines
from pytest_modelviz.reports.markdown import MarkdownSummary
from pytest_modelviz.run.github import DOWNLOADED, GitHubJob
from pytest_modelviz.run.options import IGNORE, InvalidSettingError
from pytest_modelviz.run.project import Project, baselines_location
from pytest_modelviz.run.setting_values import parse_attribute_globs, parse_tolerance
from pytest_modelviz.storage.git import path_in_repository
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.text.counts import cut
from pytest_modelviz.text.markdown import code_block
from pytest_modelviz.text.printable import as_one_word, printable
from pytest_modelviz.text.side_by_side import cut_short

if TYPE_CHECKING:
    from pytest_modelviz.compare.tolerance import Tolerances
    from pytest_modelviz.review.baseline_changes import BaselineChange

_MOST_REPORTED, _MOST_LISTED = 20, 20  # reports, and checks of one kind or group that have a line each

_MOST_CHANGES = 4  # of an environment, in such a line
_LONGEST_LISTED = 200  # letters of such a line on GitHub


class _DiffError(click.ClickException):
    """As of `diff` and `git diff`, 1 says that there are differences."""

    exit_code = 2


@click.command()
@click.argument("references", nargs=-1, metavar="[REF [REF]]")
@click.option("-v", "--verbose", is_flag=True, help="List everything, also what changed within tolerance.")
@json_option
@project_options
def diff(
    references: Sequence[str], verbose: bool, as_json: bool, rootdir: str | None, baseline_dir: str | None
) -> None:
    """Compare the committed baselines of two git revisions, or two folders of baselines, as a run would.

    Of one REF the other side is the working tree; without any, the first side is where HEAD has left the main branch.
    Needs no torch and runs no test. The exit status is 1 where something drifted or could not be compared, 2 for
    errors.
    """
    if len(references) > 2:
        raise click.UsageError("name at most two revisions or folders")
    options = ReviewOptions((), (), rootdir, baseline_dir)
    try:
        job = GitHubJob.from_environment(os.environ, options.project.setting("--modelviz-github"))
        changes, labels = _changes(options, references, whole=verbose)
    except (ModelvizError, InvalidSettingError) as error:
        raise _DiffError(printable(str(error))) from None
    folder = options.home().diff
    if as_json:
        rows = [{**published_json(change.result), "change": change.change.value} for change in changes]
        print_json(revisions=labels, folder=from_here(folder.root), summary=dict(_counts(changes)), checks=rows)
    else:
        _print_changes(changes, folder, verbose=verbose)
        print_line(f"{labels[0]} -> {labels[1]}: {summary_line(changes)}")
        if changes:
            print_line(f"report: {from_here(folder.report)}")
    if job is not None and changes:
        warn(job.write_summary(_step_summary(job, changes, folder)))
    if any(change.change.needs_review for change in changes):
        raise click.exceptions.Exit(1)


def _step_summary(job: GitHubJob, changes: Sequence["BaselineChange"], folder: ResultsFolder) -> MarkdownSummary:
    """What GitHub Actions shows on the run's page."""
    run = folder.read().run
    listed = "\n".join(cut_short(line, _LONGEST_LISTED) for line in listed_lines(changes))
    show = f"modelviz show --run {run.id} --from {DOWNLOADED}"
    return MarkdownSummary(
        runs=[run],
        checks=[change.result for change in changes if change.change.needs_review],
        show_command=show,
        report=lambda check: own_report(check, []),
        heading=summary_line(changes),
        notes=[*([code_block(listed)] if listed else []), job.note(from_here(folder.root), show)],
    )


def _changes(
    options: ReviewOptions, references: Sequence[str], *, whole: bool
) -> tuple[list["BaselineChange"], tuple[str, str]]:
    """What has changed, written into the folder for it, and what the two sides are called."""
    from pytest_modelviz.review.baseline_changes import ChangeEvaluator
    from pytest_modelviz.review.baseline_diff import changed_pairs
    from pytest_modelviz.review.diff_results import write_changes
    from pytest_modelviz.review.sides import opened_sides

    project = options.project
    location = baselines_location(project, options.baseline_dir)
    with opened_sides(references, project.root, location) as (before, after):
        evaluator = ChangeEvaluator(before, after, project_tolerances(project), whole=whole)
        changes = evaluator.changes(changed_pairs(before, after))
        labels = (before.label, after.label)
        repository = path_in_repository(project.root)
        return write_changes(options.home(), changes, revisions=labels, project=repository), labels


def project_tolerances(project: Project) -> "Tolerances":
    """What the project's configuration allows. What a call or a marker allows is not known here."""
    from pytest_modelviz.compare.tolerance import Tolerances

    rtol, atol = (
        None if (text := project.setting(name)) is None else parse_tolerance(name, text)
        for name in ("--modelviz-rtol", "--modelviz-atol")
    )
    globs = project.ini.get(IGNORE) or ()
    words = globs.split() if isinstance(globs, str) else globs
    return Tolerances(rtol, atol, ignored=parse_attribute_globs(IGNORE, words))


def _print_changes(changes: Sequence["BaselineChange"], folder: ResultsFolder, *, verbose: bool) -> None:
    """Reports of what is to be reviewed, drifts by what they have in common, then lists of the others."""
    selected = [change for change in changes if change.change.needs_review or (verbose and not change.change.is_listed)]
    reported = drift_groups(change.result for change in selected)
    reported += [DriftGroup("", (change.result,)) for change in selected if change.result.status is not Status.DRIFT]
    most = len(reported) if verbose else _MOST_REPORTED
    for group in reported[:most]:
        if len(group.checks) > 1:
            click.echo("\n".join([*group_lines(group, ""), ""]))
        whole = group.checks if verbose else group.checks[:1]
        for at, result in enumerate(whole):
            click.echo("\n" * bool(at), nl=False)
            _print_report(result, folder)
        also = [f"  also      {short_result(result, as_one_word)}" for result in group.checks[len(whole) :]]
        for line in (*_cut(also, verbose=verbose), ""):
            print_line(line)
    if len(reported) > most:
        print_line(f"and {len(reported) - most} more: they are in the report, and -v prints them")
        print_line("")
    listed = listed_lines(changes, verbose=verbose)
    for line in (*listed, *([""] if listed else [])):
        print_line(line)


def _print_report(result: CheckResult, folder: ResultsFolder) -> None:
    """A report with its test and the files of its pictures."""
    print_line(as_one_word(result.nodeid))
    click.echo(own_report(result, []))
    for path in folder.pictures_of(result):
        print_line(f"  picture   {from_here(path)}")


def listed_lines(changes: Iterable["BaselineChange"], *, verbose: bool = False) -> list[str]:
    """A line for each check that is new, gone or renamed, or about which a note says what was not compared."""
    lists: dict[str, list[str]] = collections.defaultdict(list)
    for change in changes:
        if change.change.is_listed:
            former = f"  (was {as_one_word(change.result.former_nodeid)})" if change.result.former_nodeid else ""
            around = _environment(change.result) if former else ""
            lists[change.change].append(f"{change.change:10} {_check_name(change.result)}{former}{around}")
        elif change.result.has_notes and not verbose:
            lists["with notes"].append(f"with notes {_check_name(change.result)}")
    return [line for lines in lists.values() for line in _cut(lines, verbose=verbose)]


def _environment(result: CheckResult) -> str:
    """What a baseline that was only renamed says otherwise of the environment that it was recorded in."""
    changes = [
        f"{as_one_word(key)}: {as_one_word(was)} -> {as_one_word(now)}"
        for key, (was, now) in result.environment_changes.items()
    ]
    return f"  changed {', '.join(cut(changes, _MOST_CHANGES))}" if changes else ""


def _check_name(result: CheckResult) -> str:
    return f"{as_one_word(result.nodeid)}  {as_one_word(result.name)}"


def _cut(lines: Sequence[str], *, verbose: bool) -> list[str]:
    if verbose or len(lines) <= _MOST_LISTED:
        return list(lines)
    return [*lines[: _MOST_LISTED - 1], f"and {len(lines) - _MOST_LISTED + 1} more: -v lists them"]


def summary_line(changes: Iterable["BaselineChange"]) -> str:
    """How many baselines changed, and how."""
    counts = _counts(changes := list(changes))
    kinds = ("drift", "within tolerance", "unreadable", "not compared")
    changed = sum(counts[kind] for kind in kinds)
    noted = sum(change.result.has_notes for change in changes)
    notes = {"within tolerance": f" ({noted} with notes, see -v)"} if noted else {}
    counted = [(kind, counts[kind], notes.get(kind, "")) for kind in kinds]
    details = ", ".join(f"{count} {kind}{note}" for kind, count, note in counted if count or kind == "drift")
    noun = "baseline" if changed == 1 else "baselines"
    others = [f"{counts[kind]} {kind}" for kind in ("added", "removed", "renamed") if counts[kind] or kind != "renamed"]
    return "; ".join([f"{changed} {noun} changed{f': {details}' if changed else ''}", *others])


def _counts(changes: Iterable["BaselineChange"]) -> collections.Counter[str]:
    return collections.Counter(change.change.value for change in changes)
