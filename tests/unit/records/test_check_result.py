"""Results as results.json holds them: whatever numbers a comparison yields, what is written can be read."""

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelviz.records.check_result import CheckResult, LayerCounts, Status
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.records.verdict import Divergence, Verdict
from pytest_modelviz.reports.terminal import explain
from pytest_modelviz.text.strict_json import parse_json

EXTREMES = [0.0, -0.0, 5e-324, 9.99e299, 1e300, 1e305, np.finfo(float).max, np.float64(1e305), np.float32(3e38)]
numbers = st.floats() | st.sampled_from([*EXTREMES, np.float32("inf"), np.float16("nan"), 10**9, 0])
counts = st.integers(0, 2**63 - 1) | st.integers(0, 2**63 - 1).map(np.int64)


def read_again(result: CheckResult) -> CheckResult:
    facts = RunFacts("id", "2", "3", "p", "cpu", 1)
    text = json.dumps(RunResult(facts, (result,)).to_json(), allow_nan=False)
    (read,) = RunResult.from_json(parse_json(text)).checks
    return read


@given(numbers, numbers, numbers, numbers, numbers, counts, counts)
def test_every_number_of_a_verdict_can_be_read_again(error, tolerance, first, allowed, seconds, compared, drifted):
    divergence = Divergence("a.b", "Linear", drifted, first, allowed)
    verdict = Verdict.drift(
        compared=compared, drifted=drifted, error=error, tolerance=tolerance, first=divergence, cause="weights"
    )
    result = CheckResult(nodeid="t.py::t", view="v", name="n", status=Status.DRIFT, baseline="b", seconds=seconds)
    result = result.with_verdict(verdict)
    assert explain(result)
    for read in (read_again(result), CheckResult.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False)))):
        assert read.status is Status.DRIFT
        assert read.layers == LayerCounts(compared, drifted)
        assert read.error == (float(error) if math.isfinite(error) else None)
        assert read.tolerance == (float(tolerance) if math.isfinite(tolerance) else None)
        assert read.first_divergence is not None
        assert read.first_divergence.error == (float(first) if math.isfinite(first) else math.inf)
        assert read.first_divergence.call == drifted
        assert read.seconds == (float(seconds) if math.isfinite(seconds) else 0.0)
