"""The command `modelviz`: review the results of a run, accept or reject them, without running a test again."""

from __future__ import annotations

import functools
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from pytest_modelviz import __version__
from pytest_modelviz.baselines.git import ignored_warning
from pytest_modelviz.baselines.moving import Moved, find_moves, find_unreadable, move_all
from pytest_modelviz.baselines.renaming import renaming
from pytest_modelviz.baselines.store import Store
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.options import InvalidSettingError
from pytest_modelviz.orphans import Row, files_moved_whole
from pytest_modelviz.project import Project, baseline_place, find_project, results_place
from pytest_modelviz.reports.closing import rename_hint
from pytest_modelviz.reports.results import ResultsFolder
from pytest_modelviz.reports.terminal import amount, visible
from pytest_modelviz.review import Decision, Review, Waiting, matching


class _Group(click.Group):
    """Errors that users can mend are one line, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ModelvizError, InvalidSettingError) as error:
            raise click.ClickException(visible(str(error))) from None


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

    source: str | None
    rootdir: str | None
    baseline_dir: str | None

    @property
    def project(self) -> Project:
        project = find_project(Path(self.rootdir or ".").absolute())
        return Project(Path(self.rootdir).absolute(), project.ini) if self.rootdir else project

    @property
    def options(self) -> str:
        """The same options, for a command that is printed."""
        given = {"--rootdir": self.rootdir, "--from": self.source, "--baseline-dir": self.baseline_dir}
        return shlex.join(word for option, value in given.items() if value is not None for word in (option, value))

    def home(self) -> ResultsFolder:
        """The project's own results folder."""
        return ResultsFolder(results_place(self.project))

    def results(self) -> ResultsFolder:
        project = self.project
        if self.source is None:
            return self.home()
        folder = Path(self.source).absolute()
        # .modelviz: as an archive unpacks; the project's: as --modelviz-results-dir is meant
        places = (folder, folder / ".modelviz", project.root / self.source)
        return ResultsFolder(next((place for place in places if (place / "results.json").exists()), folder))

    def review(self) -> Review:
        project = self.project
        place = baseline_place(project, self.baseline_dir)
        return Review(self.results(), self.home(), project.root, place, named=self.baseline_dir is not None)


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

    @click.option("--from", "source", metavar="DIR", help="A results folder, for example one downloaded from CI.")
    @_of_project
    @functools.wraps(command)
    def with_where(source: str | None, baseline_dir: str | None, rootdir: str | None, **others: Any) -> None:
        command(where=Where(source, rootdir, baseline_dir), **others)

    return with_where


_patterns = click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def _say(text: str) -> None:
    click.echo("\n".join(visible(line) for line in text.split("\n")))


def _print_json(**parts: Any) -> None:
    click.echo(json.dumps({"schema": 1, **parts}, indent=1, allow_nan=False))


@main.command("list")
@_patterns
@click.option("--all", "every", is_flag=True, help="Also what has been accepted or rejected since.")
@_as_json
@_results
def list_(where: Where, patterns: Sequence[str], every: bool, as_json: bool) -> None:
    """List what waits for a decision."""
    review = where.review()
    rows = review.chosen(patterns)
    shown = [one for one in rows if every or as_json or one.state == "waiting"]
    if as_json:
        _print_json(run=review.document["run"], checks=[{**one.check, "state": one.state} for one in shown])
        return
    for one in shown:
        _say(_line(one))
    waiting = sum(one.state == "waiting" for one in rows)
    decided = sum(one.state in ("accepted", "rejected") for one in rows)
    told = f"{waiting} waiting" + (f", {decided} decided" if decided else "")
    unhappy = [check for check in review.document["checks"] if check["status"] in ("unreadable", "unstable")]
    told += f"; {len(unhappy)} cannot be accepted, see modelviz show" if unhappy else ""
    _say(f"{told}; run {review.document['run'].get('id')}")


def _line(one: Waiting) -> str:
    check = one.check
    status = check["status"] if one.state == "waiting" else one.state
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
    quiet = ("match", "recorded", "not_compared")
    checks = [check for check in review.document["checks"] if check["status"] not in quiet]
    checks = matching(checks, patterns, lambda check: str(check["nodeid"]), review.known, "no test that did not match")
    if as_json:
        _print_json(run=review.document["run"], checks=checks)
        return
    for check in checks:
        _say(f"{check['nodeid']}\n{check['message']}")
        for path in review.results.pictures_of(check):
            _say(f"  picture   {_from_here(path)}")
        _say("")
    if not checks:
        _say("all checks of the last run matched")


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
    rows = review.chosen(patterns)
    rows = [one for one in rows if patterns or one.state != "rejected"]
    decisions = [review.accept(one) for one in rows]
    _warn_of_ignored(review.place, [Path(one.path) for one in decisions if one.done == "accepted"])
    _decided(decisions, as_json, "nothing to accept")


def _warn_of_ignored(place: str | Path, written: Sequence[Path]) -> None:
    warning = ignored_warning(place, written, Path.cwd()) if written else ""
    if warning:
        click.echo(f"warning: {visible(warning)}", err=True)


@main.command()
@_patterns
@_as_json
@_results
def reject(where: Where, patterns: Sequence[str], as_json: bool) -> None:
    """Forget what was captured: of all tests, or of those that match. Baselines stay as they are."""
    review = where.review()
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
            _say(f"{one.done:10} {one.nodeid}  {one.name}  " + (one.reason if one.refused else path))
    if any(one.refused for one in decisions):
        raise click.exceptions.Exit(1)


@main.command()
@_patterns
@_as_json
@_results
def orphans(where: Where, patterns: Sequence[str], as_json: bool) -> None:
    """List baselines whose test is gone, and what it may be called now."""
    review = where.review()
    without_file = review.without_file()
    moved = files_moved_whole(without_file)
    found = [(row, "test") for row in review.orphans()] + [(row, "file") for row in without_file]
    found = matching(found, patterns, lambda pair: str(pair[0]["nodeid"]), review.known, "no test that is gone")
    if as_json:
        _print_json(orphans=[{**row, "gone": gone} for row, gone in found])
        return
    for row, gone in found:
        note = "" if gone == "test" else "  (its test file is gone: prune it by name)"
        hint = rename_hint(row, where.options, whole_file=row["nodeid"].partition("::")[0] in moved)
        variant = f" ({row['variant']})" if row["variant"] else ""
        _say(f"{row['nodeid']}  {row['name']}{variant}{note}{hint and '  '}{hint}")
    _say(f"{len(found)} baselines of tests that are gone")


@main.command()
@_patterns
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@_as_json
@_results
def prune(where: Where, patterns: Sequence[str], dry_run: bool, as_json: bool) -> None:
    """Remove baselines whose test is gone; a copy stays in the results folder, under pruned/.

    Those whose whole test file is gone are removed only if a PATTERN names them.
    """
    if where.source is not None and not patterns:
        raise ModelvizError("with --from, name the tests whose baselines are to be removed: its list is not trusted")
    review = where.review()
    rows: list[Row] = [*review.orphans(), *(review.without_file() if patterns else ())]
    rows = matching(rows, patterns, lambda row: str(row["nodeid"]), review.known, "no test that is gone")
    _decided([review.prune(row, dry_run=dry_run) for row in rows], as_json, "nothing to remove")


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
    project = Where(None, rootdir, baseline_dir).project
    place = baseline_place(project, baseline_dir)
    store = Store(place)
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
    results = where.results()
    if not results.tensorboard.is_dir():
        raise ModelvizError(f"there are no event files in {results.tensorboard}: run pytest --modelviz first")
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(results.tensorboard), *arguments]
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

    results = where.results()
    path = write_report(results)
    _say(str(_from_here(path)))
    if opens:
        click.launch(str(path))
