"""Whether two short trainings are of the same model, data and optimiser: the same scalars, gradients and updates."""

from dataclasses import replace

from pytest_modelviz.compare.readable import require_rows
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.findings import DtypeFinding, FactFinding
from pytest_modelviz.records.structure import ModelStructure
from pytest_modelviz.records.verdict import Cause, Verdict
from pytest_modelviz.views.training_curve.curve_comparison import compare_curves
from pytest_modelviz.views.training_curve.diagnosis import TrainingDiagnosis
from pytest_modelviz.views.training_curve.optimizer_comparison import optimizer_findings, unstated_options
from pytest_modelviz.views.training_curve.optimizer_records import optimizers_from_json
from pytest_modelviz.views.training_curve.records import Training

CAUSE_TEXTS = {
    Cause.COMPUTATION: "the model starts the same; its code, the data, the loss or the optimiser is different"
}


def compare(baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
    """Compare two short trainings step by step.

    Args:
        baseline: the stored capture.
        actual: the capture that is compared with it; what is allowed follows from its dtype and curves, not the
            baseline's.
        tolerances: those of the check; those of layers count for the gradients of their parameters.

    Returns:
        The verdict, without a cause where the data or the random numbers of a step may be the reason.

    Raises:
        UnreadableBaselineError: the baseline is damaged, or its text says another thing than its arrays.

    """
    seeds = [capture.facts.get("seed") for capture in (baseline, actual)]
    if seeds[0] != seeds[1]:
        return Verdict.drift(findings=[FactFinding("seed", str(seeds[0]), str(seeds[1]))])
    dtypes = [dtype for capture in (baseline, actual) if isinstance(dtype := capture.facts.get("dtype"), str)]
    if len(dtypes) != 2:
        raise UnreadableBaselineError("it does not say in which dtype it was trained")
    before, after = (Training.from_arrays(capture.arrays) for capture in (baseline, actual))
    require_rows(baseline.facts.get("steps"), before.step_rows(), "step")
    require_rows(baseline.facts.get("parameters"), before.parameter_rows(), "parameter")
    optimizers = [optimizers_from_json(capture.facts.get("optimizer")) for capture in (baseline, actual)]
    models = _model_of(baseline, before, tolerances), _model_of(actual, after, tolerances)
    moved_by = optimizer_findings(optimizers[0], optimizers[1], tolerances.ignored)
    diagnosis = TrainingDiagnosis(before, models, moved_by, tolerances)
    request = _request_findings(before, after)
    if request:
        verdict = Verdict.drift(findings=request)
    elif set(before.parameters) != set(after.parameters):
        verdict = diagnosis.of_renamed_parameters()
    else:
        after = after.in_order_of(before.parameters)
        verdict = diagnosis.of_curves(compare_curves(before, after, dtypes[1], tolerances), after)
    if dtypes[0] == dtypes[1]:
        unstated = unstated_options(optimizers[0], optimizers[1], tolerances.ignored) if verdict.matched else ()
        return replace(verdict, findings=(*verdict.findings, *unstated))
    finding = DtypeFinding("", "dtype", dtypes[0], dtypes[1])
    if verdict.matched:
        return Verdict.drift(compared=verdict.compared, drifted=0, findings=[finding])
    return replace(verdict, findings=(*verdict.findings, finding))


def _model_of(capture: Capture, training: Training, tolerances: Tolerances) -> ModelStructure:
    """The model that a training began with, without modules where it was given none."""
    return stored_trace(capture.arrays, tolerances.ignored).structure if training.parameters else ModelStructure({})


def _request_findings(baseline: Training, actual: Training) -> list[FactFinding]:
    """What makes it another training altogether."""
    differences = [
        ("steps", str(baseline.steps), str(actual.steps)),
        ("scalars", ", ".join(sorted(baseline.scalars)), ", ".join(sorted(actual.scalars))),
        ("model", *("given" if training.parameters else "not given" for training in (baseline, actual))),
    ]
    return [FactFinding(*difference) for difference in differences if difference[1] != difference[2]]
