"""What several commands print: lines and JSON, decisions, and warnings about the results that they look at."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pytest_modelviz.review.review import Decision, Review
from pytest_modelviz.storage.git import ignored_warning
from pytest_modelviz.storage.moving import Moved
from pytest_modelviz.storage.unfinished import unfinished_line
from pytest_modelviz.text.printable import printable, printable_json


def print_line(line: str) -> None:
    """Print one line, whatever is in its fields."""
    click.echo(printable(line))


def print_json(**members: Any) -> None:
    """Print a document with these members."""
    click.echo(printable_json(json.dumps({"schema": 1, **members}, indent=1, allow_nan=False)))


def from_here(path: Path) -> Path:
    """A path as seen from the current folder, where it lies inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def warn_of_unfinished(review: Review) -> None:
    """Say on standard error that the last run has left no results, if so."""
    _warn(unfinished_line(review.unfinished))


def warn_of_ignored(baseline_dir: str | Path, written: Sequence[Path]) -> None:
    """Say on standard error that git ignores what was written, if so."""
    _warn(ignored_warning(baseline_dir, written, Path.cwd()) if written else "")


def _warn(line: str) -> None:
    if line:
        click.echo(f"warning: {printable(line)}", err=True)


def print_unnamed(review: Review, field: Callable[[str], str]) -> bool:
    """Say which candidates lie there that no results tell of; returns whether there are any."""
    found = review.unnamed()
    for candidate in found:
        print_line(
            f"left       {field(candidate.nodeid)}  {field(candidate.name)}  no results here tell of this candidate"
        )
    if found:
        print_line(
            "their run was broken off, or its results overwritten: name each run's own folder, or run the tests again"
        )
    return bool(found)


def print_decisions(
    decisions: Sequence[Decision | Moved], as_json: bool, nothing: str, field: Callable[[str], str] = str
) -> None:
    """Print what was done; exit with 1 if anything was refused."""
    if as_json:
        print_json(decisions=[asdict(decision) for decision in decisions])
    elif not decisions:
        print_line(nothing)
    else:
        for decision in decisions:
            path = decision.path if "://" in decision.path else str(from_here(Path(decision.path)))
            print_line(
                f"{decision.done:10} {field(decision.nodeid)}  {field(decision.name)}  " + (decision.reason or path)
            )
    if any(decision.refused for decision in decisions):
        raise click.exceptions.Exit(1)
