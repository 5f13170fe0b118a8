"""One capture beside its baseline or a second capture: verdicts by its view, under the settings of its check."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_modelviz.compare.last_digits import differs_in_last_digits, has_same_noise
from pytest_modelviz.compare.precision import coarsest_precision
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.pictures.colour import Image, heatmaps_in
from pytest_modelviz.pictures.composite import sheet
from pytest_modelviz.pictures.exhibits import Exhibit, pictures_of
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.large_tensors import with_large_tensors_of
from pytest_modelviz.records.sketch_version import SKETCH_VERSION, sketched_as
from pytest_modelviz.records.trace_arrays import are_sketched_alike, stated_version
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.run.settings import Settings
from pytest_modelviz.run.stored_comparison import blaming, compared, pictured
from pytest_modelviz.views.base import View, capture_with_other_randomness, explained, measured

# An update leaves a baseline alone that differs by less than this part of the tolerance: that is the machine, not
# the model. Nothing creeps, because what is compared with stays the baseline that was recorded.
_NOISE_SCALE = 0.1
_RANDOM = "it draws random numbers, also in eval mode (functional dropout, noise, sampling)"
_OF_A_MACHINE = {"torch", "python", "platform", "threads", "cpu_capability", "cuda", "gpu"}  # of the environment
_RESTLESS = "it differs from call to call with the same random state (state kept outside it, data-dependent code)"


@dataclass(frozen=True)
class Comparison:
    """A capture, the view that it is of, and the settings under which it is compared."""

    view: View
    capture: Capture
    settings: Settings
    version: int = SKETCH_VERSION

    def sketched_as(self, baseline: Capture) -> Comparison:
        """The same comparison if the sketches can be compared, else with another capture, sketched as the baseline."""
        version = stated_version(baseline.arrays)
        if version is None or not self.capture.repeatable or are_sketched_alike(baseline.arrays, self.capture.arrays):
            return self
        with sketched_as(version):
            return replace(self, capture=self.view.capture(), version=version)

    @property
    def _tolerances(self) -> Tolerances:
        around = self.capture.environment
        return Tolerances(
            self.settings.rtol,
            self.settings.atol,
            around.get("device", "cpu"),
            layers=self.settings.layers,
            ignored=self.settings.ignored,
            precision=coarsest_precision(around),
        )

    def with_baseline(self, baseline: Capture, *, scale: float = 1.0) -> Verdict:
        """The verdict, with what in the environment has changed; `scale` is the part of what is allowed to be used.

        Raises UnreadableBaselineError for a baseline that the view cannot compare.
        """
        return compared(self.view, baseline, self.capture, replace(self._tolerances, scale=scale))

    def instability_beside(self, other: Comparison) -> tuple[Verdict, str] | None:
        """How the model differs from itself, where the baseline was compared with another capture than this one.

        Args:
            other: the comparison with that capture, whose sketches are of an earlier version.

        Returns:
            As `instability`. The two captures may differ from each other, where they are sketched alike, or from a
            further one each, made in the reverse order, so that a model that alternates is found.

        """
        verdict = self.view.compare(self.capture, with_large_tensors_of(other.capture, self.capture), self._tolerances)
        if not verdict.matched:
            return replace(verdict, cause=None), _RESTLESS
        return other.instability(whole=True) or self.instability(whole=True)

    def instability(self, *, whole: bool = False) -> tuple[Verdict, str] | None:
        """How the model differs from itself, and why; None where it does not.

        Unless the capture is to be made again as a `whole`, of one in lower precision its shadow alone is.
        """
        if not self.capture.repeatable:
            return None
        with sketched_as(self.version):
            again = capture_with_other_randomness(self.view, None if whole else self.capture)
            if again is self.capture:  # a view says so where nothing differs
                return None
            verdict = self.view.compare(self.capture, again, self._tolerances)
            if verdict.matched:
                return None
            drawn = self.view.compare(self.capture, self.view.capture(), self._tolerances).matched
        # two captures of the same model differ in nothing that could be a cause
        return replace(verdict, cause=None), _RANDOM if drawn else _RESTLESS

    @functools.cached_property
    def recordable(self) -> Capture:
        """The capture as a baseline holds it."""
        with sketched_as(self.version):
            return measured(self.view, self.capture)

    def is_noise(self, baseline: Capture, verdict: Verdict) -> bool:
        """Whether recording would change nothing but the last digits."""
        before, after = baseline.environment, self.capture.environment
        stated = {*before, *after} - _OF_A_MACHINE
        same = verdict.matched and not verdict.findings and all(before.get(key) == after.get(key) for key in stated)
        same = same and stated_version(baseline.arrays) == stated_version(self.capture.arrays)
        same = same and has_same_noise(baseline, self.recordable)
        same = same and differs_in_last_digits(baseline, self.recordable, replace(self._tolerances, scale=_NOISE_SCALE))
        return same and self.with_baseline(baseline, scale=_NOISE_SCALE).matched

    def precision_note(self, baseline: Capture) -> str:
        """What to say where a drift is no more than the baseline's own precision, which a file cannot ask for."""
        own, coarsest = self._tolerances.precision, coarsest_precision(baseline.environment, self.capture.environment)
        tolerances = replace(self._tolerances, precision=coarsest)
        if coarsest == own or not self.view.compare(baseline, self.capture, tolerances).matched:
            return ""
        return (
            f"the difference is no more than {coarsest.upper()} rounding, and the baseline says that it was "
            f"recorded in that precision. This run computes in full precision, which decides what is allowed: record "
            f"the baseline in full precision too, keep one for each precision (--modelviz-variant), or set the "
            f"tolerance with rtol="
        )

    def explained(self, baseline: Capture, verdict: Verdict) -> Verdict:
        """The verdict on a drift, with what has become of the values. Raises UnreadableBaselineError as above."""
        with sketched_as(self.version), blaming(baseline, lambda: explained(self.view, verdict, self.capture)):
            return explained(self.view, verdict, baseline)

    def pictures(self, baseline: Capture, verdict: Verdict) -> Sequence[Exhibit]:
        """Pictures of baseline, actual and difference. Raises UnreadableBaselineError as `with_baseline` does."""
        with heatmaps_in(self.settings.colormap):
            return pictured(self.view, baseline, self.recordable, verdict)

    def picture(self) -> Image | None:
        """The sheet of the capture's own pictures, None where it has none."""
        with heatmaps_in(self.settings.colormap):
            return sheet(pictures_of(self.view.picture(self.capture)))
