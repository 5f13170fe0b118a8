"""report.html: one file with all that did not match, pictures included, to be opened anywhere."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from pytest_modelviz.baselines.folder import LocalFolder
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.reports.results import ResultsFolder
from pytest_modelviz.reports.terminal import visible

_MOST_PICTURE_BYTES = 40 * 2**20  # a report that no browser opens helps nobody


def write_report(results: ResultsFolder) -> Path:
    """Make report.html of results.json and the pictures beside it. Raises ModelvizError."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    document = results.read()
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    checks = [check for check in document["checks"] if check["status"] not in ("match", "recorded", "not_compared")]
    quiet = [check for check in document["checks"] if check not in checks]
    page = environment.get_template("report.html.jinja").render(
        visible(
            {
                "run": document["run"],
                "totals": {status: count for status, count in document["totals"].items() if count},
                "orphans": document.get("orphans", []),
                "quiet": quiet,
            }
        ),
        checks=_with_pictures(results, checks),
        text=lambda text: "\n".join(visible(line) for line in str(text).split("\n")),
    )
    results.put(results.report, page.encode("utf-8", "backslashreplace"))
    return results.report


def _with_pictures(results: ResultsFolder, checks: list[Any]) -> list[Any]:
    """The checks, each with its pictures as data URIs, as long as the page can bear them."""
    left = _MOST_PICTURE_BYTES
    told = []
    for check in checks:
        shown, omitted = [], 0
        for path in results.pictures_of(check):
            data = _picture(results, path)
            if data is None or len(data) > left:
                omitted += 1
            else:
                left -= len(data)
                shown.append(f"data:image/png;base64,{base64.b64encode(data).decode()}")
        told.append({**check, "shown": shown, "omitted": omitted})
    return told


def _picture(results: ResultsFolder, path: Path) -> bytes | None:
    try:
        data = LocalFolder(results.pictures).read(path.relative_to(results.pictures).as_posix(), _MOST_PICTURE_BYTES)
    except (OSError, UnreadableBaselineError):
        return None
    return data if data.startswith(b"\x89PNG") else None
