"""What several commands print: lines and JSON, decisions, and warnings about the results that they look at."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pytest_modelviz.review.review import Decision
from pytest_modelviz.storage.git import ignored_warning
from pytest_modelviz.storage.names import display_path
from pytest_modelviz.text.printable import printable, printable_json


def print_line(line: str) -> None:
    """Print one line, whatever is in its fields."""
    click.echo(printable(line))


def print_json(**members: Any) -> None:
    """Print a document with these members."""
    click.echo(printable_json(json.dumps({"schema": 1, **members}, indent=1, allow_nan=False)))


def from_here(path: str | Path) -> str:
    """A path as seen from the current folder, where it lies inside; a URL as it is."""
    return display_path(path, Path.cwd())


def warn(line: str) -> None:
    """Say something on standard error, if there is anything to say."""
    if line:
        click.echo(f"warning: {printable(line)}", err=True)


def warn_of_ignored(baseline_dir: str | Path, decisions: Sequence[Decision]) -> None:
    """Warn where git ignores what was written."""
    written = [Path(decision.path) for decision in decisions if decision.done in ("accepted", "moved")]
    warn(ignored_warning(baseline_dir, written, Path.cwd()))


def print_unnamed(unnamed: Sequence[Decision], field: Callable[[str], str]) -> None:
    """Print the candidates that no results mention, if there are any."""
    for decision in unnamed:
        print_decision(decision, field)
    if unnamed:
        print_line(
            "their run was broken off, or its results overwritten: name each run's own folder, or run the tests again"
        )


def print_decisions(
    decisions: Sequence[Decision], as_json: bool, nothing: str, field: Callable[[str], str] = str
) -> None:
    """Print what was done; exit with 1 if anything was refused."""
    if as_json:
        print_json(decisions=[asdict(decision) for decision in decisions])
    elif not decisions:
        print_line(nothing)
    else:
        for decision in decisions:
            print_decision(decision, field)
    if any(decision.refused for decision in decisions):
        raise click.exceptions.Exit(1)


def print_decision(decision: Decision, field: Callable[[str], str]) -> None:
    """Print what was done about a check, and why or where."""
    check = f"{field(decision.nodeid)}  {field(decision.name)}"
    print_line(f"{decision.done:10} {check}  {decision.reason or from_here(decision.path)}")
