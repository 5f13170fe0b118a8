"""`modelviz accept`, `reject`, `orphans`, `prune` and `mv`: the commands for baselines, and for candidates of such."""

from collections.abc import Sequence

import click

from pytest_modelviz.cli.options import (
    ReviewOptions,
    choice_options,
    chosen_project,
    json_option,
    pattern_options,
    project_options,
)
from pytest_modelviz.cli.output import print_decisions, print_json, print_line, print_unnamed, warn_of_ignored
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.reports.terminal_summary import rename_hint
from pytest_modelviz.review.acceptance import accept_all
from pytest_modelviz.review.acceptance import reject as reject_candidate
from pytest_modelviz.review.moving import find_moves, find_unreadable, move_all
from pytest_modelviz.review.orphaned import without_file, without_test
from pytest_modelviz.review.pruning import prune_all
from pytest_modelviz.review.review import State
from pytest_modelviz.review.selection import Choice, matching
from pytest_modelviz.run.project import baselines_location, names_baselines
from pytest_modelviz.storage.orphans import files_moved_whole
from pytest_modelviz.storage.renaming import renaming
from pytest_modelviz.storage.store import Store
from pytest_modelviz.text.printable import as_one_word

_NONE = "no test that is gone"


@click.command()
@choice_options
def accept(options: ReviewOptions, choice: Choice, as_json: bool) -> None:
    """Make captures the new baselines: those of all tests, or of those that match.

    A baseline that has changed since it was compared is left alone.
    """
    review = options.review()
    review.require_captures()
    chosen = [item for item in review.chosen(choice) if choice.patterns or item.state is not State.REJECTED]
    decisions = accept_all(review, chosen, named=bool(choice.patterns))
    left = [] if choice else review.unnamed()
    if not as_json:
        print_unnamed(left, options.field)
    warn_of_ignored(review.baseline_dir, decisions)
    print_decisions([*decisions, *left] if as_json else decisions, as_json, "nothing to accept", options.field)
    if left:
        raise click.exceptions.Exit(1)


@click.command()
@choice_options
def reject(options: ReviewOptions, choice: Choice, as_json: bool) -> None:
    """Discard captures: those of all tests, or of those that match. Baselines stay as they are."""
    review = options.review()
    review.require_captures()
    chosen = [item for item in review.chosen(choice) if choice.patterns or item.state is State.WAITING]
    decisions = [reject_candidate(review, item) for item in chosen]
    print_decisions(decisions, as_json, "nothing to reject", options.field)


@click.command()
@pattern_options
def orphans(options: ReviewOptions, patterns: Sequence[str], as_json: bool) -> None:
    """List baselines whose test is gone, and its possible new name."""
    review = options.review()
    of_no_file = without_file(review)
    moved = files_moved_whole(of_no_file)
    chosen = [(orphan, "test") for orphan in without_test(review)] + [(orphan, "file") for orphan in of_no_file]
    chosen = matching(chosen, patterns, lambda pair: pair[0].nodeid, review.knows, _NONE)
    if as_json:
        print_json(orphans=[{**orphan.to_json(), "gone": gone} for orphan, gone in chosen])
        return
    for orphan, gone in chosen:
        note = "" if gone == "test" else "  (its test file is gone: prune it by name)"
        hint = rename_hint(orphan, options.given(), whole_file=orphan.test_file in moved, is_own=not options.sources)
        variant = f" ({as_one_word(orphan.variant)})" if orphan.variant else ""
        check = f"{as_one_word(orphan.nodeid)}  {as_one_word(orphan.name)}{variant}"  # as baselines call them
        print_line(f"{check}{note}{hint and '  '}{hint}")
    count = len(chosen)
    print_line(f"{count} orphans (baselines whose test is gone)" if count != 1 else "1 orphan (its test is gone)")


@click.command()
@click.option("--dry-run", is_flag=True, help="Only print what would be removed.")
@pattern_options
def prune(options: ReviewOptions, patterns: Sequence[str], dry_run: bool, as_json: bool) -> None:
    """Remove baselines whose test is gone; a copy stays in the results folder, under pruned/.

    Those whose whole test file is gone are removed only if a PATTERN names them. Where a parameter is gone from a test
    that is still there, and a file is newer than the results, name the whole test id.
    """
    if options.sources and not patterns:
        raise ModelvizError("with --from, name the tests whose baselines are to be removed: its list is not trusted")
    review = options.review()
    chosen = [*without_test(review), *(without_file(review) if patterns else ())]
    chosen = matching(chosen, patterns, lambda orphan: orphan.nodeid, review.knows, _NONE)
    decisions = prune_all(review, chosen, named=patterns, dry_run=dry_run)
    print_decisions(decisions, as_json, "nothing to remove", as_one_word)


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--dry-run", is_flag=True, help="Only print what would be moved.")
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
    asked_for = renaming(old, new, project.root)
    moves = find_moves(store, asked_for, project.root)
    moved = [*find_unreadable(store, moves, asked_for), *move_all(store, moves, dry_run=dry_run)]
    warn_of_ignored(location, moved)
    print_decisions(moved, as_json, "nothing to move", as_one_word)
