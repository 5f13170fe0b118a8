"""The report of a check as a results folder holds it, made fit to be printed with commands that are ours.

Anybody may have written it: no command in it is repeated. What our own reports say with a command is said anew, from
the test's id and the options given here; of a folder that was named with --from every other line is quoted.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pytest_modelviz.cli.options import ReviewOptions
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.reports.terminal import accept_command, ways_to_record, ways_to_replace
from pytest_modelviz.review.project_files import require_test_file
from pytest_modelviz.review.review import Review, ReviewedRun
from pytest_modelviz.text.printable import as_one_word, command_line, printable, printable_lines, quoted

# Lines that our reports end in a command, and lines that hold one: none of them is repeated.
_OWN_COMMAND = re.compile(
    r"\s{0,4}(?:accept\b|record\b|to (?:record|replace|accept)\b|this records all checks)", re.IGNORECASE
)
# A word is looked at once, from its beginning: a line may be of megabytes.
_ANY_COMMAND = re.compile(r"(?<![\w.])(?=[\w.]*?(?:modelviz|py\.?test))[\w.]+['\"]?\s|--modelviz", re.IGNORECASE)
# Exempt are commands in the sentences of our own reports: to move baselines, and to run pytest elsewhere or again.
_COMMAND = re.compile(
    r"(?<![\w.])(?=[\w.]*?(?<!--)modelviz)[\w.]+['\"]?\s+(?!mv\s)|--modelviz-update"
    r"|py\.?test['\"]?\s+(?!with '?--rootdir=|--modelviz again\b)",
    re.IGNORECASE,
)
_LEFT_OUT = "(lines that hold commands are left out: results.json has them)"
_COMMAND_LEFT_OUT = "(a line that holds a command is left out)"


def own_accept_command(check: CheckResult, run: ReviewedRun, options: ReviewOptions) -> str:
    """The command that takes what was captured, as it is needed here, which is not where the report was made."""
    end_of_options = " --" if check.nodeid.startswith("-") else ""
    return accept_command(f"{options.for_runs(run)}{end_of_options} {quoted(check.nodeid)}")


def with_own_commands(review: Review, check: CheckResult, run: ReviewedRun, options: ReviewOptions) -> CheckResult:
    """The check with its report as it is printed here, and the command to accept it only where that report has it."""
    message, command = stored_report(review, check, run, options), own_accept_command(check, run, options)
    return replace(check, message=message, accept_command=command if command in message else None)


def stored_report(review: Review, check: CheckResult, run: ReviewedRun, options: ReviewOptions) -> str:
    """A check's report, printable. It begins with the check's name, and further lines stay indented as ours are."""
    name, commands = printable(options.field(check.name)), _commands(review, check, run, options)
    lines = printable_lines(check.message).split("\n")
    if options.sources:
        repeated = [f"  | {line}" for line in lines if not (_OWN_COMMAND.match(line) or _ANY_COMMAND.search(line))]
        left_out = [f"  | {_LEFT_OUT}"] if len(repeated) < len(lines) else []
        return "\n".join([f"{name}: {check.status}, as its run reports it", *repeated, *left_out, *commands])
    return own_report(check, commands)


def own_report(check: CheckResult, commands: Sequence[str]) -> str:
    """A check's report as ours look, with these commands and without any that is in the message."""
    own_name = check.name if check.compared_with is None else as_one_word(check.name)  # as a diff writes it
    name, lines = printable(own_name), printable_lines(check.message).split("\n")
    first, *others = lines
    is_command = bool(_COMMAND.search(first))
    first = f"{name}: {check.status}" if is_command else first if first.startswith(name) else f"{name}: {first}"
    end = next((at for at, line in enumerate(others) if _OWN_COMMAND.match(line)), len(others))
    before, after = _indented(others[:end]), _indented(others[end:])
    omitted = len(others) - len(before) - len(after) - len(commands)  # each of ours replaces one
    left_out = [f"  {_LEFT_OUT}"] if is_command or omitted > 0 else []
    return "\n".join([first, *before, *commands, *after, *left_out])


def without_commands(lines: Sequence[str]) -> list[str]:
    """Lines of our own with names from elsewhere: one that holds a command is left out, and that is said."""
    return [f"  {_COMMAND_LEFT_OUT}" if _ANY_COMMAND.search(line) else line for line in lines]


def without_command(field: str) -> str:
    """A name or a line from elsewhere, printable; what holds a command is left out, and that is said."""
    return _COMMAND_LEFT_OUT if _ANY_COMMAND.search(field) else printable(field)


def _indented(lines: Sequence[str]) -> list[str]:
    """Those lines of a report that hold no commands, as ours are indented."""
    repeated = [line for line in lines if not (_OWN_COMMAND.match(line) or _COMMAND.search(line))]
    return [line if line.startswith("  ") else f"  {line}" for line in repeated]


def _commands(review: Review, check: CheckResult, run: ReviewedRun, options: ReviewOptions) -> list[str]:
    """What to do, in our own words: the lines with which our report of such a check ends."""
    if check.compared_with is not None:  # two baselines were compared: there is nothing to take or to record
        return []
    try:
        require_test_file(check.nodeid, review.rootdir, review.own_folders())
    except ModelvizError as error:
        return [f"  (no command: {printable(str(error))})"] if check.status.fails else []
    accept = own_accept_command(check, run, options) if check.candidate is not None else ""
    record = _selection(check.nodeid, options)
    if check.status is Status.DRIFT and accept:
        return [f"  accept    {accept}"]
    if check.status is Status.MISSING:
        return [ways_to_record(accept, record)]
    return ways_to_replace(record) if check.status is Status.UNREADABLE else []


def _selection(nodeid: str, options: ReviewOptions) -> str:
    """What selects a test on pytest's command line, as seen from here."""
    root, here = options.project.root, Path.cwd()
    file, separator, test = nodeid.partition("::")
    if root != here:
        try:
            file = os.path.relpath(root / file, here).replace(os.sep, "/")
        except ValueError:  # another drive
            file = str(root / file)
    roots = [f"--rootdir={options.rootdir}"] if options.rootdir else []
    folders = [f"--modelviz-baseline-dir={options.baseline_dir}"] if options.baseline_dir else []
    dot = "./" if file.startswith("-") else ""
    return command_line([*roots, *folders, f"{dot}{file}{separator}{test}"])
