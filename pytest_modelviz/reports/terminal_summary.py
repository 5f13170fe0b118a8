"""The last lines of a run: what became of all its checks, and what to do now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.group import drift_groups
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.reports.groups import group_lines, groups_worth_telling
from pytest_modelviz.storage.definitions import function_of
from pytest_modelviz.storage.orphans import files_moved_whole
from pytest_modelviz.storage.renaming import LONGEST_ID, move_command
from pytest_modelviz.text.counts import counted, cut
from pytest_modelviz.text.printable import as_one_word, printable, quoted

_MOST_ORPHANS = 10
_MOST_GROUPS = 6


@dataclass(frozen=True)
class TerminalSummary:
    """What the last lines are made of.

    `folder` is the results folder as seen from here, `run_id` names the run, `review` are the options that the command
    `modelviz` needs to find it, `compares` says whether the run was to compare at all, `written` whether its results
    have replaced the last run's, `not_made` are the tests that passed without a check that they have a baseline of,
    `without_file` the baselines whose test file is gone.
    """

    totals: Mapping[str, int]
    results: Sequence[CheckResult] = ()
    orphans: Sequence[OrphanRecord] = ()
    not_made: Sequence[tuple[str, str]] = ()
    without_file: Sequence[OrphanRecord] = ()
    lost: Sequence[str] = ()
    folder: str = ".modelviz"
    run_id: str = ""
    review: str = ""
    has_report: bool = False
    compares: bool = True
    written: bool = True
    orphans_fail: bool = False


def summary_lines(run: TerminalSummary) -> list[tuple[str, bool]]:
    """(line, whether it is an error). Failures have been reported with their tests; the rest follows here."""
    quiet = [result for result in run.results if result.message and not result.status.fails]
    notes = [line for result in quiet for line in f"{printable(result.nodeid)} {result.message}".splitlines()]
    return [
        *((line, False) for line in notes),
        *((line, True) for line in _group_lines(run)),
        *((line, True) for line in _lost_lines(run.lost)),
        *((line, run.orphans_fail) for line in _orphan_lines(run.orphans, run.review)),
        *((line, False) for line in _renamed_lines(run.without_file, run.review)),
        *((line, False) for line in (*_not_made_lines(run.not_made), *_count_lines(run))),
    ]


def _group_lines(run: TerminalSummary) -> list[str]:
    """The drifts by what they have in common, where that is more than each report has said."""
    groups = drift_groups(result for result in run.results if not result.expected_failure)
    several = groups_worth_telling(groups)
    options = f"--run {run.run_id} {run.review}".strip()
    lines = [line for group in several[:_MOST_GROUPS] for line in group_lines(group, options)]
    more = len(several) - _MOST_GROUPS
    return [*lines, *([f"and {counted(more, 'more group')}: modelviz list {options}"] if more > 0 else [])]


def _lost_lines(lost: Sequence[str]) -> list[str]:
    if not lost:
        return []
    workers = f"{'worker' if len(lost) == 1 else 'workers'} {', '.join(map(printable, lost))}"
    return [f"{workers} died: checks that were not finished are not among the results, and no orphans were judged"]


def _orphan_lines(orphans: Sequence[OrphanRecord], review: str) -> list[str]:
    """Which tests are gone whose baselines are still there, and how they may be called now."""
    if not orphans:
        return []
    tests: dict[str, list[OrphanRecord]] = {}
    for orphan in orphans:
        tests.setdefault(orphan.nodeid, []).append(orphan)
    options = f" {review}" if review else ""
    tests_named = " TEST..." if "--from" in options else ""  # a list from elsewhere is not trusted
    prune = f"modelviz prune{options}{tests_named}"
    if len(orphans) == 1:
        lines = [f"1 orphan: a baseline whose test is gone ({prune} removes it)"]
    else:
        gone = f"{counted(len(tests), 'test')} that {'is' if len(tests) == 1 else 'are'} gone"
        lines = [f"{len(orphans)} orphans: baselines of {gone} ({prune} removes them)"]
    for nodeid, rows in list(tests.items())[:_MOST_ORPHANS]:
        names = ", ".join(sorted({as_one_word(row.name) for row in rows}))
        renamed = rename_hint(rows[0], review) if len({row.renamed_to for row in rows}) == 1 else ""
        lines.append(f"  {printable(as_one_word(nodeid))}: {printable(names)}{renamed and '; '}{renamed}")
    if len(tests) > _MOST_ORPHANS:
        lines.append(f"  and {len(tests) - _MOST_ORPHANS} more: modelviz orphans{options}")
    return lines


def _renamed_lines(without_file: Sequence[OrphanRecord], review: str) -> list[str]:
    """Which tests of a file that is gone may be those that had no baseline until now, as they captured the same."""
    moved = files_moved_whole(without_file)
    hints = {
        orphan.nodeid: rename_hint(orphan, review, whole_file=orphan.test_file in moved)
        for orphan in without_file
        if orphan.renamed_to is not None
    }
    if not hints:
        return []
    whose = "this test has baselines, and its" if len(hints) == 1 else "these tests have baselines, and their"
    texts = [f"{printable(as_one_word(nodeid))}; {hint}" for nodeid, hint in hints.items()]
    return [f"{whose} file is gone:", *(f"  {text}" for text in cut(texts, _MOST_ORPHANS + 1))]


def _not_made_lines(not_made: Sequence[tuple[str, str]]) -> list[str]:
    """Which tests have passed without a check of which there is a baseline."""
    if not not_made:
        return []
    baselines = "1 baseline was" if len(not_made) == 1 else f"{len(not_made)} baselines were"
    names = [f"{printable(nodeid)}: {printable(as_one_word(name))}" for nodeid, name in not_made]
    heading = f"{baselines} not compared: the test passed without that check"
    return [heading, *(f"  {text}" for text in cut(names, _MOST_ORPHANS + 1))]


def rename_hint(orphan: OrphanRecord, review: str, *, whole_file: bool = False, is_own: bool = True) -> str:
    """What an orphan's test may be called now, and the command for that; empty where nothing is known of it.

    There is no command for a test whose function is still there, if it is no run of one's own that found it gone.
    """
    old, new = orphan.nodeid, orphan.renamed_to
    if new is None:
        return ""
    is_there = orphan.function_is_there
    is_elsewhere = "[" not in old or not orphan.function_was_collected
    if len(old) > LONGEST_ID:
        return f"is it now {printable(as_one_word(new))}?"
    if is_there and (not is_own or (is_elsewhere and function_of(old) != function_of(new))):
        return f"is it now {printable(as_one_word(new))}?"  # a move would take along what the function has now
    command = move_command(old, new, whole_file=whole_file, only_parameters=is_there, options=review)
    if orphan.new_has_baseline:
        command = " ".join(
            word for word in ("modelviz prune", review, "--" if old.startswith("-") else "", quoted(old)) if word
        )
    return f"is it now {printable(as_one_word(new))}? {command}"


def _count_lines(run: TerminalSummary) -> list[str]:
    lines = []
    totals, review = run.totals, f" {run.review}" if run.review else ""
    if totals[Status.NOT_COMPARED]:
        hint = "" if run.compares else " (compare them with --modelviz)"
        lines.append(f"{counted(totals['not_compared'], 'check')} not compared{hint}")
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
