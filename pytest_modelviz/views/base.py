"""One package a view. A view is one way of looking at a model; it has four methods and keeps no state of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.records.capture import Capture, Result_co
from pytest_modelviz.records.verdict import Cause, Verdict


def capture_with_other_randomness(view: View, first: Capture | None = None) -> Capture:
    """Capture once more, from other random states, which reveals a model that draws random numbers.

    A view that can tell so at less cost than by another capture has a method `capture_again(first)`, which is used
    where a `first` capture is given. It returns `first` itself where it finds no difference at all.
    """
    from pytest_modelviz.probe.process import independent_randomness

    again = getattr(view, "capture_again", None)
    with independent_randomness():
        return view.capture() if again is None or first is None else cast("Capture", again(first))


def measured(view: View, capture: Capture) -> Capture:
    """A capture that is to become a baseline, with the noise of what it holds, if its view measures that.

    Such a view has a method `with_noise(capture)`; the model may be run by it, and is left as it was.
    """
    measure = getattr(view, "with_noise", None)
    return capture if measure is None else cast("Capture", measure(capture))


def explained(view: View, verdict: Verdict, baseline: Capture) -> Verdict:
    """A verdict on a drift that says what has become of the values that differ, if its view can find that out.

    Such a view has a method `explain_values(verdict, baseline)`.
    """
    explain = getattr(view, "explain_values", None)
    return verdict if explain is None else cast("Verdict", explain(verdict, baseline))


def cause_text(view: View, cause: Cause | None) -> str:
    """What a cause means in a view whose `cause_texts`, a dict by cause, say it otherwise than for all views."""
    texts: Mapping[Cause | None, str] = getattr(view, "cause_texts", {})
    return texts.get(cause, "")


class View(Protocol[Result_co]):
    """What the session asks of a view. An instance stands for one check: it holds the model and the arguments.

    A `View[FeatureMaps]` is one whose fixture returns a `FeatureMaps`.

    If a view also has its `model` as an attribute, a run warns of globs in `ignore=` that match nothing in it.
    """

    @property
    def view(self) -> str:
        """The view's name, which is the fixture's."""

    def capture(self) -> Capture[Result_co]:
        """Capture the model and leave it as it was. Raises ModelvizError for a model that cannot be captured."""

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        """Find out whether two captures are of the same model. Raises UnreadableBaselineError for a damaged one."""

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        """Pictures of one capture; with a baseline, composites of baseline, actual and difference.

        Beside pictures, for TensorBoard: curves, histograms and graphs.
        """

    def describe(self, actual: Capture) -> str:
        """The capture in words, for the text report; may be long."""
