"""Two forward passes side by side, layer by layer."""

from dataclasses import replace

from pytest_modelviz.compare.agreement import quick_match
from pytest_modelviz.compare.dtype_findings import changes_around
from pytest_modelviz.compare.precision import precision_of
from pytest_modelviz.compare.readable import agrees, contradiction, require_rows
from pytest_modelviz.compare.shadow import compare_passes
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.facts import rows
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.views.feature_maps.records import described, layer_rows, say_the_same


def compare(baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
    """Compare two captures of `feature_maps`.

    Raises UnreadableBaselineError for a damaged baseline, or one whose text says another thing than its arrays.
    """
    if precision_of(baseline.environment) == "ieee":
        agreement = quick_match(baseline.arrays, actual.arrays, tolerances)
        stored, own = (rows(capture.facts, "layers") for capture in (baseline, actual))
        if agreement is not None and say_the_same(stored, own, agreement[1]):
            return agreement[0]
    before, after = (stored_trace(capture.arrays, tolerances.ignored) for capture in (baseline, actual))
    _require_rows(baseline, replace(before, tensors=_with_counts(before, after)))
    around = changes_around(baseline.environment, actual.environment)
    return compare_passes(before, after, tolerances, precision=precision_of(baseline.environment), around=around)


def _with_counts(baseline: ForwardTrace, actual: ForwardTrace) -> dict[str, TensorRecord]:
    """The baseline's tensors with the actual numbers of values: what it claims itself is only compared with these."""
    return {
        key: replace(record, value_count=actual.tensors[key].value_count) if key in actual.tensors else record
        for key, record in baseline.tensors.items()
    }


def _require_rows(baseline: Capture, trace: ForwardTrace) -> None:
    """Make sure that the text of a baseline says what its trace holds; raises UnreadableBaselineError."""
    stored = rows(baseline.facts, "layers")
    without_texts, expected = (
        {name: {**row, "in": "", "out": ""} for name, row in table.items()} for table in (stored, layer_rows(trace))
    )
    require_rows(without_texts, expected, "layer")
    for call in trace.calls:
        key = call.key
        for field, leaves, origin in (("in", call.inputs, f"{key}<"), ("out", call.outputs or {}, key)):
            if not agrees(str(stored[key].get(field)), described(leaves, trace, origin)):
                raise contradiction(f"layer {key or MODEL_LABEL!r}")
