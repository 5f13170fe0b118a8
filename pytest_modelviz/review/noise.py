"""The noise that the baseline of a reviewed check holds."""

from pytest_modelviz.compare.noisy_calls import noise_summary
from pytest_modelviz.compare.noisy_explanations import explanation_noise_summary
from pytest_modelviz.compare.precision import precision_of
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.noise import EXPLANATION_NOISE, NOISE_ARRAYS
from pytest_modelviz.records.noisy_calls import NoiseSummary
from pytest_modelviz.records.trace_arrays import DAMAGE, damaged_trace, unpack_trace
from pytest_modelviz.review.review import Review, ReviewedRun


def baseline_noise(review: Review, run: ReviewedRun, check: CheckResult) -> NoiseSummary | None:
    """The noise of the layers, or of the gradient, in a check's baseline; None where it holds none.

    Raises:
        ModelvizError: there is no baseline of this project, or it cannot be read.

    """
    if review.foreign_project(run) is not None:
        raise ModelvizError("the baseline is another project's")
    try:
        stored = review.baselines.load(
            review.baselines.location(check, check.baseline), nodeid=check.nodeid, name=check.name
        )
        if stored is None:
            raise ModelvizError("there is no baseline")
        if not NOISE_ARRAYS & stored.capture.arrays.keys():
            return None
        around = stored.capture.environment
        tolerances = Tolerances(device=around.get("device", "cpu"), precision=precision_of(around))
        try:
            if EXPLANATION_NOISE in stored.capture.arrays:
                return explanation_noise_summary(stored.capture, tolerances)
            return noise_summary(unpack_trace(stored.capture.arrays), tolerances)
        except DAMAGE as error:
            raise damaged_trace(error) from error
    except (UnreadableBaselineError, OSError) as error:
        raise ModelvizError(f"the baseline cannot be read: {error}") from error
