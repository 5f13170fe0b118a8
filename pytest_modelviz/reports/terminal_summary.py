"""The last lines of a run: what became of all its checks, and what to do now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.storage.definitions import function_of
from pytest_modelviz.storage.renaming import move_command
from pytest_modelviz.text.printable import as_one_word, printable, quoted

_MOST_ORPHANS = 10

Line = tuple[str, bool]


@dataclass(frozen=True)
class TerminalSummary:
    """What the last lines are made of.

    `folder` is the results folder as seen from here, `run_id` names the run, `review` are the options that the command
    `modelviz` needs to find it, `compares` says whether the run was to compare at all, `written` whether its results
    have replaced the last run's, `not_made` are the tests that passed without a check that they have a baseline of.
    """

    totals: Mapping[str, int]
    results: Sequence[CheckResult] = ()
    orphans: Sequence[OrphanRecord] = ()
    not_made: Sequence[tuple[str, str]] = ()
    lost: Sequence[str] = ()
    folder: str = ".modelviz"
    run_id: str = ""
    review: str = ""
    has_report: bool = False
    compares: bool = True
    written: bool = True
    orphans_fail: bool = False


def summary_lines(run: TerminalSummary) -> list[Line]:
    """(line, whether it is an error). What failed has been told where it failed; the rest is told here."""
    lines: list[Line] = []
    for result in run.results:
        if result.message and not result.status.fails:
            lines += [(line, False) for line in f"{printable(result.nodeid)} {result.message}".splitlines()]
    lines += [(line, True) for line in _lost(run)]
    lines += [(line, run.orphans_fail) for line in orphan_lines(run.orphans, review=run.review)]
    lines += [(line, False) for line in not_made_lines(run.not_made)]
    return lines + [(line, False) for line in _counts(run)]


def _lost(run: TerminalSummary) -> list[str]:
    if not run.lost:
        return []
    names = ", ".join(printable(name) for name in run.lost)
    death = f"worker {names} died" if len(run.lost) == 1 else f"workers {names} died"
    return [f"{death}: checks that were not finished are not among the results, and no orphans were judged"]


def orphan_lines(orphans: Sequence[OrphanRecord], most: int = _MOST_ORPHANS, *, review: str = "") -> list[str]:
    """Which tests are gone whose baselines are still there, and how they may be called now."""
    if not orphans:
        return []
    tests: dict[str, list[OrphanRecord]] = {}
    for orphan in orphans:
        tests.setdefault(orphan.nodeid, []).append(orphan)
    options = f" {review}" if review else ""
    prune = (
        f"modelviz prune{options}{' TEST...' if '--from' in options else ''}"  # a list from elsewhere is not trusted
    )
    if len(orphans) == 1:
        lines = [f"1 orphan: a baseline whose test is gone ({prune} removes it)"]
    else:
        gone = f"{_many(len(tests), 'test')} that {'is' if len(tests) == 1 else 'are'} gone"
        lines = [f"{len(orphans)} orphans: baselines of {gone} ({prune} removes them)"]
    for nodeid, rows in list(tests.items())[:most]:
        names = ", ".join(sorted({row.name for row in rows}))
        renamed = rename_hint(rows[0], review) if len({row.renamed_to for row in rows}) == 1 else ""
        lines.append(f"  {printable(nodeid)}: {printable(names)}{renamed and '; '}{renamed}")
    if len(tests) > most:
        lines.append(f"  and {len(tests) - most} more: modelviz orphans{options}")
    return lines


def not_made_lines(not_made: Sequence[tuple[str, str]], most: int = _MOST_ORPHANS) -> list[str]:
    """Which tests have passed without a check of which there is a baseline."""
    if not not_made:
        return []
    baselines = "1 baseline was" if len(not_made) == 1 else f"{len(not_made)} baselines were"
    lines = [f"{baselines} not compared: the test passed without that check"]
    lines += [f"  {printable(nodeid)}: {printable(name)}" for nodeid, name in not_made[:most]]
    return [*lines, f"  and {len(not_made) - most} more"] if len(not_made) > most else lines


def rename_hint(orphan: OrphanRecord, review: str, *, whole_file: bool = False) -> str:
    """What an orphan's test may be called now, and the command for that; empty where nothing is known of it."""
    old, new = orphan.nodeid, orphan.renamed_to
    if new is None:
        return ""
    is_there = orphan.function_is_there
    is_elsewhere = "[" not in old or not orphan.function_was_collected
    if is_there and is_elsewhere and function_of(old) != function_of(new):
        return f"is it now {printable(as_one_word(new))}?"  # a move would take along what the function has now
    command = move_command(old, new, whole_file=whole_file, only_parameters=is_there, options=review)
    if orphan.new_has_baseline:
        command = " ".join(
            word for word in ("modelviz prune", review, "--" if old.startswith("-") else "", quoted(old)) if word
        )
    return f"is it now {printable(as_one_word(new))}? {command}"


def _counts(run: TerminalSummary) -> list[str]:
    lines = []
    totals, review = run.totals, f" {run.review}" if run.review else ""
    if totals[Status.NOT_COMPARED]:
        hint = "" if run.compares else " (compare them with --modelviz)"
        lines.append(f"{_many(totals['not_compared'], 'check')} not compared{hint}")
    counts = [f"{totals[status]} {status}" for status in totals if totals[status] and status != "not_compared"]
    if counts and run.written:
        lines.append(f"{', '.join(counts)}; details in {printable(run.folder)}/results.json")
    if not run.written and totals[Status.NOT_COMPARED]:
        lines.append(
            f"this run compared nothing: {printable(run.folder)} still holds the results of the last one that did"
        )
    this = f" --run {run.run_id}{review}"
    captured = [result.status for result in run.results if result.candidate]
    if any(status.is_acceptable for status in captured):
        lines.append(f"review: modelviz list{this}; accept: modelviz accept{this} [TEST...]")
    elif captured:  # of unreadable baselines: each report says what to do
        lines.append(f"review: modelviz show{this}")
    if any(result.tensorboard_tags for result in run.results):
        page = f", or open {quoted(f'{run.folder}/report.html')}" if run.has_report else ""
        lines.append(f"see the pictures: modelviz tensorboard{review}{page}")
    return lines


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
