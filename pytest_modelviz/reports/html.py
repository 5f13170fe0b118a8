"""report.html: one file with all that did not match, pictures included, to be opened anywhere."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_modelviz.records.check_result import totals_of
from pytest_modelviz.records.run_result import RunFacts
from pytest_modelviz.reports.report_page import Fates, ReportPage, Wording, by_test
from pytest_modelviz.storage.orphans import judged_together
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.run_marks import unfinished_line
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.printable import each_text, printable

if TYPE_CHECKING:
    from jinja2 import Environment

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)_(\d\d)-(\d\d)-\d\d[\d._]*")
_SHORT_COMMIT = 8


def write_report(results: ResultsFolder, fates: Fates | None = None, wording: Wording | None = None) -> Path:
    """Make report.html of the results in a folder and the pictures and details beside them. Raises ModelvizError.

    `fates` say what has become since of what was captured (`accepted since`), by run, test and check.
    """
    runs = results.all_runs()
    wording = wording or Wording()
    page = ReportPage(results, runs, fates or {}, wording)
    environment = _environment()
    style, script = (_source(name) for name in ("report.css", "report.js"))
    text = environment.get_template("report.html.jinja").render(
        page=page,
        runs=[_facts(each_text(result.run, wording.name)) for result in runs],
        totals={status: count for status, count in totals_of(page.checks).items() if count},
        orphans=printable(each_text(judged_together(runs), wording.name)),
        unfinished=printable(unfinished_line(results.unfinished(runs))),
        style=style,
        script=script,
        policy=_policy(style, script),
    )
    results.put(results.report, text.encode("utf-8", "backslashreplace"))
    return results.report


@functools.cache  # the template is translated once, however many reports a process makes
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(counted=counted, by_test=by_test)
    return environment


def _source(name: str) -> str:
    """One of our own files beside this one."""
    return (Path(__file__).parent / name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """The page's Content-Security-Policy: our own style and script by their digests, pictures in it and beside it."""
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in (style, script)
    ]
    return (
        f"default-src 'none'; img-src data: 'self' file:; style-src {hashes[0]}; script-src {hashes[1]}; "
        f"base-uri 'none'; form-action 'none'"
    )


@dataclass(frozen=True)
class _RunLine:
    """The facts of a run for people."""

    facts: RunFacts
    time: str
    revision: str


def _facts(run: RunFacts) -> _RunLine:
    run = printable(run)
    time = _TIME.fullmatch(run.id)
    dirty = "*" if run.dirty else ""
    commit = "" if run.commit is None else f"{run.commit[:_SHORT_COMMIT]}{dirty}"
    return _RunLine(run, f"{time[1]} {time[2]}:{time[3]}" if time else "", f"{run.branch or ''} {commit}".strip())
