"""report.html: one file with all that did not match, pictures included, to be opened anywhere."""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.check_result import CheckResult, totals_of
from pytest_modelviz.records.run_result import RunResult
from pytest_modelviz.storage.local_folder import LocalFolder
from pytest_modelviz.storage.orphans import judged_together
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.run_marks import unfinished_line
from pytest_modelviz.text.printable import each_text, printable, printable_lines

_PNG_HEADER = re.compile(rb"\x89PNG\r\n\x1a\n.{4}IHDR(.{4})(.{4})", re.DOTALL)
_MOST_PIXELS = 50_000_000  # of one picture: no view draws a tenth of that
_MOST_PICTURE_BYTES = 40 * 2**20  # beyond that browsers cannot open a report


Fates = Mapping[tuple[str, str, str], str]
Message = Callable[[RunResult, CheckResult], str]


def write_report(
    results: ResultsFolder,
    fates: Fates | None = None,
    message: Message | None = None,
    field: Callable[[str], str] = str,
) -> Path:
    """Make report.html of the results in a folder and the pictures beside them. Raises ModelvizError.

    `fates` say what has become since of what was captured (`accepted since`), by run, test and check;
    `message` gives the report of a check of a run, where it is not to be the one that stands in the results, and
    `field` makes other texts from the results fit to stand among sentences of ours.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    runs = results.all_runs()
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    every = [(result.run.id, check) for result in runs for check in result.checks]
    messages = {id(check): message(result, check) for result in runs for check in result.checks if message}

    def text(value: Any) -> Any:
        return printable(each_text(value, field))

    totals = totals_of(check for _, check in every)
    page = environment.get_template("report.html.jinja").render(
        runs=text([result.run for result in runs]),
        totals={status: count for status, count in totals.items() if count},
        orphans=text(judged_together(runs)),
        quiet=text([check for _, check in every if not check.status.fails]),
        articles=_articles(results, [pair for pair in every if pair[1].status.fails], fates or {}),
        unfinished=printable(unfinished_line(results.unfinished(runs))),
        lines=lambda check: printable_lines(messages.get(id(check), check.message)),
        text=text,
        line=printable,
    )
    results.put(results.report, page.encode("utf-8", "backslashreplace"))
    return results.report


class _Article(NamedTuple):
    """A check that did not match, its pictures as data URIs, how many more there are, and what became of it since."""

    check: CheckResult
    pictures: list[str]
    omitted: int
    fate: str


def _articles(results: ResultsFolder, checks: Sequence[tuple[str, CheckResult]], fates: Fates) -> list[_Article]:
    """The checks, each with its pictures, as long as the page can bear them."""
    left = _MOST_PICTURE_BYTES
    articles = []
    known: dict[PurePosixPath, int] = {}  # how many pictures of a location another check has already
    for run_id, check in checks:
        pictures: list[str] = []
        path = results.location(check).path
        omitted = known.get(path, 0)
        for file in results.pictures_of(check) if path not in known else ():
            data = _picture(results, file, left) if left else None
            if data is None:
                omitted += 1
            else:
                left -= len(data)
                pictures.append(f"data:image/png;base64,{base64.b64encode(data).decode()}")
        known.setdefault(path, len(pictures) + omitted)
        articles.append(_Article(check, pictures, omitted, fates.get((run_id, check.nodeid, check.name), "")))
    return articles


def _picture(results: ResultsFolder, path: Path, most: int) -> bytes | None:
    """A PNG file of at most so many bytes that a browser can decode: a small file may be a picture of gigabytes."""
    try:
        data = LocalFolder(results.pictures).read(path.relative_to(results.pictures).as_posix(), most)
    except (OSError, UnreadableBaselineError):
        return None
    header = _PNG_HEADER.match(data)
    if header is None:
        return None
    width, height = (int.from_bytes(side, "big") for side in header.groups())
    return data if width * height <= _MOST_PIXELS else None
