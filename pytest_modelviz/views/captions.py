"""Labels and headlines of pictures, for people. Knows no torch."""

import math

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.facts import items, rows
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.text.side_by_side import apart


def rows_in_words(capture: Capture, key: str, prefix: str = "") -> str:
    """A table of facts, a line for each row: `filter 3: start 0.1, end 0.9`."""
    lines = (
        f"{prefix}{name or MODEL_LABEL}: {', '.join(f'{fact} {value}' for fact, value in row.items())}"
        for name, row in rows(capture.facts, key).items()
    )
    return "\n".join(lines)


def error_caption(error: float, tolerance: float) -> str:
    """The error that follows a picture's headline: two numbers that never read the same where they differ."""
    size, allowed = apart(error, tolerance, 2)
    return f"   error {size}, allowed {allowed}"


def verdict_caption(verdict: Verdict | None) -> str:
    """The error of a whole check that follows a picture's headline; nothing without a verdict."""
    return "" if verdict is None else error_caption(verdict.error, verdict.tolerance)


def map_titles(count: int, actual: Capture, baseline: Capture | None = None) -> list[str]:
    """What each of so many maps explains: its sample, where there are several, and its class, before and now.

    Example:
        >>> map_titles(2, actual, baseline)
        ['sample 0, target 285', 'sample 1, target 450 -> 560']

    """
    sides = [items({"targets": [], **side.facts}, "targets") for side in (baseline or actual, actual)]
    classes = [[str(side[at]) if at < len(side) else "function" for side in sides] for at in range(count)]
    titles = [f"target {' -> '.join(dict.fromkeys(pair))}" for pair in classes]
    if count == 1 or len(items({"predicted": [], **actual.facts}, "predicted")) == 1:  # several classes of a sample
        return titles
    return [f"sample {at}, {title}" for at, title in enumerate(titles)]


def rounded(number: float, digits: int = 4) -> float | str:
    """Few digits are for people; what JSON has no number for is a word."""
    return float(f"{number:.{digits}g}") if math.isfinite(number) else str(number)
