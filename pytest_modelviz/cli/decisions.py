"""`modelviz accept` and `modelviz reject`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from pytest_modelviz.cli.options import ReviewOptions, json_option, patterns_argument, review_options
from pytest_modelviz.cli.output import print_decisions, print_unnamed, warn_of_ignored, warn_of_unfinished
from pytest_modelviz.review import acceptance
from pytest_modelviz.review.review import State


@click.command()
@patterns_argument
@json_option
@review_options
def accept(options: ReviewOptions, patterns: Sequence[str], as_json: bool) -> None:
    """Make what was captured the baseline: of all tests, or of those that match.

    A baseline that has changed since it was compared is left alone.
    """
    review = options.review()
    warn_of_unfinished(review)
    chosen = [item for item in review.chosen(patterns) if patterns or item.state is not State.REJECTED]
    decisions = acceptance.accept_all(review, chosen, named=bool(patterns))
    left = not patterns and not as_json and print_unnamed(review, options.field)
    accepted = [Path(decision.path) for decision in decisions if decision.done == "accepted"]
    warn_of_ignored(review.baseline_dir, accepted)
    print_decisions(decisions, as_json, "nothing to accept", options.field)
    if left:
        raise click.exceptions.Exit(1)


@click.command()
@patterns_argument
@json_option
@review_options
def reject(options: ReviewOptions, patterns: Sequence[str], as_json: bool) -> None:
    """Forget what was captured: of all tests, or of those that match. Baselines stay as they are."""
    review = options.review()
    warn_of_unfinished(review)
    chosen = [item for item in review.chosen(patterns) if patterns or item.state is State.WAITING]
    decisions = [acceptance.reject(review, item) for item in chosen]
    print_decisions(decisions, as_json, "nothing to reject", options.field)
