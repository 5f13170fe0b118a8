"""report.html: one file with all that did not match, pictures included, to be opened anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_modelviz.baselines.folder import LocalFolder
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.orphans import judged_together
from pytest_modelviz.printable import printable, printable_lines
from pytest_modelviz.reports.results import ResultsFolder, totals_of
from pytest_modelviz.reports.unfinished import unfinished_line

_QUIET = ("match", "recorded", "not_compared")
_DECIDED = ("accepted", "rejected")
_MOST_PICTURE_BYTES = 40 * 2**20  # a report that no browser opens helps nobody


States = Mapping[tuple[str, str, str], str]


def write_report(results: ResultsFolder, states: States | None = None) -> Path:
    """Make report.html of the results in a folder and the pictures beside them. Raises ModelvizError.

    `states` say what has become of what was captured (`accepted`, `rejected`), by run, test and check.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    documents = results.documents()
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    every = [(str(document["run"]["id"]), check) for document in documents for check in document["checks"]]
    checks = [pair for pair in every if pair[1]["status"] not in _QUIET]
    totals = totals_of(check for _, check in every)
    page = environment.get_template("report.html.jinja").render(
        printable(
            {
                "runs": [document["run"] for document in documents],
                "totals": {status: count for status, count in totals.items() if count},
                "orphans": judged_together(documents),
                "quiet": [check for _, check in every if check["status"] in _QUIET],
            }
        ),
        checks=_with_pictures(results, checks, states or {}),
        unfinished=printable(unfinished_line(results.unfinished(documents))),
        lines=printable_lines,
        text=printable,
    )
    results.put(results.report, page.encode("utf-8", "backslashreplace"))
    return results.report


def _with_pictures(results: ResultsFolder, checks: list[tuple[str, Any]], states: States) -> list[Any]:
    """The checks, each with its pictures as data URIs, as long as the page can bear them."""
    left = _MOST_PICTURE_BYTES
    told = []
    for run_id, check in checks:
        shown, omitted = [], 0
        for path in results.pictures_of(check):
            data = _picture(results, path)
            if data is None or len(data) > left:
                omitted += 1
            else:
                left -= len(data)
                shown.append(f"data:image/png;base64,{base64.b64encode(data).decode()}")
        state = states.get((run_id, check["nodeid"], check["name"]), "")
        told.append({**check, "shown": shown, "omitted": omitted, "state": state if state in _DECIDED else ""})
    return told


def _picture(results: ResultsFolder, path: Path) -> bytes | None:
    try:
        data = LocalFolder(results.pictures).read(path.relative_to(results.pictures).as_posix(), _MOST_PICTURE_BYTES)
    except (OSError, UnreadableBaselineError):
        return None
    return data if data.startswith(b"\x89PNG") else None
