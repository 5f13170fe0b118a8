"""A capture beside its baseline, as its view compares and pictures them. Needs no model, and no torch."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from pytest_modelviz.compare.output_effect import with_output_effect
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.findings import FactFinding
from pytest_modelviz.records.trace_arrays import are_sketched_alike
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.side_by_side import cut_apart

_LONGEST_REASON = 200  # letters of an error that a damaged baseline has led to
_MOST_CLAIMS, _LONGEST = 20, 200  # keys of an environment that only a baseline has, and letters of each text


class Comparer(Protocol):
    """What is asked of a view here."""

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        """As in `View`."""

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        """As in `View`."""


def compared(view: Comparer, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
    """The verdict, with what in the environment has changed.

    Raises UnreadableBaselineError for a baseline that the view cannot compare.
    """
    if baseline.view != actual.view:
        raise UnreadableBaselineError(f"it was recorded by the view {baseline.view!r}, not {actual.view!r}")
    if not are_sketched_alike(baseline.arrays, actual.arrays):
        raise UnreadableBaselineError(
            "its sketches are of another version of pytest-modelviz: record it anew (pytest --modelviz-update-all)"
        )
    with blaming(baseline, lambda: view.compare(actual, actual, tolerances)):
        verdict = view.compare(baseline, actual, tolerances)
        verdict = with_output_effect(verdict, baseline, actual, tolerances)
    names = [str(capture.facts.get("model")) for capture in (baseline, actual)]
    if verdict.matched and names[0] != names[1]:  # which no view compares
        verdict = replace(verdict, findings=(*verdict.findings, FactFinding("model", *names)))
    return replace(verdict, environment_changes=environment_changes(baseline.environment, actual.environment))


def pictured(view: Comparer, baseline: Capture, actual: Capture, verdict: Verdict) -> Sequence[Exhibit]:
    """Pictures of baseline, actual and difference. Raises UnreadableBaselineError as `compared` does."""
    with blaming(baseline, lambda: view.picture(actual, actual, verdict)):
        return view.picture(actual, baseline, verdict)


def environment_changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What this run states otherwise, then a little of what it does not: a baseline may state anything."""
    claims = sorted(before.keys() - after.keys())[:_MOST_CLAIMS]
    return {
        key[:_LONGEST]: cut_apart(before.get(key, "-"), after.get(key, "-"), _LONGEST)
        for key in (*sorted(after), *claims)
        if before.get(key) != after.get(key)
    }


@contextlib.contextmanager
def blaming(baseline: Capture, without_it: Callable[[], object]) -> Iterator[None]:
    """What a view raises about a baseline, and not about a capture beside itself, is damage of the baseline.

    Its file is whole, but was edited to hold what no view records: no reader can foresee all such edits.
    """
    try:
        yield
    except (UnreadableBaselineError, ModelvizError):
        raise
    except Exception as error:
        without_it()  # raises what is the view's own doing
        kind, text = type(error).__name__, " ".join(str(error).split())[:_LONGEST_REASON]
        raise UnreadableBaselineError(
            f"it holds what the view {baseline.view!r} never records, and cannot be compared ({kind}: {text}): restore "
            f"it from version control, or record it anew"
        ) from error
