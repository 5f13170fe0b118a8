"""`modelviz review`: what awaits a decision, one check after the other, each decided by a key.

A decision is carried out at once, by the same code as `modelviz accept` and `modelviz reject`, and stands whatever
happens then: an interrupt waits until what is being written is whole.
"""

import contextlib
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click

from pytest_modelviz.cli.options import ReviewOptions, text_choice_options
from pytest_modelviz.cli.output import from_here, print_decision, print_line, warn_of_ignored
from pytest_modelviz.cli.stored_details import stored_details
from pytest_modelviz.cli.stored_report import stored_report
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.group import DriftGroup
from pytest_modelviz.reports.groups import group_lines
from pytest_modelviz.review.acceptance import acceptor
from pytest_modelviz.review.acceptance import reject as reject_candidate
from pytest_modelviz.review.groups import ReviewedGroup, reviewed_groups
from pytest_modelviz.review.review import Decision, Review, ReviewedCheck, State
from pytest_modelviz.review.selection import Choice
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.printable import printable

_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_PICTURE_BYTES = 64 * 2**20


@click.command()
@text_choice_options
def review(options: ReviewOptions, choice: Choice) -> None:
    """Go through what awaits a decision, one check at a time, and accept or reject it by a key.

    Checks that drifted for one cause at one layer come together, and can be decided together. Every decision is carried
    out at once: Ctrl-C and q leave those made so far.
    """
    if not _is_terminal():
        raise ModelvizError(
            "modelviz review asks for keys, and needs a terminal: elsewhere, use modelviz show and modelviz accept"
        )
    reviewed = options.review()
    waiting = [item for item in reviewed.chosen(choice) if item.state is State.WAITING]
    if not waiting:
        print_line("nothing to review")
        return
    with tempfile.TemporaryDirectory(prefix="modelviz-") as folder:
        dialogue = _Dialogue(options, reviewed, waiting, Path(folder), named=bool(choice.patterns))
        try:
            dialogue.run()
        except (KeyboardInterrupt, EOFError):
            print_line("interrupted: all decisions made so far stand")
        dialogue.sum_up()


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


class _Dialogue:
    """The questions about these checks, and what was decided."""

    def __init__(
        self, options: ReviewOptions, review: Review, waiting: Sequence[ReviewedCheck], folder: Path, *, named: bool
    ) -> None:
        self._options, self._review, self._waiting, self._folder = options, review, waiting, folder
        self._decisions: list[Decision] = []
        self._accept = acceptor(review, waiting, named=True)
        # what is not looked at is accepted as by `modelviz accept`
        self._accept_unseen = acceptor(review, waiting, named=named)

    def run(self) -> None:
        """Ask about each check, until all are decided or skipped, or the user quits."""
        number = 0
        for group in reviewed_groups(self._waiting):
            for line in self._heading(group):
                click.secho(printable(line), bold=None if line.startswith(" ") else True)
            print_line("")
            for at, item in enumerate(group.items):
                key = self._ask(item, number + at + 1, group.items[at:])
                if key == "q":
                    return
                rest = group.items[at + 1 :] if key.isupper() else ()
                if key.lower() != "s":
                    self._carry_out(self._accept if key.lower() == "a" else self._reject, item)
                    for other in rest:
                        self._carry_out(self._accept_unseen if key == "A" else self._reject, other)
                if key.isupper():
                    break
            number += len(group.items)

    def sum_up(self) -> None:
        """Say what was done; exit with 1 if anything was refused."""
        done = Counter(decision.done for decision in self._decisions)
        decided = done["accepted"] + done["already accepted"] + done["rejected"] + done["already rejected"]
        counts = [f"{count} {what}" for what, count in done.items() if what != "left"]
        print_line(", ".join([*counts, f"{len(self._waiting) - decided} still waiting"]))
        warn_of_ignored(self._review.baseline_dir, self._decisions)
        if done["refused"]:
            raise click.exceptions.Exit(1)

    def _reject(self, item: ReviewedCheck) -> Decision:
        return reject_candidate(self._review, item)

    def _carry_out(self, decide: Callable[[ReviewedCheck], Decision], item: ReviewedCheck) -> None:
        with _interrupts_held_back():
            decision = decide(item)
            self._decisions.append(decision)
            print_decision(decision, self._options.field)

    def _heading(self, group: ReviewedGroup) -> list[str]:
        """What the checks of a group have in common."""
        if group.drifts is None:
            return [f"without a baseline: {counted(len(group.items), 'check')}"]
        checks = tuple(_quoted(check, self._options.field) for check in group.drifts.checks)
        return group_lines(DriftGroup(group.drifts.name, checks), "")

    def _ask(self, item: ReviewedCheck, number: int, rest: Sequence[ReviewedCheck]) -> str:
        """Show a check and wait for a key that decides about it, which is returned."""
        field, run = self._options.field, f"  run {item.run.label}" if len(self._review.runs) > 1 else ""
        expected = "  (xfail)" if item.check.expected_failure else ""
        print_line(f"{number} of {len(self._waiting)}  {field(item.nodeid)}{run}{expected}")
        click.echo(stored_report(self._review, item.check, item.run, self._options))
        pictures = item.run.folder.pictures_of(item.check)
        for path in pictures:
            print_line(f"  picture   {field(from_here(path))}")
        whole = f"A/R/S all {len(rest)} left of this group  " if len(rest) > 1 else ""
        keys = f"a accept  r reject  s skip  {whole}{'o open picture  ' if pictures else ''}d details  q quit"
        opened = 0
        while True:
            click.secho(keys, bold=True)
            key = click.getchar()
            if not key:
                raise EOFError
            if key in ("a", "r", "s", "q") or (key in ("A", "R", "S") and whole):
                return key
            if key == "o" and pictures:
                self._open(item, pictures[opened % len(pictures)])
                opened += 1
            elif key == "d":
                for line in stored_details(self._review, item, self._options):
                    print_line(line)

    def _open(self, item: ReviewedCheck, path: Path) -> None:
        """Open a copy of a check's picture, if that is a PNG file."""
        try:
            data = item.run.folder.picture_bytes(path, _MOST_PICTURE_BYTES)
        except (OSError, UnreadableBaselineError) as error:
            print_line(f"the picture cannot be read: {error}")
            return
        if not data.startswith(_PNG):
            print_line("the picture is no PNG file, and is not opened")
            return
        copy = self._folder / f"{len(list(self._folder.iterdir()))}.png"
        copy.write_bytes(data)
        if click.launch(str(copy)):
            print_line("nothing here opens pictures: look at the file, or at modelviz report")


def _quoted(check: CheckResult, field: Callable[[str], str]) -> CheckResult:
    """A check whose names are fit to be printed, without what makes its group name a command."""
    first = check.first_divergence
    if first is not None:
        first = replace(first, layer=first.layer and field(first.layer), class_name=field(first.class_name))
    return replace(check, nodeid=field(check.nodeid), first_divergence=first, candidate=None)


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C takes effect when this is left."""
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        raise KeyboardInterrupt
