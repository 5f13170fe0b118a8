"""`modelviz orphans`, `modelviz prune` and `modelviz mv`: baselines whose test is gone, or has another name now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from pytest_modelviz.cli.options import (
    ReviewOptions,
    chosen_project,
    json_option,
    patterns_argument,
    project_options,
    review_options,
)
from pytest_modelviz.cli.output import print_decisions, print_json, print_line, warn_of_ignored, warn_of_unfinished
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.reports.terminal_summary import rename_hint
from pytest_modelviz.review.pruning import prune_all
from pytest_modelviz.review.selection import matching
from pytest_modelviz.run.project import baselines_location, names_baselines
from pytest_modelviz.storage.moving import find_moves, find_unreadable, move_all
from pytest_modelviz.storage.orphans import files_moved_whole
from pytest_modelviz.storage.renaming import renaming
from pytest_modelviz.storage.store import Store

_NONE = "no test that is gone"


@click.command()
@patterns_argument
@json_option
@review_options
def orphans(options: ReviewOptions, patterns: Sequence[str], as_json: bool) -> None:
    """List baselines whose test is gone, and what it may be called now."""
    review = options.review()
    warn_of_unfinished(review)
    without_file = review.without_file()
    moved = files_moved_whole(without_file)
    found = [(orphan, "test") for orphan in review.orphans()] + [(orphan, "file") for orphan in without_file]
    found = matching(found, patterns, lambda pair: pair[0].nodeid, review.known, _NONE)
    if as_json:
        print_json(orphans=[{**orphan.to_json(), "gone": gone} for orphan, gone in found])
        return
    for orphan, gone in found:
        note = "" if gone == "test" else "  (its test file is gone: prune it by name)"
        hint = rename_hint(orphan, options.given(), whole_file=orphan.test_file in moved)
        variant = f" ({options.field(orphan.variant)})" if orphan.variant else ""
        print_line(f"{options.field(orphan.nodeid)}  {options.field(orphan.name)}{variant}{note}{hint and '  '}{hint}")
    count = len(found)
    print_line(f"{count} orphans (baselines whose test is gone)" if count != 1 else "1 orphan (its test is gone)")


@click.command()
@patterns_argument
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
@review_options
def prune(options: ReviewOptions, patterns: Sequence[str], dry_run: bool, as_json: bool) -> None:
    """Remove baselines whose test is gone; a copy stays in the results folder, under pruned/.

    Those whose whole test file is gone are removed only if a PATTERN names them. Where a parameter is gone from a test
    that is still there, and a file is newer than the results, name the whole test id.
    """
    if options.sources and not patterns:
        raise ModelvizError("with --from, name the tests whose baselines are to be removed: its list is not trusted")
    review = options.review()
    warn_of_unfinished(review)
    found = [*review.orphans(), *(review.without_file() if patterns else ())]
    found = matching(found, patterns, lambda orphan: orphan.nodeid, review.known, _NONE)
    decisions = prune_all(review, found, named=patterns, dry_run=dry_run)
    print_decisions(decisions, as_json, "nothing to remove", options.field)


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--dry-run", is_flag=True, help="Only say what would be moved.")
@json_option
@project_options
def mv(old: str, new: str, dry_run: bool, as_json: bool, rootdir: str | None, baseline_dir: str | None) -> None:
    """Move the baselines of renamed tests from OLD to NEW, after the tests themselves.

    OLD and NEW are a test file, a folder of test files, a class, a test (with all its parameters) or a whole test id;
    or such names with * (quoted), where NEW takes over what each * of OLD stands for.
    """
    project = chosen_project(rootdir)
    location = baselines_location(project, baseline_dir)
    store = Store(location, configured=names_baselines(project, baseline_dir))
    asked = renaming(old, new, project.root)
    moves = find_moves(store, asked, project.root)
    moved = [*find_unreadable(store, moves, asked), *move_all(store, moves, dry_run=dry_run)]
    warn_of_ignored(location, [Path(move.path) for move in moved if move.done == "moved"])
    print_decisions(moved, as_json, "nothing to move")
