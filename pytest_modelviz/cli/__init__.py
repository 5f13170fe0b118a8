"""The command `modelviz`: review the results of a run, accept or reject them, without running a test again."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from pytest_modelviz import __version__
from pytest_modelviz.cli.review import Decision, Review, Run, Waiting
from pytest_modelviz.cli.selection import matching
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.reports.terminal import accept_command, amount
from pytest_modelviz.reports.terminal_summary import rename_hint
from pytest_modelviz.run.options import InvalidSettingError
from pytest_modelviz.run.project import (
    Project,
    baselines_location,
    find_project,
    names_baselines,
    results_folders,
    results_location,
)
from pytest_modelviz.storage.git import ignored_warning
from pytest_modelviz.storage.moving import Moved, find_moves, find_unreadable, move_all
from pytest_modelviz.storage.orphans import Row, files_moved_whole
from pytest_modelviz.storage.renaming import renaming
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store
from pytest_modelviz.storage.unfinished import unfinished_line
from pytest_modelviz.text.printable import command_line, printable, printable_json, printable_lines, quoted


class _Group(click.Group):
    """Errors that users can mend are one line, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ModelvizError, InvalidSettingError) as error:
            raise click.ClickException(printable(str(error))) from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="modelviz")
def main() -> None:
    """Review what pytest --modelviz found: look at it, accept it, reject it.

    All commands work on the results of the last run, or with --from on a results folder from elsewhere, and run no
    test. A PATTERN is a shell glob for test ids ('tests/test_net.py::*'); a whole test id always matches itself.
    """


@dataclass(frozen=True)
class Where:
    """Which results are meant, and beside which baselines: as the options say, or as the project is set up."""

    sources: tuple[str, ...]
    runs: tuple[str, ...]
    rootdir: str | None
    baseline_dir: str | None

    @property
    def project(self) -> Project:
        project = find_project(Path(self.rootdir or ".").absolute())
        return Project(Path(self.rootdir).absolute(), project.ini) if self.rootdir else project

    def home(self) -> ResultsFolder:
        """The project's own results folder."""
        return ResultsFolder(results_location(self.project))

    def folders(self) -> list[ResultsFolder]:
        """The results folders that are meant, at least one."""
        if not self.sources:
            return [self.home()]
        root = self.project.root
        found = [folder for source in self.sources for folder in results_folders(source, root)]
        return [ResultsFolder(folder) for folder in dict.fromkeys(found)]

    def review(self) -> Review:
        project = self.project
        place = baselines_location(project, self.baseline_dir)
        named = self.baseline_dir is not None
        configured = names_baselines(project, self.baseline_dir)
        folders, home = self.folders(), self.home()
        return Review(folders, home, project.root, place, named=named, configured=configured, wanted=self.runs)

    def options(self, run: Run) -> str:
        """What a command needs, started here, to find this run again."""
        sources = [str(_from_here(run.folder.root))] if self.sources else []
        return _joined(run=[run.id], rootdir=[self.rootdir], **{"from": sources}, baseline_dir=[self.baseline_dir])

    def given(self) -> str:
        """The options that were given, for a command that is to look at the same results."""
        return _joined(
            run=self.runs, rootdir=[self.rootdir], **{"from": self.sources}, baseline_dir=[self.baseline_dir]
        )


def _joined(**options: Sequence[str | None]) -> str:
    words = [(f"--{name.replace('_', '-')}", value) for name, values in options.items() for value in values]
    return command_line(word for option, value in words if value is not None for word in (option, value))


def _of_project(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which project and which baselines are meant."""
    rootdir = click.option(
        "--rootdir", type=click.Path(exists=True, file_okay=False), help="The project (default: found)."
    )
    baselines = click.option(
        "--baseline-dir", metavar="DIR", help="Folder or URL of the baselines (default: as configured)."
    )
    return baselines(rootdir(command))


def _results(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which results are meant; the command gets them as one argument, `where`."""

    @click.option(
        "--from",
        "sources",
        metavar="DIR",
        multiple=True,
        help="A results folder, for example one downloaded from CI, or a folder of such; may be repeated.",
    )
    @click.option("--run", "runs", metavar="ID", multiple=True, help="Take the results of this run only.")
    @_of_project
    @functools.wraps(command)
    def with_where(
        sources: tuple[str, ...], runs: tuple[str, ...], baseline_dir: str | None, rootdir: str | None, **others: Any
    ) -> None:
        command(where=Where(sources, runs, rootdir, baseline_dir), **others)

    return with_where


_patterns = click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def _say(line: str) -> None:
    """Print one line, whatever is in its fields."""
    click.echo(printable(line))


def _print_json(**parts: Any) -> None:
    click.echo(printable_json(json.dumps({"schema": 1, **parts}, indent=1, allow_nan=False)))


@main.command("list")
@_patterns
@click.option("--all", "every", is_flag=True, help="Also what has been accepted or rejected since.")
@_as_json
@_results
def list_(where: Where, patterns: Sequence[str], every: bool, as_json: bool) -> None:
    """List what waits for a decision."""
    review = where.review()
    _tell_unfinished(review)
    rows = review.chosen(patterns)
    shown = [one for one in rows if every or as_json or one.state in ("waiting", "replaced", "foreign")]
    if as_json:
        _print_json(
            **_runs(review), checks=[{**_of_run(review, one.run, one.check), "state": one.state} for one in shown]
        )
        return
    for one in shown:
        run = f"  run {one.run.id}" if len(review.runs) > 1 else ""
        _say(f"{_line(one)}{run}{_foreign_mark(review, one.run)}")
    waiting = sum(one.state == "waiting" for one in rows)
    decided = sum(one.state in ("accepted", "rejected") for one in rows)
    foreign = sum(one.state == "foreign" for one in rows)
    told = f"{waiting} waiting" + (f", {decided} decided" if decided else "")
    told += f", {foreign} of other projects" if foreign else ""
    unhappy = [check for _, check in review.checks if check["status"] in ("unreadable", "unstable")]
    told += f"; {len(unhappy)} cannot be accepted, see modelviz show {where.given()}".rstrip() if unhappy else ""
    _say(f"{told}; {_run_names(review)}")
    _tell_unnamed(review)


def _foreign_mark(review: Review, run: Run) -> str:
    """What tells the results of another project of the repository from the own ones."""
    project = review.foreign_project(run)
    return "" if project is None else f"  (of the project in {project!r})"


def _run_names(review: Review) -> str:
    ids = list(dict.fromkeys(run.id for run in review.runs))
    return f"run {ids[0]}" if len(ids) == 1 else f"runs {', '.join(ids)}"


def _runs(review: Review) -> dict[str, Any]:
    """For programs: the run or, of several, all of them."""
    facts = list({run.id: run.document["run"] for run in review.runs}.values())
    several = {"runs": facts} if len(facts) > 1 else {}
    return {"run": facts[0], **several, "unfinished_runs": review.unfinished}


def _of_run(review: Review, run: Run, check: dict[str, Any]) -> dict[str, Any]:
    """A check for programs; where there are several runs, with the id of its own."""
    return {**check, "run": run.id} if len(review.runs) > 1 else check


def _tell_unfinished(review: Review) -> None:
    """Say on standard error that the last run has left no results, if so."""
    line = unfinished_line(review.unfinished)
    if line:
        click.echo(f"warning: {printable(line)}", err=True)


def _tell_unnamed(review: Review) -> bool:
    """Say which candidates lie there that no results tell of; returns whether there are any."""
    found = review.unnamed()
    for candidate in found:
        _say(f"left       {candidate.nodeid}  {candidate.name}  no results here tell of this candidate")
    if found:
        _say("their run was broken off, or its results overwritten: name each run's own folder, or run the tests again")
    return bool(found)


def _line(one: Waiting) -> str:
    check = one.check
    status = check["status"] if one.state in ("waiting", "foreign") else one.state
    first = check["first_divergence"]
    where = f" at {first['layer'] or 'the model itself'}" if first else ""
    much = f", {amount(check['error'], check['tolerance'])}" if check["tolerance"] else ""
    told = f"{check['cause'] or 'another result'}{where}{much}"
    variant = f" ({one.location.variant})" if one.location.variant else ""
    return f"{status:10} {check['nodeid']}  {check['name']}{variant}" + (
        f"  {told}" if check["status"] == "drift" else ""
    )


@main.command()
@_patterns
@_as_json
@_results
def show(where: Where, patterns: Sequence[str], as_json: bool) -> None:
    """Show the reports and pictures of checks that did not match."""
    review = where.review()
    _tell_unfinished(review)
    quiet = ("match", "recorded", "not_compared")
    checks = [pair for pair in review.checks if pair[1]["status"] not in quiet]
    checks = matching(checks, patterns, lambda pair: str(pair[1]["nodeid"]), review.known, "no test that did not match")
    if as_json:
        _print_json(**_runs(review), checks=[_of_run(review, *pair) for pair in checks])
        return
    for run, check in checks:
        _say(f"{check['nodeid']}{_foreign_mark(review, run)}")
        click.echo(_message(check, where.options(run)))
        for path in run.folder.pictures_of(check):
            _say(f"  picture   {_from_here(path)}")
        _say("")
    if not checks:
        _say(f"all checks of {_run_names(review) if review.unfinished else 'the last run'} matched")
    _tell_unnamed(review)


_COMMANDS = re.compile(r"\s*(?:accept\s|record it:)")  # lines of a report that are commands: only ours are shown


def _message(check: dict[str, Any], options: str) -> str:
    """A check's report with the command as it is needed here, which is not where the report was made.

    It may come from anybody: it begins with the check's name, and further lines stay indented as ours are.
    """
    message, printed = check["message"], check.get("commands", {}).get("accept")
    ours = accept_command(f"{options} {quoted(check['nodeid'])}")
    if isinstance(printed, str) and printed.startswith(accept_command("")):
        message = message.replace(printed, ours, 1)
    message = "\n".join(line for line in message.split("\n") if ours in line or not _COMMANDS.match(line))
    first, *others = printable_lines(message).split("\n")
    name = printable(check["name"])
    lines = [first if first.startswith(name) else f"{name}: {first}"]
    return "\n".join([*lines, *(line if line.startswith("  ") else f"  {line}" for line in others)])


def _from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


@main.command()
@_patterns
@_as_json
@_results
def accept(where: Where, patterns: Sequence[str], as_json: bool) -> None:
    """Make what was captured the baseline: of all tests, or of those that match.

    A baseline that has changed since it was compared is left alone.
    """
    review = where.review()
    _tell_unfinished(review)
    rows = review.chosen(patterns)
    rows = [one for one in rows if patterns or one.state != "rejected"]
    decisions = review.accept_all(rows, named=bool(patterns))
    left = not patterns and not as_json and _tell_unnamed(review)
    _warn_of_ignored(review.place, [Path(one.path) for one in decisions if one.done == "accepted"])
    _decided(decisions, as_json, "nothing to accept")
    if left:
        raise click.exceptions.Exit(1)


def _warn_of_ignored(place: str | Path, written: Sequence[Path]) -> None:
    warning = ignored_warning(place, written, Path.cwd()) if written else ""
    if warning:
        click.echo(f"warning: {printable(warning)}", err=True)


@main.command()
@_patterns
@_as_json
@_results
def reject(where: Where, patterns: Sequence[str], as_json: bool) -> None:
    """Forget what was captured: of all tests, or of those that match. Baselines stay as they are."""
    review = where.review()
    _tell_unfinished(review)
    rows = review.chosen(patterns)
    rows = [one for one in rows if patterns or one.state == "waiting"]
    _decided([review.reject(one) for one in rows], as_json, "nothing to reject")


def _decided(decisions: Sequence[Decision | Moved], as_json: bool, nothing: str) -> None:
    """Tell what was done; exit with 1 if anything was refused."""
    if as_json:
        _print_json(decisions=[asdict(one) for one in decisions])
    elif not decisions:
        _say(nothing)
    else:
        for one in decisions:
            path = one.path if "://" in one.path else str(_from_here(Path(one.path)))
            _say(f"{one.done:10} {one.nodeid}  {one.name}  " + (one.reason or path))
    if any(one.refused for one in decisions):
        raise click.exceptions.Exit(1)


@main.command()
@_patterns
@_as_json
@_results
def orphans(where: Where, patterns: Sequence[str], as_json: bool) -> None:
    """List baselines whose test is gone, and what it may be called now."""
    review = where.review()
    _tell_unfinished(review)
    without_file = review.without_file()
    moved = files_moved_whole(without_file)
    found = [(row, "test") for row in review.orphans()] + [(row, "file") for row in without_file]
    found = matching(found, patterns, lambda pair: str(pair[0]["nodeid"]), review.known, "no test that is gone")
    if as_json:
        _print_json(orphans=[{**row, "gone": gone} for row, gone in found])
        return
    for row, gone in found:
        note = "" if gone == "test" else "  (its test file is gone: prune it by name)"
        hint = rename_hint(row, where.given(), whole_file=row["nodeid"].partition("::")[0] in moved)
        variant = f" ({row['variant']})" if row["variant"] else ""
        _say(f"{row['nodeid']}  {row['name']}{variant}{note}{hint and '  '}{hint}")
    _say(f"{len(found)} orphans (baselines whose test is gone)" if len(found) != 1 else "1 orphan (its test is gone)")


@main.command()
@_patterns
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@_as_json
@_results
def prune(where: Where, patterns: Sequence[str], dry_run: bool, as_json: bool) -> None:
    """Remove baselines whose test is gone; a copy stays in the results folder, under pruned/.

    Those whose whole test file is gone are removed only if a PATTERN names them. Where a parameter is gone from a test
    that is still there, and a file is newer than the results, name the whole test id.
    """
    if where.sources and not patterns:
        raise ModelvizError("with --from, name the tests whose baselines are to be removed: its list is not trusted")
    review = where.review()
    _tell_unfinished(review)
    rows: list[Row] = [*review.orphans(), *(review.without_file() if patterns else ())]
    rows = matching(rows, patterns, lambda row: str(row["nodeid"]), review.known, "no test that is gone")
    decisions = [review.prune(row, named=row["nodeid"] in patterns, dry_run=dry_run) for row in rows]
    _decided(decisions, as_json, "nothing to remove")


@main.command()
@click.argument("old")
@click.argument("new")
@click.option("--dry-run", is_flag=True, help="Only say what would be moved.")
@_as_json
@_of_project
def mv(old: str, new: str, dry_run: bool, as_json: bool, rootdir: str | None, baseline_dir: str | None) -> None:
    """Move the baselines of renamed tests from OLD to NEW, after the tests themselves.

    OLD and NEW are a test file, a folder of test files, a class, a test (with all its parameters) or a whole test id;
    or such names with * (quoted), where NEW takes over what each * of OLD stands for.
    """
    project = Where((), (), rootdir, baseline_dir).project
    place = baselines_location(project, baseline_dir)
    store = Store(place, configured=names_baselines(project, baseline_dir))
    asked = renaming(old, new, project.root)
    moves = find_moves(store, asked, project.root)
    moved = [*find_unreadable(store, moves, asked), *move_all(store, moves, dry_run=dry_run)]
    _warn_of_ignored(place, [Path(one.path) for one in moved if one.done == "moved"])
    _decided(moved, as_json, "nothing to move")


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[TENSORBOARD OPTIONS]...")
@_results
def tensorboard(where: Where, arguments: Sequence[str]) -> None:
    """Open the pictures of drifts and the errors of all runs in TensorBoard."""
    folders = [folder.tensorboard for folder in where.folders()]
    found = [folder for folder in folders if folder.is_dir()]
    if not found:
        raise ModelvizError(f"there are no event files in {folders[0]}: run pytest --modelviz first")
    several = ",".join(f"{folder.parent.name or at}:{folder}" for at, folder in enumerate(found))
    where_to_look = ["--logdir", str(found[0])] if len(found) == 1 else ["--logdir_spec", several]
    command = [sys.executable, "-m", "tensorboard.main", *where_to_look, *arguments]
    try:
        raise click.exceptions.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603  # the user's own
    except KeyboardInterrupt:  # how TensorBoard is ended
        raise click.exceptions.Exit(0) from None


@main.command()
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@_results
def report(where: Where, opens: bool) -> None:
    """Write report.html anew: one file with all that did not match, pictures included."""
    from pytest_modelviz.reports.html import write_report

    review = where.review()
    _tell_unfinished(review)
    states = {(one.run.id, one.nodeid, one.check["name"]): one.state for one in review.waiting()}
    for folder in where.folders():
        path = write_report(folder, states)
        _say(str(_from_here(path)))
        if opens:
            click.launch(str(path))
